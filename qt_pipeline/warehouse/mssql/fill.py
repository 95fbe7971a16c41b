"""How rows get into a staging table of SQL Server: by bulk copy, or by inserts with arrays of parameters.

Here: these two ways. Not here: when which is taken, what a refusal means (see engine).
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Any, cast

import pyarrow as pa
from sqlalchemy import Connection, String, Table

from qt_pipeline.tabular import Array, named_batch
from qt_pipeline.warehouse.target import Batch

# Each is a transaction of its own: the log of an Azure database is small, and so is what is sorted for the index.
_ROWS_IN_A_TRANSACTION = 100_000
_BATCH_ROWS = 5000
_BATCH_BYTES = 32 * 2**20
_BYTES_OF_A_NUMBER = 64


def bulk_copy(connection: Connection, stage: Table, batches: Iterable[Batch]) -> int:
    """Stream rows into a table that has been committed, and say how many were sent.

    The driver opens a connection of its own for this. What it raises is not only of its own errors' types, and may
    repeat a value; an error of `batches` is raised as it is.
    """
    source = _BatchSource(batches)
    first = next(source, None)
    if first is None:
        return 0
    reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], source))
    # Its annotations are half done.
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
        # The copy would say that the rows it was given so far are all there are, or an error of its own.
        if source.error is not None:
            raise source.error
    return int(copied["rows_copied"])


class _BatchSource(Iterator[pa.RecordBatch]):
    """Arrow batches for the driver, which keeps to itself what goes wrong in making them."""

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
    """Insert rows, an array of parameters of bounded size at a time, and say how many."""
    statement = str(stage.insert().compile(dialect=connection.dialect))
    at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES // _width(stage)))
    copied = 0
    for batch in batches:
        rows = _tuples(_typed(batch))
        while some := list(islice(rows, at_once)):
            connection.exec_driver_sql(statement, some)
            copied += len(some)
    return copied


def _width(stage: Table) -> int:
    """The bytes that the driver sets aside for a row; what has no bound it sends by itself."""
    lengths = (c.type.length if isinstance(c.type, String) else None for c in stage.c)
    return sum(2 * length if length else _BYTES_OF_A_NUMBER for length in lengths)


def _tuples(batch: pa.RecordBatch) -> Generator[tuple[object, ...]]:
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        some = batch.slice(start, _BATCH_ROWS)
        values = (cast("list[object]", some.column(position).to_pylist()) for position in range(some.num_columns))
        yield from zip(*values, strict=True)


def _typed(batch: Batch) -> pa.RecordBatch:
    columns: list[Array] = [*(batch.rows.values(position) for position in range(len(batch.rows.texts))), *batch.own]
    return named_batch(columns, [str(position) for position in range(len(columns))])
