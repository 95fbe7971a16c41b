"""How a SQL Server or Azure SQL database is reached as a target: what a load needs beyond any other connection.

Here: ways to log in that the bulk copy has not, results that nobody asked for.
Not here: drivers, encryption, waiting (see database), what is done with a connection (see engine).
"""

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

from qt_pipeline.database import mssql_engine
from qt_pipeline.errors import ConfigurationError

_SETTING = "QT_WAREHOUSE_URL"
_BATCH_ROWS = 1000
_LET_IN: set[URL] = set()
_NOT_BY_BULK_COPY = ("activedirectorypassword", "activedirectoryintegrated")


def engine_at(url: URL, *, wait_seconds: int, keep_connections: bool = True) -> Engine:
    """An engine for the target at `url`. Nothing is opened yet.

    `wait_seconds` bounds the wait for another's lock; without `keep_connections` each is closed after its use.

    Raises:
        ConfigurationError: the URL names a driver or a way to log in that cannot be used.
    """
    engine = mssql_engine(url, setting=_SETTING, wait_seconds=wait_seconds, keep_connections=keep_connections)
    login = next((str(value) for word, value in url.query.items() if word.lower() == "authentication"), "")
    if engine.driver == "mssqlpython" and login.lower() in _NOT_BY_BULK_COPY:
        raise ConfigurationError(
            f"The bulk copy cannot log in by {login}.",
            hint=f"In {_SETTING}, use ActiveDirectoryMSI, ActiveDirectoryServicePrincipal or "
            "ActiveDirectoryDefault, or mssql+pyodbc://.",
        )
    event.listen(engine, "after_cursor_execute", _drain_result_sets)
    event.listen(engine, "connect", lambda *_: _LET_IN.add(url))
    return engine


def was_let_in(url: URL) -> bool:
    """Whether this process has been connected to the target at `url` before."""
    return url in _LET_IN


def _drain_result_sets(
    _connection: object, cursor: DBAPICursor, _statement: str, _values: object, context: ExecutionContext, _many: object
) -> None:
    """Take all that a statement answers which a person wrote.

    A procedure that fails after its first result has rolled the transaction back, and says so only then.
    """
    more = bool(context.execution_options.get("no_parameters"))
    while more:
        while cursor.description and cursor.fetchmany(_BATCH_ROWS):
            pass
        more = bool(cursor.nextset())
