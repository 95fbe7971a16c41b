"""How a SQL Server or Azure SQL database is reached: which driver, which words the URL leaves open, how long one waits.

Here: everything up to an open connection. Not here: what is done with it (see engine).
"""

import logging
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect, ExecutionContext
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.warehouse.mssql.faults import fault_of

_CONNECT_SECONDS = 30
_WAKE_SECONDS = 120
_WAKE_PAUSE_SECONDS = 5
_WAKING = 40613
_TIMED_OUT = re.compile("tim(?:eout|ed out)", re.IGNORECASE)
_AZURE = ".database."
_ROWS_AT_ONCE = 1000
_DRIVERS = ("mssqlpython", "pyodbc")
_ODBC_DRIVER = "ODBC Driver 18 for SQL Server"
_NOT_BY_BULK_COPY = ("activedirectorypassword", "activedirectoryintegrated")

_log = logging.getLogger(__name__)


def engine_at(url: URL, *, wait_seconds: int) -> Engine:
    """An engine for the database at `url`. Nothing is opened yet.

    `wait_seconds` bounds the wait for another's lock.

    Raises:
        ConfigurationError: the URL names a driver or a way to log in that cannot be used.
    """
    url = _completed(url)
    # One call for many rows, where the driver can.
    options: dict[str, Any] = {"fast_executemany": True} if url.get_driver_name() == "pyodbc" else {}
    try:
        engine = create_engine(
            url,
            # Parameters stay out of error messages: they hold rows.
            hide_parameters=True,
            # A server that was restarted, or a firewall, ends idle connections without a word.
            pool_pre_ping=True,
            connect_args={"timeout": _CONNECT_SECONDS},
            **options,
        )
    except ImportError as error:
        raise ConfigurationError(
            f"The driver {url.get_driver_name()} cannot be loaded: {error}.",
            todo="For pyodbc, install unixODBC (libodbc2) and Microsoft's ODBC driver; mssql+mssqlpython:// in "
            "QT_WAREHOUSE_URL needs neither.",
        ) from None
    event.listen(engine, "do_connect", _Dial(url.host or "", wait_seconds))
    event.listen(engine, "after_cursor_execute", _hear_out)
    return engine


def _hear_out(
    _connection: object, cursor: DBAPICursor, _statement: str, _values: object, context: ExecutionContext, _many: object
) -> None:
    """Take all that a statement answers which a person wrote.

    A procedure that fails after its first result has rolled the transaction back, and says so only then.
    """
    more = bool(context.execution_options.get("no_parameters"))
    while more:
        while cursor.description and cursor.fetchmany(_ROWS_AT_ONCE):
            pass
        more = bool(cursor.nextset())


class _Dial:
    """Opens connections. A serverless database that sleeps refuses the first one, for up to a minute."""

    def __init__(self, host: str, wait_seconds: int) -> None:
        self._host = host
        self._settings = f"SET XACT_ABORT ON; SET LOCK_TIMEOUT {wait_seconds * 1000}"
        self._awake = False

    def __call__(
        self, dialect: Dialect, _record: object, arguments: Sequence[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        waking = Retrying(
            retry=retry_if_exception(self._is_waking),
            stop=stop_after_delay(_WAKE_SECONDS),
            wait=wait_fixed(_WAKE_PAUSE_SECONDS),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            connection = waking(dialect.connect, *arguments, **options)
        except dialect.loaded_dbapi.Error:
            raise
        except Exception as error:  # noqa: BLE001  # the driver reads the URL and answers with types of many kinds
            raise ConfigurationError(
                f"The driver cannot connect: {fault_of(error, of_connection=True).words}.",
                todo="Check what stands after '?' in QT_WAREHOUSE_URL.",
            ) from None
        self._awake = True
        cursor = connection.cursor()
        cursor.execute(self._settings)
        cursor.close()
        return connection

    def _is_waking(self, error: BaseException) -> bool:
        if self._awake:
            return False
        fault = fault_of(error, of_connection=True)
        # Elsewhere than on Azure, what does not answer does not sleep.
        silent = fault.passing and _AZURE in self._host and _TIMED_OUT.search(fault.words)
        return fault.number == _WAKING or bool(silent)

    def _tell(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            _log.info("The database is waking up: waiting for %s for up to %s seconds.", self._host, _WAKE_SECONDS)


def _completed(url: URL) -> URL:
    """The URL with what it leaves open: the driver, and that the connection is encrypted."""
    if "+" not in url.drivername:
        url = url.set(drivername="mssql+mssqlpython")
    driver = url.get_driver_name()
    if driver not in _DRIVERS:
        raise ConfigurationError(
            f"The driver {driver!r} is not one of those for SQL Server.",
            todo="Let QT_WAREHOUSE_URL begin with mssql+mssqlpython:// or, slower, mssql+pyodbc://.",
        )
    query = {word.lower(): value for word, value in url.query.items()}
    if driver == "mssqlpython" and str(query.get("authentication")).lower() in _NOT_BY_BULK_COPY:
        raise ConfigurationError(
            f"The bulk copy cannot log in by {query['authentication']}.",
            todo="In QT_WAREHOUSE_URL, use ActiveDirectoryMSI, ActiveDirectoryServicePrincipal or "
            "ActiveDirectoryDefault, or mssql+pyodbc://.",
        )
    if "odbc_connect" in query:
        return url
    left_open = {} if "encrypt" in query else {"Encrypt": "yes"}
    if driver == "pyodbc" and "driver" not in query:
        left_open["driver"] = _ODBC_DRIVER
    return url.update_query_dict(left_open)
