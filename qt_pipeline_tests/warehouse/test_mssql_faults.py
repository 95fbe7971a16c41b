"""What SQL Server's refusals mean, and how a database that sleeps is waited for."""

import logging
from functools import partial
from typing import Any

import pytest
from sqlalchemy import MetaData, Table, create_engine, make_url

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.warehouse import TableBusyError, TargetRefusedError, TargetUnavailableError
from qt_pipeline.warehouse.mssql import MssqlTarget
from qt_pipeline.warehouse.mssql import connect as mssql_connect
from qt_pipeline.warehouse.mssql.faults import fault_of
from qt_pipeline_tests.warehouse import mssql_recorder
from qt_pipeline_tests.warehouse.mssql_recorder import Driver

ODBC = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"
ANSWERS = [("sp_getapplock", [(0,)]), ("is_read_committed_snapshot_on", [(True,)]), ("schema_id(", [(1,)])]
DEADLOCK = "Transaction (Process ID 5) was deadlocked on lock resources with another process. Rerun the transaction."
ASLEEP = "Database 'db' on server 'host' is not currently available. Please retry the connection later."
DUPLICATE = "Violation of PRIMARY KEY constraint 'pk'. The duplicate key value is (canary)."


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
            "an error of the kind 'Syntax error or access violation'",
            False,
        ),
        (ValueError("canary"), None, "an error of the kind 'ValueError'", False),
        (
            by_mssql_python("Base table or view not found", "Invalid object name 'dbo.nowhere'."),
            208,
            "Invalid object name 'dbo.nowhere' (error 208)",
            False,
        ),
        (
            by_mssql_python("Communication link failure", "TCP Provider: canary"),
            None,
            "an error of the kind 'Communication link failure'",
            True,
        ),
    ],
)
def test_a_refusal_is_known_from_each_driver_and_no_row_is_told(
    error: Exception, number: int | None, words: str, passing: bool
) -> None:
    fault = fault_of(error)
    assert (fault.number, fault.words, fault.passing) == (number, words, passing)


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
    fault = fault_of(error, of_connection=True)
    assert (fault.words, fault.passing) == (words, passing)


class Sleeping(Driver):
    """Refuses its first connections."""

    def __init__(self, *refusals: str) -> None:
        super().__init__(ANSWERS, ["_qt_loads", "_qt_columns"])
        self.refusals = list(refusals)

    def connect(self, *arguments: object, **options: object) -> Any:
        if self.refusals:
            raise mssql_recorder.Error(f"Driver Error: General error; DDBC Error: {self.refusals.pop(0)}")
        return super().connect(*arguments, **options)


def open_over(monkeypatch: pytest.MonkeyPatch, driver: Driver, url: str) -> MssqlTarget:
    monkeypatch.setattr(mssql_connect, "create_engine", partial(create_engine, module=driver))
    monkeypatch.setattr(mssql_connect, "_WAKE_PAUSE_SECONDS", 0)
    return MssqlTarget(make_url(url), None, None)


def test_a_database_that_sleeps_is_waited_for_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    driver = Sleeping(f"[Microsoft][SQL Server]{ASLEEP}", "[Microsoft]Login timeout expired", ASLEEP)
    target = open_over(monkeypatch, driver, "mssql://u:canary@server.database.windows.net/db")
    assert target.has_ledger()
    assert caplog.text.count("waking up") == 1
    driver.refusals.append(ASLEEP)
    with pytest.raises(TargetUnavailableError), target._engine.connect(), target.reading():
        pass


@pytest.mark.parametrize("refusal", ["[Microsoft]Login timeout expired", "[Microsoft]IO error: Connection refused"])
def test_a_server_elsewhere_that_does_not_answer_does_not_sleep(monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    driver = Sleeping(refusal, refusal)
    with pytest.raises(TargetUnavailableError) as caught:
        open_over(monkeypatch, driver, "mssql://u:canary@server/db?foo=canary")
    assert len(driver.refusals) == 1
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mssql+pymssql://u:canary@h/d", "'pymssql'"),
        ("mssql://u:canary@h/d?authentication=ActiveDirectoryPassword", "ActiveDirectoryPassword"),
    ],
)
def test_a_url_that_cannot_be_used_is_told(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        MssqlTarget(make_url(url), None, None)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("schema", ["a.b", "[a]", "a]"])
def test_a_schema_that_sqlalchemy_would_cut_is_refused(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="dot or a bracket"):
        MssqlTarget(make_url("mssql://u@h/d"), schema, None)


def test_a_lock_that_is_not_given_is_busy_or_passing(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, error in ((-1, TableBusyError), (-3, TargetUnavailableError)):
        driver = Driver([("sp_getapplock", [(given,)]), *ANSWERS[1:]], ["_qt_loads", "_qt_columns"])
        target = open_over(monkeypatch, driver, "mssql://u@h/d")
        with pytest.raises(error, match="'paid'"), target.exclusive("paid"):
            pass


def test_a_name_of_temporary_tables_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_over(monkeypatch, Driver(ANSWERS, ["_qt_loads", "_qt_columns"]), "mssql://u@h/d")
    with pytest.raises(TargetRefusedError, match="'#paid'"), target.writing() as connection:
        target.create_table(connection, Table("#paid", MetaData()))


def test_what_a_url_leaves_open_is_filled_in() -> None:
    completed = mssql_connect._completed
    assert str(completed(make_url("mssql://h/d"))) == "mssql+mssqlpython://h/d?Encrypt=yes"
    assert str(completed(make_url("mssql://h/d?encrypt=no"))) == "mssql+mssqlpython://h/d?encrypt=no"
    odbc = completed(make_url("mssql+pyodbc://h/d"))
    assert dict(odbc.query) == {"Encrypt": "yes", "driver": "ODBC Driver 18 for SQL Server"}
    whole = make_url("mssql+pyodbc://?odbc_connect=Server%3Dh")
    assert completed(whole) == whole
