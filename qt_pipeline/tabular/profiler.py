"""Profile a file: what each column holds, how many rows there are, and which values break a contract.

Here: batch by batch, the pass over a whole file, and the search for invalid values.
Not here: the rules for one batch (see infer), what the profile leads to (see drift).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from qt_pipeline.tabular.contract import Column, InvalidValue
from qt_pipeline.tabular.declared import normalize
from qt_pipeline.tabular.drift import SchemaRules, holds, may_hold
from qt_pipeline.tabular.infer import infer_kind, measure
from qt_pipeline.tabular.names import is_date, is_identifier
from qt_pipeline.tabular.reader import (
    BLOCK_SIZES,
    Header,
    OpenStream,
    RowTooLongError,
    TextBatch,
    read_text,
)
from qt_pipeline.tabular.types import COMPACT_DATE, ColumnProfile, ColumnType, Kind

Expected = Sequence[ColumnType | None]
"""The expected type of each column of a file, or None; see `SchemaRules.expected`."""

Fits = Callable[[Column, ColumnProfile], bool]
"""Whether a column can hold the values of a profile."""

_HEAD_BATCHES = 4


@dataclass(frozen=True, slots=True)
class FileProfile:
    """The result of a pass over a file; `expected` are the types it was given."""

    header: Header
    expected: tuple[ColumnType | None, ...]
    seen: tuple[ColumnProfile, ...]
    rows: int
    block_size: int


class Profiler:
    """Profiles a file batch by batch, and joins the profiles of the batches."""

    def __init__(self, header: Header, expected: Expected) -> None:
        self._header = header
        self._expected = tuple(expected)
        self._column_profilers = [
            _ColumnProfiler(name, type_) for name, type_ in zip(header.names, expected, strict=True)
        ]
        self.seen = [ColumnProfile()] * len(header.names)
        self.rows = 0

    def add(self, batch: TextBatch) -> tuple[pa.StringArray, ...]:
        """Profile one more batch, and return its columns as canonical text."""
        self.rows += batch.rows
        columns = tuple(
            profiler.normalize(values) for profiler, values in zip(self._column_profilers, batch.columns, strict=True)
        )
        for position, (profiler, values) in enumerate(zip(self._column_profilers, columns, strict=True)):
            self.seen[position] = self.seen[position].join(profiler.profile(values, self.seen[position]))
        return columns

    def profile(self, block_size: int) -> FileProfile:
        """The profile so far."""
        return FileProfile(self._header, self._expected, tuple(self.seen), self.rows, block_size)


class _ColumnProfiler:
    """Profiles the values of one column."""

    def __init__(self, header: str, expected: ColumnType | None) -> None:
        self._declared = expected if expected is not None and not expected.is_canonical else None
        # Text stays text, so references and columns that are known to be text are only measured.
        self._is_text = is_identifier(header) if expected is None else expected.kind is Kind.TEXT
        self._is_new = expected is None or expected.kind is Kind.UNKNOWN
        self._compact_dates = is_date(header) or (expected is not None and expected.format == COMPACT_DATE)

    def normalize(self, values: pa.StringArray) -> pa.StringArray:
        return values if self._declared is None else normalize(values, self._declared)

    def profile(self, values: pa.StringArray, so_far: ColumnProfile) -> ColumnProfile:
        if self._is_text or so_far.kind is Kind.TEXT:
            return measure(values)
        keep_texts = self._is_new and so_far.decimal_texts is not None
        return infer_kind(values, compact_dates=self._compact_dates, keep_texts=keep_texts)


def profile(open_stream: OpenStream, header: Header, expected: Expected) -> FileProfile:
    """Read the whole file once and profile its columns.

    Raises:
        BadCsvError: the file breaks a rule of CSV; with line and byte.
        RowTooLongError: a row is longer than the largest block.
    """
    return _profile(open_stream, header, expected, batches=None)


def profile_head(open_stream: OpenStream, header: Header, expected: Expected) -> FileProfile:
    """Like `profile`, for the first few megabytes of the file."""
    return _profile(open_stream, header, expected, batches=_HEAD_BATCHES)


def _profile(open_stream: OpenStream, header: Header, expected: Expected, *, batches: int | None) -> FileProfile:
    for block_size in BLOCK_SIZES:
        profiler = Profiler(header, expected)
        try:
            for batch in islice(read_text(open_stream, header, block_size=block_size), batches):
                profiler.add(batch)
        except RowTooLongError:
            if block_size == BLOCK_SIZES[-1]:
                raise
        else:
            return profiler.profile(block_size)
    raise AssertionError("BLOCK_SIZES is not empty")


def find_invalid_values(
    open_stream: OpenStream,
    file_profile: FileProfile,
    broken: Mapping[int, Column],
    rules: SchemaRules,
    *,
    limit: int,
    show_values: bool,
) -> list[InvalidValue]:
    """The first `limit` values that the `broken` columns (by position in the file) cannot hold, in file order."""

    def search(fits: Fits) -> list[InvalidValue]:
        invalid: list[InvalidValue] = []
        for batch in read_text(open_stream, file_profile.header, block_size=file_profile.block_size, checked=True):
            batch_invalid = [
                InvalidValue(
                    line=int(batch.lines[row]),
                    column=column.name,
                    type=str(column.type),
                    value=batch.columns[i][row].as_py() if show_values else None,
                    length=_utf16_units(batch.columns[i][row].as_py()) if column.type.kind is Kind.TEXT else None,
                )
                for i, column in broken.items()
                for row in _invalid_rows(column, profilers[i], batch.columns[i], fits)
            ]
            invalid += sorted(batch_invalid, key=lambda value: value.line)
            if len(invalid) >= limit:
                break
        return invalid[:limit]

    profilers = {i: _ColumnProfiler(file_profile.header.names[i], file_profile.expected[i]) for i in broken}
    # A column may be able to widen to each value alone but not to all of them, such as timestamps of two formats. Then
    # report the values that it cannot hold in its present type.
    return search(lambda column, seen: may_hold(column, seen, rules)) or search(
        lambda column, seen: holds(column.type, seen)
    )


def _utf16_units(value: str) -> int:
    return len(value.encode("utf-16-le")) // 2


def _invalid_rows(column: Column, profiler: _ColumnProfiler, values: pa.StringArray, fits: Fits) -> Iterator[int]:
    def within(values: pa.StringArray, first: int) -> Iterator[int]:
        # Bisection applies the same rule to smaller parts, so no second rule for single values can disagree with it.
        if fits(column, profiler.profile(values, ColumnProfile())):
            return
        if len(values) == 1:
            yield first
            return
        middle = len(values) // 2
        yield from within(values[:middle], first)
        yield from within(values[middle:], first + middle)

    yield from within(profiler.normalize(values), 0)
