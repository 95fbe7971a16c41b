"""How SQL Server is reached as a target: what is waited for, and what is refused."""

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import MetaData, Table, create_engine, make_url

from qt_pipeline.database import mssql as mssql_connect
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.tabular import MAX_FORMAT
from qt_pipeline.warehouse import TableBusyError, TargetRefusedError, TargetUnavailableError
from qt_pipeline.warehouse.mssql import MssqlTarget
from qt_pipeline_tests.warehouse import mssql_recorder
from qt_pipeline_tests.warehouse.mssql_recorder import Driver

ANSWERS = [
    ("sp_getapplock", [(0,)]),
    ("is_read_committed_snapshot_on", [(True,)]),
    ("schema_id(", [(1,)]),
    ("col_length(", [(2 * MAX_FORMAT,)]),
]
ASLEEP = "Database 'db' on server 'host' is not currently available. Please retry the connection later."


class Sleeping(Driver):
    """Refuses its first connections."""

    def __init__(self, *refusals: str) -> None:
        super().__init__(ANSWERS, ["_qt_loads", "_qt_columns"])
        self.refusals = list(refusals)

    def connect(self, *arguments: object, **options: object) -> Any:
        if self.refusals:
            raise mssql_recorder.Error(f"Driver Error: General error; DDBC Error: {self.refusals.pop(0)}")
        return super().connect(*arguments, **options)


def open_over(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, url: str, *, keep_connections: bool = True
) -> MssqlTarget:
    monkeypatch.setattr(mssql_connect, "create_engine", partial(create_engine, module=driver))
    monkeypatch.setattr(mssql_connect, "_WAKE_PAUSE_SECONDS", 0)
    return MssqlTarget(make_url(url), None, None, keep_connections=keep_connections)


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


def test_where_no_connection_is_kept_each_use_opens_one_and_waits_for_a_database_that_paused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    driver = Sleeping()
    target = open_over(monkeypatch, driver, "mssql://u@server.database.windows.net/db", keep_connections=False)
    for _ in range(2):
        driver.refusals += [ASLEEP, ASLEEP]
        assert target.has_ledger()
        assert driver.refusals == []
    assert caplog.text.count("waking up") == 2


def test_pyodbc_keeps_no_connection_that_the_engine_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own pool is on by default, and works where the driver manager is set up for it.
    pyodbc = SimpleNamespace(pooling=True, version="5.2.0", paramstyle="qmark", Error=Exception, Cursor=object)
    monkeypatch.setattr(mssql_connect, "create_engine", partial(create_engine, module=pyodbc))
    mssql_connect.mssql_engine(make_url("mssql+pyodbc://u@server/db"), setting="QT_INBOX_URL", wait_seconds=1)
    assert pyodbc.pooling is False


def test_a_database_that_cannot_be_opened_is_refused_at_first_and_unavailable_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = '[Microsoft][SQL Server]Cannot open database "db" requested by the login. The login failed.'
    url = "mssql://u@server/let-in"
    driver = Sleeping(refusal)
    with pytest.raises(TargetRefusedError, match="4060"):
        open_over(monkeypatch, driver, url)
    target = open_over(monkeypatch, driver, url)
    target._engine.dispose()
    driver.refusals.append(refusal)
    with pytest.raises(TargetUnavailableError, match="4060"):
        target.has_ledger()
    driver.refusals.append(refusal)
    with pytest.raises(TargetRefusedError, match="4060"):
        open_over(monkeypatch, driver, url.replace("let-in", "another"))


@pytest.mark.parametrize("refusal", ["[Microsoft]Login timeout expired", "[Microsoft]IO error: Connection refused"])
def test_a_server_elsewhere_that_does_not_answer_does_not_sleep(monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    driver = Sleeping(refusal, refusal)
    with pytest.raises(TargetUnavailableError) as caught:
        open_over(monkeypatch, driver, "mssql://u:canary@server/db?foo=canary")
    assert len(driver.refusals) == 1
    assert "canary" not in str(caught.value)


def test_a_driver_whose_library_is_missing_is_a_matter_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Sleeping("Failed to load the driver. Please read the documentation (https://example.invalid).")
    with pytest.raises(ConfigurationError, match="cannot be loaded") as caught:
        open_over(monkeypatch, driver, "mssql://u@server.database.windows.net/db")
    assert "libltdl7" in caught.value.hint
    assert "MSSQL_PYTHON_NATIVE_PROVIDER=mssql-odbc" in caught.value.hint


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
        with pytest.raises(error, match="'paid'"), target.table_lock("paid"):
            pass


def test_a_name_of_temporary_tables_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_over(monkeypatch, Driver(ANSWERS, ["_qt_loads", "_qt_columns"]), "mssql://u@h/d")
    with pytest.raises(TargetRefusedError, match="'#paid'"), target.writing() as connection:
        target.create_table(connection, Table("#paid", MetaData()))
