"""Load rows into a staging table of SQL Server: by bulk copy, or by inserts with parameter arrays.

Here: these two ways. Not here: which one is used, the meaning of errors (see engine).
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any, cast

import pyarrow as pa
from sqlalchemy import Connection, String, Table

from qt_pipeline.tabular import Array, named_batch
from qt_pipeline.warehouse.target import Batch

# Each batch is a transaction of its own, which keeps the log of an Azure database and the sort for the index small.
_ROWS_IN_A_TRANSACTION = 100_000
_BATCH_ROWS = 5000
_BATCH_BYTES = 32 * 2**20
_BYTES_OF_A_NUMBER = 64


def bulk_copy(connection: Connection, stage: Table, batches: Iterable[Batch]) -> int:
    """Stream rows into a committed table, and return how many were sent.

    The driver opens its own connection for this. It may raise errors of other types than its own, whose messages may
    quote a value; an error of `batches` is raised unchanged.
    """
    source = _BatchSource(batches)
    first = next(source, None)
    if first is None:
        return 0
    reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], source))
    # The driver is only partly annotated.
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            copied = cursor.bulkcopy_arrow(
                connection.dialect.identifier_preparer.format_table(stage),
                reader,
                batch_size=_ROWS_IN_A_TRANSACTION,
                timeout=0,
                table_lock=True,
            )
    finally:
        # The copy would report success with the rows so far, or an error of its own.
        if source.error is not None:
            raise source.error
    return int(copied["rows_copied"])


class _BatchSource(Iterator[pa.RecordBatch]):
    """Arrow batches for the driver, which hides errors raised while they are made."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)
        self.error: BaseException | None = None

    def __next__(self) -> pa.RecordBatch:
        try:
            return _typed(next(self._batches))
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


def insert(connection: Connection, stage: Table, batches: Iterable[Batch]) -> int:
    """Insert rows in parameter arrays of bounded size, and return how many."""
    statement = str(stage.insert().compile(dialect=connection.dialect))
    batch_size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // _width(stage)))
    copied = 0
    for batch in batches:
        rows = _tuples(_typed(batch))
        while parameters := list(islice(rows, batch_size)):
            connection.exec_driver_sql(statement, parameters)
            copied += len(parameters)
    return copied


def _width(stage: Table) -> int:
    """The bytes that the driver reserves for a row; it sends unbounded values separately."""
    lengths = (c.type.length if isinstance(c.type, String) else None for c in stage.c)
    return sum(2 * length if length else _BYTES_OF_A_NUMBER for length in lengths)


def _tuples(batch: pa.RecordBatch) -> Generator[tuple[object, ...]]:
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        part = batch.slice(start, _BATCH_ROWS)
        values = (cast("list[object]", part.column(position).to_pylist()) for position in range(part.num_columns))
        yield from zip(*values, strict=True)


def _typed(batch: Batch) -> pa.RecordBatch:
    columns: list[Array] = [*(batch.rows.values(position) for position in range(len(batch.rows.texts))), *batch.own]
    return named_batch(columns, [str(position) for position in range(len(columns))])
