"""Connect to SQL Server and Azure SQL: the driver, URL defaults, timeouts, and application locks.

Here: everything up to an open connection, and locks by name. Not here: what is done with it (see inbox, warehouse).
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import count
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from qt_pipeline.database.mssql_errors import mssql_fault
from qt_pipeline.database.pool import POOL_SECONDS, pool_options
from qt_pipeline.errors import ConfigurationError

_CONNECT_SECONDS = 30
_WAKE_SECONDS = 120
_WAKE_PAUSE_SECONDS = 5
_WAKING = 40613
_TIMED_OUT = re.compile("tim(?:eout|ed out)", re.IGNORECASE)
_AZURE = ".database."
_DRIVERS = ("mssqlpython", "pyodbc")
_ODBC_DRIVER = "ODBC Driver 18 for SQL Server"
# mssql-python's message when its native part is missing; there is no error type for that.
_NOT_LOADED = "Failed to load the driver"
MSSQL_DRIVER_HINT: Final = (
    "Install libltdl7 (libtool-ltdl on Red Hat), or set MSSQL_PYTHON_NATIVE_PROVIDER=mssql-odbc in the environment, "
    "not in .env."
)
"""How to fix a mssql-python whose native library cannot be loaded."""

# NOCOUNT lasts only for its batch.
_TAKE_LOCK = text(
    "SET NOCOUNT ON; DECLARE @taken INT; "
    "EXEC @taken = sp_getapplock @Resource = :name, @LockMode = 'Exclusive', @LockOwner = 'Session', "
    "@LockTimeout = :milliseconds; SELECT @taken"
)

# A parameter marker, or a text or quoted name in which a question mark is not one.
_MARK = re.compile(r"\?|'[^']*'|\"[^\"]*\"|\[(?:[^\]]|\]\])*\]")

_log = logging.getLogger(__name__)


def mssql_engine(
    url: URL,
    *,
    setting: str,
    wait_seconds: int,
    connect_seconds: int = _CONNECT_SECONDS,
    statement_seconds: int = 0,
    keep_connections: bool = True,
    pool_timeout: float = POOL_SECONDS,
    **options: object,
) -> Engine:
    """An engine for the database at `url`, which the setting `setting` names. Opens no connection yet.

    `wait_seconds` bounds the wait for locks, `statement_seconds` the time of a statement (0: no bound). Without
    `keep_connections` each connection is closed after use, so that the database may pause in between; otherwise
    `pool_timeout` bounds the wait for a free one. `options` go to SQLAlchemy's `create_engine`.

    Raises:
        ConfigurationError: the driver that the URL names cannot be used.
    """
    url = _completed(url, setting)
    # Send many rows in one call, if the driver can.
    many: dict[str, Any] = {"fast_executemany": True} if url.get_driver_name() == "pyodbc" else {}
    try:
        engine = create_engine(
            url,
            # Parameters hold events and rows, so keep them out of error messages.
            hide_parameters=True,
            connect_args={"timeout": connect_seconds},
            **many,
            **pool_options(keep_connections=keep_connections, pool_timeout=pool_timeout),
            **options,
        )
    except ImportError as error:
        raise ConfigurationError(
            f"The driver {url.get_driver_name()} cannot be loaded: {error}.",
            hint="For pyodbc, install unixODBC (libodbc2) and Microsoft's ODBC driver; mssql+mssqlpython:// in "
            f"{setting} needs neither.",
        ) from None
    event.listen(engine, "before_cursor_execute", _write_nulls, retval=True)
    if engine.driver == "pyodbc":
        # Otherwise the ODBC driver manager may keep connections open that the engine has closed.
        cast("Any", engine.dialect.loaded_dbapi).pooling = False
    connector = _Connector(url.host or "", setting, wait_seconds, statement_seconds, may_pause=not keep_connections)
    event.listen(engine, "do_connect", connector)
    return engine


def _write_nulls(
    _connection: object, _cursor: object, statement: str, parameters: Sequence[Any], _context: object, _many: object
) -> tuple[str, Sequence[Any]]:
    """Write NULL into the statement instead of binding None.

    The drivers query the server for the type of such a parameter. If it cannot tell, the query fails, which ends the
    transaction under XACT_ABORT, and mssql-python hides that error.
    """
    if all(value is not None for value in parameters):
        # Also for executemany: the driver infers the types from all rows.
        return statement, parameters
    values = iter(parameters)

    def replaced(match: re.Match[str]) -> str:
        return "NULL" if match[0] == "?" and next(values) is None else match[0]

    return _MARK.sub(replaced, statement), tuple(value for value in parameters if value is not None)


def take_mssql_lock(connection: Connection, name: str, *, wait_seconds: int) -> int | None:
    """Take an application lock that ends with this connection, and return the server's result; below 0: not granted.

    -1 means that another session held it until the timeout. The connection must be in AUTOCOMMIT.
    """
    digest = hashlib.sha256(name.casefold().encode()).hexdigest()
    parameters = {"name": f"qt_pipeline/{digest}", "milliseconds": wait_seconds * 1000}
    return connection.scalar(_TAKE_LOCK, parameters)


@compiles(count, "mssql")
def _count_big(element: count, compiler: SQLCompiler, **options: object) -> str:
    # COUNT fails beyond the 32 bits of an INT.
    return f"COUNT_BIG{compiler.function_argspec(element, **options)}"


class _Connector:
    """Opens connections, and waits for a paused serverless database, which rejects them for up to a minute."""

    def __init__(self, host: str, setting: str, wait_seconds: int, statement_seconds: int, *, may_pause: bool) -> None:
        self._host = host
        self._setting = setting
        self._statement_seconds = statement_seconds
        self._settings = f"SET XACT_ABORT ON; SET LOCK_TIMEOUT {wait_seconds * 1000}"
        self._awake = False
        self._may_pause = may_pause

    def __call__(
        self, dialect: Dialect, _record: object, arguments: Sequence[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        retrying = Retrying(
            retry=retry_if_exception(self._is_waking),
            stop=stop_after_delay(_WAKE_SECONDS),
            wait=wait_fixed(_WAKE_PAUSE_SECONDS),
            before_sleep=self._log_waking,
            reraise=True,
        )
        try:
            connection = retrying(dialect.connect, *arguments, **options)
        except dialect.loaded_dbapi.Error as error:
            if _NOT_LOADED not in str(error):
                raise
            raise ConfigurationError("The driver of mssql-python cannot be loaded.", hint=MSSQL_DRIVER_HINT) from None
        except Exception as error:  # noqa: BLE001  # the driver parses the URL and raises many types
            raise ConfigurationError(
                f"The driver cannot connect: {mssql_fault(error, of_connection=True).message}.",
                hint=f"Check what follows '?' in {self._setting}.",
            ) from None
        # A database that may pause again is waited for each time.
        self._awake = not self._may_pause
        if self._statement_seconds:
            # Both drivers have this attribute, but neither type is known here.
            cast("Any", connection).timeout = self._statement_seconds
        cursor = connection.cursor()
        cursor.execute(self._settings)
        cursor.close()
        return connection

    def _is_waking(self, error: BaseException) -> bool:
        if self._awake:
            return False
        server_error = mssql_fault(error, of_connection=True)
        # Only Azure databases pause; others that do not respond are down.
        silent = server_error.transient and _AZURE in self._host and _TIMED_OUT.search(server_error.message)
        return server_error.number == _WAKING or bool(silent)

    def _log_waking(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            _log.info("The database is waking up: waiting for %s for up to %s seconds.", self._host, _WAKE_SECONDS)


def _completed(url: URL, setting: str) -> URL:
    """The URL with defaults for the driver and for encryption."""
    if "+" not in url.drivername:
        url = url.set(drivername="mssql+mssqlpython")
    driver = url.get_driver_name()
    if driver not in _DRIVERS:
        raise ConfigurationError(
            f"The driver {driver!r} is not a supported driver for SQL Server.",
            hint=f"Let {setting} begin with mssql+mssqlpython:// or, slower, mssql+pyodbc://.",
        )
    query = {key.lower() for key in url.query}
    if "odbc_connect" in query:
        return url
    defaults = {} if "encrypt" in query else {"Encrypt": "yes"}
    if driver == "pyodbc" and "driver" not in query:
        defaults["driver"] = _ODBC_DRIVER
    return url.update_query_dict(defaults)
