"""What SQL Server's refusals mean, and what a URL leaves open."""

import pytest
from sqlalchemy import URL, make_url

from qt_pipeline.database import mssql, mssql_fault

ODBC = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"
DEADLOCK = "Transaction (Process ID 5) was deadlocked on lock resources with another process. Rerun the transaction."
ASLEEP = "Database 'db' on server 'host' is not currently available. Please retry the connection later."
DUPLICATE = "Violation of PRIMARY KEY constraint 'pk'. The duplicate key value is (canary)."

CONFLICT = (
    'The INSERT statement conflicted with the FOREIGN KEY constraint "fk". '
    'The conflict occurred in database "db", table "dbo.names".'
)
CANNOT_OPEN = 'Cannot open database "db" requested by the login. The login failed.'
# As sys.messages has them.
TRANSIENT = {
    615: "Could not find database ID 9, name 'db'. The database may be offline. Wait a few minutes and try again.",
    701: "There is insufficient system memory in resource pool 'default' to run this query.",
    802: "There is insufficient memory available in the buffer pool.",
    926: "Database 'db' cannot be opened. It has been marked SUSPECT by recovery.",
    1204: "The instance of the SQL Server Database Engine cannot obtain a LOCK resource at this time.",
    3906: 'Failed to update database "db" because the database is read-only.',
    4221: "Login to read-secondary failed due to long wait on 'HADR_DATABASE_WAIT_FOR_TRANSITION_TO_VERSIONING'.",
    8645: "A timeout occurred while waiting for memory resources to execute the query in resource pool 'default' (2).",
    8651: "Could not perform the operation because the requested memory grant was not available in pool 'a' (2).",
    40549: "Session is terminated because you have a long-running transaction. Try shortening your transaction.",
    40550: "The session has been terminated because it has acquired too many locks.",
    40551: "The session has been terminated because of excessive TEMPDB usage. Try modifying your query.",
    40552: "The session has been terminated because of excessive transaction log space usage.",
    40553: "The session has been terminated because of excessive memory usage. Try modifying your query.",
}


def by_pyodbc(state: str, message: str, number: int) -> Exception:
    return Exception(state, f"[{state}] {ODBC}{message} ({number}) (SQLExecDirectW)")


def by_mssql_python(kind: str, message: str) -> Exception:
    error = Exception(f"Driver Error: {kind}; DDBC Error: [Microsoft][SQL Server]{message}")
    error.driver_error = kind  # type: ignore[attr-defined]
    return error


def by_bulk_copy(message: str, number: int) -> Exception:
    return RuntimeError(f"Sql Error: {number}: Class 16: State 1: {message} on server in  at line 1")


@pytest.mark.parametrize(
    ("error", "number", "words", "passing"),
    [
        (by_pyodbc("40001", DEADLOCK, 1205), 1205, DEADLOCK.rstrip(".") + " (error 1205)", True),
        (by_mssql_python("Serialization failure", DEADLOCK), 1205, DEADLOCK.rstrip(".") + " (error 1205)", True),
        (by_bulk_copy(DEADLOCK, 1205), 1205, DEADLOCK.rstrip(".") + " (error 1205)", True),
        # In whatever language the server speaks.
        (by_pyodbc("42000", "Zeitüberschreitung.", 1222), 1222, "error 1222", True),
        (by_mssql_python("General error", ASLEEP), 40613, ASLEEP.rstrip(".") + " (error 40613)", True),
        (by_pyodbc("23000", DUPLICATE, 2627), 2627, "error 2627", False),
        (by_mssql_python("Integrity constraint violation", DUPLICATE), 2627, "error 2627", False),
        (by_bulk_copy(DUPLICATE, 2627), 2627, "error 2627", False),
        (by_pyodbc("42000", "Somebody raised this: canary", 50000), 50000, "error 50000", False),
        (
            by_mssql_python("Syntax error or access violation", "Somebody raised this: canary"),
            None,
            "an error of the type 'Syntax error or access violation'",
            False,
        ),
        (ValueError("canary"), None, "an error of the type 'ValueError'", False),
        (
            by_mssql_python("Base table or view not found", "Invalid object name 'dbo.nowhere'."),
            208,
            "Invalid object name 'dbo.nowhere' (error 208)",
            False,
        ),
        (
            by_mssql_python("Communication link failure", "TCP Provider: canary"),
            None,
            "an error of the type 'Communication link failure'",
            True,
        ),
    ],
)
def test_a_refusal_is_known_from_each_driver_and_no_row_is_told(
    error: Exception, number: int | None, words: str, passing: bool
) -> None:
    fault = mssql_fault(error)
    assert (fault.number, fault.message, fault.transient) == (number, words, passing)


@pytest.mark.parametrize(
    ("error", "words", "passing"),
    [
        (
            by_mssql_python("Invalid authorization specification", "Login failed for user 'sa'."),
            "Login failed for user 'sa' (error 18456)",
            False,
        ),
        (
            RuntimeError("Failed to connect to SQL Server: IO error: Connection refused (os error 111)"),
            "Failed to connect to SQL Server: IO error: Connection refused (os error 111)",
            True,
        ),
        (
            Exception(
                "HYT00",
                "[HYT00] [Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired (0) (SQLDriverConnect)",
            ),
            "Login timeout expired",
            True,
        ),
    ],
)
def test_before_the_first_statement_all_words_are_told(error: Exception, words: str, passing: bool) -> None:
    fault = mssql_fault(error, of_connection=True)
    assert (fault.message, fault.transient) == (words, passing)


def test_what_a_url_leaves_open_is_filled_in() -> None:
    def completed(url: URL) -> URL:
        return mssql._completed(url, "QT_INBOX_URL")

    assert str(completed(make_url("mssql://h/d"))) == "mssql+mssqlpython://h/d?Encrypt=yes"
    assert str(completed(make_url("mssql://h/d?encrypt=no"))) == "mssql+mssqlpython://h/d?encrypt=no"
    odbc = completed(make_url("mssql+pyodbc://h/d"))
    assert dict(odbc.query) == {"Encrypt": "yes", "driver": "ODBC Driver 18 for SQL Server"}
    whole = make_url("mssql+pyodbc://?odbc_connect=Server%3Dh")
    assert completed(whole) == whole


@pytest.mark.parametrize(
    ("message", "number", "of_table"),
    [
        ("The object 'v' is dependent on column 'c'.", 5074, True),
        (DUPLICATE, 2627, True),
        ("CREATE TABLE permission denied in database 'db'.", 262, False),
        ("Login failed for user 'u'.", 18456, False),
        (CONFLICT, 547, True),
        (DEADLOCK, 1205, False),
    ],
)
def test_a_refusal_says_whether_it_is_about_one_table(message: str, number: int, *, of_table: bool) -> None:
    assert mssql_fault(by_pyodbc("42000", message, number)).table_scoped is of_table


@pytest.mark.parametrize("number", TRANSIENT)
def test_what_passes_is_known_by_its_number_and_by_its_words(number: int) -> None:
    message = TRANSIENT[number]
    for error in (
        by_pyodbc("42000", message, number),
        by_pyodbc("42000", "In another language.", number),
        by_mssql_python("Syntax error or access violation", message),
        by_bulk_copy(message, number),
    ):
        fault = mssql_fault(error)
        assert (fault.number, fault.transient, fault.table_scoped) == (number, True, False)


def test_a_database_that_cannot_be_opened_passes_where_it_was_open_before() -> None:
    error = by_mssql_python("Invalid authorization specification", CANNOT_OPEN)
    assert [mssql_fault(error, was_connected=before).transient for before in (False, True)] == [False, True]
    other = by_mssql_python("Invalid authorization specification", "Login failed for user 'sa'.")
    assert not mssql_fault(other, was_connected=True).transient
