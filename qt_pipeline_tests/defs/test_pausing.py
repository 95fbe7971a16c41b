"""QT_SENSOR_INTERVAL_MINUTES on real servers: between two uses nothing is connected, so that a database can pause."""

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from qt_pipeline import definitions, relay
from qt_pipeline.cli import serve
from qt_pipeline.defs import resources
from qt_pipeline.inbox import NewEvent
from qt_pipeline.quantemplate import DATASET_UPDATED
from qt_pipeline.settings import ENV_FILE_VARIABLE, Settings, load_settings
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline
from qt_pipeline_tests.inbox import places
from qt_pipeline_tests.postgres import new_database
from qt_pipeline_tests.warehouse import engines

_CLOSED_SECONDS = 20
# Some times what the sensor of events waits between two looks at an inbox on a server.
_WATCHED_SECONDS = 2


class Server(ABC):
    """A server that holds inbox and warehouse, and somebody who counts our connections to it."""

    def __init__(self, place: engines.Engine) -> None:
        self.url = place.url
        self.schema = str(place.schema)
        self._place = place

    @contextmanager
    def watched(self) -> Iterator[Callable[[], tuple[int, int]]]:
        """How many connections of ours are open, and how many there have been, as far as the server counts those."""
        with self._place.reader() as ask:
            yield lambda: ask(self._question())[0]

    @abstractmethod
    def _question(self) -> str: ...


class OnPostgres(Server):
    def _question(self) -> str:
        return (
            "SELECT count(*), (SELECT sessions FROM pg_stat_database WHERE datname = current_database()) "
            "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'qt_pipeline'"
        )


class OnSqlServer(Server):
    def _question(self) -> str:
        # This process is a client of the server, which need not run on this machine.
        return (
            "SELECT COUNT(*), 0 FROM sys.dm_exec_sessions WHERE host_name = HOST_NAME() "
            f"AND host_process_id = {os.getpid()} AND session_id <> @@SPID"
        )


@pytest.fixture(params=["postgresql", "sqlserver"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "postgresql":
        with new_database(request.getfixturevalue("postgres_server"), "UTF8") as url:
            yield OnPostgres(engines.Postgres(url))
        return
    if not engines.MSSQL_URL:
        pytest.skip("QT_TEST_MSSQL_URL is not set: nothing is tested on SQL Server")
    place, inbox = engines.SqlServer(), places.SqlServer(places.MSSQL_URL)
    yield OnSqlServer(place)
    inbox.execute("DROP TABLE IF EXISTS _qt_incidents", "DROP TABLE IF EXISTS _qt_alerting")
    inbox.drop()
    place.drop()


@pytest.fixture
def settings(pipeline: LocalPipeline, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in {
        ENV_FILE_VARIABLE: "",
        "QT_ALERT_URLS": "json://127.0.0.1:9",
        "QT_API_URL": pipeline.sandbox.api_url,
        "QT_CLIENT_ID": pipeline.sandbox.client_id,
        "QT_CLIENT_SECRET": pipeline.sandbox.client_secret,
        "QT_INBOX_URL": server.url,
        "QT_ORGANISATION_ID": pipeline.sandbox.organisation_id,
        "QT_STATE_DIR": str(pipeline.folder / "state"),
        "QT_TOKEN_URL": pipeline.sandbox.token_url,
        "QT_WAREHOUSE_SCHEMA": server.schema,
        "QT_WAREHOUSE_URL": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    # It changes the whole process.
    monkeypatch.setattr(definitions, "keep_private", lambda: None)
    pipeline.serve("Reference,Amount\n007,1.25\n")
    yield load_settings()
    for opened in (resources._inbox, resources._alert_store, resources._warehouse):
        opened.cache_clear()


def tick(pipeline: LocalPipeline, name: str) -> dg.SensorResult | dg.SkipReason:
    """One tick of a sensor of the code location, as Dagster evaluates it."""
    sensor = definitions.defs().resolve_sensor_def(name)
    given = {"dispatcher": resources.dispatcher_resource, "monitor": resources.alert_monitor_resource}
    answer = sensor(dg.build_sensor_context(instance=pipeline.instance, resources=given))
    assert isinstance(answer, dg.SensorResult | dg.SkipReason)
    return answer


def all_that_uses_a_database(pipeline: LocalPipeline) -> Iterator[str]:
    """The relay, each sensor and a run, one after the other, each with its name."""
    metrics = relay.Metrics()
    intake = serve._event_sink(load_settings(), metrics)
    event = NewEvent("event-1", DATASET_UPDATED, DATASET_ID, None, b"{}")
    assert asyncio.run(intake.accept(event)) is not None
    yield "an append"
    events = tick(pipeline, "quantemplate_events")
    assert isinstance(events, dg.SensorResult)
    assert len(events.run_requests or ()) == 1
    yield "a tick of events"
    job = definitions.defs().resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=pipeline.instance, partition_key=DATASET_ID, raise_on_error=False).success
    yield "a load"
    for name in ("quantemplate_freshness", "quantemplate_alerts"):
        tick(pipeline, name)
        yield f"a tick of {name}"


@pytest.mark.usefixtures("settings")
def test_with_an_interval_nothing_is_connected_between_two_uses(
    pipeline: LocalPipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QT_SENSOR_INTERVAL_MINUTES", "90")
    with server.watched() as connections:
        for use in all_that_uses_a_database(pipeline):
            # A server takes a moment to notice that a connection was closed.
            deadline = time.monotonic() + _CLOSED_SECONDS
            while connections()[0] and time.monotonic() < deadline:
                time.sleep(0.05)
            assert connections()[0] == 0, use
        before = connections()
        time.sleep(_WATCHED_SECONDS)
        assert connections() == before


@pytest.mark.usefixtures("settings")
def test_without_an_interval_connections_stay_open_as_ever(pipeline: LocalPipeline, server: Server) -> None:
    with server.watched() as connections:
        for use in all_that_uses_a_database(pipeline):
            assert connections()[0] > 0, use


def test_each_sensor_has_the_interval_and_no_tick_waits_or_leaves_requests_for_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def intervals() -> dict[str, int | None]:
        return {sensor.name: sensor.minimum_interval_seconds for sensor in definitions.defs().sensors or ()}

    every = {"quantemplate_events": 1, "quantemplate_freshness": 60, "quantemplate_alerts": 20}
    assert intervals() == every
    often = resources.dispatcher_resource()
    assert (often.wait_seconds, often.policy.requests) == (4, 50)
    monkeypatch.setenv("QT_SENSOR_INTERVAL_MINUTES", "90")
    assert intervals() == dict.fromkeys(every, 5400)
    monkeypatch.setenv("QT_POLL_MINUTES", "15")
    assert intervals() == {**dict.fromkeys(every, 5400), "quantemplate_polling": 900}
    seldom = resources.dispatcher_resource()
    assert (seldom.wait_seconds, seldom.policy.requests) == (0, settings.max_datasets)


@pytest.mark.usefixtures("settings")
def test_the_relays_metrics_leave_a_database_alone_that_may_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> set[str]:
        metrics = relay.Metrics()
        serve._event_sink(load_settings(), metrics)
        return {metric.name for metric in metrics.registry.collect()}

    assert "qt_inbox_events" in names()
    monkeypatch.setenv("QT_SENSOR_INTERVAL_MINUTES", "90")
    assert "qt_inbox_events" not in names()
    assert "qt_relay_events_accepted" in names()
