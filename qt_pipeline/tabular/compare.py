"""Compare two CSV files as multisets of rows: which rows were added, which were removed, and on which lines.

Here: rows compared as text over the columns that both files have, in any order; duplicates count. Memory stays flat:
each row becomes a digest, and digests are spilled to files, partitioned so that equal ones meet in the same file.
Not here: which files are compared (see ingest).
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.arrow import Array
from qt_pipeline.tabular.headers import match_headers
from qt_pipeline.tabular.reader import BLOCK_SIZES, Header, OpenStream, RowTooLongError, read_header, read_text

# With 16 bytes, two of 10^10 different rows collide by chance once in 10^19 comparisons.
_DIGEST_BYTES = 16
_PARTS = 128
# A spilled row: its digest as two integers, and its line.
_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("line", "<i8")])
# No value contains it: the reader rejects NUL.
_BETWEEN = "\0"


class NothingInCommonError(PermanentError):
    """Two files have no column in common, so that no row can be compared."""


@dataclass(frozen=True, slots=True)
class DiffSide:
    """What one of two files has and the other does not.

    `columns` are in this file alone. `extra_rows` counts the rows that occur here more often than in the other file;
    `lines` are the first of them: if a row occurs three times here and twice there, the last of the three.
    """

    rows: int
    columns: tuple[str, ...]
    extra_rows: int
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two files: rows only in `before` were removed, rows only in `after` were added.

    `columns` are those that both files have, in the order of the first.
    """

    columns: tuple[str, ...]
    before: DiffSide
    after: DiffSide

    @property
    def is_none(self) -> bool:
        """Whether both files have the same columns and the same rows, in any order."""
        return not any((self.before.columns, self.after.columns, self.before.extra_rows, self.after.extra_rows))


def compare(before: OpenStream, after: OpenStream, *, limit: int) -> Difference:
    """Compare two files; `limit` bounds the number of lines named of each.

    Raises:
        NothingInCommonError: the files have no column in common.
        BadCsvError, EmptyFileError, RowTooLongError: a file cannot be read.
    """
    headers = read_header(before), read_header(after)
    positions = match_headers(headers[0].names, headers[1].names)
    common = [(place, other) for place, other in enumerate(positions) if other is not None]
    if not common:
        raise NothingInCommonError("The two files have no column in common.", hint="Compare loads of one dataset.")
    places = [place for place, _ in common], [place for _, place in common]
    with tempfile.TemporaryDirectory(prefix="qt-compare-") as folder:
        spilled = [
            _spill(Path(folder) / name, open_, header, file_places)
            for name, open_, header, file_places in zip(
                ("before", "after"), (before, after), headers, places, strict=True
            )
        ]
        extra_rows = [_ExtraRows(limit), _ExtraRows(limit)]
        for part in range(_PARTS):
            ours, theirs = (_read(folder / str(part)) for folder, _ in spilled)
            for extra, lines in zip(extra_rows, _unpaired_lines(ours, theirs), strict=True):
                extra.add(lines)
    sides = [
        DiffSide(
            rows=rows,
            columns=tuple(name for place, name in enumerate(header.names) if place not in file_places),
            extra_rows=extra.count,
            lines=extra.first,
        )
        for (_, rows), header, file_places, extra in zip(spilled, headers, places, extra_rows, strict=True)
    ]
    return Difference(tuple(headers[0].names[place] for place in places[0]), *sides)


def rows_at(open_stream: OpenStream, lines: Sequence[int]) -> Iterator[tuple[int, tuple[str | None, ...]]]:
    """The rows that begin on these lines, with their lines, in file order. The file must have been read before."""
    wanted = set(lines)
    header = read_header(open_stream)
    for batch in read_text(open_stream, header, checked=True):
        positions = np.flatnonzero(np.isin(batch.lines, list(wanted)))
        for row in positions.tolist():
            line = int(batch.lines[row])
            wanted.discard(line)
            yield line, tuple(column[row].as_py() for column in batch.columns)
        if not wanted:
            return


def _spill(folder: Path, open_stream: OpenStream, header: Header, places: Sequence[int]) -> tuple[Path, int]:
    """Write a record of each row into one of the part files of a folder, and count the rows."""
    for block_size in BLOCK_SIZES:
        size_folder = folder / str(block_size)
        size_folder.mkdir(parents=True)
        rows = 0
        try:
            with ExitStack() as stack:
                # Opened on demand: small files need few of them.
                parts = _Parts(size_folder, stack)
                for batch in read_text(open_stream, header, block_size=block_size):
                    rows += batch.rows
                    _part([batch.columns[place] for place in places], batch.lines, parts)
        except RowTooLongError:
            if block_size == BLOCK_SIZES[-1]:
                raise
        else:
            return size_folder, rows
    raise AssertionError("BLOCK_SIZES is not empty")


class _Parts(dict[int, BinaryIO]):
    """The part files of a folder, each opened when its first record is written."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__()
        self._folder = folder
        self._stack = stack

    def __missing__(self, part: int) -> BinaryIO:
        opened = self[part] = self._stack.enter_context((self._folder / str(part)).open("wb"))
        return opened


def _read(part: Path) -> np.ndarray[Any, Any]:
    return np.fromfile(part, dtype=_RECORD) if part.exists() else np.empty(0, dtype=_RECORD)


def _part(columns: Sequence[pa.StringArray], lines: np.ndarray[Any, Any], parts: _Parts) -> None:
    records = np.empty(len(lines), dtype=_RECORD)
    digests = np.frombuffer(b"".join(_digests(columns)), dtype="<u8").reshape(-1, 2)
    records["high"], records["low"], records["line"] = digests[:, 0], digests[:, 1], lines
    part_of = (records["high"] % _PARTS).astype(np.int64)
    order = np.argsort(part_of, kind="stable")
    ends = np.searchsorted(part_of[order], np.arange(_PARTS), side="right")
    for part, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
        if start < end:
            parts[part].write(records[order[start:end]].tobytes())


def _digests(columns: Sequence[pa.StringArray]) -> Iterable[bytes]:
    join: Any = pc.binary_join_element_wise  # pyright: ignore[reportUnknownMemberType]
    joined = cast("Array", join(*columns, _BETWEEN, null_handling="replace", null_replacement=""))
    _, offsets, data = joined.buffers()
    ends = np.frombuffer(cast("Any", offsets), dtype="<i4")[joined.offset : joined.offset + len(joined) + 1].tolist()
    text = memoryview(cast("Any", data) or b"")
    return (blake2b(text[start:end], digest_size=_DIGEST_BYTES).digest() for start, end in pairwise(ends))


def _unpaired_lines(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> tuple[list[int], list[int]]:
    """The lines of the rows on each side that remain once equal rows of the two sides are paired."""
    both = np.concatenate([ours, theirs])
    side = np.repeat([0, 1], [len(ours), len(theirs)])
    # Equal rows are adjacent, those of one file first, in the order of its lines.
    order = np.lexsort((both["line"], side, both["low"], both["high"]))
    both, side = both[order], side[order]
    if not len(both):
        return [], []
    is_first = np.ones(len(both), dtype=bool)
    is_first[1:] = (both["high"][1:] != both["high"][:-1]) | (both["low"][1:] != both["low"][:-1])
    group = np.cumsum(is_first) - 1
    counts = [np.bincount(group[side == which], minlength=int(group[-1]) + 1) for which in (0, 1)]
    starts = np.flatnonzero(is_first)
    # The position of each row among the equal rows of its own file.
    number = np.arange(len(both)) - starts[group] - np.where(side == 1, counts[0][group], 0)
    others = np.where(side == 1, counts[0][group], counts[1][group])
    left = number >= others
    return both["line"][left & (side == 0)].tolist(), both["line"][left & (side == 1)].tolist()


class _ExtraRows:
    """Counts lines and keeps the first of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0
        self.first: tuple[int, ...] = ()

    def add(self, lines: Sequence[int]) -> None:
        self.count += len(lines)
        self.first = tuple(heapq.nsmallest(self._limit, [*self.first, *lines]))
