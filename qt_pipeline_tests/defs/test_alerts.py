"""The sensor of alerts over real rooms: what runs, events and loads lead to at a service on this machine."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from pydantic import SecretStr

from qt_pipeline.alerting import (
    AlertRouting,
    AlertState,
    AlertStore,
    Cause,
    Sender,
    addresses_of,
    from_text,
    open_store,
)
from qt_pipeline.catalog import load_catalog
from qt_pipeline.definitions import build_defs
from qt_pipeline.defs import finished_runs
from qt_pipeline.defs.alerts import alerts_sensor
from qt_pipeline.defs.assets import DATASET
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import AlertMonitor
from qt_pipeline.defs.runs import tag_failure
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.inbox import Inbox, InboxUnavailableError
from qt_pipeline.sandbox import Fault
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import TargetUnavailableError, Warehouse
from qt_pipeline_tests.alerting.services import SECRET, Service, running_service
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline

OTHER_ID = "d-another-of-a-test-002"
CSV = "Reference,Amount\n007,1.25\n008,2.50\n"
RAGGED = "Reference,Amount\n007,1.25,canary-of-a-row\n"
TITLE = "[qt_pipeline] "
NAMED = f"datasets: {{{DATASET_ID}: {{name: Premium bordereau}}}}"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_service() as running:
        yield running


class Alerts:
    """The sensor, its cursor, and what it is given; any part can be taken away for a while."""

    def __init__(self, pipeline: LocalPipeline, *urls: SecretStr) -> None:
        self.pipeline = pipeline
        self.urls = urls
        self.cursor: str | None = None
        self.inbox_is_away = self.target_is_away = False
        self.sure = timedelta(0)
        self.store = open_store(f"sqlite:///{pipeline.folder}/inbox.db")

    def tick(self) -> str:
        """One tick, and what it says of itself."""
        context = dg.build_sensor_context(instance=self.pipeline.instance, cursor=self.cursor)
        answer = alerts_sensor()(context, monitor=self._monitor())
        if isinstance(answer, dg.SkipReason):
            return str(answer.skip_message)
        assert isinstance(answer, dg.SensorResult)
        assert answer.skip_reason is not None
        self.cursor = self.cursor if answer.cursor is None else answer.cursor
        return str(answer.skip_reason.skip_message)

    def forget_when(self, **forgotten: Any) -> None:
        """As if waits that a tick remembers were over."""
        before = self.store.read()
        self.store.write(before, AlertState(replace(before.checkpoint, **forgotten), before.incidents))

    def _monitor(self) -> AlertMonitor:
        return AlertMonitor(
            routing=AlertRouting(addresses_of(self.urls), Sender(), per_hour=20, debounce=self.sure),
            open_inbox=self._inbox,
            open_store=self._store,
            open_warehouse=self._warehouse,
            read_catalog=lambda: load_catalog(self.pipeline.folder / "datasets.yaml"),
            dagster_url="http://127.0.0.1:3000",
        )

    def _inbox(self) -> Inbox:
        if self.inbox_is_away:
            raise InboxUnavailableError("The inbox is not available: its disk is full.", hint="Make space.")
        return self.pipeline.inbox

    def _store(self) -> AlertStore:
        self._inbox()
        return self.store

    def _warehouse(self) -> Warehouse:
        if self.target_is_away:
            raise TargetUnavailableError("The target is away.")
        return self.pipeline.warehouse


@pytest.fixture
def alerts(pipeline: LocalPipeline, service: Service) -> Alerts:
    pipeline.write_catalog(NAMED)
    return Alerts(pipeline, service.url)


def ended(pipeline: LocalPipeline, words: str = "The process of this run is gone.", *, well: bool = False) -> str:
    """A run that Dagster says has succeeded, or failed without a word of its own."""
    pipeline.serve(CSV)
    run = create_run_for_test(
        pipeline.instance, "__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": DATASET_ID}
    )
    if well:
        pipeline.instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name), run.run_id
        )
    else:
        pipeline.instance.report_run_failed(run, words)
    return run.run_id


def fail_by(pipeline: LocalPipeline, status: int, *dataset_ids: str) -> list[str]:
    """A run of each dataset that fails because Quantemplate answers so."""
    runs: list[str] = []
    for dataset_id in dataset_ids:
        pipeline.serve(CSV, dataset_id)
        pipeline.sandbox.state.set_faults(dataset_id, [Fault(kind="status", status=status, times=None)])
        runs.append(pipeline.run([DATASET], dataset_id=dataset_id).id)
    return runs


def test_without_an_address_nothing_is_looked_at(pipeline: LocalPipeline) -> None:
    alerts = Alerts(pipeline)
    alerts.inbox_is_away = True
    assert alerts.tick() == "QT_ALERT_URLS is not set: no alerts are sent."


def test_a_run_that_fails_is_told_with_name_cause_next_step_and_link_and_so_is_its_end(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    assert alerts.tick() == "No open incidents."
    pipeline.serve(RAGGED)
    run = pipeline.run()
    assert alerts.tick() == "Open incidents: does-not-load (1). Messages sent: 1."
    [message] = service.received
    assert message["title"] == f"{TITLE}Premium bordereau does not load"
    assert message["message"].startswith(str(run.failure.metadata["error"].value))
    assert f"How to fix: {run.failure.metadata['how to fix'].value}\n" in message["message"]
    assert f"Run: http://127.0.0.1:3000/runs/{run.id}\n" in message["message"]
    assert "canary-of-a-row" not in message["message"]
    pipeline.serve(CSV)
    assert pipeline.run().success
    assert alerts.tick() == "No open incidents. Messages sent: 1."
    assert service.titles[1:] == [f"{TITLE}Premium bordereau loads again"]
    assert alerts.tick() == "No open incidents."


def test_an_outage_of_ten_failing_runs_is_one_alert_and_one_recovery(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    dataset_ids = [f"d-outage-{number}" for number in range(5)]
    for _ in range(2):
        for dataset_id in dataset_ids:
            # As for a user whom Quantemplate has locked out: every token is refused.
            fail_by(pipeline, 401, dataset_id)
            alerts.tick()
    assert service.titles == [f"{TITLE}Quantemplate fails: 1 dataset does not load"]
    for dataset_id in dataset_ids:
        pipeline.serve(CSV, dataset_id)
        assert pipeline.run(dataset_id=dataset_id).success
        alerts.tick()
    assert service.titles[1:] == [f"{TITLE}Quantemplate works again"]
    assert "with 10 failed runs of 5 datasets." in service.received[1]["message"]


def test_a_run_counts_once_however_often_it_is_read(pipeline: LocalPipeline, alerts: Alerts, service: Service) -> None:
    ended(pipeline)
    for _ in range(3):
        alerts.tick()
    pipeline.instance.add_run_tags(ended(pipeline), {"somebody": "was here"})
    alerts.tick()
    ended(pipeline, well=True)
    alerts.tick()
    assert len(service.received) == 2
    assert "with 2 failed runs" in service.received[1]["message"]


@pytest.mark.parametrize(("status", "title"), [(403, "2 alerts"), (401, "Quantemplate fails: 2 datasets do not load")])
def test_an_error_says_whether_all_datasets_share_its_cause(
    pipeline: LocalPipeline, alerts: Alerts, service: Service, status: int, title: str
) -> None:
    runs = fail_by(pipeline, status, DATASET_ID, OTHER_ID)
    run = pipeline.instance.get_run_by_id(runs[0])
    assert run is not None
    assert run.tags["qt/failure_scope"] == {401: "quantemplate", 403: "dataset"}[status]
    alerts.tick()
    assert service.titles == [f"{TITLE}{title}"]
    assert "Premium bordereau" in service.received[0]["message"]
    assert "d_another_of_a_test_002" in service.received[0]["message"]


def test_credentials_that_are_missing_are_a_setting_that_all_share(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    pipeline.serve(CSV)
    pipeline.run(with_credentials=False)
    alerts.tick()
    assert service.titles == [f"{TITLE}A setting or the catalog is wrong: 1 dataset does not load"]
    assert "QT_CLIENT_ID" in service.received[0]["message"]


def test_parked_events_are_told_with_their_reason_until_they_are_settled(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    pipeline.write_catalog(f"{NAMED}\nunlisted: refuse")
    [seq] = pipeline.announce(OTHER_ID)
    pipeline.tick()
    alerts.tick()
    assert service.titles == [f"{TITLE}{OTHER_ID} does not load"]
    assert service.received[0]["message"].startswith("The catalog rejects unlisted datasets.")
    assert f"qt-pipeline replay --parked --dataset-id {OTHER_ID}" in service.received[0]["message"]
    pipeline.inbox.replay([seq])
    alerts.tick()
    assert len(service.received) == 2


def test_a_failure_without_a_run_is_notified_only_when_it_lasts(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    alerts.sure = timedelta(hours=1)
    pipeline.write_catalog(f"{NAMED}\nunlisted: refuse")
    pipeline.announce(OTHER_ID)
    pipeline.tick()
    assert alerts.tick() == "Open incidents: does-not-load (1)."
    assert service.received == []


def test_a_stale_dataset_is_notified_until_it_is_loaded(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    pipeline.serve(CSV)
    pipeline.run()
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{name: Claims, fresh_within_hours: 0.00001}}}}")
    time.sleep(0.05)
    alerts.tick()
    assert service.titles == [f"{TITLE}Claims is stale"]
    assert "the catalog wants one within 1e-05 hours" in service.received[0]["message"]
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{name: Claims, fresh_within_hours: 9}}}}")
    pipeline.run()
    alerts.tick()
    assert service.titles[1:] == [f"{TITLE}Claims is up to date again"]


def test_columns_that_changed_are_told_once(pipeline: LocalPipeline, alerts: Alerts, service: Service) -> None:
    pipeline.serve(CSV)
    pipeline.run()
    alerts.tick()
    assert service.received == []
    pipeline.serve("Reference,Amount,Tax\n007,1.25,0.20\n")
    pipeline.run()
    alerts.tick()
    alerts.tick()
    [message] = service.received
    assert message["title"] == f"{TITLE}Premium bordereau has changed its columns"
    assert "Tax" in message["message"]
    assert message["type"] == "warning"


def test_a_target_that_is_away_from_the_tick_only_delays_what_it_knows(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    pipeline.serve(CSV)
    pipeline.run()
    alerts.tick()
    pipeline.serve("Reference,Amount,Tax\n007,1.25,0.20\n")
    pipeline.run()
    alerts.target_is_away = True
    assert alerts.tick() == "No open incidents."
    alerts.target_is_away = False
    alerts.tick()
    assert service.received == []
    # It is asked again after a while.
    alerts.forget_when(ledger_asked_at=None)
    alerts.tick()
    assert service.titles == [f"{TITLE}Premium bordereau has changed its columns"]


def test_a_catalog_that_cannot_be_read_is_told_by_the_tick_itself(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    pipeline.write_catalog("datasets: [")
    alerts.tick()
    assert service.titles == [f"{TITLE}A setting or the catalog is wrong"]
    assert "datasets.yaml" in service.received[0]["message"]
    pipeline.write_catalog(NAMED)
    alerts.tick()
    assert service.titles[1:] == [f"{TITLE}Settings and catalog are valid again"]


def test_an_inbox_that_is_away_is_told_once_although_it_keeps_the_incidents(alerts: Alerts, service: Service) -> None:
    alerts.inbox_is_away = True
    for _ in range(3):
        assert alerts.tick().startswith("Open incidents: inbox (1).")
    assert service.titles == [f"{TITLE}The inbox of events fails"]
    assert "Make space." in service.received[0]["message"]
    alerts.inbox_is_away = False
    alerts.tick()
    alerts.tick()
    assert service.titles[1:] == [f"{TITLE}The inbox of events works again"]
    assert from_text(alerts.cursor) == []


def test_a_service_that_does_not_take_a_message_is_named_and_gets_it_later(
    pipeline: LocalPipeline, alerts: Alerts, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    ended(pipeline)
    service.status = 500
    said = alerts.tick()
    assert said.endswith("Not sent, will be retried: address 1 (JSON), because it did not accept the message.")
    assert SECRET not in said + caplog.text
    service.status = 200
    alerts.forget_when(contacts={})
    alerts.tick()
    assert len(service.received) == 1


def test_nothing_is_told_before_all_runs_that_ended_are_known(
    pipeline: LocalPipeline, alerts: Alerts, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(pipeline)
    ended(pipeline, well=True)
    monkeypatch.setattr(finished_runs, "_BATCH_SIZE", 1)
    for _ in range(3):
        alerts.tick()
    assert service.received == []
    ended(pipeline)
    alerts.tick()
    alerts.tick()
    assert len(service.received) == 1


def test_a_tag_that_somebody_gives_to_an_old_run_makes_it_no_new_one(pipeline: LocalPipeline) -> None:
    run = create_run_for_test(pipeline.instance, "__ASSET_JOB", tags={"dagster/partition": DATASET_ID})
    ended_event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)
    pipeline.instance.report_dagster_event(ended_event, run.run_id, timestamp=time.time() - 3600)
    pipeline.instance.add_run_tags(run.run_id, {"somebody": "was here"})

    def seen(hours: int) -> int:
        now = utc_now()
        until = now - timedelta(hours=hours)
        return len(finished_runs.finished_runs(pipeline.instance, until=until, seen={}, now=now).runs)

    assert [seen(hours=2), seen(hours=0)] == [1, 0]


def test_a_run_of_a_dataset_that_the_catalog_refuses_is_told_too(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    pipeline.write_catalog("unlisted: refuse")
    pipeline.serve(CSV)
    pipeline.run([DATASET])
    alerts.tick()
    assert service.titles == [f"{TITLE}{DATASET_ID} does not load"]


def test_a_removed_partition_closes_the_incident_as_removed(
    pipeline: LocalPipeline, alerts: Alerts, service: Service
) -> None:
    fail_by(pipeline, 403, OTHER_ID)
    alerts.tick()
    pipeline.instance.delete_dynamic_partition(str(datasets.name), OTHER_ID)
    alerts.tick()
    assert service.titles[1:] == [f"{TITLE}d_another_of_a_test_002 is no longer loaded"]


def test_a_run_that_died_is_told_in_dagsters_words(pipeline: LocalPipeline, alerts: Alerts, service: Service) -> None:
    run_id = ended(pipeline)
    alerts.tick()
    assert service.received[0]["message"].startswith("The process of this run is gone.\nHow to fix: Open the run")
    assert run_id in service.received[0]["message"]


def without_ingest(pipeline: LocalPipeline, error: Exception, *, noted: bool) -> str:
    """A run that fails of this error before its first step."""

    @dg.resource
    def ingest(context: dg.InitResourceContext) -> None:
        if noted:
            assert isinstance(error, PipelineError)
            assert context.instance is not None
            assert context.run is not None
            tag_failure(context.instance, context.run.run_id, error)
        raise error

    pipeline.serve(CSV)
    job = build_defs(ingest=ingest).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=pipeline.instance, partition_key=DATASET_ID, asset_selection=[DATASET], raise_on_error=False
    ).run_id


def test_an_error_of_ours_before_the_first_step_is_told_in_its_own_words(pipeline: LocalPipeline) -> None:
    error = ConfigurationError("QT_API_URL: is not an address.", hint="Correct it.")
    cause = finished_runs.why_failed(pipeline.instance, without_ingest(pipeline, error, noted=True))
    assert cause == Cause("QT_API_URL: is not an address. Correct it.")


def test_words_of_errors_that_are_not_ours_are_not_told(pipeline: LocalPipeline) -> None:
    error = ValueError("could not convert canary-of-a-row")
    cause = finished_runs.why_failed(pipeline.instance, without_ingest(pipeline, error, noted=False))
    assert cause == Cause("Unexpected error (ValueError).", "See the run's log. If it repeats, report it.")


def test_of_a_run_that_says_nothing_nothing_is_said(pipeline: LocalPipeline) -> None:
    assert finished_runs.why_failed(pipeline.instance, "no such run") is None
