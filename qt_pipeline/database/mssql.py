"""How a SQL Server or Azure SQL database is reached: which driver, which words the URL leaves open, how long one waits.

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
# What mssql-python says of its own native part; it has no type of its own for that.
_NOT_LOADED = "Failed to load the driver"
MSSQL_DRIVER_HINT: Final = (
    "Install libltdl7 (libtool-ltdl on Red Hat), or set MSSQL_PYTHON_NATIVE_PROVIDER=mssql-odbc in the environment; "
    "in .env it is not read."
)
"""The next step where mssql-python is there and what it loads is not."""

# In a batch of its own, NOCOUNT ends with it.
_TAKE_LOCK = text(
    "SET NOCOUNT ON; DECLARE @taken INT; "
    "EXEC @taken = sp_getapplock @Resource = :name, @LockMode = 'Exclusive', @LockOwner = 'Session', "
    "@LockTimeout = :milliseconds; SELECT @taken"
)

# A parameter's place, or what may hold a question mark that is none: a text, a quoted name.
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
    """An engine for the database at `url`, which the setting `setting` names. Nothing is opened yet.

    `wait_seconds` bounds the wait for another's lock, `statement_seconds` that for the end of a statement, 0 for no
    bound. Without `keep_connections` each is closed after its use, so that the database may pause between two uses;
    else `pool_timeout` bounds the wait for a free one. `options` go to SQLAlchemy's `create_engine`.

    Raises:
        ConfigurationError: the driver that the URL names cannot be used.
    """
    url = _completed(url, setting)
    # One call for many rows, where the driver can.
    many: dict[str, Any] = {"fast_executemany": True} if url.get_driver_name() == "pyodbc" else {}
    try:
        engine = create_engine(
            url,
            # Parameters stay out of error messages: they hold events and rows.
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
        # Else a driver manager that is set up for it keeps open what the engine has closed.
        cast("Any", engine.dialect.loaded_dbapi).pooling = False
    dial = _Connector(url.host or "", setting, wait_seconds, statement_seconds, may_pause=not keep_connections)
    event.listen(engine, "do_connect", dial)
    return engine


def _write_nulls(
    _connection: object, _cursor: object, statement: str, parameters: Sequence[Any], _context: object, _many: object
) -> tuple[str, Sequence[Any]]:
    """Write NULL where None would be bound.

    The drivers ask the server for the type of such a parameter. Where it cannot say, that question is an error, which
    under XACT_ABORT ends the transaction, and which mssql-python keeps to itself.
    """
    if all(value is not None for value in parameters):
        # So are rows of many, whose types the driver takes from all of them.
        return statement, parameters
    values = iter(parameters)

    def written(found: re.Match[str]) -> str:
        return "NULL" if found[0] == "?" and next(values) is None else found[0]

    return _MARK.sub(written, statement), tuple(value for value in parameters if value is not None)


def take_mssql_lock(connection: Connection, name: str, *, wait_seconds: int) -> int | None:
    """Take a lock of the server's that ends with this connection, and say what it answers: below 0, it was not given.

    -1 says that another has held it all the while. The connection must be in AUTOCOMMIT.
    """
    whole = hashlib.sha256(name.casefold().encode()).hexdigest()
    asked = {"name": f"qt_pipeline/{whole}", "milliseconds": wait_seconds * 1000}
    return connection.scalar(_TAKE_LOCK, asked)


@compiles(count, "mssql")
def _count_big(element: count, compiler: SQLCompiler, **options: object) -> str:
    # COUNT fails beyond the 32 bits of an INT.
    return f"COUNT_BIG{compiler.function_argspec(element, **options)}"


class _Connector:
    """Opens connections. A serverless database that sleeps refuses the first one, for up to a minute."""

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
        waking = Retrying(
            retry=retry_if_exception(self._is_waking),
            stop=stop_after_delay(_WAKE_SECONDS),
            wait=wait_fixed(_WAKE_PAUSE_SECONDS),
            before_sleep=self._log_waking,
            reraise=True,
        )
        try:
            connection = waking(dialect.connect, *arguments, **options)
        except dialect.loaded_dbapi.Error as error:
            if _NOT_LOADED not in str(error):
                raise
            raise ConfigurationError("The driver of mssql-python cannot be loaded.", hint=MSSQL_DRIVER_HINT) from None
        except Exception as error:  # noqa: BLE001  # the driver reads the URL and answers with types of many kinds
            raise ConfigurationError(
                f"The driver cannot connect: {mssql_fault(error, of_connection=True).message}.",
                hint=f"Check what stands after '?' in {self._setting}.",
            ) from None
        # One that may pause again is waited for each time.
        self._awake = not self._may_pause
        if self._statement_seconds:
            # Both drivers name it so, and the type of neither is known here.
            cast("Any", connection).timeout = self._statement_seconds
        cursor = connection.cursor()
        cursor.execute(self._settings)
        cursor.close()
        return connection

    def _is_waking(self, error: BaseException) -> bool:
        if self._awake:
            return False
        fault = mssql_fault(error, of_connection=True)
        # Elsewhere than on Azure, what does not answer does not sleep.
        silent = fault.transient and _AZURE in self._host and _TIMED_OUT.search(fault.message)
        return fault.number == _WAKING or bool(silent)

    def _log_waking(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            _log.info("The database is waking up: waiting for %s for up to %s seconds.", self._host, _WAKE_SECONDS)


def _completed(url: URL, setting: str) -> URL:
    """The URL with what it leaves open: the driver, and that the connection is encrypted."""
    if "+" not in url.drivername:
        url = url.set(drivername="mssql+mssqlpython")
    driver = url.get_driver_name()
    if driver not in _DRIVERS:
        raise ConfigurationError(
            f"The driver {driver!r} is not one of those for SQL Server.",
            hint=f"Let {setting} begin with mssql+mssqlpython:// or, slower, mssql+pyodbc://.",
        )
    query = {word.lower() for word in url.query}
    if "odbc_connect" in query:
        return url
    left_open = {} if "encrypt" in query else {"Encrypt": "yes"}
    if driver == "pyodbc" and "driver" not in query:
        left_open["driver"] = _ODBC_DRIVER
    return url.update_query_dict(left_open)
