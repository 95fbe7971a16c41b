"""The first pass over a file: is it well formed, how many rows, what does each column hold.

Here: that pass, and the search for the values that break a contract.
Not here: the rules for one batch (see infer), what becomes of the answer (see contract).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from qt_pipeline.tabular.contract import Column, Contract, Misfit, holds
from qt_pipeline.tabular.infer import look
from qt_pipeline.tabular.names import is_date, is_identifier
from qt_pipeline.tabular.reader import (
    BLOCK_SIZES,
    Header,
    OpenStream,
    RowTooLongError,
    TextBatch,
    read_header,
    read_text,
)
from qt_pipeline.tabular.types import Kind, Seen


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one pass over a whole file has shown."""

    header: Header
    seen: tuple[Seen, ...]
    rows: int
    block_size: int


def inspect(open_stream: OpenStream) -> Inspection:
    """Read the whole file once and say what its columns hold.

    Raises:
        EmptyFileError: there is no byte in the file.
        BadCsvError: the file breaks a rule of CSV; with line and byte.
        RowTooLongError: a row is longer than the largest block.
    """
    header = read_header(open_stream)
    for block_size in BLOCK_SIZES[:-1]:
        try:
            return _inspect(open_stream, header, block_size)
        except RowTooLongError:
            continue
    return _inspect(open_stream, header, BLOCK_SIZES[-1])


def _inspect(open_stream: OpenStream, header: Header, block_size: int) -> Inspection:
    # A text column cannot become anything else, so identifiers and what was once found to be text are not looked at.
    seen = [Seen(Kind.TEXT) if is_identifier(name) else Seen() for name in header.names]
    dates = [is_date(name) for name in header.names]
    rows = 0
    for batch in read_text(open_stream, header, block_size=block_size):
        rows += batch.rows
        for position, column in enumerate(batch.columns):
            if seen[position].kind is not Kind.TEXT:
                seen[position] = seen[position].join(look(column, compact_dates=dates[position]))
    return Inspection(header=header, seen=tuple(seen), rows=rows, block_size=block_size)


def find_misfits(
    open_stream: OpenStream, inspection: Inspection, contract: Contract, *, limit: int, show_values: bool
) -> list[Misfit]:
    """The first `limit` values of the file that `contract` cannot hold, in the order of the file."""
    positions = contract.positions(inspection.header.names)
    columns = [(column, positions[i]) for i, column in enumerate(contract.columns) if column.type.kind is not Kind.TEXT]
    misfits: list[Misfit] = []
    for batch in read_text(open_stream, inspection.header, block_size=inspection.block_size, checked=True):
        found = [
            Misfit(
                line=int(batch.lines[row]),
                column=column.name,
                type=str(column.type),
                value=batch.columns[position][row].as_py() if show_values else None,
            )
            for column, position in columns
            for row in _rows_that_misfit(column, batch, position)
        ]
        misfits += sorted(found, key=lambda misfit: misfit.line)
        if len(misfits) >= limit:
            break
    return misfits[:limit]


def _rows_that_misfit(column: Column, batch: TextBatch, position: int) -> Iterator[int]:
    dates = is_date(column.header)

    def within(values: pa.StringArray, first: int) -> Iterator[int]:
        # Halving asks the one rule again for smaller parts: no second rule for single values can disagree with it.
        if holds(column.type, look(values, compact_dates=dates)):
            return
        if len(values) == 1:
            yield first
            return
        middle = len(values) // 2
        yield from within(values[:middle], first)
        yield from within(values[middle:], first + middle)

    yield from within(batch.columns[position], 0)
