"""A target database and its ledger: begin a load, and query past loads.

Here: the beginning of a load, under its table's lock, and queries of the ledger.
Not here: the rest of a load (see publish), what differs between engines (see the targets).
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import Connection, MetaData, Table, inspect, select
from sqlalchemy.schema import CreateSchema, DropSchema
from sqlalchemy.sql import quoted_name

from qt_pipeline.errors import PipelineError
from qt_pipeline.tabular import LOAD_COLUMN, ROW_COLUMN, Contract
from qt_pipeline.warehouse import ddl, ledger, retention
from qt_pipeline.warehouse.adopt import adopted
from qt_pipeline.warehouse.dry_run import DryRun
from qt_pipeline.warehouse.errors import TableNotOursError, TargetLimitError
from qt_pipeline.warehouse.ledger import LoadJob, LoadProgress, LoadRecord, LoadStatus, TablePlace
from qt_pipeline.warehouse.probe import Probe, probe_table, probing
from qt_pipeline.warehouse.publish import Load, count_rows
from qt_pipeline.warehouse.retention import RetainedLoads
from qt_pipeline.warehouse.tables import OWN_PREFIX, TableBuilder, TableSpec
from qt_pipeline.warehouse.target import SqlTypes, TableColumns, Target

AnyLoad = TypeVar("AnyLoad", bound=Load)


@dataclass(frozen=True, slots=True)
class TableState:
    """The state of a table before a load: the contract, the newest current load, and the present columns.

    `last` is the dataset's newest current load, in whatever table; `written` wrote the newest rows of this table.
    `adopting`: the table was created by others or prepared, and its contract has no headers yet.
    """

    contract: Contract | None
    last: LoadRecord | None
    written: LoadRecord | None
    adopting: bool
    columns: SqlTypes | None


class Warehouse:
    """A target database and its ledger. Open with `open_warehouse`.

    Every method raises TargetUnavailableError or TargetRefusedError if the database fails or denies the request.
    """

    def __init__(self, target: Target, backend: str = "") -> None:
        self._target = target
        self._backend = backend

    @property
    def warnings(self) -> Sequence[str]:
        """Warnings for the operator of this database, in sentences."""
        return self._target.warnings

    def has_ledger(self) -> bool:
        """Whether the ledger exists; the check creates nothing."""
        return self._target.has_ledger()

    def check(self) -> None:
        """Check that the database responds; creates nothing."""
        if self._target.exists():
            with self._target.reading() as connection:
                connection.scalar(select(1))

    @contextmanager
    def probe(self, schema: str | None = None) -> Generator[Probe]:
        """A test of a load's steps in a schema, by default the target's own; everything is removed afterwards.

        A missing schema is created for it, as a load would.
        """
        spec = self.placed(probe_table(schema))
        with self._target.writing() as connection:
            created = _make_schema(connection, spec)
        try:
            with probing(self._target, spec) as probe:
                yield probe
        finally:
            if created:
                with self._target.writing() as connection:
                    connection.execute(DropSchema(str(spec.schema)))

    @property
    def max_name_bytes(self) -> int:
        """The maximum length of a column name, in bytes of UTF-8."""
        return self._target.max_name_bytes

    def contract(self, dataset_id: str) -> Contract | None:
        """The contract of a dataset; None before its first publish."""
        if not self._target.has_ledger():
            return None
        with self._target.reading() as connection:
            return ledger.read_contract(connection, dataset_id)

    def expectation(self, dataset_id: str, table: TableSpec) -> TableState:
        """What a load of this table would find. Creates nothing, not even a ledger.

        Raises:
            TableNotOursError: the table belongs to somebody else, or to another dataset.
        """
        spec = self.placed(table)
        if not self._target.exists():
            return TableState(None, None, None, adopting=False, columns=None)
        has_ledger = self._target.has_ledger()
        with self._target.reading() as connection:
            return self._expectation(connection, dataset_id, spec, has_ledger=has_ledger)

    def _expectation(self, connection: Connection, dataset_id: str, spec: TableSpec, *, has_ledger: bool) -> TableState:
        types = self._target.columns_of(connection, spec.name, spec.schema)
        columns = None if types is None else TableColumns(types, self._target.names)
        written = self._last_written(connection, dataset_id, spec) if has_ledger else None
        adopting = columns is not None and written is None
        if columns is not None and adopting:
            contract = self._adopted_columns(connection, dataset_id, spec, columns)
        else:
            contract = ledger.read_contract(connection, dataset_id) if has_ledger else None
        last = ledger.newest(connection, dataset_id=dataset_id) if has_ledger else None
        return TableState(contract, last, written, adopting=adopting, columns=columns)

    def loads(self, *, dataset_id: str | None = None, limit: int = 100) -> list[LoadRecord]:
        """Rows of the ledger, newest first."""
        with self._target.reading() as connection:
            return ledger.records(connection, dataset_id=dataset_id, limit=limit)

    def newest_loads(self) -> dict[str, LoadRecord]:
        """For each loaded dataset, the newest load that its table shows."""
        with self._target.reading() as connection:
            return ledger.newest_loads(connection, ledger.CURRENT_STATUSES)

    def newest_writes(self) -> dict[str, LoadRecord]:
        """For each loaded dataset, the newest load that wrote rows into its table."""
        with self._target.reading() as connection:
            return ledger.newest_loads(connection, (LoadStatus.PUBLISHED,))

    def last_loads(self) -> dict[str, LoadRecord]:
        """For each dataset, the load that began last, whatever its outcome."""
        with self._target.reading() as connection:
            return ledger.newest_loads(connection)

    def changed_by(self, runs: Mapping[str, str]) -> list[LoadRecord]:
        """The loads that these runs published with changed columns. `runs` maps each run to its dataset."""
        with self._target.reading() as connection:
            return ledger.changed_by(connection, runs)

    def load(self, load_id: int) -> LoadRecord | None:
        """The ledger's record of a load."""
        with self._target.reading() as connection:
            return ledger.record(connection, load_id)

    def needed_loads(self, dataset_id: str) -> RetainedLoads:
        """The loads of a dataset that later loads, its rows or the settling of events need, whatever their age."""
        with self._target.reading() as connection:
            return retention.needed(connection, dataset_id)

    def delete_loads(self, load_ids: Iterable[int]) -> None:
        """Delete rows of the ledger; those of `needed_loads` must not be among them."""
        with self._target.writing() as connection:
            retention.delete_loads(connection, load_ids)

    def current_load(self, job: LoadJob, table: TableSpec) -> LoadRecord | None:
        """The newest load, if the table already shows the file of `job`; creates nothing.

        Raises:
            TableNotOursError: the table belongs to somebody else, or to another dataset.
        """
        load = self.dry_run(job, table)
        return load.last if load.is_up_to_date() else None

    def dry_run(self, job: LoadJob, table: TableSpec) -> DryRun:
        """A load that writes nothing and holds no lock.

        Raises:
            TableNotOursError: the table belongs to somebody else, or to another dataset.
            TargetLimitError: the table's name is too long.
        """
        spec = self.placed(table)
        self._check_name(job, spec)
        return self._load(DryRun, job, spec, self.expectation(job.dataset_id, table), load_id=0)

    def _load(
        self, kind: type[AnyLoad], job: LoadJob, spec: TableSpec, expected: TableState, *, load_id: int
    ) -> AnyLoad:
        return kind(
            target=self._target,
            job=job,
            spec=spec,
            load_id=load_id,
            last=expected.last,
            written=expected.written,
            contract=expected.contract,
            adopting=expected.adopting,
            table_columns=expected.columns,
        )

    def reached(self, inbox_id: str, dataset_ids: Iterable[str]) -> dict[str, LoadProgress]:
        """How far each loaded dataset is loaded, by the events of an inbox."""
        with self._target.reading() as connection:
            return ledger.reached(connection, inbox_id, dataset_ids)

    def preparation(
        self, table: TableSpec | None, contract: Contract | None, *, login: str
    ) -> tuple[list[str], list[str]]:
        """SQL for an administrator, so that `login` can load without creating tables: the tables, then the rights."""
        placed = self.placed(table) if table is not None else None
        tables = [placed] if placed is not None else []
        statements = ddl.preparation(self._target, self._backend, placed, contract)
        return statements, ddl.rights(self._target, self._backend, tables, login)

    @contextmanager
    def begin(self, job: LoadJob, table: TableSpec) -> Generator[Load]:
        """Begin a load under the lock of its table. Without `publish` or `mark_unchanged` it changes nothing.

        Raises:
            TableNotOursError: the table belongs to somebody else, or to another dataset.
            TargetLimitError: the table's name is too long.
            TableBusyError: another process loads this table.
        """
        spec = self.placed(table)
        self._check_name(job, spec)
        with self._target.table_lock(str(spec)):
            load = self._begin(job, spec)
            try:
                yield load
            except BaseException as error:
                # Keep the first error: an unavailable target cannot record the outcome either, and the next load of
                # this table cleans up.
                with suppress(PipelineError):
                    load.give_up(error)
                raise
            if not load.ended:
                load.give_up(RuntimeError("The load was neither published nor marked as unchanged."))

    def placed(self, table: TableSpec) -> TableSpec:
        """The table with the schema that it has on this target."""
        return replace(table, schema=(table.schema or self._target.schema) if self._target.has_schemas else None)

    def _check_name(self, job: LoadJob, spec: TableSpec) -> None:
        if spec.name.casefold().startswith(OWN_PREFIX):
            raise TableNotOursError(
                f"The name of the table {spec.name!r} begins with the prefix of the ledger and of staging tables.",
                hint="Give the dataset another table name in the catalog.",
                dataset_id=job.dataset_id,
            )
        length = len(spec.name.encode())
        if length > self._target.max_name_bytes:
            raise TargetLimitError(
                f"The name of the table has {length} bytes; the target allows {self._target.max_name_bytes}.",
                hint="Give the dataset a shorter table name in the catalog.",
                dataset_id=job.dataset_id,
            )

    def _begin(self, job: LoadJob, spec: TableSpec) -> Load:
        self._sweep(spec)
        with self._target.writing() as connection:
            expected = self._expectation(connection, job.dataset_id, spec, has_ledger=True)
            if expected.columns is None and spec.schema != self._target.schema:
                _make_schema(connection, spec)
            load_id = ledger.open_load(connection, job, schema=spec.schema, table=spec.name, mode=spec.mode.value)
            return self._load(Load, job, spec, expected, load_id=load_id)

    def _sweep(self, spec: TableSpec) -> None:
        """Remove what killed loads of this table left behind."""
        with self._target.reading() as connection:
            unfinished = ledger.unfinished(connection, self._place(spec))
            last = ledger.last_begun(connection, self._place(spec))
        # The last load may have been killed between its publish and dropping its staging table.
        for load_id in {*unfinished, *([last] if last is not None else [])}:
            self._target.drop_stage(TableBuilder(self._target, spec).stage(load_id, Contract(())))
        if unfinished:
            with self._target.writing() as connection:
                for load_id in unfinished:
                    # Its process is gone: this process alone holds the table's lock.
                    ledger.close_load(connection, load_id, LoadStatus.ABANDONED, error="Its process died.")

    def _place(self, spec: TableSpec) -> TablePlace:
        return TablePlace(spec.schema, spec.name, self._target.names)

    def _last_written(self, connection: Connection, dataset_id: str, spec: TableSpec) -> LoadRecord | None:
        last = ledger.last_into(connection, self._place(spec))
        if last is not None and last.dataset_id != dataset_id:
            same = "" if last.table_name == spec.name else f" (as {last.table_name!r}, which is the same name here)"
            raise TableNotOursError(
                f"The table {spec.name!r} belongs to the dataset {last.dataset_id}{same}.",
                hint="Give each dataset its own table in the catalog.",
                dataset_id=dataset_id,
            )
        return last

    def _adopted_columns(self, connection: Connection, dataset_id: str, spec: TableSpec, columns: SqlTypes) -> Contract:
        shape = Table(quoted_name(spec.name, quote=True), MetaData(), schema=spec.schema)
        prepared = {LOAD_COLUMN, ROW_COLUMN} <= set(columns) and count_rows(connection, shape) == 0
        if not (spec.adopt or prepared):
            raise TableNotOursError(
                f"The table {spec.name!r} exists already and was not created by this project.",
                hint="Give the dataset another table in the catalog, rename the existing one, or allow adoption with "
                "'adopt: true'.",
                dataset_id=dataset_id,
            )
        dialect = connection.dialect
        return adopted(columns, self._target, table=str(spec), dataset_id=dataset_id, dialect=dialect)


def _make_schema(connection: Connection, spec: TableSpec) -> bool:
    """Create the schema of a table if it is missing; returns whether it was."""
    missing = spec.schema is not None and not inspect(connection).has_schema(spec.schema)
    if missing:
        connection.execute(CreateSchema(str(spec.schema)))
    return missing
