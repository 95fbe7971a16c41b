"""Incidents at rest: on SQLite, on PostgreSQL, and on SQL Server where one is given."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from qt_pipeline.alerting import (
    AlertState,
    AlertStore,
    Cause,
    Checkpoint,
    ColumnChange,
    FinishedRun,
    Observations,
    as_text,
    from_text,
    observe,
    open_store,
)
from qt_pipeline.alerting.contacts import Contact
from qt_pipeline.errors import FailureScope
from qt_pipeline.inbox import InboxUnavailableError, open_inbox
from qt_pipeline_tests.inbox.places import Place

NOW = datetime(2026, 1, 31, 10, 0, 0, 123456, tzinfo=UTC)
RUNS = [
    FinishedRun("run-1", "d-one", NOW, failed=True),
    FinishedRun("run-2", "d-two", NOW, failed=True, scope=FailureScope.TARGET),
]
SEEN = Observations(
    runs=RUNS, stale={"d-old": Cause("Ägyptens Daten sind alt.")}, changes=[ColumnChange("d", 7, "r", NOW, "New.")]
)
MEMORY = Checkpoint(
    runs_until=NOW,
    runs_seen={"run-1": NOW},
    unread={"run-0": "d-one"},
    ledger_asked_at=NOW - timedelta(hours=1),
    ledger_answered=False,
    contacts={"somebody": Contact((NOW,), 3, NOW)},
)
STATE = AlertState(MEMORY, observe({}, SEEN, now=NOW))


@pytest.fixture(params=["sqlite", "postgres", "sqlserver"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found: Place = request.getfixturevalue(request.param)
    yield found
    if found.name == "sqlserver":
        found.execute("DROP TABLE IF EXISTS _qt_incidents", "DROP TABLE IF EXISTS _qt_alerting")


@pytest.fixture
def store(place: Place) -> Iterator[AlertStore]:
    opened = open_store(place.url)
    yield opened
    opened.close()


def test_a_store_begins_empty(store: AlertStore) -> None:
    assert store.read() == AlertState()


def test_what_was_written_is_read_again_by_anybody(store: AlertStore, place: Place) -> None:
    store.write(AlertState(), STATE)
    other = open_store(place.url)
    assert other.read() == STATE
    other.close()


def test_only_what_is_there_last_is_kept(store: AlertStore) -> None:
    store.write(AlertState(), STATE)
    later = observe(STATE.incidents, Observations(runs=[FinishedRun("run-3", "d-one", NOW, failed=False)]), now=NOW)
    first, *rest = later
    after = AlertState(Checkpoint(), {key: later[key] for key in rest})
    store.write(STATE, after)
    assert first not in store.read().incidents
    assert store.read() == after


def test_a_state_that_is_the_same_is_not_written(store: AlertStore, place: Place) -> None:
    store.write(AlertState(), STATE)
    place.execute("DELETE FROM _qt_incidents", "DELETE FROM _qt_alerting")
    store.write(STATE, STATE)
    assert store.read() == AlertState()


def test_datasets_whose_ids_differ_in_case_are_two(store: AlertStore) -> None:
    runs = [FinishedRun(f"run-{d}", d, NOW, failed=True) for d in ("d-a", "d-A")]
    state = AlertState(Checkpoint(), observe({}, Observations(runs=runs), now=NOW))
    store.write(AlertState(), state)
    assert len(store.read().incidents) == 2


def test_a_thousand_incidents_are_written_at_once(store: AlertStore) -> None:
    runs = [FinishedRun(f"run-{n}", f"d-{n}", NOW, failed=True) for n in range(1000)]
    state = AlertState(Checkpoint(), observe({}, Observations(runs=runs), now=NOW))
    store.write(AlertState(), state)
    assert store.read() == state


def test_people_can_read_what_is_open_by_sql(store: AlertStore, place: Place) -> None:
    store.write(AlertState(), STATE)
    open_now = place.query("SELECT kind, subject FROM _qt_incidents WHERE closed_at IS NULL ORDER BY kind")
    assert open_now == [("does-not-load", "d-one"), ("drift", "d/7"), ("stale", "d-old"), ("target", "")]


def test_the_inbox_and_the_store_share_a_database(store: AlertStore, place: Place) -> None:
    inbox = open_inbox(place.url)
    store.write(AlertState(), STATE)
    assert inbox.newest_seq() == 0
    inbox.close()


def test_what_a_table_of_an_older_version_lacks_is_made(sqlite: Place) -> None:
    open_store(sqlite.url).close()
    sqlite.execute("ALTER TABLE _qt_incidents DROP COLUMN closed_at")
    again = open_store(sqlite.url)
    again.write(AlertState(), STATE)
    assert again.read() == STATE
    again.close()


def test_an_unavailable_database_is_reported_as_unavailable(sqlite: Place) -> None:
    opened = open_store(sqlite.url)
    sqlite.execute("DROP TABLE _qt_incidents")
    with pytest.raises(InboxUnavailableError, match="_qt_incidents"):
        opened.read()
    opened.close()


def test_incidents_can_be_kept_as_text() -> None:
    assert from_text(as_text(STATE)) == list(STATE.incidents.values())
    assert from_text("") == from_text(None) == from_text(as_text(AlertState())) == []
