"""Errors of SQL Server: their number, whether a retry may help, and which messages are safe to show.

Here: the relevant messages, in English as in `sys.messages`. Microsoft's own driver reports no numbers
(microsoft/mssql-python, issue 581), so its errors are recognized by text, and those of pyodbc by number.
Not here: what is done about an error (see warehouse, inbox).
"""

import re
from dataclasses import dataclass

from qt_pipeline.database.server_error import ServerError


@dataclass(frozen=True, slots=True)
class _Message:
    number: int
    phrase: str
    transient: bool = False
    shown: bool = True


_CANNOT_OPEN = 4060
_TRANSIENT = (
    (1205, "was deadlocked on"),
    (1222, "Lock request time out period exceeded"),
    (615, "Could not find database ID"),
    (701, "There is insufficient system memory"),
    (802, "There is insufficient memory available in the buffer pool"),
    (926, "It has been marked SUSPECT by recovery"),
    (1204, "cannot obtain a LOCK resource"),
    # After a failover: this was the primary replica.
    (3906, "because the database is read-only"),
    (4221, "Login to read-secondary failed due to long wait"),
    (8645, "A timeout occurred while waiting for memory resources"),
    (8651, "because the requested memory grant was not available"),
    (9002, "The transaction log for database"),
    (10928, "limit for the database is"),
    (10929, "is currently too busy to support requests"),
    (40197, "The service has encountered an error processing your request"),
    (40143, "The service has encountered an error processing your request"),
    (40501, "The service is currently busy"),
    (40549, "Session is terminated because you have a long-running transaction"),
    (40550, "The session has been terminated because it has acquired too many locks"),
    (40551, "The session has been terminated because of excessive TEMPDB usage"),
    (40552, "The session has been terminated because of excessive transaction log space usage"),
    (40553, "The session has been terminated because of excessive memory usage"),
    (40613, "is not currently available"),
    (49918, "Not enough resources to process"),
    (49919, "Too many create or update operations in progress"),
    (49920, "Too many operations in progress for subscription"),
)
# Errors of a lost connection, from the network layer.
_BROKEN = (64, 121, 233, 596, 10053, 10054, 10060)
_PERMANENT = (
    (102, "Incorrect syntax near"),
    (207, "Invalid column name"),
    (208, "Invalid object name"),
    (229, "permission was denied on the"),
    (262, "permission denied in database"),
    (547, "statement conflicted with the"),
    (511, "which is greater than the allowable maximum row size"),
    (916, "is not able to access the database"),
    (1088, "Cannot find the object"),
    (1105, "Could not allocate space"),
    (1701, "failed because the minimum row size would be"),
    (2705, "Column names in each table must be unique"),
    (2714, "There is already an object named"),
    (2760, "The specified schema name"),
    (2812, "Could not find stored procedure"),
    (3701, "Cannot drop the"),
    # A wrong name or a missing right, unless this process was connected before: then it is a failover.
    (_CANNOT_OPEN, "Cannot open database"),
    (4922, "because one or more objects access this column"),
    (5074, "is dependent on"),
    (8115, "Arithmetic overflow error converting"),
    (15151, "because it does not exist or you do not have permission"),
    (15247, "User does not have permission to perform this action"),
    (18456, "Login failed for user"),
    (40544, "has reached its size quota"),
)
_MAY_LEAK_VALUES = (
    (245, "Conversion failed when converting"),
    (515, "Cannot insert the value NULL into column"),
    (2601, "Cannot insert duplicate key row"),
    (2627, "Violation of"),
    (2628, "would be truncated in table"),
    (4815, "Received an invalid column length from the bcp client"),
    (8114, "Error converting data type"),
)
# Errors about one table: its values, its columns, what depends on it.
_OF_TABLE = {511, 547, 1701, 2705, 3701, 4922, 5074, 8115, *(number for number, _ in _MAY_LEAK_VALUES)}
_MESSAGES = (
    # First, so that their messages are never shown.
    *(_Message(number, phrase, shown=False) for number, phrase in _MAY_LEAK_VALUES),
    *(_Message(number, phrase, transient=True) for number, phrase in _TRANSIENT),
    *(_Message(number, phrase) for number, phrase in _PERMANENT),
)
# pyodbc: `… (1205) (SQLExecDirectW)`; the bulk copy: `Sql Error: 1205: Class …`.
_NUMBER = re.compile(r"\((\d+)\) \(SQL|Sql Error: (\d+):")
# Prefixes before the server's own message: the names of driver and server, or an error class.
_BEGINNING = re.compile(
    r"\[Microsoft\]|\[ODBC [^\]]*\]|\[SQL Server\]|DDBC Error: |Sql Error: \d+: Class \d+: State \d+: "
)
_END = re.compile(r" \(\d+\) \(SQL\w+\).*$| on \S+ in (?:\S+ )?at line \d+.*$")
# The drivers' names for connection errors, by SQLSTATE or by text.
_CONNECTION = re.compile(
    r"\b08[0-9S]\d\d\b|HYT0[01]|Client unable to establish connection|Communication link failure|"
    r"Connection (?:not open|failure during transaction)|[Tt]imeout expired|IO error|Connection closed|"
    r"Timeout Error|Connection is broken|Failed to connect|Entra ID access token|Azure AD token|"
    r"ServicePrincipal authentication failed"
)


def mssql_fault(
    error: BaseException | None, *, of_connection: bool = False, was_connected: bool = False
) -> ServerError:
    """Read an error of the server, or of a driver.

    `of_connection`: no statement had been sent yet, so any message is safe to show. `was_connected`: this process has
    connected to the same database with the same login before.
    """
    text = " ".join(str(error).split())
    # 0 is the driver's own number.
    numbers = [number for odbc, bulk in _NUMBER.findall(text) if (number := int(odbc or bulk))]
    known = next((m for m in _MESSAGES if m.number in numbers), None)
    known = known or next((m for m in _MESSAGES if m.phrase in text), None)
    number = known.number if known else next(iter(numbers), None)
    broken = bool(_CONNECTION.search(text)) or number in _BROKEN
    parts = [_END.sub("", part).strip(" ;.") for part in _BEGINNING.split(text)]
    if known is not None and known.shown:
        message = next((part for part in parts if known.phrase in part), "")
    elif known is None and of_connection:
        message = parts[-1]
    else:
        message = ""
    numbered = f"error {number}" if number else f"an error of the type {_error_type(error)}"
    transient = known.transient or (was_connected and number == _CANNOT_OPEN) if known else broken
    shown = f"{message} ({numbered})" if message and number else message or numbered
    return ServerError(number, shown, transient, table_scoped=number in _OF_TABLE)


def _error_type(error: BaseException | None) -> str:
    # The driver's name for a SQLSTATE, from a fixed list.
    return repr(getattr(error, "driver_error", type(error).__name__))
