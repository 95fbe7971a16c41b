"""Snapshots of the SQL that SQL Server is sent: each statement of the store, in order, in `mssql/*.sql`."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from qt_pipeline.alerting import AlertState, AlertStore, Checkpoint, FinishedRun, Observations, observe, open_store
from qt_pipeline.database import mssql
from qt_pipeline_tests.warehouse.mssql_recorder import Driver

SNAPSHOTS = Path(__file__).with_name("mssql")
NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver([("sp_getapplock", [(0,)])])
    monkeypatch.setattr(mssql, "create_engine", partial(create_engine, module=driver))
    return driver


@pytest.fixture
def store(driver: Driver) -> AlertStore:
    opened = open_store("mssql://sa:canary@server/db")
    held("open", driver)
    driver.lines.clear()
    return opened


def held(name: str, driver: Driver) -> None:
    assert driver.text == (SNAPSHOTS / f"{name}.sql").read_text()


@pytest.mark.usefixtures("store")
def test_opening_makes_the_tables_alone() -> None:
    """Held by the fixture."""


def test_a_state_is_written_in_one_transaction(store: AlertStore, driver: Driver) -> None:
    first = AlertState(
        Checkpoint(), observe({}, Observations(runs=[FinishedRun("r-1", "d-one", NOW, failed=True)]), now=NOW)
    )
    later = observe(first.incidents, Observations(runs=[FinishedRun("r-2", "d-one", NOW, failed=False)]), now=NOW)
    store.write(AlertState(), first)
    store.write(first, AlertState(Checkpoint(), later))
    held("write", driver)


def test_a_state_is_read_in_one_transaction(store: AlertStore, driver: Driver) -> None:
    assert store.read() == AlertState()
    held("read", driver)
