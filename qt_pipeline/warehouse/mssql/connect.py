"""Connect to a SQL Server or Azure SQL target: what a load needs beyond other connections.

Here: authentication that the bulk copy does not support, draining unread result sets.
Not here: drivers, encryption, timeouts (see database), what is done with a connection (see engine).
"""

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

from qt_pipeline.database import mssql_engine
from qt_pipeline.errors import ConfigurationError

_SETTING = "QT_WAREHOUSE_URL"
_BATCH_ROWS = 1000
_CONNECTED: set[URL] = set()
_NOT_BY_BULK_COPY = ("activedirectorypassword", "activedirectoryintegrated")


def engine_at(url: URL, *, wait_seconds: int, keep_connections: bool = True) -> Engine:
    """An engine for the target at `url`. Opens no connection yet.

    `wait_seconds` bounds the wait for locks; without `keep_connections` each connection is closed after use.

    Raises:
        ConfigurationError: the URL names a driver or an authentication that cannot be used.
    """
    engine = mssql_engine(url, setting=_SETTING, wait_seconds=wait_seconds, keep_connections=keep_connections)
    login = next((str(value) for key, value in url.query.items() if key.lower() == "authentication"), "")
    if engine.driver == "mssqlpython" and login.lower() in _NOT_BY_BULK_COPY:
        raise ConfigurationError(
            f"The bulk copy does not support authentication by {login}.",
            hint=f"In {_SETTING}, use ActiveDirectoryMSI, ActiveDirectoryServicePrincipal or "
            "ActiveDirectoryDefault, or mssql+pyodbc://.",
        )
    event.listen(engine, "after_cursor_execute", _drain_result_sets)
    event.listen(engine, "connect", lambda *_: _CONNECTED.add(url))
    return engine


def was_connected(url: URL) -> bool:
    """Whether this process has connected to the target at `url` before."""
    return url in _CONNECTED


def _drain_result_sets(
    _connection: object, cursor: DBAPICursor, _statement: str, _values: object, context: ExecutionContext, _many: object
) -> None:
    """Read all result sets of a statement that a person wrote.

    A procedure that fails after its first result has rolled the transaction back, and reports that only at the end.
    """
    more = bool(context.execution_options.get("no_parameters"))
    while more:
        while cursor.description and cursor.fetchmany(_BATCH_ROWS):
            pass
        more = bool(cursor.nextset())
