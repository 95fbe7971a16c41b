"""Snapshots of the SQL that SQL Server is sent: each statement of an inbox, in order, in `mssql/*.sql`."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from qt_pipeline.database import mssql
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import EventState, EventUpdate, Inbox, InboxUnavailableError, NewEvent, OpenEvents, open_inbox
from qt_pipeline_tests.warehouse.mssql_recorder import Answer, Driver

SNAPSHOTS = Path(__file__).with_name("mssql")
MOMENT = datetime(2026, 1, 31, 10, tzinfo=UTC)
EVENT = NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}", received_at=MOMENT)
GROUP = OpenEvents(EventState.PENDING, "DatasetUpdated", "d-one", 7, 9, 1, 0, None, 0, MOMENT)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Opened = Callable[..., tuple[Inbox, Driver]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens an inbox over a recording driver."""

    def open_(answers: Sequence[tuple[str, Answer]] = ()) -> tuple[Inbox, Driver]:
        driver = Driver([*answers, ("sp_getapplock", [(0,)]), ("OUTPUT", [(8, 1), (7, 0)])])
        monkeypatch.setattr(mssql, "create_engine", partial(create_engine, module=driver))
        return open_inbox("mssql://sa:canary@server/db?PWD=canary"), driver

    return open_


def held(name: str, driver: Driver) -> None:
    # SQLAlchemy keeps the indexes of a table in no order.
    indexes = iter(sorted(line for line in driver.lines if line.startswith("CREATE INDEX")))
    driver.lines = [next(indexes) if line.startswith("CREATE INDEX") else line for line in driver.lines]
    assert _UUID.sub("<new id>", driver.text) == (SNAPSHOTS / f"{name}.sql").read_text()


def test_opening_makes_the_tables_alone_and_then_the_identity(opened: Opened) -> None:
    _, driver = opened()
    held("open", driver)


def test_an_append_waits_for_its_turn_before_its_numbers_are_drawn(opened: Opened) -> None:
    inbox, driver = opened()
    driver.lines.clear()
    assert inbox.append([EVENT, EVENT]) == [7, 8]
    held("append", driver)


def test_what_is_asked_and_changed_on_each_tick(opened: Opened) -> None:
    inbox, driver = opened()
    driver.lines.clear()
    inbox.open_events()
    inbox.oldest_pending_at()
    inbox.newest_seq()
    inbox.highest_seq("d-one")
    inbox.update([EventUpdate(GROUP, attempts=2, delivery="d-one:9:2"), EventUpdate(GROUP, EventState.DONE)])
    held("tick", driver)


def test_a_replay_and_a_purge(opened: Opened) -> None:
    inbox, driver = opened()
    driver.lines.clear()
    inbox.replay([7])
    inbox.purge(MOMENT, limit=2000)
    held("replay_and_purge", driver)


def test_the_wait_for_the_end_of_a_statement_is_bounded(opened: Opened) -> None:
    inbox, _ = opened()
    connection: Any = inbox._engine.raw_connection().driver_connection
    assert 0 < connection.timeout <= 60


def test_a_lock_that_is_not_given_and_a_refusal_are_told_without_password_and_row(opened: Opened) -> None:
    with pytest.raises(InboxUnavailableError, match="another process is preparing it") as busy:
        opened([("sp_getapplock", [(-1,)])])

    def refuse(*_: object) -> Sequence[tuple[object, ...]]:
        raise Driver.Error("[Microsoft][SQL Server]Violation of PRIMARY KEY: canary. (2627) (SQLExecDirectW)")

    inbox, _ = opened([("max(", refuse)])
    with pytest.raises(InboxUnavailableError, match=r"error 2627.*login may read and write") as refused:
        inbox.newest_seq()
    for caught in (busy, refused):
        assert "canary" not in str(caught.value)


def test_a_driver_that_is_none_of_sql_server_is_told_with_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"'pymssql'.*QT_INBOX_URL") as caught:
        open_inbox("mssql+pymssql://u:canary@h/d")
    assert "canary" not in str(caught.value)
