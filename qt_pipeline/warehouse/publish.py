"""The way of rows into a table, the same on every engine: stage, verify, publish in one transaction, write the ledger.

Here: that order, and the rules of who may write which table and what replaces what.
Not here: what differs between engines (see the targets), the ledger's statements (see ledger).
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy import BigInteger, Connection, MetaData, Table, inspect, literal, select
from sqlalchemy import Column as SqlColumn
from sqlalchemy.sql import quoted_name

from qt_pipeline.errors import PipelineError
from qt_pipeline.tabular import LOAD_COLUMN, ROW_COLUMN, Contract
from qt_pipeline.warehouse import ledger
from qt_pipeline.warehouse.errors import StaleLoadError, TableNotOursError, TargetLimitError, VerificationError
from qt_pipeline.warehouse.ledger import LoadJob, LoadRecord, LoadStatus
from qt_pipeline.warehouse.target import Target
from qt_pipeline.warehouse.verify import RunningTotals, Totals, Verification


@dataclass(frozen=True, slots=True)
class PublishedLoad:
    """A load that readers see now."""

    load_id: int
    replaced_load_id: int | None
    totals: Totals
    stage_seconds: float
    publish_seconds: float


class Warehouse:
    """One SQL target and its ledger. Open with `open_warehouse`.

    Every method raises TargetUnavailableError when the database refuses.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def max_name_bytes(self) -> int:
        """The longest column name that the target takes, in bytes of UTF-8."""
        return self._target.max_name_bytes

    def contract(self, dataset_id: str) -> Contract | None:
        """The contract of a dataset; None before its first publish."""
        with self._target.reading() as connection:
            return ledger.read_contract(connection, dataset_id)

    def loads(self, *, dataset_id: str | None = None, limit: int = 100) -> list[LoadRecord]:
        """Lines of the ledger, newest first."""
        with self._target.reading() as connection:
            return ledger.records(connection, dataset_id=dataset_id, limit=limit)

    def published_through(self, inbox_id: str, dataset_ids: Iterable[str]) -> dict[str, int]:
        """For each dataset, up to which event of an inbox a publish shows the data that its own run downloaded."""
        with self._target.reading() as connection:
            return ledger.published_through(connection, inbox_id, dataset_ids)

    def load(self, job: LoadJob, contract: Contract, batches: Iterable[pa.RecordBatch]) -> PublishedLoad:
        """Replace the rows of the table by those of `batches`, or leave everything as it was.

        Raises:
            TableNotOursError: the table is somebody else's, or another dataset's.
            TargetLimitError: the table has too many columns, or its name is too long.
            StaleLoadError: newer data of the dataset were published already.
            VerificationError: rows or sums differ on the way; `verification` tells which.
            TableBusyError: another process loads this table.
        """
        self._check_limits(job, contract)
        with self._target.exclusive(job.table_name):
            load_id = self._begin(job)
            stage = self._table(_stage_name(load_id), contract, staging=True)
            try:
                began = time.monotonic()
                totals = self._fill(stage, contract, batches)
                staged = time.monotonic()
                replaced = self._publish(job, load_id, contract, stage, totals)
                published = time.monotonic()
            except BaseException as error:
                # The first error is the one to tell: a target that is gone cannot be told how the load ended, and
                # the next load of this table finds what this one left.
                with suppress(PipelineError):
                    self._give_up(load_id, stage, error)
                raise
            if replaced is not None:
                self._target.tidy(self._table(job.table_name, contract, staging=False))
        return PublishedLoad(
            load_id=load_id,
            replaced_load_id=replaced,
            totals=totals,
            stage_seconds=staged - began,
            publish_seconds=published - staged,
        )

    def _check_limits(self, job: LoadJob, contract: Contract) -> None:
        width, length = len(contract.columns) + 2, len(job.table_name.encode())
        if width > self._target.max_columns:
            raise TargetLimitError(
                f"The table would have {width} columns; the target takes {self._target.max_columns}.",
                todo="Leave out columns at the source.",
                dataset_id=job.dataset_id,
            )
        if length > self._target.max_name_bytes:
            raise TargetLimitError(
                f"The name of the table has {length} bytes; the target takes {self._target.max_name_bytes}.",
                todo="Give the dataset a shorter table name in the catalog.",
                dataset_id=job.dataset_id,
            )

    def _begin(self, job: LoadJob) -> int:
        with self._target.writing() as connection:
            for load_id in ledger.unfinished(connection, job.table_name):
                # Whoever began it is gone: this process alone holds the table.
                self._drop(connection, _stage_name(load_id))
                ledger.close_load(connection, load_id, LoadStatus.ABANDONED, error="Its process died.")
            self._check_owner(connection, job)
            return ledger.open_load(connection, job)

    def _check_owner(self, connection: Connection, job: LoadJob) -> None:
        last = ledger.last_into(connection, table_name=job.table_name)
        if last is None and inspect(connection).has_table(job.table_name, schema=self._target.schema):
            raise TableNotOursError(
                f"The table {job.table_name!r} exists already and was not made by this project.",
                todo="Give the dataset another table in the catalog, or rename the existing table.",
                dataset_id=job.dataset_id,
            )
        if last is not None and last.dataset_id != job.dataset_id:
            raise TableNotOursError(
                f"The table {job.table_name!r} belongs to the dataset {last.dataset_id}.",
                todo="Give each dataset a table of its own in the catalog.",
                dataset_id=job.dataset_id,
            )

    def _fill(self, stage: Table, contract: Contract, batches: Iterable[pa.RecordBatch]) -> Totals:
        with self._target.writing() as connection:
            stage.create(connection)
        running = RunningTotals(contract)
        for batch in batches:
            running.add(batch)
            self._target.append(stage, contract, batch)
        return running.totals

    def _publish(self, job: LoadJob, load_id: int, contract: Contract, stage: Table, totals: Totals) -> int | None:
        table = self._table(job.table_name, contract, staging=False)
        parsed = Totals(rows=job.rows, sums=totals.sums)
        with self._target.writing() as connection:
            last = ledger.last_published(connection, dataset_id=job.dataset_id)
            if last is not None and _is_newer(last, job):
                raise StaleLoadError(
                    f"Load {last.load_id} has published newer data already.",
                    todo="Nothing is to be done: the table holds the newer data.",
                    dataset_id=job.dataset_id,
                )
            self._verify("staged", parsed, self._target.totals(connection, stage, contract), job)
            table.create(connection, checkfirst=True)
            connection.execute(table.delete())
            names = [*(column.name for column in contract.columns), LOAD_COLUMN, ROW_COLUMN]
            rows = select(*(stage.c[c.name] for c in contract.columns), literal(load_id), stage.c[ROW_COLUMN])
            connection.execute(table.insert().from_select(names, rows))
            self._verify("published", parsed, self._target.totals(connection, table, contract), job)
            stage.drop(connection)
            ledger.write_contract(connection, job.dataset_id, contract, load_id)
            replaced = last.load_id if last is not None else None
            ledger.close_load(connection, load_id, LoadStatus.PUBLISHED, replaced=replaced)
        return replaced

    def _verify(self, stage: str, expected: Totals, found: Totals, job: LoadJob) -> None:
        verification = Verification(expected=expected, found=found)
        if verification.difference:
            raise VerificationError(stage, verification, job.dataset_id)

    def _give_up(self, load_id: int, stage: Table, error: BaseException) -> None:
        # Only our own errors are known to hold no value of a row.
        reason = str(error) if isinstance(error, PipelineError) else type(error).__name__
        with self._target.writing() as connection:
            stage.drop(connection, checkfirst=True)
            ledger.close_load(connection, load_id, LoadStatus.FAILED, error=reason)

    def _drop(self, connection: Connection, name: str) -> None:
        Table(quoted_name(name, quote=True), MetaData()).drop(connection, checkfirst=True)

    def _table(self, name: str, contract: Contract, *, staging: bool) -> Table:
        columns = [
            SqlColumn(quoted_name(column.name, quote=True), self._target.column_type(column.type))
            for column in contract.columns
        ]
        own = [ROW_COLUMN] if staging else [LOAD_COLUMN, ROW_COLUMN]
        numbers: Sequence[SqlColumn[int]] = [SqlColumn(name, BigInteger(), nullable=False) for name in own]
        prefixes = list(self._target.stage_prefixes) if staging else []
        return Table(quoted_name(name, quote=True), MetaData(), *columns, *numbers, prefixes=prefixes)


def _stage_name(load_id: int) -> str:
    return f"_qt_stage_{load_id}"


def _is_newer(published: LoadRecord, job: LoadJob) -> bool:
    """Whether more events had been seen before the download of what was published than before this one's.

    Numbers of different inboxes do not compare; there, as among equals, the order of the loads decides.
    """
    return published.inbox_id == job.inbox_id and published.through_seq > job.through_seq
