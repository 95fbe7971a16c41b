"""Connect to PostgreSQL, and read its errors.

Here: the engine with its timeouts and encoding, error messages without rows, advisory lock keys. No setting outlives
its transaction, so that a pooler such as PgBouncer may run each transaction on another server connection.
Not here: what is done with it (see inbox, warehouse).
"""

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from qt_pipeline.database.pool import POOL_SECONDS, pool_options
from qt_pipeline.database.redact import redacted_database_url
from qt_pipeline.database.server_error import ServerError
from qt_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg

_CONNECT_SECONDS = 30
# Detects a server that disappeared within a minute, even while only waiting for its response.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_ENCODING = "UTF8"
_NO_ENCODING = "SQL_ASCII"
_ENCODINGS = "SELECT current_setting('server_encoding'), current_setting('client_encoding')"

# Classes of SQLSTATE (PostgreSQL's documentation, appendix A) whose messages concern statements, servers, users and
# resources, and some single states of others.
_WITHOUT_VALUES = (
    *("03", "08", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34"),
    *("3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "72", "F0", "XX001", "XX002"),
)
# Classes whose details may show a row, but whose primary message names only constraints, columns and types. The rest
# (other states of 22; 38, 39, HV, P0, XX000) may show a value anywhere.
_ONLY_FIRST_SENTENCE = ("22001", "22012", "23", "44")
# Source files of procedural languages, which report errors raised by a person's function.
_PROCEDURAL = ("pl_", "plpy", "plperl", "pltcl", "plv8", "pllua", "plr")
# Classes for which a retry may help: connections, serialization and deadlocks, resources, locks, operator intervention.
_TRANSIENT = ("08", "40", "53", "55", "57", "58")
# Classes about one table: its values, its constraints, what depends on it, its size.
_OF_TABLE = ("22", "23", "2B", "44", "54")

_UNTRANSLATABLE = "22P05"
_ENCODING_NAME = re.compile(
    r"\b(?:SQL_ASCII|UTF8|LATIN\d+|WIN\d+|ISO_8859_\d+|EUC_[A-Z_0-9]+|KOI8[RU]|JOHAB|GBK|GB18030|BIG5|SJIS|"
    r"SHIFT_JIS_2004|UHC|MULE_INTERNAL)\b"
)

_OF_CONNECTION = "Check that the server runs and that it accepts this login."
_OF_STATEMENT = (
    "The server runs but rejects a statement: see what its message names (a constraint, trigger, view or type of "
    "the table) and change it there."
)
_TOO_LARGE = (
    "The table is larger than PostgreSQL allows: leave out columns at the source, or use another target. A row must "
    "fit into a page of 8 kB, in which each value takes its own size, a long text 18 bytes."
)
# The first match for the SQLSTATE counts.
_HINTS: tuple[tuple[str | tuple[str, ...], str], ...] = (
    ("42501", "Grant this login the right that the message names, or create the tables with `qt-pipeline ddl`."),
    ("25006", "The database is read-only now: name the primary server, not a standby, in the URL."),
    ("53", "Give the server more of what it lacks (disk space, memory, connections). It will be retried."),
    ("54", _TOO_LARGE),
    (("40", "55"), "Another session is in the way. It will be retried."),
    (("08", "28", "3D", "57"), _OF_CONNECTION),
)
_START_PARAMETER = (
    "A connection pooler (PgBouncer) rejects a startup parameter. Remove `options` from the URL and PGOPTIONS from the "
    "environment; set a search_path or the like on the server (ALTER ROLE ... SET ...)."
)
_STATEMENT_POOLING = (
    "Transactions are needed: set `pool_mode` of the connection pooler (PgBouncer) to transaction or session."
)
_POOL_EXHAUSTED = (
    "No connection of the pooler (PgBouncer) became free: each load needs two at a time, so raise `default_pool_size`."
)
# Messages of poolers, whose errors have one SQLSTATE or none, and whether a retry may help.
_OF_POOLER = (
    ("unsupported startup parameter", False, _START_PARAMETER),
    ("statement pooling mode", False, _STATEMENT_POOLING),
    ("query_wait_timeout", True, _POOL_EXHAUSTED),
)


def postgres_engine(
    url: URL,
    *,
    setting: str,
    wait_seconds: float,
    connect_seconds: int = _CONNECT_SECONDS,
    keep_connections: bool = True,
    pool_timeout: float = POOL_SECONDS,
    settings: Mapping[str, str] | None = None,
) -> Engine:
    """An engine for the database at `url`, which the setting `setting` names, with psycopg. Opens no connection yet.

    `wait_seconds` bounds the wait for locks. `settings` are PostgreSQL settings for each transaction. Without
    `keep_connections` each connection is closed after use; otherwise `pool_timeout` bounds the wait for a free one.
    Text is sent and received as UTF-8, whatever URL, environment and login prefer; a database without an encoding is
    rejected at its first connection with ConfigurationError.
    """
    of_transaction = {"lock_timeout": f"{round(wait_seconds * 1000)}ms", "timezone": "UTC", **(settings or {})}
    set_local = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in of_transaction.items())
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        # Parameters hold events and rows, so keep them out of error messages.
        hide_parameters=True,
        # Whatever the server's default: a stricter transaction left open would hold back every vacuum.
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": connect_seconds,
            "application_name": "qt_pipeline",
            # As a startup parameter it overrides what the database, the login or `options` set.
            "client_encoding": _ENCODING,
            # A statement prepared on one connection of a pooler is unknown on the next.
            "prepare_threshold": None,
            **_KEEPALIVE,
        },
        **pool_options(keep_connections=keep_connections, pool_timeout=pool_timeout),
    )

    @event.listens_for(engine, "connect")
    def check(connection: "psycopg.Connection[Any]", _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.autocommit = True
        try:
            require_utf8(connection, address=redacted_database_url(url), setting=setting)
        except BaseException:
            connection.close()
            raise
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def set_up(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(set_local)

    return engine


def require_utf8(connection: "psycopg.Connection[Any]", *, address: str, setting: str) -> None:
    """Check that text is sent as UTF-8 and that the database has an encoding.

    Raises:
        ConfigurationError: the database has no encoding, or something on the way to it has set another.
    """
    of_server, of_client = connection.execute(_ENCODINGS).fetchone() or ("", "")
    if of_server == _NO_ENCODING:
        raise ConfigurationError(
            f"The database {address} has the encoding {_NO_ENCODING}, which stores bytes instead of characters: it "
            "could not sort, compare or measure text.",
            hint=f"Name a database in {setting} that was created with ENCODING 'UTF8'.",
        )
    if of_client != _ENCODING:
        raise ConfigurationError(
            f"Text would be sent to the database {address} as {of_client} instead of UTF-8.",
            hint=f"Let {setting} name the server itself, or correct what sets client_encoding on the way to it.",
        )


def postgres_fault(error: BaseException | None) -> ServerError:
    """Read an error of the server, or of the driver."""
    state: str | None = getattr(error, "sqlstate", None)
    message = _message(error, state)
    for phrase, transient, hint in _OF_POOLER:
        if phrase in message:
            return ServerError(None, message, transient, hint=hint)
    if state == _UNTRANSLATABLE:
        return _untranslatable(error)
    transient = state is None or state.startswith(_TRANSIENT)
    of_table = state is not None and state.startswith(_OF_TABLE)
    hint = next((hint for states, hint in _HINTS if (state or "08").startswith(states)), _OF_STATEMENT)
    return ServerError(None, message or f"{type(error).__name__} (SQLSTATE {state})", transient, of_table, hint)


def advisory_key(*names: str) -> int:
    """A key for PostgreSQL's advisory locks, which have numbers instead of names."""
    digest = hashlib.sha256("/".join(["qt_pipeline", *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _untranslatable(error: BaseException | None) -> ServerError:
    # The message shows the character; only the names of the two encodings are recognizable in any language.
    names = _ENCODING_NAME.findall(str(error))
    encoding = names[-1] if names else "other than UTF-8"
    return ServerError(
        None,
        f"its encoding {encoding} lacks a character of the data or of a column name",
        transient=False,
        table_scoped=True,
        hint="Use a database with ENCODING 'UTF8', or correct the character at the source.",
    )


def _message(error: BaseException | None, state: str | None) -> str:
    """The server's message, unless it may hold a value; without the context, which shows a line of COPY."""
    diagnostics = getattr(error, "diag", None)
    first = getattr(diagnostics, "message_primary", None)
    parts = [first]
    if state is None or state.startswith(_WITHOUT_VALUES):
        parts = [first, getattr(diagnostics, "message_detail", None)] if first else [str(error)]
    elif not state.startswith(_ONLY_FIRST_SENTENCE):
        return ""
    if str(getattr(diagnostics, "source_file", None) or "").startswith(_PROCEDURAL):
        return ""
    return " ".join(": ".join(part for part in parts if part).split())
