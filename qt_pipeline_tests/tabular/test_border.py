"""Whatever the bytes of a file are: no exception of a library leaves the package as it is, and no value is told."""

import io
import re
from collections.abc import Callable
from typing import BinaryIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qt_pipeline.errors import PipelineError
from qt_pipeline.tabular import (
    DriftError,
    FileProfile,
    OpenStream,
    SpeculationFailedError,
    SpeculativeReader,
    check_first_line,
    compare,
    find_invalid_values,
    profile,
    profile_head,
    read_first_line,
    read_header,
    read_rows,
    read_text,
    record_at,
    resolve_contract,
    rows_at,
)
from qt_pipeline.values import DriftPolicy
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import TEXTS, csv_bytes, rules_of, stream_of

CANARY = "kanarie7"
HUGE = b'"' + CANARY.encode() + b"x" * 140_000 + b'"'
OTHER = b"Ref,Paid\r\n1,2.50\r\n"
HEADERS = ["Ref", "Paid"]

PIECES = st.sampled_from(
    [
        *(b"Ref,Paid\n", b"a", b"1", b"2.50", b"2026-01-31", CANARY.encode(), "é".encode(), b",", b",", b"\n", b"\n"),
        *(b"\r\n", b"\r", b'"', b'""', b'"a\r\nb"', b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b";"),
        *(b"\xff\xfe", b" ", HUGE),
    ]
)
FAULTS = PIECES | st.binary(max_size=4)
BLOCK_SIZES = st.sampled_from([16, 17, 31, 64, 1024, 1 << 20])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes that are almost a CSV file: pieces of one, or one with some faults."""
    if draw(st.booleans()):
        return b"".join(draw(st.lists(FAULTS, max_size=20)))
    rows = draw(st.lists(st.tuples(TEXTS, TEXTS | st.just("1.234,50")), max_size=6))
    data = csv_bytes(HEADERS, rows, line_end=draw(st.sampled_from(["\r\n", "\n", "\r"])))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(FAULTS) + data[place + draw(st.integers(0, 3)) :]
    return data


def read_twice(open_: OpenStream, block_size: int) -> None:
    header = read_header(open_)
    for checked in (False, True):
        for _ in read_text(open_, header, block_size=block_size, checked=checked):
            pass


def load(open_: OpenStream, look: Callable[..., FileProfile], block_size: int = 0) -> None:
    """The reads of a load: in one pass with a `block_size`, else in two."""
    header, head = read_first_line(open_)
    check_first_line(head, header)
    rules = rules_of(DriftPolicy.ADDITIVE, Paid="decimal(15,2) 1.234,56")
    expected = rules.expected(None, header.names)
    inspection = look(open_, header, expected)
    try:
        contract = resolve_contract(None, header.names, inspection.seen, rules).contract
    except DriftError as drift:
        broken = drift.columns_of_another_type
        raise drift.at(find_invalid_values(open_, inspection, broken, rules, limit=9, show_values=False)) from None
    if block_size:
        batches = SpeculativeReader(open_, header, expected, contract, block_size=block_size).rows()
    else:
        batches = read_rows(open_, inspection, contract)
    for rows in batches:
        for position in range(len(contract.columns)):
            rows.values(position)


Use = Callable[[OpenStream, int], object]

USES: dict[str, Use] = {
    "read_text": read_twice,
    # As a person may ask for the lines of a file that was never read whole.
    "read_text, unchecked": lambda open_, size: list(
        read_text(open_, read_header(open_), block_size=size, checked=True)
    ),
    "inspect": lambda open_, _: load(open_, profile),
    "glance": lambda open_, size: load(open_, profile_head, size),
    "compare before": lambda open_, _: compare(open_, stream_of(OTHER), limit=3),
    "compare after": lambda open_, _: compare(stream_of(OTHER), open_, limit=3),
    "record_at": lambda open_, size: record_at(open_, size % 7),
    "rows_at": lambda open_, _: list(rows_at(open_, [2, 3])),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@few_examples()
@given(files(), BLOCK_SIZES)
@example(b"Ref,Paid\n" + HUGE + b",1\n", 16)
@example(b"Ref\xff,Paid\n1,2\n", 16)
@example(HUGE + b",Paid\n1,2\n", 16)
@example(b"Ref,Paid\n1,\xff\n", 16)
def test_only_errors_of_our_own_leave_the_package_and_hold_no_value(use: Use, data: bytes, block_size: int) -> None:
    told = ""
    try:
        use(stream_of(data), block_size)
    except PipelineError as error:
        told = str(error)
    except SpeculationFailedError:
        pass
    # A name of a column may be told, a value may not.
    header = re.split(rb"[\r\n]", data, maxsplit=1)[0]
    assert CANARY not in told or CANARY.encode() in header or b'"' in header


class BrokenStreamError(OSError):
    """What a stream raises."""


class _BreaksAfter(io.BytesIO):
    def __init__(self, data: bytes, reads: list[int]) -> None:
        super().__init__(data)
        self._reads = reads

    def read(self, size: int | None = -1, /) -> bytes:
        if self._reads[0] <= 0:
            raise BrokenStreamError(5, "Input/output error")
        self._reads[0] -= 1
        return super().read(size)


def breaking(data: bytes, reads: int) -> OpenStream:
    """Opens `data`; after so many reads, over all streams, each one fails."""
    left = [reads]

    def open_() -> BinaryIO:
        return _BreaksAfter(data, left)

    return open_


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("data", [OTHER, b"Ref,Note\n" + (b"1," + b"x" * 20_000 + b"\n") * 60, b"Ref,Paid\n1,2,3\n"])
def test_an_error_of_the_stream_passes_as_it_is(use: Use, data: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        use(breaking(data, 0), 64)
    for reads in range(1, 20):
        try:
            use(breaking(data, reads), 1 << 20)
        except (BrokenStreamError, PipelineError, SpeculationFailedError):
            continue
        return
