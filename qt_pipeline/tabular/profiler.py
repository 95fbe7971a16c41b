"""Looking at the values of a file: what does each column hold, how many rows are there, which values break a contract.

Here: one batch after another, the pass over a whole file, and the search for misfits.
Not here: the rules for one batch (see infer), what becomes of the answer (see drift).
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
"""The type that is expected of each column of a file, where one is; see `Rules.expected`."""

Fits = Callable[[Column, ColumnProfile], bool]
"""Whether a column can hold what was seen."""

_HEAD_BATCHES = 4


@dataclass(frozen=True, slots=True)
class FileProfile:
    """What a pass over a file has shown; `expected` is what it was told to look for."""

    header: Header
    expected: tuple[ColumnType | None, ...]
    seen: tuple[ColumnProfile, ...]
    rows: int
    block_size: int


class Profiler:
    """Looks at batch after batch of one file, and remembers what they have in common."""

    def __init__(self, header: Header, expected: Expected) -> None:
        self._header = header
        self._expected = tuple(expected)
        self._looks = [_ColumnProfiler(name, type_) for name, type_ in zip(header.names, expected, strict=True)]
        self.seen = [ColumnProfile()] * len(header.names)
        self.rows = 0

    def add(self, batch: TextBatch) -> tuple[pa.StringArray, ...]:
        """Look at one more batch; its columns as plain text, as if nothing had been declared."""
        self.rows += batch.rows
        columns = tuple(its.plain(values) for its, values in zip(self._looks, batch.columns, strict=True))
        for position, (its, values) in enumerate(zip(self._looks, columns, strict=True)):
            self.seen[position] = self.seen[position].join(its.at(values, self.seen[position]))
        return columns

    def profile(self, block_size: int) -> FileProfile:
        """What was seen so far."""
        return FileProfile(self._header, self._expected, tuple(self.seen), self.rows, block_size)


class _ColumnProfiler:
    """How the values of one column are looked at."""

    def __init__(self, header: str, expected: ColumnType | None) -> None:
        self._declared = expected if expected is not None and not expected.is_canonical else None
        # Text cannot become anything else, so references and what is known to be text are only measured.
        self._is_text = is_identifier(header) if expected is None else expected.kind is Kind.TEXT
        self._is_new = expected is None or expected.kind is Kind.UNKNOWN
        self._compact_dates = is_date(header) or (expected is not None and expected.format == COMPACT_DATE)

    def plain(self, values: pa.StringArray) -> pa.StringArray:
        return values if self._declared is None else normalize(values, self._declared)

    def at(self, values: pa.StringArray, so_far: ColumnProfile) -> ColumnProfile:
        if self._is_text or so_far.kind is Kind.TEXT:
            return measure(values)
        keep_texts = self._is_new and so_far.decimal_texts is not None
        return infer_kind(values, compact_dates=self._compact_dates, keep_texts=keep_texts)


def profile(open_stream: OpenStream, header: Header, expected: Expected) -> FileProfile:
    """Read the whole file once and say what its columns hold.

    Raises:
        BadCsvError: the file breaks a rule of CSV; with line and byte.
        RowTooLongError: a row is longer than the largest block.
    """
    return _inspect(open_stream, header, expected, batches=None)


def profile_head(open_stream: OpenStream, header: Header, expected: Expected) -> FileProfile:
    """Like `inspect`, for the first few megabytes of the file."""
    return _inspect(open_stream, header, expected, batches=_HEAD_BATCHES)


def _inspect(open_stream: OpenStream, header: Header, expected: Expected, *, batches: int | None) -> FileProfile:
    for block_size in BLOCK_SIZES:
        inspector = Profiler(header, expected)
        try:
            for batch in islice(read_text(open_stream, header, block_size=block_size), batches):
                inspector.add(batch)
        except RowTooLongError:
            if block_size == BLOCK_SIZES[-1]:
                raise
        else:
            return inspector.profile(block_size)
    raise AssertionError("BLOCK_SIZES is not empty")


def find_invalid_values(
    open_stream: OpenStream,
    inspection: FileProfile,
    broken: Mapping[int, Column],
    rules: SchemaRules,
    *,
    limit: int,
    show_values: bool,
) -> list[InvalidValue]:
    """The first `limit` values that the `broken` columns (by position in the file) cannot hold, in its order."""

    def search(fits: Fits) -> list[InvalidValue]:
        misfits: list[InvalidValue] = []
        for batch in read_text(open_stream, inspection.header, block_size=inspection.block_size, checked=True):
            found = [
                InvalidValue(
                    line=int(batch.lines[row]),
                    column=column.name,
                    type=str(column.type),
                    value=batch.columns[i][row].as_py() if show_values else None,
                    length=_utf16_units(batch.columns[i][row].as_py()) if column.type.kind is Kind.TEXT else None,
                )
                for i, column in broken.items()
                for row in _invalid_rows(column, looks[i], batch.columns[i], fits)
            ]
            misfits += sorted(found, key=lambda misfit: misfit.line)
            if len(misfits) >= limit:
                break
        return misfits[:limit]

    looks = {i: _ColumnProfiler(inspection.header.names[i], inspection.expected[i]) for i in broken}
    # Values that a column could become wide enough for, one by one, may not go together: moments of two forms. Then
    # those are to blame that it cannot hold as it is.
    return search(lambda column, seen: may_hold(column, seen, rules)) or search(
        lambda column, seen: holds(column.type, seen)
    )


def _utf16_units(value: str) -> int:
    return len(value.encode("utf-16-le")) // 2


def _invalid_rows(column: Column, its: _ColumnProfiler, values: pa.StringArray, fits: Fits) -> Iterator[int]:
    def within(values: pa.StringArray, first: int) -> Iterator[int]:
        # Halving asks the one rule again for smaller parts: no second rule for single values can disagree with it.
        if fits(column, its.at(values, ColumnProfile())):
            return
        if len(values) == 1:
            yield first
            return
        middle = len(values) // 2
        yield from within(values[:middle], first)
        yield from within(values[middle:], first + middle)

    yield from within(its.plain(values), 0)
