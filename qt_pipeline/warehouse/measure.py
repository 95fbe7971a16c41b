"""Measures: numbers that summarize a column's values, to compare a file with a table without reading the table back.

Here: the measures, their values for rows of a file, and the queries for those of a table. All add up over rows.
Not here: which measures an engine has and their SQL (see the targets), the comparison (see verify).
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Connection, Dialect, Select, Table, func, literal_column, select

from qt_pipeline.tabular import LOAD_COLUMN, Array, Column, Kind, Rows, convert, whole_numbers

_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
_Indexes = np.ndarray[tuple[int], np.dtype[np.int64]]
_Words = np.ndarray[tuple[int], np.dtype[np.uint32]]

_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80
_TWO_BYTES, _THREE_BYTES, _FOUR_BYTES = 0xC0, 0xE0, 0xF0
_BEYOND_BMP = 0x10000
_NO_CHARACTERS, _REPLACEMENT = (0xFFFE, 0xFFFF), 0xFFFD
_PADDING = 16
_MASKS: _Words = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], dtype=np.uint32)
_BLOCK = 12
MAX_HASHED_LENGTH: Final = 1200
"""Longer texts, in bytes, are measured by length, first and last character instead of a hash, which would be slow."""


class Measure(StrEnum):
    """A number for the non-NULL values of a column: their count, or a sum over them."""

    VALUES = "number of values"
    TRUES = "number of true values"
    DAYS = "sum of days"
    MICROSECONDS = "sum of times"
    CHARACTERS = "number of characters"
    UTF16_UNITS = "number of UTF-16 units"
    FIRST = "sum of first characters"
    FIRST_UTF16 = "sum of first UTF-16 units"
    LAST_UTF16 = "sum of last UTF-16 units"
    POSTGRES_HASH = "sum of hashes"


Measures = Mapping[Kind, Mapping[Measure, str]]
"""The measures of an engine by kind, each with its SQL, in which `{}` is the column."""


def measures_of(column: Column, measures: Measures) -> Mapping[Measure, str]:
    """The measures of a column."""
    return measures.get(column.type.kind, {})


def measured(measure: Measure, rows: Rows, position: int) -> int:
    """A measure of one column of a batch of rows."""
    typed = measure in (Measure.TRUES, Measure.DAYS, Measure.MICROSECONDS)
    return measured_values(measure, rows.values(position) if typed else rows.texts[position])


def measured_values(measure: Measure, values: Array) -> int:
    """A measure of these values."""
    match measure:
        case Measure.VALUES:
            return len(values) - values.null_count
        case Measure.TRUES:
            return int(pc.sum(cast("Any", values)).as_py() or 0)
        case Measure.DAYS:
            return int(whole_numbers(convert(convert(values, pa.int32()), pa.int64())).sum())
        case Measure.MICROSECONDS:
            times = whole_numbers(convert(values, pa.int64()))
            # In two parts: a 64-bit sum would overflow silently.
            return (int((times >> 32).sum()) << 32) + int((times & 0xFFFFFFFF).sum())
        case _:
            return _OF_TEXT[measure](_Texts(values)) if len(values) > values.null_count else 0


def counting(
    table: Table, parts: Sequence[ColumnElement[Any]], load_id: int | None = None
) -> "Select[int, *tuple[Any, ...]]":
    """Query the number of rows of a table, or of one load, with these aggregates.

    Not from a subquery: there SQLite renames a column called "true" or "false".
    """
    query = select(func.count(), *parts).select_from(table)
    return query if load_id is None else query.where(table.c[LOAD_COLUMN] == load_id)


def query_aggregates(
    connection: Connection,
    table: Table,
    parts: Sequence[ColumnElement[Any]],
    *,
    batch_size: int,
    load_id: int | None = None,
) -> tuple[int, list[Any]]:
    """The number of rows of a table and these aggregates, queried in batches: the columns of a result are limited."""
    rows, results = 0, list[Any]()
    for start in range(0, max(1, len(parts)), batch_size):
        batch = parts[start : start + batch_size]
        rows, *values = connection.execute(counting(table, batch, load_id)).one()
        results += values
    return int(rows), results


def measuring(
    connection: Connection, columns: Sequence[Column], measures: Measures
) -> dict[tuple[str, Measure], ColumnElement[Any]]:
    """The aggregates of all measures of these columns."""
    quote = partial(_quoted, connection.dialect)
    return {
        (column.name, measure): literal_column(sql.replace("{}", quote(column.name)))
        for column in columns
        for measure, sql in measures_of(column, measures).items()
    }


def _quoted(dialect: Dialect, name: str) -> str:
    """Quote a name for a literal column, in which SQLAlchemy itself escapes the parameter markers of the driver."""
    quoted = dialect.identifier_preparer.quote_identifier(name)
    return quoted.replace("%%", "%") if dialect.paramstyle in ("format", "pyformat") else quoted


def missing_rows(
    connection: Connection,
    staged: Sequence[ColumnElement[Any]],
    present: Sequence[ColumnElement[Any]],
    of_load: ColumnElement[bool] | None,
) -> int:
    """The number of rows of the `staged` columns that are not among the `present` ones; NULL equals NULL."""
    staged_rows, present_rows = (
        select(*(column.label(f"c{position}") for position, column in enumerate(columns)))
        for columns in (staged, present)
    )
    present_rows = present_rows if of_load is None else present_rows.where(of_load)
    return connection.execute(
        select(func.count()).select_from(staged_rows.except_(present_rows).subquery())
    ).scalar_one()


class _Texts:
    """The bytes of non-null texts, with the start and length of each."""

    def __init__(self, values: Array) -> None:
        present = values.drop_null() if values.null_count else values
        _, offsets, data = cast("Any", present.buffers())
        bounds = np.frombuffer(offsets, np.int32)[present.offset : present.offset + len(present) + 1].astype(np.int64)
        self.data: _Bytes = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
        self.starts: _Indexes = bounds[:-1] - bounds[0]
        self.lengths: _Indexes = np.diff(bounds)

    def characters(self) -> int:
        return len(self.data) - int(np.count_nonzero((self.data & _CONTINUATION_MASK) == _CONTINUATION))

    def utf16_units(self) -> int:
        return self.characters() + int(np.count_nonzero(self.data >= _FOUR_BYTES))

    def first(self) -> _Indexes:
        return self._code_points(self.starts[self.lengths > 0])

    def last(self) -> _Indexes:
        ends = (self.starts + self.lengths)[self.lengths > 0] - 1
        for _ in range(3):
            ends -= (self.data[ends] & _CONTINUATION_MASK) == _CONTINUATION
        return self._code_points(ends)

    def _code_points(self, starts: _Indexes) -> _Indexes:
        if not np.any(self.data >= _CONTINUATION):
            return self.data[starts].astype(np.int64)
        padded = np.concatenate([self.data, np.zeros(3, np.uint8)])
        first, second, third, fourth = (padded[starts + place].astype(np.int64) for place in range(4))
        points = np.select(
            [first >= _FOUR_BYTES, first >= _THREE_BYTES, first >= _TWO_BYTES],
            [
                (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F,
                (first & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F,
                (first & 0x1F) << 6 | second & 0x3F,
            ],
            first,
        )
        return cast("_Indexes", points)


def _first_utf16(texts: _Texts) -> int:
    points = texts.first()
    return int(np.where(points < _BEYOND_BMP, points, 0xD800 + ((points - _BEYOND_BMP) >> 10)).sum())


def _last_utf16(texts: _Texts) -> int:
    points = texts.last()
    return int(np.where(points < _BEYOND_BMP, points, 0xDC00 + ((points - _BEYOND_BMP) & 0x3FF)).sum())


def _postgres_hash(texts: _Texts) -> int:
    short = texts.lengths <= MAX_HASHED_LENGTH
    high, low = _lookup3(texts.data, texts.starts[short], texts.lengths[short])
    total = (int(high.view(np.int32).sum(dtype=np.int64)) << 32) + int(low.sum(dtype=np.int64))
    if not short.all():
        for length, first, last in zip(
            texts.lengths[~short].tolist(),
            texts.first()[~short[texts.lengths > 0]].tolist(),
            texts.last()[~short[texts.lengths > 0]].tolist(),
            strict=True,
        ):
            total += (length << 42) | (first << 21) | last
    return total


def _lookup3(data: _Bytes, starts: _Indexes, lengths: _Indexes) -> tuple[_Words, _Words]:
    """PostgreSQL's `hash_bytes_extended` (Bob Jenkins' lookup3, seed 0) of each text, as upper and lower half."""
    padded = np.concatenate([data, np.zeros(_PADDING, np.uint8)])
    words: Any = np.ndarray((len(padded) - 3,), "<u4", buffer=cast("Any", padded.data), strides=(1,))
    a: _Words = (lengths + 0x9E3779B9 + 3923095).astype(np.uint32)
    b, c = a.copy(), a.copy()
    blocks = lengths // _BLOCK
    live = np.flatnonzero(blocks)
    place = 0
    while len(live):
        at = starts[live] + place * _BLOCK
        x, y, z = a[live] + words[at], b[live] + words[at + 4], c[live] + words[at + 8]
        x, z = _step(x, z, y, 4)
        y, x = _step(y, x, z, 6)
        z, y = _step(z, y, x, 8)
        x, z = _step(x, z, y, 16)
        y, x = _step(y, x, z, 19)
        z, y = _step(z, y, x, 4)
        a[live], b[live], c[live] = x, y, z
        place += 1
        live = live[blocks[live] > place]
    at, rest = starts + blocks * _BLOCK, lengths % _BLOCK
    a += words[at] & _kept(rest)
    b += words[at + 4] & _kept(rest - 4)
    c += (words[at + 8] & _kept(rest - 8)) << 8
    c = (c ^ b) - _rotated(b, 14)
    a = (a ^ c) - _rotated(c, 11)
    b = (b ^ a) - _rotated(a, 25)
    c = (c ^ b) - _rotated(b, 16)
    a = (a ^ c) - _rotated(c, 4)
    b = (b ^ a) - _rotated(a, 14)
    c = (c ^ b) - _rotated(b, 24)
    return b, c


def _step(left: _Words, right: _Words, third: _Words, by: int) -> tuple[_Words, _Words]:
    return (left - right) ^ _rotated(right, by), right + third


def _rotated(words: _Words, by: int) -> _Words:
    return cast("_Words", (words << by) | (words >> (32 - by)))


def _kept(bytes_: _Indexes) -> _Words:
    """A mask that keeps this many leading bytes of a word."""
    return _MASKS[np.clip(bytes_, 0, 4)]


def _first(texts: _Texts) -> int:
    first = texts.first()
    # SQLite's `unicode` reads U+FFFE and U+FFFF as the replacement character.
    return int(np.where((first == _NO_CHARACTERS[0]) | (first == _NO_CHARACTERS[1]), _REPLACEMENT, first).sum())


_OF_TEXT: Mapping[Measure, Callable[[_Texts], int]] = {
    Measure.CHARACTERS: _Texts.characters,
    Measure.UTF16_UNITS: _Texts.utf16_units,
    Measure.FIRST: _first,
    Measure.FIRST_UTF16: _first_utf16,
    Measure.LAST_UTF16: _last_utf16,
    Measure.POSTGRES_HASH: _postgres_hash,
}
