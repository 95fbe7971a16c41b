"""The connection to the inbox's database.

Here: which databases can hold an inbox, what makes a commit durable, and the error when it cannot be reached.
Not here: tables and statements (see schema, store).
"""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from qt_pipeline import database
from qt_pipeline.errors import ConfigurationError, TransientError

# How long a statement waits for another process's lock, and a caller for the connection.
_WAIT_SECONDS = 5


class InboxUnavailableError(TransientError):
    """The inbox cannot be read or cannot commit: locked, full, read-only, out of reach."""


def connect_database(url: str) -> Engine:
    """The engine for the inbox at `url`, a SQLAlchemy URL. Nothing is opened yet.

    Raises:
        ConfigurationError: no inbox can live at this URL.
    """
    # One connection: SQLite has one writer anyway, and waiting in the pool's queue is fairer than SQLite's own wait,
    # which polls.
    return database.sqlite_engine(
        _sqlite_url(url), wait_seconds=_WAIT_SECONDS, pool_size=1, max_overflow=0, pool_timeout=_WAIT_SECONDS
    )


@contextmanager
def creating(engine: Engine) -> Generator[Connection]:
    """The first transaction, which may find neither folder nor file nor tables, and writes.

    Raises:
        InboxUnavailableError: the file cannot be created or opened.
    """
    with _explained(engine), database.creating_sqlite(engine, wait_seconds=_WAIT_SECONDS) as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A transaction that only reads.

    Raises:
        InboxUnavailableError: the database refuses.
    """
    with _explained(engine), engine.begin() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that writes: it holds the lock from its beginning, and is on disk when the block has ended.

    Raises:
        InboxUnavailableError: the database refuses, or cannot commit.
    """
    with _explained(engine), database.writing(engine) as connection:
        yield connection


@contextmanager
def _explained(engine: Engine) -> Generator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(error, PoolTimeoutError):
            cause = "other callers hold it"
        raise _unavailable(engine.url, cause) from error


def _sqlite_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Without the cause: what cannot be parsed may hold a password anywhere.
        raise _refusal("The address of the event inbox is not a SQLAlchemy URL.") from None
    if parsed.get_backend_name() != "sqlite":
        raise _refusal(f"The event inbox cannot be kept in {parsed.get_backend_name()} yet.")
    if parsed.database in {None, "", ":memory:"} or str(parsed.database).startswith("file:"):
        raise _refusal("The event inbox must be a plain file: events in memory are lost with the process.")
    return parsed


def _refusal(what: str) -> ConfigurationError:
    return ConfigurationError(what, todo="Set QT_INBOX_URL to a SQLite file, such as sqlite:////var/lib/qt/inbox.db.")


def _unavailable(url: URL, cause: object) -> InboxUnavailableError:
    return InboxUnavailableError(
        f"The event inbox {url.render_as_string(hide_password=True)} is not available: {cause}.",
        todo="Check that its disk has space, that this user may write there and that no other program holds it.",
    )
