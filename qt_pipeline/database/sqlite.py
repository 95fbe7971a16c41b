"""SQLite files: how they are opened, when a transaction takes its lock, and what makes a commit durable.

Not here: tables and statements (see inbox, warehouse).
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection

from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event

from qt_pipeline.private import FILE_MODE, make_file, make_folder


def sqlite_engine(url: URL, *, wait_seconds: float, **options: object) -> Engine:
    """An engine for the SQLite file at `url` whose commits survive a power failure. Opens no connection yet.

    `wait_seconds` bounds the wait for another process's lock; `options` go to SQLAlchemy's `create_engine`.
    """
    # Parameters hold events and rows, so keep them out of error messages.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": wait_seconds}, **options)
    event.listen(engine, "connect", _make_durable)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def creating_sqlite(engine: Engine, *, wait_seconds: float) -> Generator[Connection]:
    """The first transaction on a file; creates the folder and the file if missing."""
    file = Path(str(engine.url.database))
    make_folder(file.parent)
    # SQLite waits for every lock except the one that switches a new file to WAL.
    with FileLock(f"{file}.lock", timeout=wait_seconds, mode=FILE_MODE):
        # The journal and the shared memory file inherit the mode of the file.
        make_file(file)
        with writing(engine) as connection:
            yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that writes and is durable when the block has ended. On SQLite it takes its lock at once."""
    # A transaction that reads first and requests the write lock later can fail at once, without waiting.
    with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
        yield connection


def _make_durable(connection: SQLiteConnection, _record: object) -> None:
    # The driver's own transaction control would commit before schema changes and skip reads: see _begin.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # Durable when the commit returns: in WAL, NORMAL may lose the last commits at a power failure.
    connection.execute("PRAGMA synchronous = FULL")
    # On macOS, a plain fsync leaves the bytes in the drive's cache.
    connection.execute("PRAGMA fullfsync = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
