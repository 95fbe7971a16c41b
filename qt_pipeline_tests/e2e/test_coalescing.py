"""Events that come while a run for the same dataset is going."""

from datetime import datetime

import pytest

from qt_pipeline.inbox import EventState
from qt_pipeline_tests.chaos.bursts import burst
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, assert_table_is_as_served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def assert_second_event_got_a_run_of_its_own(stack: LiveStack, dataset_id: str, first: int, second: int) -> None:
    """Two runs in all, and the second event was settled only by the second load."""
    events = {event.seq: event for event in stack.await_settled([first, second])}
    stack.await_tick()
    loads = stack.published(dataset_id)
    assert [load.through_seq for load in loads] == [first, second]
    assert [run.status for run in stack.runs_of(dataset_id)] == ["SUCCESS", "SUCCESS"]
    assert {event.state for event in events.values()} == {EventState.DONE}
    assert events[second].received_at < at(loads[0].finished_at), "the second event came too late for this test"
    assert at(events[second].settled_at) > at(loads[1].finished_at)
    assert_table_is_as_served(stack, dataset_id)


def at(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment


def test_an_event_during_a_download_leads_to_exactly_one_more_run(stack: LiveStack) -> None:
    dataset_id = "d-slow-download"
    stack.serve(dataset_id, SMALL_CSV)
    stack.spoil(dataset_id, kind="slow", seconds=6)
    first = stack.fire(dataset_id)
    stack.await_download(dataset_id)
    second = stack.fire(dataset_id, change=True)
    assert_second_event_got_a_run_of_its_own(stack, dataset_id, first, second)


@pytest.mark.long
def test_an_event_during_a_load_leads_to_exactly_one_more_run(stack: LiveStack) -> None:
    dataset_id = "d-slow-load"
    stack.serve(dataset_id, SMALL_CSV)
    stack.spoil(dataset_id, kind="slow", seconds=4)
    first = stack.fire(dataset_id)
    stack.await_download(dataset_id)
    with stack.warehouse_locked():
        stack.await_run(dataset_id, lambda run: "qt/through_seq" in run.tags, "has landed its file")
        second = stack.fire(dataset_id, change=True)
    assert_second_event_got_a_run_of_its_own(stack, dataset_id, first, second)


@pytest.mark.long
def test_a_burst_for_one_dataset_leads_to_at_most_two_runs(stack: LiveStack) -> None:
    print(burst(stack, ["d-burst"], events=10_000, patience_seconds=120))  # noqa: T201  # figures


@pytest.mark.long
def test_a_burst_for_many_datasets_loads_each_at_most_twice(stack: LiveStack) -> None:
    names = [f"d-burst-of-many-{number}" for number in range(4)]
    print(burst(stack, names, events=1_000, patience_seconds=300))  # noqa: T201  # figures
