"""The tables of the inbox.

Here: `_qt_events` and `_qt_inbox`, and how they are created or upgraded.
Not here: statements on them (see store).
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Enum,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Unicode,
    UnicodeText,
    inspect,
)
from sqlalchemy.schema import CreateColumn

from qt_pipeline.database import Number, UtcDateTime, case_sensitive
from qt_pipeline.inbox.events import EventState


def _values(states: type[EventState]) -> list[str]:
    return [state.value for state in states]


metadata = MetaData()

# Stored by value: SQLAlchemy would store member names, and a native type cannot easily gain a new state.
_State = Enum(EventState, native_enum=False, length=20, values_callable=_values)

events = Table(
    "_qt_events",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("event_id", UnicodeText, nullable=False),
    Column("name", case_sensitive(UnicodeText()), nullable=False),
    Column("dataset_id", case_sensitive(Unicode(100), 100)),
    Column("created", UnicodeText),
    Column("received_at", UtcDateTime, nullable=False),
    Column("source_address", UnicodeText),
    Column("body", LargeBinary, nullable=False),
    Column("state", _State, nullable=False, default=EventState.PENDING),
    Column("outcome", UnicodeText),
    Column("attempts", Integer, nullable=False, default=0),
    Column("attempts_before_replay", Integer, nullable=False, default=0),
    Column("delivery", case_sensitive(UnicodeText())),
    Column("unchanged_checks", Integer, nullable=False, default=0, server_default="0"),
    Column("not_before", UtcDateTime),
    Column("settled_at", UtcDateTime),
    Index("_qt_events_state", "state", "seq"),
    Index("_qt_events_dataset", "dataset_id", "seq"),
    Index("_qt_events_settled", "state", "settled_at"),
    # Without it, SQLite would reuse the number of a deleted last row.
    sqlite_autoincrement=True,
)

inbox = Table(
    "_qt_inbox",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("inbox_id", Unicode(36), nullable=False),
    Column("checked_at", UtcDateTime),
)


def is_prepared(connection: Connection, tables: MetaData = metadata) -> bool:
    """Whether `prepare` would find nothing missing."""
    inspector = inspect(connection)
    return all(
        inspector.has_table(table.name)
        and {column.name for column in table.columns} <= {c["name"] for c in inspector.get_columns(table.name)}
        and {index.name for index in table.indexes} <= {index["name"] for index in inspector.get_indexes(table.name)}
        for table in tables.sorted_tables
    )


def prepare(connection: Connection, tables: MetaData = metadata) -> None:
    """Create what is missing: the tables, or the columns and indexes that an older version did not create."""
    inspector, preparer = inspect(connection), connection.dialect.identifier_preparer
    older = [table for table in tables.sorted_tables if inspector.has_table(table.name)]
    tables.create_all(connection)
    for table in older:
        known = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(table)} ADD {added}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)
