"""CSV files made for tests, and what reading them gives."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from qt_pipeline.tabular import (
    ColumnType,
    Contract,
    FileProfile,
    Kind,
    OpenStream,
    ResolvedContract,
    SchemaRules,
    parse_type,
    profile,
    read_header,
    read_text,
    resolve_contract,
)
from qt_pipeline.tabular.reader import BLOCK_SIZES
from qt_pipeline.values import DriftPolicy

Rows = list[tuple[str | None, ...]]

RULES = SchemaRules(max_name_bytes=128)
"""The rules of a dataset of which the catalog says nothing."""

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
"""Any text that a CSV file can hold."""

NASTY = st.sampled_from(
    [
        *("0", "7", "-3", "007", "-0", "-00", "+5", "1e5", " 5", "5 ", "--5", "5-", "1-2", "1,000", "1_000"),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1" * 38, "1" * 39, "9" * 400),
        *(".5", "-.5", "5.", "-5.", ".", "-", "-.", "0.10", "00.5", "-0.0", "1.2.3", "0." + "0" * 37 + "1"),
        *("1" * 36 + ".25", "12345678901234567890.12", "123456789012345.6", "0.00000000000001"),
        *("NA", "NULL", "nan", "inf", "-inf", "None", "true", "TRUE", "False", "tru", "T", "yes"),
        *("2020-01-31", "2020-02-30", "0000-01-01", "9999-12-31", "2020-1-31", "31/01/2020", "20200131", "20200230"),
        *("00010101", "99991231", "20201301", "2020-01-31T10:00:00", "2020-01-31 10:00:00", "2020-01-31 10:00"),
        *("2020-01-31 10:00:00.5", "2020-01-31 10:00:00.123456", "2020-02-30 10:00:00", "0000-01-01 10:00:00"),
        *("2016-12-31 23:59:60", "2020-01-31 24:00:00", "2020-01-31T10:00:00Z", "2020-01-31T10:00:00+01:00"),
    ]
)
"""Values that readers like to get wrong."""

_WHOLE = st.integers(-(2**63), 2**63 - 1)
_DECIMAL = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12)
_MOMENTS = st.datetimes()

COLUMNS = st.sampled_from(
    [
        ("Count", _WHOLE.map(str)),
        ("Paid", _DECIMAL.map(str)),
        ("Paid", st.decimals(allow_nan=False, allow_infinity=False, places=20).map(lambda number: f"{number:f}")),
        ("Written", st.dates().map(date.isoformat)),
        ("Loss date", st.dates(min_value=date(1000, 1, 1)).map(lambda day: day.isoformat().replace("-", ""))),
        ("Seen at", _MOMENTS.map(lambda at: at.isoformat(" ", "seconds"))),
        ("Seen at", _MOMENTS.map(lambda at: at.isoformat("T", "milliseconds"))),
        ("Seen at", _MOMENTS.map(lambda at: at.isoformat(" ", "microseconds"))),
        ("Open", st.sampled_from(["true", "false", "TRUE", "False"])),
        ("Name", TEXTS),
        ("Anything", NASTY),
        ("Loss date", NASTY),
    ]
)
"""A header and the values that stand below it."""


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """The headers and the rows of a table of text, with blanks in every column."""
    columns = draw(st.lists(COLUMNS, min_size=1, max_size=5))
    rows = draw(st.lists(st.tuples(*(st.just("") | values for _, values in columns)), max_size=25))
    return [header for header, _ in columns], [list(row) for row in rows]


@st.composite
def two_files(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two files with the same headers, and whatever below them."""
    headers = draw(st.lists(st.sampled_from(["Paid", "Loss date", "Policy Number", "Name"]), min_size=1, max_size=4))

    def file() -> bytes:
        columns = [draw(COLUMNS)[1] for _ in headers]
        rows = draw(st.lists(st.tuples(*(st.just("") | values for values in columns)), max_size=8))
        return csv_bytes(headers, rows)

    return file(), file()


def csv_bytes(headers: Sequence[str], rows: Sequence[Sequence[str]], *, line_end: str = "\r\n") -> bytes:
    """A CSV file as Python writes it; with a line end that it would not quote, every value is quoted."""
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_MINIMAL if line_end == "\r\n" else csv.QUOTE_ALL
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows([headers, *rows])
    return text.getvalue().encode()


def stream_of(data: bytes, *, most: int = 0) -> OpenStream:
    """Opens `data`; with `most`, each read gives so many bytes at most, as a read from a network may."""
    return lambda: _ShortReads(data, most) if most else io.BytesIO(data)


class _ShortReads(io.BytesIO):
    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


def rules_of(policy: DriftPolicy, *, keeps_rows: bool = False, **declared: str) -> SchemaRules:
    """Rules with declared types, by header."""
    types = {header: parse_type(text) for header, text in declared.items()}
    return SchemaRules(max_name_bytes=128, policy=policy, declared=types, keeps_rows=keeps_rows)


def inspection_of(data: bytes, contract: Contract | None = None, rules: SchemaRules = RULES) -> FileProfile:
    """What a pass over a file shows to a load under this contract."""
    header = read_header(stream_of(data))
    return profile(stream_of(data), header, rules.expected(contract, header.names))


def settled(data: bytes, contract: Contract | None = None, rules: SchemaRules = RULES) -> ResolvedContract:
    """The contract under which a file is loaded, this being the one before."""
    inspection = inspection_of(data, contract, rules)
    return resolve_contract(contract, inspection.header.names, inspection.seen, rules)


def founded_by(data: bytes, rules: SchemaRules = RULES) -> Contract:
    """The contract that a first file makes."""
    return settled(data, rules=rules).contract


def read_rows(
    data: bytes, *, block_size: int = BLOCK_SIZES[0], checked: bool = False, most: int = 0
) -> tuple[Rows, list[int]]:
    """The rows of a file, and the line on which each begins."""
    header = read_header(stream_of(data, most=most))
    rows: Rows = []
    lines: list[int] = []
    for batch in read_text(stream_of(data, most=most), header, block_size=block_size, checked=checked):
        rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        lines += batch.lines.tolist()
    return rows, lines


def as_it_stands(text: str, type_: ColumnType, value: Any) -> bool:
    """Whether `value` is what `text` says: a number as a number, a boolean in either case, all else as text."""
    if text == "" or value is None:
        return text == "" and value is None
    if type_.kind is Kind.DECIMAL:
        return isinstance(value, Decimal) and value == Decimal(text)
    if type_.kind is Kind.BOOLEAN:
        return isinstance(value, bool) and str(value).lower() == text.lower()
    if type_.format.endswith("[.%f]"):
        return value == datetime.fromisoformat(
            text.ljust(len("2026-01-31 10:00:00.500000"), "0") if "." in text else text
        )
    return _written(value, type_) == text


def _written(value: Any, type_: ColumnType) -> str:
    if type_.kind is Kind.DATE:
        return value.isoformat() if type_.format == "%Y-%m-%d" else value.isoformat().replace("-", "")
    if type_.kind is Kind.TIMESTAMP:
        fraction = re.search("%([1-6])f", type_.format)
        length = len("2026-01-31 10:00:00") + (1 + int(fraction[1]) if fraction else 0)
        separator = type_.format.removeprefix("%Y-%m-%d")[0]
        return value.isoformat(separator, "microseconds")[:length]
    return str(value)
