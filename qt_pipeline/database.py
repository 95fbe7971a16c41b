"""What every database of ours has in common: the engine for SQLite, the transactions, the types of our own tables.

Here: how a commit is made durable, when a transaction takes its lock, how a moment is stored.
Not here: any table or statement (see inbox, warehouse).
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from typing import Any

from filelock import FileLock
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Integer,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.dialects.mssql import DATETIME2
from sqlalchemy.types import TypeEngine

Number = BigInteger().with_variant(Integer(), "sqlite")
"""A row number that the database gives out: SQLite does so only under the type INTEGER."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, stored as UTC without an offset: SQLite would drop the offset and keep the local hour."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """To the microsecond: what SQL Server calls DATETIME is rounded to 3 ms."""
        return dialect.type_descriptor(DATETIME2(6) if dialect.name == "mssql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # inherited
        """The moment in UTC; a naive one is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A moment without a time zone cannot be stored.")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # inherited
        """The stored moment, aware."""
        return None if value is None else value.replace(tzinfo=UTC)


def sqlite_engine(url: URL, *, wait_seconds: float, **options: object) -> Engine:
    """An engine for the SQLite file at `url` whose commits survive a power cut. Nothing is opened yet.

    `wait_seconds` bounds the wait for another process's lock; `options` go to SQLAlchemy's `create_engine`.
    """
    # Parameters stay out of error messages: they hold events and rows.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": wait_seconds}, **options)
    event.listen(engine, "connect", _make_durable)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def creating_sqlite(engine: Engine, *, wait_seconds: float) -> Generator[Connection]:
    """The first transaction on a file, which may find neither folder nor file nor tables, and writes."""
    file = Path(str(engine.url.database))
    file.parent.mkdir(parents=True, exist_ok=True)
    # SQLite waits for every lock but the one it needs to switch a new file to WAL.
    with FileLock(f"{file}.lock", timeout=wait_seconds), writing(engine) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that writes: it is on disk when the block has ended. On SQLite it takes its lock at once."""
    # A transaction that reads first and asks for the write lock later can fail at once, without the wait.
    with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
        yield connection


def _make_durable(connection: SQLiteConnection, _record: object) -> None:
    # The driver's own idea of when to begin would commit before schema changes and skip reads: see _begin.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit is on disk when it returns: in WAL, NORMAL may lose the last ones at a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    # For macOS, whose plain fsync leaves the bytes in the drive's cache.
    connection.execute("PRAGMA fullfsync = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
