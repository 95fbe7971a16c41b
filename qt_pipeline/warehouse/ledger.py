"""Our own tables in the target: `_qt_loads`, the ledger of all loads, and `_qt_columns`, the contracts.

Here: these tables and every statement on them.
Not here: the datasets' tables (see publish), when which line is written (see publish).
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
    """How far a load came.

    `UNCHANGED`: the table showed this file already, and was left as it is. `ABANDONED`: the load's process died before
    it could say how it ended.
    """

    STAGING = "staging"
    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What is to be loaded, why and by whom; the ledger keeps it.

    `landing_run_id` is the run that downloaded the file; it differs from `run_id` when an earlier download is loaded.
    `through_seq` counts in the inbox `inbox_id`. `rules` stands for all that the catalog says of how rows are made.
    `restores_load_id` is the load whose file is published again because a person asked for it; `through_seq` is then
    that of the load that is replaced, so that what was older then is older still. `declared` is JSON: the types that
    decided how the file was read, by header; None where an older version loaded it.
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
    """One line of the ledger: a job, its number, its table, how it ended, and which load it replaced.

    `rows` came with the file, `table_rows` are in the table since; both are None until the load has ended well.
    `changes` are the columns that became different, in words.
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
        """Whether the table showed this load's file when it ended."""
        return self.status in CURRENT_STATUSES


@dataclass(frozen=True, slots=True)
class TablePlace:
    """One table of a target, by its name as the target compares names."""

    schema: str | None
    table: str
    names: NameMatching

    def is_of(self, loads: Table) -> ColumnElement[bool]:
        """SQL that says whether a line of the ledger is of a load into this table."""
        schema = loads.c.table_schema
        of_schema = schema.is_(None) if self.schema is None else self.names.is_name(schema, self.schema)
        return and_(of_schema, self.names.is_name(loads.c.table_name, self.table))

    def has(self, record: LoadRecord) -> bool:
        """Whether a load was into this table."""
        mine, other = ((place and self.names.fold(place)) for place in (self.schema, record.table_schema))
        return mine == other and self.names.fold(self.table) == self.names.fold(record.table_name)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a dataset was loaded, as numbers of events; 0 for never.

    Every event up to `published` came before the download of a file that was published since. Every one up to `looked`
    came before a download that was published or that the table showed already.
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
    # As the inbox compares them.
    SqlColumn("dataset_id", case_sensitive(Unicode(100), 100), nullable=False),
    SqlColumn("table_schema", Unicode(128)),
    SqlColumn("table_name", Unicode(128), nullable=False),
    SqlColumn("mode", Unicode(20), nullable=False),
    # As words: SQLAlchemy would store the names of the members, and a native type cannot easily learn a new state.
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
"""The columns of `loads` that older versions did not make."""
_IDS_BATCH_SIZE = 500
CURRENT_STATUSES = (LoadStatus.PUBLISHED, LoadStatus.UNCHANGED)
"""How a load ends whose file the table shows."""


def prepare(connection: Connection, schema: str | None) -> None:
    """Make what is missing in a schema: the tables, or what a ledger of an older version lacks."""
    there, preparer = inspect(connection), connection.dialect.identifier_preparer
    is_older = there.has_table(loads.name, schema=schema)
    metadata.create_all(connection)
    if not is_older:
        return
    known = {str(column["name"]) for column in there.get_columns(loads.name, schema=schema)}
    placed = loads_in(schema)
    _widen_format(connection, schema)
    for name in ADDED_LATER:
        if name not in known:
            added = CreateColumn(placed.c[name]).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(placed)} ADD {added}")
    for index in placed.indexes:
        index.create(connection, checkfirst=True)


def _widen_format(connection: Connection, schema: str | None) -> None:
    """Give the column of forms the length that it has today. SQLite holds no length."""
    words = {"postgresql": "TYPE VARCHAR({})", "mssql": "NVARCHAR({}) NOT NULL"}.get(connection.dialect.name)
    found = {str(c["name"]): c["type"] for c in inspect(connection).get_columns(columns.name, schema=schema)}
    length = getattr(found[columns.c.format.name], "length", None)
    if words is None or length is None or length >= MAX_FORMAT:
        return
    placed = columns.to_metadata(MetaData(), schema=schema) if schema else columns
    table = connection.dialect.identifier_preparer.format_table(placed)
    connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN format {words.format(MAX_FORMAT)}")


def loads_in(schema: str | None) -> Table:
    """The table of loads with its schema's name."""
    return loads.to_metadata(MetaData(), schema=schema) if schema else loads


def open_load(connection: Connection, job: LoadJob, *, schema: str | None, table: str, mode: str) -> int:
    """Write the line of a load that begins, and return the number that the target issued for it."""
    place = {"table_schema": schema, "table_name": table, "mode": mode}
    statement = insert(loads).values(**asdict(job), **place, status=LoadStatus.STAGING, started_at=utc_now())
    result = connection.execute(statement)
    assert result.inserted_primary_key is not None  # noqa: S101  # SQLAlchemy gives one for each single insert
    return int(result.inserted_primary_key[0])


def close_load(connection: Connection, load_id: int, status: LoadStatus, **known: int | str | None) -> bool:
    """Write how a load ended, and what else is `known` of it by now; False if its end was written before."""
    still_open = and_(loads.c.load_id == load_id, loads.c.status == LoadStatus.STAGING)
    result = connection.execute(
        update_statement(loads).where(still_open).values(status=status, finished_at=utc_now(), **known)
    )
    return result.rowcount > 0


def note_error(connection: Connection, load_id: int, error: str | None) -> None:
    """Write what went wrong after a load was published, or that nothing did."""
    connection.execute(update_statement(loads).where(loads.c.load_id == load_id).values(error=error))


def table_rows_of(connection: Connection, load_id: int) -> int | None:
    """How many rows its table has since a load was published; None if it was not."""
    published = and_(loads.c.load_id == load_id, loads.c.status == LoadStatus.PUBLISHED)
    return connection.execute(select(loads.c.table_rows).where(published)).scalar()


def unfinished(connection: Connection, place: TablePlace) -> list[int]:
    """The loads of a table that never said how they ended."""
    return list(
        connection.scalars(select(loads.c.load_id).where(place.is_of(loads), loads.c.status == LoadStatus.STAGING))
    )


def last_begun(connection: Connection, place: TablePlace) -> int | None:
    """The number of the last load of a table, however it ended."""
    return connection.execute(select(func.max(loads.c.load_id)).where(place.is_of(loads))).scalar()


def newest(connection: Connection, *, dataset_id: str) -> LoadRecord | None:
    """The newest load that shows in a dataset's table. Numbers are issued under its lock: the highest came last."""
    return _last(connection, loads.c.dataset_id == dataset_id, CURRENT_STATUSES)


def last_into(connection: Connection, place: TablePlace) -> LoadRecord | None:
    """The newest load that wrote rows into a table."""
    return _last(connection, place.is_of(loads), (LoadStatus.PUBLISHED,))


def _last(connection: Connection, which: ColumnElement[bool], statuses: tuple[LoadStatus, ...]) -> LoadRecord | None:
    published = _select_records().where(which, loads.c.status.in_(statuses))
    row = connection.execute(published.order_by(loads.c.load_id.desc()).limit(1)).mappings().first()
    return LoadRecord(**row) if row else None


def records(connection: Connection, *, dataset_id: str | None, limit: int) -> list[LoadRecord]:
    """Lines of the ledger, newest first."""
    statement = _select_records().order_by(loads.c.load_id.desc()).limit(limit)
    if dataset_id is not None:
        statement = statement.where(loads.c.dataset_id == dataset_id)
    return [LoadRecord(**row) for row in connection.execute(statement).mappings()]


def newest_loads(connection: Connection, statuses: Collection[LoadStatus] = tuple(LoadStatus)) -> dict[str, LoadRecord]:
    """For each dataset that has a load of these statuses, the newest of them."""
    of_these = loads.c.status.in_(statuses)
    numbers = select(func.max(loads.c.load_id)).where(of_these).group_by(loads.c.dataset_id)
    found = connection.execute(_select_records().where(loads.c.load_id.in_(numbers))).mappings()
    return {row["dataset_id"]: LoadRecord(**row) for row in found}


def changed_by(connection: Connection, runs: Mapping[str, str]) -> list[LoadRecord]:
    """The loads that these runs have published with other columns than before. `runs` has each run's dataset."""
    found: list[LoadRecord] = []
    waiting = iter(runs)
    while some := list(islice(waiting, _IDS_BATCH_SIZE)):
        statement = _select_records().where(
            # Runs have no index, datasets have.
            loads.c.dataset_id.in_({runs[run_id] for run_id in some}),
            loads.c.run_id.in_(some),
            loads.c.status == LoadStatus.PUBLISHED,
            loads.c.changes.is_not(None),
        )
        found += [LoadRecord(**row) for row in connection.execute(statement).mappings()]
    return found


def record(connection: Connection, load_id: int) -> LoadRecord | None:
    """One line of the ledger."""
    row = connection.execute(_select_records().where(loads.c.load_id == load_id)).mappings().first()
    return LoadRecord(**row) if row else None


def reached(connection: Connection, inbox_id: str, dataset_ids: Iterable[str]) -> dict[str, LoadProgress]:
    """For each dataset that was loaded, how far. Only loads whose own run had downloaded the file count."""
    found: dict[str, LoadProgress] = {}
    waiting = iter(dataset_ids)
    through_published = case((loads.c.status == LoadStatus.PUBLISHED, loads.c.through_seq), else_=0)
    while some := list(islice(waiting, _IDS_BATCH_SIZE)):
        statement = (
            select(loads.c.dataset_id, func.max(through_published), func.max(loads.c.through_seq))
            .where(
                loads.c.dataset_id.in_(some),
                loads.c.status.in_(CURRENT_STATUSES),
                loads.c.inbox_id == inbox_id,
                loads.c.landing_run_id == loads.c.run_id,
            )
            .group_by(loads.c.dataset_id)
        )
        for dataset_id, published, looked in connection.execute(statement):
            found[dataset_id] = LoadProgress(published_through=published, checked_through=looked)
    return found


def read_contract(connection: Connection, dataset_id: str) -> Contract | None:
    """The contract of a dataset, if a load of it was ever published."""
    statement = select(columns).where(columns.c.dataset_id == dataset_id).order_by(columns.c.position)
    found = tuple(
        Column(
            header=row.header,
            name=row.name,
            type=ColumnType(Kind(row.kind), row.precision, row.scale, row.length, row.format),
        )
        for row in connection.execute(statement)
    )
    return Contract(found) if found else None


def write_contract(connection: Connection, dataset_id: str, contract: Contract, load_id: int) -> None:
    """Make this the contract of a dataset from load `load_id` on."""
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
