import signal
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import EventState, EventUpdate, Inbox, NewEvent, open_inbox
from qt_pipeline.relay import Metrics
from qt_pipeline_tests.relay.posting import event
from qt_pipeline_tests.relay.running import SERVE, TOKEN, SpawnRelay, scraped, scraped_at


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/metrics"


def test_the_figures_of_a_relay_are_to_be_had_on_a_port_of_their_own(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE)
    assert relay.post(event("e-1")).status_code == 202
    assert relay.post(b"no event").status_code == 400
    assert relay.post(event("e-2"), "wrong").status_code == 401
    figures = scraped(relay.log)
    assert figures["qt_relay_events_accepted_total"] == 1
    assert figures['qt_relay_requests_refused_total{reason="not_an_event"}'] == 1
    assert figures['qt_relay_requests_refused_total{reason="token"}'] == 1
    assert figures['qt_relay_requests_refused_total{reason="full"}'] == 0
    assert figures["qt_relay_commit_seconds_count"] == figures["qt_relay_group_events_count"] == 1
    assert figures["qt_relay_events_waiting"] == 0
    assert figures['qt_inbox_events{state="pending"}'] == 1
    assert 0 <= figures["qt_inbox_oldest_pending_age_seconds"] < 60
    assert relay.call("GET", "/metrics").status_code == 404
    assert relay.end(signal.SIGTERM) == -signal.SIGTERM
    assert TOKEN not in relay.log.read_text()


def test_the_metrics_are_for_this_machine_alone() -> None:
    with Metrics().listening(0) as port, socket.socket() as elsewhere:
        # All of 127/8 is this machine, but only one address of it listens.
        with pytest.raises(ConnectionRefusedError):
            elsewhere.connect(("127.0.0.2", port))
        assert scraped_at(address(port))


def test_a_taken_port_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=rf"port {port}: Address already in use.*--metrics-port"),
            Metrics().listening(port),
        ):
            pass


def test_pending_and_parked_events_are_counted_and_the_oldest_told(inbox: Inbox) -> None:
    metrics = Metrics()
    metrics.watch(inbox)
    inbox.append([NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}")])
    [group] = inbox.open_events()
    inbox.update([EventUpdate(group, state=EventState.PARKED)])
    assert metrics.registry.get_sample_value("qt_inbox_events", {"state": "parked"}) == 1
    assert metrics.registry.get_sample_value("qt_inbox_oldest_pending_age_seconds") == 0


def test_an_inbox_that_cannot_be_read_has_no_figures_and_breaks_nothing(tmp_path: Path) -> None:
    file = tmp_path / "inbox.db"
    metrics = Metrics()
    metrics.watch(open_inbox(f"sqlite:///{file}"))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE _qt_events")
    with metrics.listening(0) as port:
        figures = scraped_at(address(port))
    assert "qt_relay_events_accepted_total" in figures
    assert not any(name.startswith("qt_inbox") for name in figures)


def test_many_who_look_at_once_cost_one_look(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    counts = inbox.counts

    def count() -> dict[EventState, int]:
        looks.append(None)
        return counts()

    monkeypatch.setattr(inbox, "counts", count)
    metrics = Metrics()
    metrics.watch(inbox)
    with metrics.listening(0) as port:
        readers = [threading.Thread(target=scraped_at, args=(address(port),)) for _ in range(10)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(20)
    assert len(looks) == 1
