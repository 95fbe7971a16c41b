"""The connection to the inbox's database.

Here: which databases can hold an inbox, their timeouts, and the error if they are unavailable.
Not here: tables and statements (see schema, store), what all databases share (see the package database).
"""

import math
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, MetaData, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from qt_pipeline import database
from qt_pipeline.errors import ConfigurationError, FailureScope, TransientError
from qt_pipeline.inbox import schema

_SETTING = "QT_INBOX_URL"
# How long a statement waits for another process's lock, and a caller for a connection.
_WAIT_SECONDS = 5
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 10
# Reads see what was last committed, whatever the server's default.
_ISOLATION = "READ COMMITTED"
_CREATION = "the inbox"


class InboxUnavailableError(TransientError):
    """The inbox cannot be read or written: locked, full, read-only, unreachable."""

    scope = FailureScope.INBOX


def connect_database(url: str, *, keep_connections: bool = True) -> Engine:
    """The engine for the inbox at `url`, a SQLAlchemy URL. Opens no connection yet.

    A commit is durable when it returns. On SQL Server that requires a database without `DELAYED_DURABILITY = FORCED`,
    which is not the default. Without `keep_connections` each connection to a server is closed after use.

    Raises:
        ConfigurationError: the URL does not name a usable inbox.
    """
    parsed = _checked(url)
    match parsed.get_backend_name():
        case "sqlite":
            # One connection: SQLite has one writer anyway, and the pool's queue is fairer than SQLite's own wait,
            # which polls.
            return database.sqlite_engine(
                parsed, wait_seconds=_WAIT_SECONDS, pool_size=1, max_overflow=0, pool_timeout=_WAIT_SECONDS
            )
        case "postgresql":
            return database.postgres_engine(
                parsed,
                setting=_SETTING,
                wait_seconds=_WAIT_SECONDS,
                connect_seconds=_CONNECT_SECONDS,
                # A server, a database or a login may default to asynchronous commits, and to no timeout.
                settings={"synchronous_commit": "on", "statement_timeout": f"{_STATEMENT_SECONDS}s"},
                keep_connections=keep_connections,
                pool_timeout=_WAIT_SECONDS,
            )
        case _:
            return database.mssql_engine(
                parsed,
                setting=_SETTING,
                wait_seconds=math.ceil(_WAIT_SECONDS),
                connect_seconds=_CONNECT_SECONDS,
                statement_seconds=_STATEMENT_SECONDS,
                isolation_level=_ISOLATION,
                keep_connections=keep_connections,
                pool_timeout=_WAIT_SECONDS,
            )


@contextmanager
def creating(engine: Engine) -> Generator[Connection]:
    """The first transaction, under an exclusive lock; creates the folder and the file if missing.

    Raises:
        InboxUnavailableError: the database cannot be opened, or what is missing cannot be created.
    """
    with _mapped_errors(engine), _exclusive(engine) as connection:
        yield connection


def is_prepared(engine: Engine, tables: MetaData) -> bool:
    """Whether a server has all of these tables, columns and indexes, so that no exclusive lock is needed.

    Always false for SQLite: a check would create the file, and its lock is that of any writer.

    Raises:
        InboxUnavailableError: the database cannot be read.
    """
    if engine.dialect.name == "sqlite":
        return False
    with reading(engine) as connection:
        return schema.is_prepared(connection, tables)


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A transaction that only reads.

    Raises:
        InboxUnavailableError: the database is unavailable or denies the request.
    """
    with _mapped_errors(engine), engine.begin() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that writes and is durable when the block has ended. On SQLite it takes its lock at once.

    Raises:
        InboxUnavailableError: the database is unavailable, denies the request, or cannot commit.
    """
    with _mapped_errors(engine), database.writing(engine) as connection:
        yield connection


@contextmanager
def _exclusive(engine: Engine) -> Generator[Connection]:
    """A transaction that may create tables: two processes that create the same ones at once would conflict."""
    match engine.dialect.name:
        case "sqlite":
            with database.creating_sqlite(engine, wait_seconds=_WAIT_SECONDS) as connection:
                yield connection
        case "postgresql":
            with engine.begin() as connection:
                connection.scalar(select(func.pg_advisory_xact_lock(database.advisory_key(_CREATION))))
                # Creating an index on many events takes long.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                yield connection
        case _:
            with engine.connect() as holder:
                holder.execution_options(isolation_level="AUTOCOMMIT")
                taken = database.take_mssql_lock(holder, _CREATION, wait_seconds=math.ceil(_WAIT_SECONDS))
                if taken is None or taken < 0:
                    raise _unavailable(engine.url, "another process is preparing it")
                try:
                    with engine.begin() as connection:
                        yield connection
                finally:
                    # Invalidated, because that releases the lock whatever the state of the connection.
                    holder.invalidate()


@contextmanager
def _mapped_errors(engine: Engine) -> Generator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        # Without the cause: a server's message may quote a row.
        raise _unavailable(engine.url, *_describe_error(engine, error)) from None


def _describe_error(engine: Engine, error: Exception) -> tuple[str, str]:
    """What happened, and how to fix it if that is known."""
    if isinstance(error, PoolTimeoutError):
        return "other callers use all its connections", ""
    if not isinstance(error, DBAPIError):
        return str(error), ""
    match engine.dialect.name:
        case "sqlite":
            return str(error.orig), ""
        case "postgresql":
            server_error = database.postgres_fault(error.orig)
            return server_error.message, server_error.hint
        case _:
            return database.mssql_fault(error.orig, of_connection=error.statement is None).message, ""


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Without the cause: text that cannot be parsed may hold a password anywhere.
        raise _refusal("The address of the event inbox is not a SQLAlchemy URL.") from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql", "mssql"}:
        raise _refusal(f"The event inbox cannot be kept in {parsed.get_backend_name()}.")
    if parsed.get_backend_name() == "sqlite" and (
        parsed.database in {None, "", ":memory:"} or str(parsed.database).startswith("file:")
    ):
        raise _refusal("The event inbox must be a plain file: events in memory are lost with the process.")
    return parsed


def _refusal(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        hint=f"Set {_SETTING} to a SQLite file, such as sqlite:////var/lib/qt/inbox.db, or to a postgresql:// or "
        "mssql:// URL.",
    )


def _unavailable(url: URL, cause: str, hint: str = "") -> InboxUnavailableError:
    usual = (
        "Check that its disk has space, that this user may write there and that no other program holds it."
        if url.get_backend_name() == "sqlite"
        else "Check that the server runs and has space, and that this login may read and write its tables."
    )
    return InboxUnavailableError(
        f"The event inbox {database.redacted_database_url(url)} is unavailable: {cause}.", hint=hint or usual
    )
