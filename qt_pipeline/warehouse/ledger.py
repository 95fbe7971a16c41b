"""The project's own tables in the target: `_qt_loads`, the ledger of all loads, and `_qt_columns`, the contracts.

Here: these tables and every statement on them.
Not here: the datasets' tables, and when which row is written (see publish).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import Column as SqlColumn
from sqlalchemy import (
    ColumnElement,
    Connection,
    Enum,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Unicode,
    UnicodeText,
    and_,
    case,
    delete,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy import update as update_statement
from sqlalchemy.schema import CreateColumn

from qt_pipeline.database import NameMatching, Number, UtcDateTime, case_sensitive
from qt_pipeline.tabular import MAX_FORMAT, Column, ColumnType, Contract, Kind
from qt_pipeline.values import utc_now


class LoadStatus(StrEnum):
    """The status of a load.

    `UNCHANGED`: the table already showed this file and was left alone. `ABANDONED`: the load's process died before it
    recorded an outcome.
    """

    STAGING = "staging"
    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What to load, why and for whom; recorded in the ledger.

    `landing_run_id` is the run that downloaded the file; it differs from `run_id` if an earlier download is loaded.
    `through_seq` is a sequence number of the inbox `inbox_id`. `rules` is a hash of everything in the catalog that
    decides how rows are made. `restores_load_id` is the load whose file a person restores; `through_seq` is then that
    of the load that is replaced, so that older data stay older. `declared` is JSON: the types, by header, that decided
    how the file was read; None if an older version loaded it.
    """

    dataset_id: str
    run_id: str
    landing_run_id: str
    landing_uri: str
    landed_at: datetime
    sha256: str
    bytes: int
    inbox_id: str
    through_seq: int
    event_id: str | None
    rules: str
    restores_load_id: int | None = field(default=None, kw_only=True)
    declared: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class LoadRecord(LoadJob):
    """One row of the ledger: a job, its load id, its table, its outcome, and the load it replaced.

    `rows` counts the rows of the file, `table_rows` those of the table after the load; both are None until the load
    succeeds. `changes` describes the columns that changed.
    """

    load_id: int
    table_schema: str | None
    table_name: str
    mode: str
    status: LoadStatus
    rows: int | None
    table_rows: int | None
    started_at: datetime
    finished_at: datetime | None
    replaced_load_id: int | None
    changes: str | None
    error: str | None

    @property
    def is_current(self) -> bool:
        """Whether the table showed this load's file when the load ended."""
        return self.status in CURRENT_STATUSES


@dataclass(frozen=True, slots=True)
class TablePlace:
    """One table of a target, identified by its name as the target compares names."""

    schema: str | None
    table: str
    names: NameMatching

    def is_of(self, loads: Table) -> ColumnElement[bool]:
        """SQL condition: a ledger row belongs to a load into this table."""
        schema = loads.c.table_schema
        of_schema = schema.is_(None) if self.schema is None else self.names.is_name(schema, self.schema)
        return and_(of_schema, self.names.is_name(loads.c.table_name, self.table))

    def has(self, record: LoadRecord) -> bool:
        """Whether a load was into this table."""
        mine, other = ((place and self.names.fold(place)) for place in (self.schema, record.table_schema))
        return mine == other and self.names.fold(self.table) == self.names.fold(record.table_name)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a dataset is loaded, as sequence numbers of events; 0 for never.

    Every event up to `published_through` arrived before the download of a file that was published since. Every event up
    to `checked_through` arrived before a download that was published or found unchanged.
    """

    published_through: int = 0
    checked_through: int = 0


def _values(statuses: type[LoadStatus]) -> list[str]:
    return [status.value for status in statuses]


metadata = MetaData()

loads = Table(
    "_qt_loads",
    metadata,
    SqlColumn("load_id", Number, primary_key=True, autoincrement=True),
    # Compared like the inbox's.
    SqlColumn("dataset_id", case_sensitive(Unicode(100), 100), nullable=False),
    SqlColumn("table_schema", Unicode(128)),
    SqlColumn("table_name", Unicode(128), nullable=False),
    SqlColumn("mode", Unicode(20), nullable=False),
    # Stored by value: SQLAlchemy would store member names, and a native type cannot easily gain a new status.
    SqlColumn("status", Enum(LoadStatus, native_enum=False, length=20, values_callable=_values), nullable=False),
    SqlColumn("run_id", Unicode(100), nullable=False),
    SqlColumn("landing_run_id", Unicode(100), nullable=False),
    SqlColumn("landing_uri", UnicodeText, nullable=False),
    SqlColumn("landed_at", UtcDateTime, nullable=False),
    SqlColumn("sha256", Unicode(64), nullable=False),
    SqlColumn("bytes", Number, nullable=False),
    SqlColumn("inbox_id", Unicode(36), nullable=False),
    SqlColumn("through_seq", Number, nullable=False),
    SqlColumn("event_id", Unicode(200)),
    SqlColumn("rules", Unicode(64), nullable=False),
    SqlColumn("rows", Number),
    SqlColumn("table_rows", Number),
    SqlColumn("started_at", UtcDateTime, nullable=False),
    SqlColumn("finished_at", UtcDateTime),
    SqlColumn("replaced_load_id", Number),
    SqlColumn("changes", UnicodeText),
    SqlColumn("error", UnicodeText),
    SqlColumn("restores_load_id", Number),
    SqlColumn("declared", UnicodeText),
    Index("_qt_loads_dataset", "dataset_id", "status"),
    Index("_qt_loads_table", "table_name", "status"),
    sqlite_autoincrement=True,
)

columns = Table(
    "_qt_columns",
    metadata,
    SqlColumn("dataset_id", case_sensitive(Unicode(100), 100), primary_key=True),
    SqlColumn("position", Integer, primary_key=True, autoincrement=False),
    SqlColumn("header", UnicodeText, nullable=False),
    SqlColumn("name", UnicodeText, nullable=False),
    SqlColumn("kind", Unicode(20), nullable=False),
    SqlColumn("precision", Integer, nullable=False),
    SqlColumn("scale", Integer, nullable=False),
    SqlColumn("length", Integer, nullable=False),
    SqlColumn("format", Unicode(MAX_FORMAT), nullable=False),
    SqlColumn("first_load", Number, nullable=False),
    SqlColumn("last_load", Number, nullable=False),
)

ADDED_LATER = ("restores_load_id", "declared")
"""The columns of `loads` that older versions did not create."""
_IDS_BATCH_SIZE = 500
CURRENT_STATUSES = (LoadStatus.PUBLISHED, LoadStatus.UNCHANGED)
"""The statuses of a load whose file the table shows."""


def prepare(connection: Connection, schema: str | None) -> None:
    """Create what is missing in a schema: the tables, or the columns and indexes that an older ledger lacks."""
    inspector, preparer = inspect(connection), connection.dialect.identifier_preparer
    is_older = inspector.has_table(loads.name, schema=schema)
    metadata.create_all(connection)
    if not is_older:
        return
    known = {str(column["name"]) for column in inspector.get_columns(loads.name, schema=schema)}
    placed = loads_in(schema)
    _widen_format(connection, schema)
    for name in ADDED_LATER:
        if name not in known:
            added = CreateColumn(placed.c[name]).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(placed)} ADD {added}")
    for index in placed.indexes:
        index.create(connection, checkfirst=True)


def _widen_format(connection: Connection, schema: str | None) -> None:
    """Widen the column of formats to its present length. SQLite enforces no length."""
    type_sql = {"postgresql": "TYPE VARCHAR({})", "mssql": "NVARCHAR({}) NOT NULL"}.get(connection.dialect.name)
    types = {str(c["name"]): c["type"] for c in inspect(connection).get_columns(columns.name, schema=schema)}
    length = getattr(types[columns.c.format.name], "length", None)
    if type_sql is None or length is None or length >= MAX_FORMAT:
        return
    placed = columns.to_metadata(MetaData(), schema=schema) if schema else columns
    table = connection.dialect.identifier_preparer.format_table(placed)
    connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN format {type_sql.format(MAX_FORMAT)}")


def loads_in(schema: str | None) -> Table:
    """The table of loads in a schema."""
    return loads.to_metadata(MetaData(), schema=schema) if schema else loads


def open_load(connection: Connection, job: LoadJob, *, schema: str | None, table: str, mode: str) -> int:
    """Insert the row of a new load, and return the load id that the target issued."""
    place = {"table_schema": schema, "table_name": table, "mode": mode}
    statement = insert(loads).values(**asdict(job), **place, status=LoadStatus.STAGING, started_at=utc_now())
    result = connection.execute(statement)
    assert result.inserted_primary_key is not None  # noqa: S101  # SQLAlchemy returns one for every single insert
    return int(result.inserted_primary_key[0])


def close_load(connection: Connection, load_id: int, status: LoadStatus, **details: int | str | None) -> bool:
    """Record the outcome of a load and its `details`; False if an outcome was recorded before."""
    still_open = and_(loads.c.load_id == load_id, loads.c.status == LoadStatus.STAGING)
    result = connection.execute(
        update_statement(loads).where(still_open).values(status=status, finished_at=utc_now(), **details)
    )
    return result.rowcount > 0


def note_error(connection: Connection, load_id: int, error: str | None) -> None:
    """Record what went wrong after a load was published, or None."""
    connection.execute(update_statement(loads).where(loads.c.load_id == load_id).values(error=error))


def table_rows_of(connection: Connection, load_id: int) -> int | None:
    """The number of rows of a load's table after its publish; None if it was not published."""
    published = and_(loads.c.load_id == load_id, loads.c.status == LoadStatus.PUBLISHED)
    return connection.execute(select(loads.c.table_rows).where(published)).scalar()


def unfinished(connection: Connection, place: TablePlace) -> list[int]:
    """The loads of a table without a recorded outcome."""
    return list(
        connection.scalars(select(loads.c.load_id).where(place.is_of(loads), loads.c.status == LoadStatus.STAGING))
    )


def last_begun(connection: Connection, place: TablePlace) -> int | None:
    """The id of the last load of a table, whatever its outcome."""
    return connection.execute(select(func.max(loads.c.load_id)).where(place.is_of(loads))).scalar()


def newest(connection: Connection, *, dataset_id: str) -> LoadRecord | None:
    """The newest load that a dataset's table shows. Ids are issued under its lock: the highest is the newest."""
    return _last(connection, loads.c.dataset_id == dataset_id, CURRENT_STATUSES)


def last_into(connection: Connection, place: TablePlace) -> LoadRecord | None:
    """The newest load that wrote rows into a table."""
    return _last(connection, place.is_of(loads), (LoadStatus.PUBLISHED,))


def _last(connection: Connection, which: ColumnElement[bool], statuses: tuple[LoadStatus, ...]) -> LoadRecord | None:
    published = _select_records().where(which, loads.c.status.in_(statuses))
    row = connection.execute(published.order_by(loads.c.load_id.desc()).limit(1)).mappings().first()
    return LoadRecord(**row) if row else None


def records(connection: Connection, *, dataset_id: str | None, limit: int) -> list[LoadRecord]:
    """Rows of the ledger, newest first."""
    statement = _select_records().order_by(loads.c.load_id.desc()).limit(limit)
    if dataset_id is not None:
        statement = statement.where(loads.c.dataset_id == dataset_id)
    return [LoadRecord(**row) for row in connection.execute(statement).mappings()]


def newest_loads(connection: Connection, statuses: Collection[LoadStatus] = tuple(LoadStatus)) -> dict[str, LoadRecord]:
    """For each dataset that has a load with these statuses, the newest of them."""
    of_these = loads.c.status.in_(statuses)
    numbers = select(func.max(loads.c.load_id)).where(of_these).group_by(loads.c.dataset_id)
    rows = connection.execute(_select_records().where(loads.c.load_id.in_(numbers))).mappings()
    return {row["dataset_id"]: LoadRecord(**row) for row in rows}


def changed_by(connection: Connection, runs: Mapping[str, str]) -> list[LoadRecord]:
    """The loads that these runs published with changed columns. `runs` maps each run to its dataset."""
    changed: list[LoadRecord] = []
    remaining = iter(runs)
    while batch := list(islice(remaining, _IDS_BATCH_SIZE)):
        statement = _select_records().where(
            # Runs have no index, datasets do.
            loads.c.dataset_id.in_({runs[run_id] for run_id in batch}),
            loads.c.run_id.in_(batch),
            loads.c.status == LoadStatus.PUBLISHED,
            loads.c.changes.is_not(None),
        )
        changed += [LoadRecord(**row) for row in connection.execute(statement).mappings()]
    return changed


def record(connection: Connection, load_id: int) -> LoadRecord | None:
    """One row of the ledger."""
    row = connection.execute(_select_records().where(loads.c.load_id == load_id)).mappings().first()
    return LoadRecord(**row) if row else None


def reached(connection: Connection, inbox_id: str, dataset_ids: Iterable[str]) -> dict[str, LoadProgress]:
    """How far each loaded dataset is loaded. Only loads whose own run downloaded the file count."""
    progress: dict[str, LoadProgress] = {}
    remaining = iter(dataset_ids)
    through_published = case((loads.c.status == LoadStatus.PUBLISHED, loads.c.through_seq), else_=0)
    while batch := list(islice(remaining, _IDS_BATCH_SIZE)):
        statement = (
            select(loads.c.dataset_id, func.max(through_published), func.max(loads.c.through_seq))
            .where(
                loads.c.dataset_id.in_(batch),
                loads.c.status.in_(CURRENT_STATUSES),
                loads.c.inbox_id == inbox_id,
                loads.c.landing_run_id == loads.c.run_id,
            )
            .group_by(loads.c.dataset_id)
        )
        for dataset_id, published, checked in connection.execute(statement):
            progress[dataset_id] = LoadProgress(published_through=published, checked_through=checked)
    return progress


def read_contract(connection: Connection, dataset_id: str) -> Contract | None:
    """The contract of a dataset; None if no load of it was published."""
    statement = select(columns).where(columns.c.dataset_id == dataset_id).order_by(columns.c.position)
    contract_columns = tuple(
        Column(
            header=row.header,
            name=row.name,
            type=ColumnType(Kind(row.kind), row.precision, row.scale, row.length, row.format),
        )
        for row in connection.execute(statement)
    )
    return Contract(contract_columns) if contract_columns else None


def write_contract(connection: Connection, dataset_id: str, contract: Contract, load_id: int) -> None:
    """Replace the contract of a dataset, from load `load_id` on."""
    of_dataset = columns.c.dataset_id == dataset_id
    first_loads = {
        (name, kind): first
        for name, kind, first in connection.execute(
            select(columns.c.name, columns.c.kind, columns.c.first_load).where(of_dataset)
        )
    }
    connection.execute(delete(columns).where(of_dataset))
    connection.execute(
        insert(columns),
        [
            {
                "dataset_id": dataset_id,
                "position": position,
                "header": column.header,
                "name": column.name,
                "kind": column.type.kind.value,
                "precision": column.type.precision,
                "scale": column.type.scale,
                "length": column.type.length,
                "format": column.type.format,
                "first_load": first_loads.get((column.name, column.type.kind.value), load_id),
                "last_load": load_id,
            }
            for position, column in enumerate(contract.columns)
        ],
    )


def _select_records() -> Select[Any]:
    return select(*(loads.c[field.name] for field in fields(LoadRecord)))
