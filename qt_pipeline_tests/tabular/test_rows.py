import io
import threading
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.prefetch import prefetch
from qt_pipeline.tabular import (
    BadCsvError,
    Contract,
    DriftError,
    FileProfile,
    OpenStream,
    Rows,
    SchemaRules,
    SpeculationFailedError,
    SpeculativeReader,
    format_value,
    parse_type,
    profile_head,
    read_header,
    read_rows,
)
from qt_pipeline.tabular.drift import holds
from qt_pipeline.tabular.reader import BLOCK_SIZES
from qt_pipeline.values import DriftPolicy
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import (
    RULES,
    as_it_stands,
    csv_bytes,
    founded_by,
    inspection_of,
    rules_of,
    settled,
    stream_of,
    tables,
    two_files,
)

Values = list[tuple[Any, ...]]


class Opened:
    """A file in memory that knows which of its streams are open."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.streams: list[io.BytesIO] = []

    def __call__(self) -> BinaryIO:
        self.streams.append(io.BytesIO(self.data))
        return self.streams[-1]

    @property
    def left_open(self) -> int:
        return sum(not stream.closed for stream in self.streams)


def values_of(batches: Sequence[Rows]) -> tuple[Values, list[int]]:
    """The typed values of rows, and the lines on which they begin."""
    rows: Values = []
    lines: list[int] = []
    for batch in batches:
        columns = [batch.values(position) for position in range(len(batch.contract.columns))]
        assert [values.type for values in columns] == [column.type.arrow for column in batch.contract.columns]
        rows += zip(*(values.to_pylist() for values in columns), strict=True)
        lines += batch.lines.tolist()
        assert len(batch) == len(batch.lines)
    return rows, lines


def in_two_passes(data: bytes, inspection: FileProfile, contract: Contract) -> tuple[Values, list[int]]:
    return values_of(list(read_rows(stream_of(data), inspection, contract)))


def passage(
    open_stream: OpenStream,
    before: Contract | None,
    assumed: Contract,
    *,
    rules: SchemaRules = RULES,
    block_size: int = 1 << 20,
) -> SpeculativeReader:
    header = read_header(open_stream)
    return SpeculativeReader(open_stream, header, rules.expected(before, header.names), assumed, block_size=block_size)


def typed_rows(data: bytes, contract: Contract) -> tuple[Values, list[int]]:
    return in_two_passes(data, inspection_of(data, contract), contract)


# --- two passes


@given(tables(), st.sampled_from(["\n", "\r\n"]))
def test_every_value_is_kept_as_it_stands_in_the_file(table: tuple[list[str], list[list[str]]], line_end: str) -> None:
    headers, rows = table
    data = csv_bytes(headers, rows, line_end=line_end)
    contract = founded_by(data)
    typed, _ = typed_rows(data, contract)
    assert len(typed) == len(rows)
    for row, values in zip(rows, typed, strict=True):
        for text, column, value in zip(row, contract.columns, values, strict=True):
            assert as_it_stands(text, column.type, value), (text, column.type, value)


def test_the_columns_come_in_the_order_of_the_contract_with_the_line_of_each_row() -> None:
    contract = founded_by(b"a,b,b\n1,x,1.5\n")
    assert typed_rows(b'b,a,b\n"y\nz",2,3\n,,\n', contract) == (
        [(2, "y\nz", Decimal("3.0")), (None, None, None)],
        [2, 4],
    )


def test_a_file_without_rows_gives_no_rows() -> None:
    assert typed_rows(b"a,b\n", founded_by(b"a,b\n1,2\n")) == ([], [])


def test_a_column_that_the_file_does_not_have_is_null() -> None:
    assert typed_rows(b"b\n2\n3\n", founded_by(b"a,b\n1.5,2\n")) == ([(None, 2), (None, 3)], [2, 3])


FORMS = {
    "Paid": ("decimal(18,2) 1.234,56", ["1.234,50", "-7,25", "1234,50"]),
    "Count": ("integer 1,234", ["1,234,567", "-7"]),
    "Day": ("date %d/%m/%Y", ["31/01/2020", "01/02/2020"]),
    "At": ("timestamp %d.%m.%Y %H:%M:%S.%3f", ["31.01.2020 10:20:30.125"]),
    "Open": ("boolean Y/N", ["Y", "N"]),
    "Note": ("text(20)", ["007", "1.234,50"]),
}


@pytest.mark.parametrize("header", FORMS)
def test_a_value_in_a_declared_form_is_written_back_as_in_the_file(header: str) -> None:
    declared, texts = FORMS[header]
    rules = rules_of(DriftPolicy.ADDITIVE, **{header: declared})
    data = csv_bytes([header], [[text] for text in [*texts, ""]])
    inspection = inspection_of(data, None, rules)
    contract = founded_by(data, rules)
    expected, lines = in_two_passes(data, inspection, contract)
    plainer = [text.replace("1234", "1.234") for text in texts]
    assert [format_value(value, parse_type(declared)) for (value,) in expected] == [*plainer, None]
    once = passage(stream_of(data), None, contract, rules=rules)
    assert values_of(list(once.rows())) == (expected, lines)


# --- one pass


@st.composite
def blocks(draw: st.DrawFn, data: bytes) -> int:
    """A size of block that every row of a file fits into."""
    longest = max(len(row) for row in (*data.split(b"\r\n"), b"")) + 2
    return longest + draw(st.integers(0, 120))


@given(st.data(), two_files(), st.sampled_from(DriftPolicy))
def test_one_pass_gives_the_rows_of_two_whatever_the_batch_borders(
    drawn: st.DataObject, files: tuple[bytes, bytes], policy: DriftPolicy
) -> None:
    before, data = founded_by(files[0]), files[1]
    rules = rules_of(policy)
    inspection = inspection_of(data, before, rules)
    after = before
    with suppress(DriftError):
        after = settled(data, before, rules).contract
    for assumed in (before, after):
        fits = all(holds(c.type, seen) for c, seen in zip(assumed.columns, inspection.seen, strict=True))
        # A quoted line end may make a row as long as the file.
        block_size = len(data) + 1 if b'"' in data else drawn.draw(blocks(data))
        once = passage(stream_of(data), before, assumed, rules=rules, block_size=block_size)
        if fits:
            assert values_of(list(once.rows())) == in_two_passes(data, inspection, assumed)
            assert once.profile.seen == inspection.seen
            assert once.profile.rows == inspection.rows
        else:
            with pytest.raises(SpeculationFailedError):
                list(once.rows())


@pytest.mark.parametrize("block_size", [8, 12, 16, 64, 1 << 20])
@pytest.mark.parametrize("line", [2, 3, 9, 21])
def test_a_value_that_the_assumed_type_does_not_hold_breaks_the_assumption_wherever_it_stands(
    line: int, block_size: int
) -> None:
    lines = [b"1,ab"] * 20
    assumed = founded_by(b"a,b\n1,ab\n")
    good = b"a,b\n" + b"\n".join(lines) + b"\n"
    assert len(values_of(list(passage(stream_of(good), None, assumed, block_size=block_size).rows()))[0]) == 20
    lines[line - 2] = b"x,ab"
    once = passage(stream_of(b"a,b\n" + b"\n".join(lines) + b"\n"), None, assumed, block_size=block_size)
    passed: list[Rows] = []
    with pytest.raises(SpeculationFailedError):
        passed.extend(once.rows())
    assert sum(map(len, passed)) <= line - 2


@pytest.mark.parametrize(
    "late", ["2020-01-31T10:00:00", "x" * 51, "0.125", "12345678901234", "9223372036854775808", "-0", "TRUE"]
)
def test_what_comes_late_is_held_against_the_type_as_a_whole(late: str) -> None:
    headers = ["At", "Note", "Paid", "Wide", "Count"]
    first = ["2020-01-31 10:00:00", "x", "1.25", "1.25", "5"]
    breaks = {"2020-01-31T10:00:00": 0, "x" * 51: 1, "0.125": 2, "12345678901234": 3}.get(late, 4)
    row = [late if position == breaks else "" for position in range(len(headers))]
    data = csv_bytes(headers, [first, row])
    once = passage(stream_of(data), None, founded_by(csv_bytes(headers, [first])))
    with pytest.raises(SpeculationFailedError):
        list(once.rows())


def test_a_row_that_needs_a_larger_block_breaks_the_assumption() -> None:
    data = b"a,b\n1,x\n2," + b"x" * 100 + b"\n"
    assumed = founded_by(data)
    with pytest.raises(SpeculationFailedError):
        list(passage(stream_of(data), None, assumed, block_size=16).rows())
    assert len(values_of(list(passage(stream_of(data), None, assumed, block_size=200).rows()))[0]) == 2


def test_a_bad_file_is_refused_in_one_pass_as_in_two() -> None:
    data = b"a,b\n1,x\n2\n"
    once = passage(stream_of(data), None, founded_by(b"a,b\n1,x\n"))
    with pytest.raises(BadCsvError, match="line 3, byte 8"):
        list(once.rows())


def test_what_a_passage_has_seen_is_what_an_inspection_sees() -> None:
    data = b"a,b\n1,x\n2,\n"
    once = passage(stream_of(data), None, founded_by(data), block_size=BLOCK_SIZES[0])
    assert once.profile.rows == 0
    list(once.rows())
    assert once.profile == inspection_of(data)


def test_a_glance_that_tells_the_truth_makes_one_pass_enough() -> None:
    data = b"Paid,Note\n" + b"1.25,x\n" * 100
    header = read_header(stream_of(data))
    first = profile_head(stream_of(data), header, [None, None])
    assumed = settled(data)
    once = SpeculativeReader(stream_of(data), header, [None, None], assumed.contract, block_size=first.block_size)
    assert values_of(list(once.rows())) == typed_rows(data, assumed.contract)


def threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_consumer_that_stops_leaves_neither_a_thread_nor_an_open_file(taken: int) -> None:
    opened = Opened(b"a,b\n" + b"1,x\n" * 5000)
    once = passage(opened, None, founded_by(b"a,b\n1,x\n"), block_size=256)
    rows = prefetch(once.rows())
    for _ in range(taken):
        next(rows)
    assert threads() == (taken > 0)
    rows.close()
    assert (threads(), opened.left_open) == (0, 0)


def test_an_assumption_that_breaks_leaves_neither_a_thread_nor_an_open_file() -> None:
    opened = Opened(b"a,b\n" + b"1,x\n" * 5000 + b"x,x\n")
    once = passage(opened, None, founded_by(b"a,b\n1,x\n"), block_size=256)
    with pytest.raises(SpeculationFailedError):
        list(prefetch(once.rows()))
    assert (threads(), opened.left_open) == (0, 0)


@few_examples()
@given(st.lists(st.integers(1 - 10**15, 10**15 - 1).map(lambda units: Decimal(units).scaleb(-4))))
def test_decimals_of_up_to_15_digits_come_as_floats_that_are_written_as_the_same_number(numbers: list[Decimal]) -> None:
    data = csv_bytes(["Paid"], [[""], ["0.1250"], *([f"{number:f}"] for number in numbers)])
    contract = founded_by(data)
    [rows] = read_rows(stream_of(data), inspection_of(data), contract)
    floats = rows.floats(0).to_pylist()
    assert contract.columns[0].type.precision == 15
    assert [None if number is None else Decimal(repr(number)) for number in floats] == rows.values(0).to_pylist()
