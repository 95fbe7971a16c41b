import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from qt_pipeline.defs.assets import TABLE
from qt_pipeline.dispatch import Policy
from qt_pipeline.inbox import DrainResult, EventState, Inbox, InboxUnavailableError, NewEvent
from qt_pipeline.quantemplate import PIPELINE_COMPLETED
from qt_pipeline_tests.defs.local_pipeline import CREDENTIALS, DATASET_ID, LocalPipeline, Run, Tick

OTHER_ID = "d-another-of-a-test-002"
CSV = "Reference,Amount\n007,1.25\n008,2.50\n"
LOCAL_RUN = {"dagster/partition": DATASET_ID, ".dagster/grpc_info": "{}"}
LONG_AGO = timedelta(hours=1)


def carry_out(pipeline: LocalPipeline, tick: Tick) -> Run:
    """Run what a tick asked for, with its tags."""
    [request] = tick.requests
    assert request.partition_key is not None
    return pipeline.run(dataset_id=request.partition_key, tags=request.tags)


def start_run(pipeline: LocalPipeline, *, ago: timedelta = timedelta(0), tags: dict[str, str] | None = None) -> str:
    """A run that counts as started since some time, as Dagster keeps one whose process reports nothing more."""
    run = create_run_for_test(
        pipeline.instance, "__ASSET_JOB", status=dg.DagsterRunStatus.STARTING, tags=LOCAL_RUN if tags is None else tags
    )
    started = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    pipeline.instance.report_dagster_event(started, run.run_id, timestamp=time.time() - ago.total_seconds())
    return run.run_id


def status(pipeline: LocalPipeline, run_id: str) -> dg.DagsterRunStatus:
    run = pipeline.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_without_events_the_sensor_says_that_none_waits(pipeline: LocalPipeline) -> None:
    tick = pipeline.tick()
    assert (tick.requests, tick.added_partitions, tick.skip_message) == ([], [], "No pending events.")


def test_the_datasets_of_the_catalog_become_partitions_before_any_event(pipeline: LocalPipeline) -> None:
    pipeline.write_catalog(f"datasets: {{{OTHER_ID}: {{}}, {DATASET_ID}: {{}}}}")
    assert pipeline.tick().added_partitions == sorted([DATASET_ID, OTHER_ID])


def test_a_partition_that_exists_is_not_added_again(pipeline: LocalPipeline) -> None:
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{}}}}")
    pipeline.serve(CSV)
    assert pipeline.tick().added_partitions == []


def test_events_lead_to_one_request_for_each_dataset_with_its_partition(pipeline: LocalPipeline) -> None:
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{name: Claims}}}}")
    pipeline.announce(DATASET_ID, OTHER_ID, DATASET_ID)
    tick = pipeline.tick()
    assert tick.added_partitions == sorted([DATASET_ID, OTHER_ID])
    first, second = tick.requests
    assert (first.run_key, first.partition_key) == (f"{DATASET_ID}:3:1", DATASET_ID)
    assert (second.run_key, second.partition_key) == (f"{OTHER_ID}:2:1", OTHER_ID)
    assert (
        first.tags.items()
        >= {
            "qt/delivery": f"{DATASET_ID}:3:1",
            "qt/dataset": "Claims",
            "qt/events": "1 to 3",
            "qt/attempt": "1",
        }.items()
    )
    assert second.tags.items() >= {"qt/dataset": OTHER_ID.replace("-", "_"), "qt/events": "2"}.items()


def test_a_tick_that_has_nothing_to_ask_for_waits_for_the_next_event(pipeline: LocalPipeline) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pipeline.tick, wait_seconds=60)
        pipeline.announce(DATASET_ID)
        [request] = waiting.result(timeout=90).requests
    assert request.partition_key == DATASET_ID


class Waiting:
    """What a tick needs of a queue; the queue itself is tested where it is at home."""

    def __init__(self, *found: DrainResult | InboxUnavailableError) -> None:
        self.found = list(found)

    def drain_into(self, inbox: Inbox, *, limit: int, seconds: float) -> DrainResult:
        assert limit * seconds > 0
        found = self.found.pop(0) if self.found else DrainResult(0, 0)
        if isinstance(found, InboxUnavailableError):
            raise found
        inbox.append([NewEvent("e", "DatasetUpdated", DATASET_ID, None, b"{}")] * found.moved)
        return found


def test_a_tick_takes_in_what_waits_in_the_queue_before_it_plans(pipeline: LocalPipeline) -> None:
    [request] = pipeline.tick(queue=Waiting(DrainResult(moved=2, poisoned=1))).requests
    assert request.tags["qt/events"] == "1 to 2"


def test_a_tick_that_waits_looks_into_the_queue_too(pipeline: LocalPipeline) -> None:
    queue = Waiting(DrainResult(0, 0), DrainResult(moved=1, poisoned=0))
    [request] = pipeline.tick(queue=queue, wait_seconds=60).requests
    assert request.partition_key == DATASET_ID


def test_a_queue_out_of_reach_does_not_hold_up_what_is_in_the_inbox(pipeline: LocalPipeline) -> None:
    pipeline.announce(DATASET_ID)
    assert len(pipeline.tick(queue=Waiting(InboxUnavailableError("The queue is away."))).requests) == 1


def test_settled_events_are_purged_when_they_are_old_and_not_at_every_tick(pipeline: LocalPipeline) -> None:
    at_once = timedelta(seconds=-60)
    pipeline.announce(*[DATASET_ID] * 3, name=PIPELINE_COMPLETED)
    tick = pipeline.tick(retention=timedelta(days=1))
    assert pipeline.inbox.counts()[EventState.IGNORED] == 3
    this_hour = str(tick.cursor)
    pipeline.tick(retention=at_once, cursor=this_hour)
    if this_hour[:30] == str(pipeline.tick().cursor)[:30]:
        assert pipeline.inbox.counts()[EventState.IGNORED] == 3
    pipeline.tick(retention=at_once)
    assert pipeline.inbox.counts()[EventState.IGNORED] == 1


def test_a_delivery_is_in_the_inbox_before_its_run_is_requested(pipeline: LocalPipeline) -> None:
    [seq] = pipeline.announce(DATASET_ID)
    [request] = pipeline.tick().requests
    event = pipeline.event(seq)
    assert (event.state, event.delivery, event.attempts) == (EventState.PENDING, request.run_key, 1)


def test_no_run_is_requested_when_the_delivery_cannot_be_written(pipeline: LocalPipeline) -> None:
    [seq] = pipeline.announce(DATASET_ID)
    with pipeline.inbox._engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON _qt_events BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(InboxUnavailableError, match="disk is full"):
        pipeline.tick()
    assert pipeline.event(seq).attempts == 0


def test_a_request_that_was_never_submitted_is_made_again_under_the_same_key(pipeline: LocalPipeline) -> None:
    pipeline.announce(DATASET_ID)
    [lost] = pipeline.tick().requests
    pipeline.announce(DATASET_ID)
    [again] = pipeline.tick().requests
    assert again.run_key == lost.run_key
    assert again.tags["qt/events"] == "1"


@pytest.mark.parametrize("many", [120, pytest.param(500, marks=pytest.mark.long)])
def test_events_by_the_thousand_for_many_datasets_are_asked_for_in_order_and_each_dataset_once(
    pipeline: LocalPipeline, many: int
) -> None:
    names = [f"d-one-of-many-{number:05d}" for number in range(many)]
    pipeline.announce(*names * 20)
    asked_for: list[str] = []
    while requests := pipeline.tick(max_datasets=many).requests:
        assert len(requests) <= Policy().requests
        for request in requests:
            asked_for.append(str(request.partition_key))
            assert request.tags["qt/events"].endswith(f" to {19 * many + 1 + names.index(asked_for[-1])}")
            create_run_for_test(
                pipeline.instance,
                "__ASSET_JOB",
                status=dg.DagsterRunStatus.STARTED,
                tags={**request.tags, "dagster/partition": asked_for[-1]},
            )
    assert asked_for == names


def test_an_event_is_done_once_a_run_has_published_what_it_announced(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    [seq] = pipeline.announce(DATASET_ID)
    assert carry_out(pipeline, pipeline.tick()).success
    assert pipeline.tick().requests == []
    assert pipeline.event(seq).state is EventState.DONE
    assert pipeline.tick().skip_message == "No pending events."


def test_a_run_of_the_table_alone_settles_no_event(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.run()
    [seq] = pipeline.announce(DATASET_ID)
    [request] = pipeline.tick().requests
    assert pipeline.run([TABLE], tags=request.tags).success
    pipeline.tick()
    assert pipeline.event(seq).state is EventState.PENDING


def test_a_run_that_failed_is_followed_by_another_under_a_new_key(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.break_downloads()
    pipeline.announce(DATASET_ID)
    first = pipeline.tick()
    assert not carry_out(pipeline, first).success
    [second] = pipeline.tick().requests
    assert second.run_key == f"{DATASET_ID}:1:2"
    assert second.tags["qt/attempt"] == "2"


def test_a_run_that_failed_for_a_reason_that_a_repeat_would_not_change_is_the_only_one(pipeline: LocalPipeline) -> None:
    pipeline.serve("Reference,Amount\n007\n")
    [seq] = pipeline.announce(DATASET_ID)
    run = carry_out(pipeline, pipeline.tick())
    assert run.tags["qt/failure"] == "permanent"
    assert pipeline.tick().requests == []
    event = pipeline.event(seq)
    assert event.state is EventState.PARKED
    assert f"Run {run.id} failed, and a retry would fail too." in (event.outcome or "")


def test_parked_events_are_reported_until_a_later_load_covers_them(
    pipeline: LocalPipeline,
) -> None:
    pipeline.serve("Reference,Amount\n007\n")
    [seq] = pipeline.announce(DATASET_ID)
    carry_out(pipeline, pipeline.tick())
    parked = pipeline.tick()
    assert "1 are parked: see `qt-pipeline events --state parked`" in (parked.skip_message or "")
    assert [counts["parked"] for counts in parked.observed] == [1]
    assert pipeline.tick(cursor=parked.cursor).observed == []
    pipeline.serve(CSV)
    pipeline.run()
    settled = pipeline.tick(cursor=parked.cursor)
    assert pipeline.event(seq).state is EventState.DONE
    assert [(counts["parked"], counts["done"]) for counts in settled.observed] == [(0, 1)]


def test_after_an_unchanged_file_an_event_waits_for_the_next_look(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.run()
    [seq] = pipeline.announce(DATASET_ID)
    policy = Policy(rechecks=(timedelta(0),))
    carry_out(pipeline, pipeline.tick(policy=policy))
    assert pipeline.tick(policy=policy).requests == []
    assert (pipeline.event(seq).state, pipeline.event(seq).unchanged_checks) == (EventState.PENDING, 1)
    pipeline.serve(CSV + "009,3.75\n")
    carry_out(pipeline, pipeline.tick(policy=policy))
    pipeline.tick(policy=policy)
    assert pipeline.event(seq).state is EventState.DONE
    assert pipeline.sql("SELECT count(*) FROM d_claims_of_a_test_0001") == [(3,)]


def test_events_add_no_more_partitions_than_there_may_be(pipeline: LocalPipeline) -> None:
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{}}}}")
    unknown = [f"d-nobody-knows-this-{number}" for number in range(5)]
    seqs = pipeline.announce(*unknown, DATASET_ID)
    tick = pipeline.tick(max_datasets=3)
    assert tick.added_partitions == sorted([DATASET_ID, *unknown[:2]])
    assert [request.partition_key for request in tick.requests] == [*unknown[:2], DATASET_ID]
    parked = pipeline.event(seqs[4])
    assert parked.state is EventState.PARKED
    assert "QT_MAX_DATASETS" in (parked.outcome or "")


def test_between_two_tries_the_sensor_says_what_it_waits_for(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.break_downloads()
    [seq] = pipeline.announce(DATASET_ID)
    policy = Policy(delay=LONG_AGO)
    carry_out(pipeline, pipeline.tick(policy=policy))
    tick = pipeline.tick(policy=policy)
    assert tick.requests == []
    assert "wait for their next retry" in (tick.skip_message or "")
    assert pipeline.event(seq).not_before is not None


def test_an_event_is_parked_with_its_reason_after_the_last_try(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.break_downloads()
    [seq] = pipeline.announce(DATASET_ID)
    policy = Policy(attempts=2, delay=timedelta(0))
    carry_out(pipeline, pipeline.tick(policy=policy))
    last = carry_out(pipeline, pipeline.tick(policy=policy))
    assert pipeline.tick(policy=policy).requests == []
    event = pipeline.event(seq)
    assert event.state is EventState.PARKED
    assert f"Tried 2 times; run {last.id} failed last." in (event.outcome or "")


def test_an_event_type_that_is_not_handled_ends_as_ignored_in_these_words(pipeline: LocalPipeline) -> None:
    [seq] = pipeline.announce(DATASET_ID, name=PIPELINE_COMPLETED)
    assert pipeline.tick().requests == []
    assert pipeline.event(seq).state is EventState.IGNORED
    assert pipeline.event(seq).outcome == "Not supported event: PipelineCompleted"


def test_without_credentials_events_stay_pending_and_the_sensor_names_the_variables(
    pipeline: LocalPipeline,
) -> None:
    [seq] = pipeline.announce(DATASET_ID)
    before = pipeline.event(seq)
    tick = pipeline.tick(with_credentials=False)
    assert tick.requests == []
    assert (tick.skip_message or "").startswith("Nothing can be downloaded; events of 1 dataset are pending. ")
    assert all(name in (tick.skip_message or "") for name in CREDENTIALS)
    assert pipeline.event(seq) == before
    assert len(pipeline.tick().requests) == 1


def test_without_credentials_the_sensor_names_the_variables_before_any_event(pipeline: LocalPipeline) -> None:
    message = pipeline.tick(with_credentials=False).skip_message or ""
    assert all(name in message for name in CREDENTIALS)


def test_while_a_run_of_a_dataset_is_going_its_events_wait_whoever_asked_for_the_run(pipeline: LocalPipeline) -> None:
    start_run(pipeline, tags={"dagster/partition": DATASET_ID})
    pipeline.announce(DATASET_ID, OTHER_ID)
    assert [request.partition_key for request in pipeline.tick().requests] == [OTHER_ID]


def test_with_all_datasets_busy_the_sensor_says_so(pipeline: LocalPipeline) -> None:
    start_run(pipeline, tags={"dagster/partition": DATASET_ID})
    pipeline.announce(DATASET_ID)
    message = pipeline.tick().skip_message or ""
    assert message.startswith("events of 1 dataset are pending: 1 have a run in flight")


def test_a_run_whose_process_has_died_is_failed_and_its_events_are_tried_again(pipeline: LocalPipeline) -> None:
    pipeline.announce(DATASET_ID)
    [request] = pipeline.tick().requests
    run_id = start_run(pipeline, tags=LOCAL_RUN | {"qt/delivery": str(request.run_key)})
    hold_and_die = "import sys; from pathlib import Path; from qt_pipeline.liveness import RunLocks;"
    hold_and_die += "RunLocks(Path(sys.argv[1])).acquire(sys.argv[2]); import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", hold_and_die, str(pipeline.folder / "runs"), run_id], check=False, timeout=60)

    [again] = pipeline.tick().requests

    assert status(pipeline, run_id) is dg.DagsterRunStatus.FAILURE
    assert again.run_key == f"{DATASET_ID}:1:2"


def test_a_run_that_started_long_ago_and_was_never_seen_on_this_machine_is_failed(pipeline: LocalPipeline) -> None:
    run_id = start_run(pipeline, ago=LONG_AGO)
    pipeline.tick()
    assert status(pipeline, run_id) is dg.DagsterRunStatus.FAILURE
    [event] = pipeline.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "The process of this run and the code server" in event.message


def test_a_run_that_has_just_started_may_not_have_come_as_far_as_its_lock(pipeline: LocalPipeline) -> None:
    run_id = start_run(pipeline)
    pipeline.tick()
    assert status(pipeline, run_id) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_process_lives_is_left_alone_however_long_it_takes(pipeline: LocalPipeline) -> None:
    run_id = start_run(pipeline, ago=timedelta(days=3))
    pipeline.locks.acquire(run_id)
    pipeline.tick()
    assert status(pipeline, run_id) is dg.DagsterRunStatus.STARTED


def test_a_run_that_another_launcher_started_is_left_to_its_own_monitoring(pipeline: LocalPipeline) -> None:
    run_id = start_run(pipeline, ago=LONG_AGO, tags={"dagster/partition": DATASET_ID})
    pipeline.tick()
    assert status(pipeline, run_id) is dg.DagsterRunStatus.STARTED


def test_a_target_that_is_down_leaves_events_pending_and_the_tick_alive(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    [seq] = pipeline.announce(DATASET_ID)
    carry_out(pipeline, pipeline.tick())
    pipeline.sql("ALTER TABLE _qt_loads RENAME TO _qt_loads_elsewhere")

    assert pipeline.tick().requests == []
    assert pipeline.event(seq).state is EventState.PENDING

    pipeline.sql("ALTER TABLE _qt_loads_elsewhere RENAME TO _qt_loads")
    pipeline.tick()
    assert pipeline.event(seq).state is EventState.DONE
    assert len(pipeline.warehouse.loads()) == 1


def test_a_target_that_is_down_does_not_keep_new_events_from_their_run(pipeline: LocalPipeline) -> None:
    pipeline.announce(DATASET_ID)
    pipeline.sql("DROP TABLE _qt_loads")
    assert len(pipeline.tick().requests) == 1
