"""The publish flow of a load, the same on every engine: stage, verify, publish in one transaction, record.

Here: that order, what each mode does to the existing rows, which load replaces which.
Not here: which load may begin (see warehouse), what differs between engines (see the targets).
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from qt_pipeline.errors import PipelineError, TransientError
from qt_pipeline.prefetch import prefetch
from qt_pipeline.tabular import LOAD_COLUMN, ROW_COLUMN, Column, ColumnType, Contract, Rows, SchemaChange
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import ledger
from qt_pipeline.warehouse.adopt import UnfitColumn, can_hold, column_type_error, unfit_columns
from qt_pipeline.warehouse.defaults import check_defaults
from qt_pipeline.warehouse.errors import (
    AfterPublishError,
    StageLostError,
    StaleLoadError,
    TargetLimitError,
    TargetUnavailableError,
    TransactionEndedError,
    VerificationError,
)
from qt_pipeline.warehouse.keys import check_key, key_columns, key_values
from qt_pipeline.warehouse.ledger import LoadJob, LoadRecord, LoadStatus, TablePlace
from qt_pipeline.warehouse.rows import differing_column
from qt_pipeline.warehouse.tables import TableBuilder, TableSpec, batches_for
from qt_pipeline.warehouse.target import SqlTypes, Target, TypeChange
from qt_pipeline.warehouse.verify import RunningTotals, Totals, Verification

_RETRY_SECONDS = 60
_MAX_CHANGES = 200
_NOT_RUN_YET = "The table is published; the after_publish statement has not run yet."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedLoad:
    """A load that was published and that readers see.

    `totals` cover its own rows; `table_rows` counts all rows of the table. `warnings` are about the database.
    """

    load_id: int
    replaced_load_id: int | None
    totals: Totals
    table_rows: int
    changes: tuple[SchemaChange, ...]
    warnings: tuple[str, ...]
    stage_seconds: float
    publish_seconds: float


@dataclass(slots=True)
class _Staged:
    table: Table
    contract: Contract
    totals: Totals
    becomes_table: bool


@dataclass(slots=True)
class Load:
    """A load that has begun: it holds the lock of its table and has its row in the ledger.

    `last` is the newest load that the dataset's table shows, `contract` the contract it was loaded under; both are None
    for a first load. `written` is the newest load that wrote rows into this table: it differs if the dataset had
    another table.
    """

    target: Target
    job: LoadJob
    spec: TableSpec
    load_id: int
    last: LoadRecord | None
    written: LoadRecord | None
    contract: Contract | None
    adopting: bool
    """Whether the table existed before, created by others or prepared: its contract has no headers yet."""
    table_columns: SqlTypes | None
    """The columns of the table; None if there is no table."""
    ended: bool = False
    _staged: _Staged | None = field(default=None, repr=False)
    _stage_seconds: float = 0.0

    @property
    def _builder(self) -> TableBuilder:
        return TableBuilder(self.target, self.spec, self.table_columns or {})

    @property
    def system_columns(self) -> tuple[str, ...]:
        """The names of the system columns in the table."""
        return self._builder.system_columns

    @property
    def replaces(self) -> int | None:
        """The load that wrote the newest rows of the table."""
        return self.written.load_id if self.written else None

    def check_order(self) -> None:
        """Check that no newer data of the dataset had been published when the load began.

        Raises:
            StaleLoadError: newer data had been published.
        """
        self._refuse_older_than(self.last)

    def is_up_to_date(self) -> bool:
        """Whether the table shows exactly this file, made by the same rules, and was not changed since."""
        last = self.last
        if last is None or self.contract is None or self.table_columns is None:
            return False
        place = TablePlace(self.spec.schema, self.spec.name, self.target.names)
        same = (last.sha256, last.rules) == (self.job.sha256, self.job.rules) and place.has(last)
        names = [*(column.name for column in self.contract.columns), *self.spec.system_columns]
        present = all(name in self.table_columns for name in names) and not self._unfit(self.contract)
        if not same or last.error is not None or not present:
            return False
        with self.target.reading() as connection:
            return count_rows(connection, self._builder.table(self.contract)) == last.table_rows

    def mark_unchanged(self) -> LoadRecord:
        """Leave the table alone, because `is_up_to_date`, and record that in the ledger.

        Raises:
            StaleLoadError: newer data of the dataset were published already.
        """
        assert self.last is not None  # noqa: S101  # is_up_to_date has checked it
        with self.target.writing() as connection:
            self._refuse_older(connection)
            details = {"rows": self.last.rows, "table_rows": self.last.table_rows, "declared": self.last.declared}
            ledger.close_load(connection, self.load_id, LoadStatus.UNCHANGED, **details)
            self.ended = True
            newest = ledger.newest(connection, dataset_id=self.job.dataset_id)
        assert newest is not None  # noqa: S101  # it was just written
        return newest

    def check(self, contract: Contract) -> None:
        """Check that the table can hold a contract.

        Raises:
            TargetLimitError: the table would have too many columns.
            ColumnTypeError: existing columns cannot hold the contract's types.
            ColumnDefaultError: a column whose type would change has a default that cannot be converted.
            DuplicateKeyError: the key names a header that no column has, or several.
        """
        self._check_width(self._builder.stage(self.load_id, contract))
        if unfit := self._unfit(contract):
            with self.target.reading() as connection:
                raise column_type_error(
                    unfit, self.target, table=str(self.spec), dataset_id=self.job.dataset_id, dialect=connection.dialect
                )
        if self._retyped(contract):
            with self.target.reading() as connection:
                self._type_changes(connection, contract, self._builder.table(contract))
        self._key(contract)

    def stage(self, contract: Contract, rows: Iterable[Rows]) -> Totals:
        """Write rows into a staging table, replacing any that this load has staged before.

        Raises:
            VerificationError: the database stored another number of rows than there were.
            PipelineError: see `check`.
        """
        self.check(contract)
        if self._staged is not None:
            self.target.drop_stage(self._staged.table)
        began = time.monotonic()
        builder = self._builder
        becomes_table = self._stage_becomes_table()
        prefixes = () if becomes_table else self.target.stage_prefixes
        stage = builder.stage(self.load_id, contract, prefixes)
        running = RunningTotals(contract, self.target.measures)
        self._staged = staged = _Staged(stage, contract, running.totals, becomes_table)
        summed = batches_for(stage, _added_up(rows, running), self.load_id, self.job.landed_at)
        with closing(prefetch(summed)) as batches:
            copied = self.target.stage(stage, batches, becomes_table=becomes_table)
        staged.totals = running.totals
        self._verify("copied", Totals(staged.totals.rows), Totals(copied))
        self._stage_seconds = time.monotonic() - began
        return staged.totals

    def publish(self, changes: tuple[SchemaChange, ...] = ()) -> PublishedLoad:
        """Show the staged rows to readers: all at once, or not at all.

        Raises:
            StaleLoadError: newer data of the dataset were published already.
            VerificationError: rows or sums differ; its `verification` says where.
            DuplicateKeyError: rows of the file have the same key.
            AfterPublishError: the table is published, but the statement after it failed.
        """
        staged = self._staged
        if staged is None:
            raise RuntimeError("A load must be staged before it is published.")
        began = time.monotonic()
        table_rows = 0
        for attempt in _transactions():
            with attempt:
                if attempt.retry_state.attempt_number > 1 and (published_rows := self._published_rows()) is not None:
                    # The connection broke between the commit and its response.
                    table_rows = published_rows
                    break
                table_rows = self._publish(staged, changes)
        self.ended = True
        with suppress(PipelineError):
            # The publish stands; the next load of this table drops what is left.
            self.target.drop_stage(staged.table)
        if self.table_columns is not None:
            self.target.post_publish_maintenance(self._builder.table(staged.contract))
        self._run_after_publish()
        return PublishedLoad(
            load_id=self.load_id,
            replaced_load_id=self.replaces,
            totals=staged.totals,
            table_rows=table_rows,
            changes=changes,
            warnings=(*self.target.warnings, *self._builder.remarks(staged.contract)),
            stage_seconds=self._stage_seconds,
            publish_seconds=time.monotonic() - began,
        )

    def give_up(self, error: BaseException) -> None:
        """Drop what was staged and record the reason in the ledger."""
        if self.ended:
            return
        # Only the project's own errors are known to contain no value of a row.
        reason = str(error) if isinstance(error, PipelineError) else type(error).__name__
        if self._staged is not None:
            with suppress(PipelineError):
                self.target.drop_stage(self._staged.table)
        with self.target.writing() as connection:
            ledger.close_load(connection, self.load_id, LoadStatus.FAILED, error=reason)

    def _publish(self, staged: _Staged, changes: tuple[SchemaChange, ...]) -> int:
        with self.target.publishing(staged.table) as connection:
            transaction = self.target.transaction_id(connection)
            self._refuse_older(connection)
            # The published rows are verified below. Verify the staged rows if those cannot be distinguished there.
            sums_here = (self.spec.keeps_rows and LOAD_COLUMN not in self.system_columns) or staged.becomes_table
            found = self.target.totals(connection, staged.table, staged.contract.columns if sums_here else [])
            if not found.rows and staged.totals.rows and self.target.stage_prefixes and not staged.becomes_table:
                # An unlogged table is empty after a server crash.
                raise StageLostError(
                    "The staged rows are gone: the database restarted after they were staged.",
                    hint="The next try stages them again.",
                    dataset_id=self.job.dataset_id,
                )
            self._verify("staged", staged.totals if sums_here else Totals(staged.totals.rows), found)
            if self.spec.key:
                check_key(self.target, connection, staged.table, self._key(staged.contract), self.job.dataset_id)
            table = self._builder.table(staged.contract)
            if staged.becomes_table:
                self.target.rename(connection, staged.table, table)
            else:
                self._replace_rows(connection, staged, table)
            table_rows = count_rows(connection, table) if self.spec.keeps_rows else staged.totals.rows
            ledger.write_contract(connection, self.job.dataset_id, staged.contract, self.load_id)
            if self.spec.after_publish and self.spec.after_publish_in_transaction:
                self._run_statement(connection, self.spec.after_publish, transaction)
            # Without an open transaction, the next statement would run in one of its own.
            self._check_transaction(connection, transaction)
            first = ledger.close_load(
                connection,
                self.load_id,
                LoadStatus.PUBLISHED,
                rows=staged.totals.rows,
                table_rows=table_rows,
                replaced_load_id=self.replaces,
                changes=_listed(changes) or None,
                declared=self._declared(staged.contract),
                # While this error is set, the same file is loaded again, even if this process dies now.
                error=_NOT_RUN_YET if self._runs_after_publish else None,
            )
            if not first:
                # An earlier attempt has committed, but its response was lost: do not publish again.
                raise TargetUnavailableError("An earlier attempt to publish had already been committed.")
            # The last check, directly before the commit.
            self._check_transaction(connection, transaction)
        return table_rows

    def _replace_rows(self, connection: Connection, staged: _Staged, table: Table) -> None:
        stage = staged.table
        if self.table_columns is None:
            self.target.create_table(connection, table)
        else:
            self.target.lock_for_publish(connection, table)
        if self.table_columns is not None and self.spec.mode is WriteMode.REPLACE:
            # Before the columns change: deleted rows need no conversion.
            connection.execute(table.delete())
        self._change_columns(connection, staged.contract, table)
        if self.spec.mode is WriteMode.UPSERT and self.table_columns is not None:
            key = self._key(staged.contract)
            staged_key, table_key = (key_values(self.target, of, key) for of in (stage, table))
            same = (left == right for left, right in zip(staged_key, table_key, strict=True))
            same_key = select(stage.c[ROW_COLUMN]).where(*same)
            connection.execute(table.delete().where(same_key.exists()))
        if self.spec.mode is WriteMode.APPEND and self.table_columns is not None and self._repeats_last:
            connection.execute(table.delete().where(table.c[LOAD_COLUMN] == self.replaces))
        names = [column.name for column in table.c]
        insert = table.insert().from_select(names, select(*(stage.c[name] for name in names)))
        result = connection.execute(insert, execution_options={"preserve_rowcount": True})
        self._verify_published(connection, staged, table, result.rowcount)

    def _verify_published(self, connection: Connection, staged: _Staged, table: Table, inserted: int) -> None:
        """Compare the published rows of this load with those of the file."""
        columns = staged.contract.columns
        load_id = self.load_id if self.spec.keeps_rows and LOAD_COLUMN in table.c else None
        if self.spec.keeps_rows:
            self._verify("published", Totals(staged.totals.rows), Totals(inserted))
        if load_id is not None:
            self._verify("published", staged.totals, self.target.totals(connection, table, columns, load_id))
        elif not self.spec.keeps_rows:
            self._verify("published", staged.totals, self.target.totals(connection, table, columns))
        if self.table_columns is not None and self.target.may_change_rows(connection, table):
            changed = differing_column(self.target, connection, staged.table, table, columns, load_id=load_id)
            self._verify("published", staged.totals, staged.totals, changed)

    def _change_columns(self, connection: Connection, contract: Contract, table: Table) -> None:
        if self.table_columns is None:
            return
        present = self.table_columns
        added = [column for column in table.c if column.name not in present]
        changes = self._type_changes(connection, contract, table)
        if not (added or changes):
            return
        preparer = connection.dialect.identifier_preparer
        with self.target.altering(connection):
            for column in added:
                # Rows of earlier loads have no value in it.
                column.nullable = True
                new = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(table)} ADD {new}")
            if changes:
                self.target.change_types(connection, table, changes, keeps_rows=self.spec.keeps_rows)
        if self.spec.keeps_rows and any(column.name == LOAD_COLUMN for column in added):
            self._name_load_of_rows(connection, table)

    def _retyped(self, contract: Contract) -> list[tuple[Column, ColumnType]]:
        """The columns of the table whose type the contract changes, with the type before."""
        present = self.table_columns or {}
        before = {column.name: column.type for column in self.contract.columns} if self.contract else {}
        return [
            (column, before[column.name])
            for column in contract.columns
            if column.name in present and before.get(column.name, column.type) != column.type
        ]

    def _type_changes(self, connection: Connection, contract: Contract, table: Table) -> list[TypeChange]:
        changes = [
            TypeChange(column.name, before, column.type)
            for column, before in self._retyped(contract)
            if self._must_change(connection, column, table)
        ]
        if not changes:
            return []
        defaults = self.target.defaults(connection, table, changes)
        changes = [replace(change, default=defaults.get(change.column)) for change in changes]
        check_defaults(changes, table=str(self.spec), dataset_id=self.job.dataset_id)
        return changes

    def _must_change(self, connection: Connection, column: Column, table: Table) -> bool:
        assert self.table_columns is not None  # noqa: S101  # called for an existing column only
        present = self.table_columns[column.name]
        if self.target.reflects_types:
            return not can_hold(present, column.type, self.target)
        return _in_sql(connection, present) != _in_sql(connection, table.c[column.name].type)

    def _unfit(self, contract: Contract) -> list[UnfitColumn]:
        """The columns of the table that cannot hold the contract's types and cannot be changed to them."""
        if self.table_columns is None or not self.target.reflects_types:
            return []
        before = {column.name: column.type for column in self.contract.columns} if self.contract else {}
        return unfit_columns(self.table_columns, before, contract, self.target)

    def _name_load_of_rows(self, connection: Connection, table: Table) -> None:
        """Set the load column of the existing rows if all came with one load."""
        last = self.written
        if last is None or last.mode != WriteMode.REPLACE.value or count_rows(connection, table) != last.table_rows:
            return
        connection.execute(table.update().values({LOAD_COLUMN: last.load_id}))

    def _run_after_publish(self) -> None:
        if not self._runs_after_publish or self.spec.after_publish is None:
            return
        try:
            with self.target.writing() as connection:
                transaction = self.target.transaction_id(connection)
                self._run_statement(connection, self.spec.after_publish, transaction)
                ledger.note_error(connection, self.load_id, None)
        except PipelineError as error:
            failure = AfterPublishError(
                f"The table is published, but the statement after it failed: {error.message}",
                hint="Correct 'after_publish' in the catalog and load again.",
                dataset_id=self.job.dataset_id,
            )
            with self.target.writing() as connection:
                ledger.note_error(connection, self.load_id, str(failure))
            raise failure from None

    def _run_statement(self, connection: Connection, sql: str, transaction: str | None) -> None:
        """Run a statement that a person wrote, which may contain `%` and `:`."""
        # Its settings outlive it (SET, USE, EXECUTE AS), so the connection must not be reused.
        connection.detach()
        connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).close()
        if self.target.transaction_id(connection) != transaction:
            raise TransactionEndedError(
                "'after_publish' ended or began a transaction: uncommitted changes were undone. If it rolled back, the "
                "table keeps its rows; if it committed, the table may show new ones already.",
                hint="Make sure that 'after_publish', and the procedures that it calls, end only transactions that "
                "they began and end all of them, and load again."
                + (" If this load created the table, drop it first." if self.table_columns is None else ""),
                dataset_id=self.job.dataset_id,
            )

    def _check_transaction(self, connection: Connection, transaction: str | None) -> None:
        if self.target.transaction_id(connection) != transaction:
            # Committing now would record the load in the ledger without its rows.
            raise TargetUnavailableError("The database ended the publish transaction early.")

    def _declared(self, contract: Contract) -> str:
        """The declared types as JSON, with those formats of the file's columns that are no longer declared."""
        formats = {column.header: str(column.type) for column in contract.columns if not column.type.is_canonical}
        return json.dumps(formats | json.loads(self.job.declared or "{}"))

    def _key(self, contract: Contract) -> list[Column]:
        return key_columns(self.spec.key, contract, self.job.dataset_id)

    @property
    def _repeats_last(self) -> bool:
        """Whether the table's newest rows are of this file, by other rules or forced: a snapshot is kept only once."""
        return self.written is not None and self.written.sha256 == self.job.sha256

    @property
    def _runs_after_publish(self) -> bool:
        return self.spec.after_publish is not None and not self.spec.after_publish_in_transaction

    def _refuse_older(self, connection: Connection) -> None:
        self._refuse_older_than(ledger.newest(connection, dataset_id=self.job.dataset_id))

    def _refuse_older_than(self, last: LoadRecord | None) -> None:
        if last is not None and _is_newer(last, self.job):
            raise StaleLoadError(
                f"Load {last.load_id} has already published newer data.",
                hint="Nothing needs to be done: the table has the newer data.",
                dataset_id=self.job.dataset_id,
            )

    def _published_rows(self) -> int | None:
        """The number of rows of the table after this load was published; None if it was not."""
        with self.target.reading() as connection:
            return ledger.table_rows_of(connection, self.load_id)

    def _stage_becomes_table(self) -> bool:
        beside = self.target.staging_schema in (None, self.spec.schema)
        first = self.table_columns is None
        return first and beside and self.target.stage_becomes_table and self.spec.lineage_columns

    def _check_width(self, stage: Table) -> None:
        width = len(stage.c)
        if width > self.target.max_columns:
            raise TargetLimitError(
                f"The table would have {width} columns; the target allows {self.target.max_columns}.",
                hint="Leave out columns at the source.",
                dataset_id=self.job.dataset_id,
            )

    def _verify(self, stage: str, expected: Totals, found: Totals, changed: str = "") -> None:
        verification = Verification(expected=expected, found=found, changed=changed)
        if verification.difference:
            raise VerificationError(stage, verification, self.job.dataset_id)


def count_rows(connection: Connection, table: Table) -> int:
    """The number of rows of a table."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _in_sql(connection: Connection, type_: TypeEngine[Any]) -> str:
    return type_.compile(dialect=connection.dialect)


def _added_up(rows: Iterable[Rows], running: RunningTotals) -> Iterator[Rows]:
    for batch in rows:
        running.add(batch)
        yield batch


def _transactions() -> Retrying:
    return Retrying(
        retry=retry_if_exception(_is_transient),
        stop=stop_after_delay(_RETRY_SECONDS),
        wait=wait_random_exponential(max=10),
        reraise=True,
        before_sleep=_log_retry,
    )


def _is_transient(error: BaseException) -> bool:
    # Lost staged rows cannot be published by a retry.
    return isinstance(error, TransientError) and not isinstance(error, StageLostError)


def _log_retry(state: RetryCallState) -> None:
    _log.warning("Retrying the publish: %s", state.outcome.exception() if state.outcome else "")


def _is_newer(current: LoadRecord, job: LoadJob) -> bool:
    """Whether the current load's download covers more events than this job's.

    Sequence numbers of different inboxes do not compare; there, as among equals, the order of the loads decides.
    """
    return current.inbox_id == job.inbox_id and current.through_seq > job.through_seq


def _listed(changes: tuple[SchemaChange, ...]) -> str:
    """The changes, one per line, and how many more there are than the ledger keeps."""
    lines = [str(change) for change in changes[:_MAX_CHANGES]]
    more = len(changes) - len(lines)
    return "\n".join([*lines, f"… and {more:,} more"] if more else lines)
