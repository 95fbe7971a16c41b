"""Runs that a person starts in Dagster, beside those that events start."""

import pytest

from qt_pipeline.inbox import EventState
from qt_pipeline_tests.dagster_client import DATASET, TABLE
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, assert_table_is_as_served, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_run_of_the_table_alone_marks_no_event_done(stack: LiveStack) -> None:
    dataset_id = "d-table-alone"
    stack.serve(dataset_id, SMALL_CSV)
    first = stack.fire(dataset_id)
    stack.await_settled([first])
    stack.dagster.stop_sensor()
    try:
        until(lambda: not stack.dagster.is_ticking(), "the last tick is over")
        second = stack.fire(dataset_id, change=True)
        # The landing that the table's run takes was downloaded after the event, by another run.
        landing_run = materialize(stack, dataset_id, DATASET)
        table_run = materialize(stack, dataset_id, TABLE)
    finally:
        stack.dagster.start_sensor()

    [event] = stack.await_settled([second])
    loads = stack.published(dataset_id)
    assert [load.through_seq for load in loads] == [first, second, second]
    assert (loads[1].run_id, loads[1].landing_run_id) == (table_run, landing_run)
    own_run = loads[2].run_id
    assert loads[2].landing_run_id == own_run
    assert stack.dagster.run(own_run).tags["qt/delivery"] == event.delivery
    assert event.state is EventState.DONE
    assert event.settled_at is not None
    assert loads[2].finished_at is not None
    assert event.settled_at > loads[2].finished_at


def materialize(stack: LiveStack, dataset_id: str, *assets: tuple[str, ...]) -> str:
    run_id = stack.dagster.materialize(*assets, partition=dataset_id)
    until(lambda: stack.dagster.run(run_id).is_over, f"run {run_id} is over")
    assert stack.dagster.run(run_id).status == "SUCCESS", stack.dagster.log(run_id)
    return run_id


def test_a_materialization_by_hand_downloads_and_loads(stack: LiveStack) -> None:
    dataset_id = "d-by-hand"
    stack.serve(dataset_id, SMALL_CSV)
    stack.await_settled([stack.fire(dataset_id)])
    stack.serve(dataset_id, SMALL_CSV + b"009,4.75\n")
    run_id = materialize(stack, dataset_id, DATASET, TABLE)
    assert stack.published(dataset_id)[-1].run_id == run_id
    assert_table_is_as_served(stack, dataset_id)
