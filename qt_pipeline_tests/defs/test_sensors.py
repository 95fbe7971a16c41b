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
from qt_pipeline_tests.defs.house import CREDENTIALS, DATASET_ID, House, Run, Tick

OTHER_ID = "d-another-of-the-house-002"
CSV = "Reference,Amount\n007,1.25\n008,2.50\n"
LOCAL_RUN = {"dagster/partition": DATASET_ID, ".dagster/grpc_info": "{}"}
LONG_AGO = timedelta(hours=1)


def carry_out(house: House, tick: Tick) -> Run:
    """Run what a tick asked for, with its tags."""
    [request] = tick.requests
    assert request.partition_key is not None
    return house.run(dataset_id=request.partition_key, tags=request.tags)


def start_run(house: House, *, ago: timedelta = timedelta(0), tags: dict[str, str] | None = None) -> str:
    """A run that counts as started since some time, as Dagster keeps one whose process reports nothing more."""
    run = create_run_for_test(
        house.instance, "__ASSET_JOB", status=dg.DagsterRunStatus.STARTING, tags=LOCAL_RUN if tags is None else tags
    )
    started = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    house.instance.report_dagster_event(started, run.run_id, timestamp=time.time() - ago.total_seconds())
    return run.run_id


def status(house: House, run_id: str) -> dg.DagsterRunStatus:
    run = house.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_without_events_the_sensor_says_that_none_waits(house: House) -> None:
    tick = house.tick()
    assert (tick.requests, tick.added_partitions, tick.skip_message) == ([], [], "No event waits.")


def test_the_datasets_of_the_catalog_become_partitions_before_any_event(house: House) -> None:
    house.write_catalog(f"datasets: {{{OTHER_ID}: {{}}, {DATASET_ID}: {{}}}}")
    assert house.tick().added_partitions == sorted([DATASET_ID, OTHER_ID])


def test_a_partition_that_exists_is_not_added_again(house: House) -> None:
    house.write_catalog(f"datasets: {{{DATASET_ID}: {{}}}}")
    house.serve(CSV)
    assert house.tick().added_partitions == []


def test_events_lead_to_one_request_for_each_dataset_with_its_partition(house: House) -> None:
    house.write_catalog(f"datasets: {{{DATASET_ID}: {{name: Claims}}}}")
    house.announce(DATASET_ID, OTHER_ID, DATASET_ID)
    tick = house.tick()
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


def test_a_tick_that_has_nothing_to_ask_for_waits_for_the_next_event(house: House) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(house.tick, wait_seconds=60)
        house.announce(DATASET_ID)
        [request] = waiting.result(timeout=90).requests
    assert request.partition_key == DATASET_ID


class Waiting:
    """What a tick needs of a queue; the queue itself is tested where it is at home."""

    def __init__(self, *found: DrainResult | InboxUnavailableError) -> None:
        self.found = list(found)

    def move_into(self, inbox: Inbox, *, limit: int, seconds: float) -> DrainResult:
        assert limit * seconds > 0
        found = self.found.pop(0) if self.found else DrainResult(0, 0)
        if isinstance(found, InboxUnavailableError):
            raise found
        inbox.append([NewEvent("e", "DatasetUpdated", DATASET_ID, None, b"{}")] * found.moved)
        return found


def test_a_tick_takes_in_what_waits_in_the_queue_before_it_plans(house: House) -> None:
    [request] = house.tick(queue=Waiting(DrainResult(moved=2, poisoned=1))).requests
    assert request.tags["qt/events"] == "1 to 2"


def test_a_tick_that_waits_looks_into_the_queue_too(house: House) -> None:
    queue = Waiting(DrainResult(0, 0), DrainResult(moved=1, poisoned=0))
    [request] = house.tick(queue=queue, wait_seconds=60).requests
    assert request.partition_key == DATASET_ID


def test_a_queue_out_of_reach_does_not_hold_up_what_is_in_the_inbox(house: House) -> None:
    house.announce(DATASET_ID)
    assert len(house.tick(queue=Waiting(InboxUnavailableError("The queue is away."))).requests) == 1


def test_settled_events_are_purged_when_they_are_old_and_not_at_every_tick(house: House) -> None:
    at_once = timedelta(seconds=-60)
    house.announce(*[DATASET_ID] * 3, name=PIPELINE_COMPLETED)
    tick = house.tick(retention=timedelta(days=1))
    assert house.inbox.counts()[EventState.IGNORED] == 3
    this_hour = str(tick.cursor)
    house.tick(retention=at_once, cursor=this_hour)
    if this_hour[:30] == str(house.tick().cursor)[:30]:
        assert house.inbox.counts()[EventState.IGNORED] == 3
    house.tick(retention=at_once)
    assert house.inbox.counts()[EventState.IGNORED] == 1


def test_a_delivery_is_in_the_inbox_before_its_run_is_requested(house: House) -> None:
    [seq] = house.announce(DATASET_ID)
    [request] = house.tick().requests
    event = house.event(seq)
    assert (event.state, event.delivery, event.attempts) == (EventState.PENDING, request.run_key, 1)


def test_no_run_is_requested_when_the_delivery_cannot_be_written(house: House) -> None:
    [seq] = house.announce(DATASET_ID)
    with house.inbox._engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON _qt_events BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(InboxUnavailableError, match="disk is full"):
        house.tick()
    assert house.event(seq).attempts == 0


def test_a_request_that_was_never_submitted_is_made_again_under_the_same_key(house: House) -> None:
    house.announce(DATASET_ID)
    [lost] = house.tick().requests
    house.announce(DATASET_ID)
    [again] = house.tick().requests
    assert again.run_key == lost.run_key
    assert again.tags["qt/events"] == "1"


@pytest.mark.parametrize("many", [120, pytest.param(500, marks=pytest.mark.long)])
def test_events_by_the_thousand_for_many_datasets_are_asked_for_in_order_and_each_dataset_once(
    house: House, many: int
) -> None:
    names = [f"d-one-of-many-{number:05d}" for number in range(many)]
    house.announce(*names * 20)
    asked_for: list[str] = []
    while requests := house.tick(max_datasets=many).requests:
        assert len(requests) <= Policy().requests
        for request in requests:
            asked_for.append(str(request.partition_key))
            assert request.tags["qt/events"].endswith(f" to {19 * many + 1 + names.index(asked_for[-1])}")
            create_run_for_test(
                house.instance,
                "__ASSET_JOB",
                status=dg.DagsterRunStatus.STARTED,
                tags={**request.tags, "dagster/partition": asked_for[-1]},
            )
    assert asked_for == names


def test_an_event_is_done_once_a_run_has_published_what_it_announced(house: House) -> None:
    house.serve(CSV)
    [seq] = house.announce(DATASET_ID)
    assert carry_out(house, house.tick()).success
    assert house.tick().requests == []
    assert house.event(seq).state is EventState.DONE
    assert house.tick().skip_message == "No event waits."


def test_a_run_of_the_table_alone_settles_no_event(house: House) -> None:
    house.serve(CSV)
    house.run()
    [seq] = house.announce(DATASET_ID)
    [request] = house.tick().requests
    assert house.run([TABLE], tags=request.tags).success
    house.tick()
    assert house.event(seq).state is EventState.PENDING


def test_a_run_that_failed_is_followed_by_another_under_a_new_key(house: House) -> None:
    house.serve(CSV)
    house.break_downloads()
    house.announce(DATASET_ID)
    first = house.tick()
    assert not carry_out(house, first).success
    [second] = house.tick().requests
    assert second.run_key == f"{DATASET_ID}:1:2"
    assert second.tags["qt/attempt"] == "2"


def test_a_run_that_failed_for_a_reason_that_a_repeat_would_not_change_is_the_only_one(house: House) -> None:
    house.serve("Reference,Amount\n007\n")
    [seq] = house.announce(DATASET_ID)
    run = carry_out(house, house.tick())
    assert run.tags["qt/failure"] == "permanent"
    assert house.tick().requests == []
    event = house.event(seq)
    assert event.state is EventState.PARKED
    assert f"Run {run.id} failed, and a repeat would too." in (event.outcome or "")


def test_parked_events_are_told_and_counted_until_a_later_load_shows_what_came_after_them(house: House) -> None:
    house.serve("Reference,Amount\n007\n")
    [seq] = house.announce(DATASET_ID)
    carry_out(house, house.tick())
    parked = house.tick()
    assert "1 are parked: see `qt-pipeline events --state parked`" in (parked.skip_message or "")
    assert [counts["parked"] for counts in parked.observed] == [1]
    assert house.tick(cursor=parked.cursor).observed == []
    house.serve(CSV)
    house.run()
    settled = house.tick(cursor=parked.cursor)
    assert house.event(seq).state is EventState.DONE
    assert [(counts["parked"], counts["done"]) for counts in settled.observed] == [(0, 1)]


def test_after_an_unchanged_file_an_event_waits_for_the_next_look(house: House) -> None:
    house.serve(CSV)
    house.run()
    [seq] = house.announce(DATASET_ID)
    policy = Policy(rechecks=(timedelta(0),))
    carry_out(house, house.tick(policy=policy))
    assert house.tick(policy=policy).requests == []
    assert (house.event(seq).state, house.event(seq).unchanged_checks) == (EventState.PENDING, 1)
    house.serve(CSV + "009,3.75\n")
    carry_out(house, house.tick(policy=policy))
    house.tick(policy=policy)
    assert house.event(seq).state is EventState.DONE
    assert house.sql("SELECT count(*) FROM d_claims_of_the_house_0001") == [(3,)]


def test_events_add_no_more_partitions_than_there_may_be(house: House) -> None:
    house.write_catalog(f"datasets: {{{DATASET_ID}: {{}}}}")
    unknown = [f"d-nobody-knows-this-{number}" for number in range(5)]
    seqs = house.announce(*unknown, DATASET_ID)
    tick = house.tick(max_datasets=3)
    assert tick.added_partitions == sorted([DATASET_ID, *unknown[:2]])
    assert [request.partition_key for request in tick.requests] == [*unknown[:2], DATASET_ID]
    parked = house.event(seqs[4])
    assert parked.state is EventState.PARKED
    assert "QT_MAX_DATASETS" in (parked.outcome or "")


def test_between_two_tries_the_sensor_says_what_it_waits_for(house: House) -> None:
    house.serve(CSV)
    house.break_downloads()
    [seq] = house.announce(DATASET_ID)
    policy = Policy(delay=LONG_AGO)
    carry_out(house, house.tick(policy=policy))
    tick = house.tick(policy=policy)
    assert tick.requests == []
    assert "wait for their next try" in (tick.skip_message or "")
    assert house.event(seq).not_before is not None


def test_an_event_is_parked_with_its_reason_after_the_last_try(house: House) -> None:
    house.serve(CSV)
    house.break_downloads()
    [seq] = house.announce(DATASET_ID)
    policy = Policy(attempts=2, delay=timedelta(0))
    carry_out(house, house.tick(policy=policy))
    last = carry_out(house, house.tick(policy=policy))
    assert house.tick(policy=policy).requests == []
    event = house.event(seq)
    assert event.state is EventState.PARKED
    assert f"Tried 2 times; run {last.id} failed last." in (event.outcome or "")


def test_an_event_type_that_is_not_handled_ends_as_ignored_in_these_words(house: House) -> None:
    [seq] = house.announce(DATASET_ID, name=PIPELINE_COMPLETED)
    assert house.tick().requests == []
    assert house.event(seq).state is EventState.IGNORED
    assert house.event(seq).outcome == "Not supported event: PipelineCompleted"


def test_without_credentials_events_stay_as_they_are_and_the_sensor_names_the_variables(house: House) -> None:
    [seq] = house.announce(DATASET_ID)
    before = house.event(seq)
    tick = house.tick(with_credentials=False)
    assert tick.requests == []
    assert (tick.skip_message or "").startswith("Nothing can be downloaded; events wait for 1 dataset. ")
    assert all(name in (tick.skip_message or "") for name in CREDENTIALS)
    assert house.event(seq) == before
    assert len(house.tick().requests) == 1


def test_without_credentials_the_sensor_names_the_variables_before_any_event(house: House) -> None:
    message = house.tick(with_credentials=False).skip_message or ""
    assert all(name in message for name in CREDENTIALS)


def test_while_a_run_of_a_dataset_is_going_its_events_wait_whoever_asked_for_the_run(house: House) -> None:
    start_run(house, tags={"dagster/partition": DATASET_ID})
    house.announce(DATASET_ID, OTHER_ID)
    assert [request.partition_key for request in house.tick().requests] == [OTHER_ID]


def test_with_all_datasets_busy_the_sensor_says_so(house: House) -> None:
    start_run(house, tags={"dagster/partition": DATASET_ID})
    house.announce(DATASET_ID)
    message = house.tick().skip_message or ""
    assert message.startswith("events wait for 1 dataset: 1 have a run in flight")


def test_a_run_whose_process_has_died_is_failed_and_its_events_are_tried_again(house: House) -> None:
    house.announce(DATASET_ID)
    [request] = house.tick().requests
    run_id = start_run(house, tags=LOCAL_RUN | {"qt/delivery": str(request.run_key)})
    hold_and_die = "import sys; from pathlib import Path; from qt_pipeline.liveness import RunLocks;"
    hold_and_die += "RunLocks(Path(sys.argv[1])).hold(sys.argv[2]); import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", hold_and_die, str(house.folder / "runs"), run_id], check=False, timeout=60)

    [again] = house.tick().requests

    assert status(house, run_id) is dg.DagsterRunStatus.FAILURE
    assert again.run_key == f"{DATASET_ID}:1:2"


def test_a_run_that_started_long_ago_and_was_never_seen_on_this_machine_is_failed(house: House) -> None:
    run_id = start_run(house, ago=LONG_AGO)
    house.tick()
    assert status(house, run_id) is dg.DagsterRunStatus.FAILURE
    [event] = house.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "The process of this run is gone" in event.message


def test_a_run_that_has_just_started_may_not_have_come_as_far_as_its_lock(house: House) -> None:
    run_id = start_run(house)
    house.tick()
    assert status(house, run_id) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_process_lives_is_left_alone_however_long_it_takes(house: House) -> None:
    run_id = start_run(house, ago=timedelta(days=3))
    house.locks.acquire(run_id)
    house.tick()
    assert status(house, run_id) is dg.DagsterRunStatus.STARTED


def test_a_run_that_another_launcher_started_is_left_to_its_own_monitoring(house: House) -> None:
    run_id = start_run(house, ago=LONG_AGO, tags={"dagster/partition": DATASET_ID})
    house.tick()
    assert status(house, run_id) is dg.DagsterRunStatus.STARTED


def test_a_target_that_is_down_leaves_events_pending_and_the_tick_alive(house: House) -> None:
    house.serve(CSV)
    [seq] = house.announce(DATASET_ID)
    carry_out(house, house.tick())
    house.sql("ALTER TABLE _qt_loads RENAME TO _qt_loads_elsewhere")

    assert house.tick().requests == []
    assert house.event(seq).state is EventState.PENDING

    house.sql("ALTER TABLE _qt_loads_elsewhere RENAME TO _qt_loads")
    house.tick()
    assert house.event(seq).state is EventState.DONE
    assert len(house.warehouse.loads()) == 1


def test_a_target_that_is_down_does_not_keep_new_events_from_their_run(house: House) -> None:
    house.announce(DATASET_ID)
    house.sql("DROP TABLE _qt_loads")
    assert len(house.tick().requests) == 1
