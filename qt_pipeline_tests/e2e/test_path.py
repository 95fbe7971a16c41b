"""The way of an event into a table, with every process running."""

import json

import pytest

from qt_pipeline.inbox import EventState
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline_tests.dagster_client import DATASET, TABLE
from qt_pipeline_tests.e2e.live import LiveStack, assert_no_secret_is_kept, assert_table_is_as_served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TABLES = dict(zip((dataset.id for dataset in SANDBOX_DATASETS), ("schedule_p", "claims", "bordereau"), strict=True))
each_dataset = pytest.mark.parametrize("dataset_id", TABLES, ids=TABLES.values())


@each_dataset
def test_an_event_ends_done_and_the_table_equals_the_served_file(
    stack: LiveStack, first_events: dict[str, int], dataset_id: str
) -> None:
    event = stack.event(first_events[dataset_id])
    assert event.state is EventState.DONE
    assert event.attempts == 1
    assert_table_is_as_served(stack, dataset_id)


@each_dataset
def test_an_event_leads_to_one_run_that_says_what_it_is_for(
    stack: LiveStack, first_events: dict[str, int], dataset_id: str
) -> None:
    seq = str(first_events[dataset_id])
    oldest = stack.runs_of(dataset_id)[-1]
    assert oldest.status == "SUCCESS"
    expected = {
        "qt/delivery": f"{dataset_id}:{seq}:1",
        "qt/events": seq,
        "qt/attempt": "1",
        "qt/through_seq": seq,
        "dagster/partition": dataset_id,
    }
    assert expected.items() <= oldest.tags.items()
    assert oldest.tags["qt/dataset"]
    assert stack.published(dataset_id)[0].run_id == oldest.run_id


@each_dataset
def test_a_materialization_tells_what_a_person_wants_to_know(
    stack: LiveStack, first_events: dict[str, int], dataset_id: str
) -> None:
    assert dataset_id in first_events
    load = stack.newest_publish(dataset_id)
    [landed, loaded] = [
        told
        for asset in (DATASET, TABLE)
        for told in stack.dagster.materializations(asset, partition=dataset_id)
        if told.run_id == load.run_id
    ]
    for told in (landed.metadata, loaded.metadata):
        assert told["sha256"] == load.sha256
        assert told["bytes"] == load.bytes == len(stack.served(dataset_id))
        assert told["event"] == load.event_id
        assert told["trace id"] == load.run_id
    assert loaded.metadata["rows"] == loaded.metadata["dagster/partition_row_count"] == load.rows
    assert loaded.metadata["dagster/table_name"] == TABLES[dataset_id]
    columns = [column["name"] for column in loaded.metadata["dagster/column_schema"]["columns"]]
    assert columns == [name for (name,) in stack.rows(f"SELECT name FROM pragma_table_info('{TABLES[dataset_id]}')")]
    assert len(loaded.metadata["preview"]["records"]) == 10
    assert landed.metadata["seconds: download"] >= 0
    assert {"seconds: inspect", "seconds: stage", "seconds: publish"} <= loaded.metadata.keys()


@each_dataset
def test_the_check_of_completeness_passes(stack: LiveStack, first_events: dict[str, int], dataset_id: str) -> None:
    assert dataset_id in first_events
    assert stack.dagster.check_statuses()[stack.published(dataset_id)[-1].run_id] == "SUCCEEDED"


def test_an_event_that_is_not_handled_is_ignored_in_the_documented_words(stack: LiveStack) -> None:
    payload = {"pipelineId": "p-1", "pipelineExecutionId": "e-1", "status": "Succeeded"}
    body = {"id": "pipeline-event", "name": "PipelineCompleted", "payload": payload}
    delivery = stack.control("POST", "fire", data=json.dumps(body))
    assert delivery["status"] == 202
    [event] = stack.await_settled([delivery["body"]["sequence"]])
    assert event.state is EventState.IGNORED
    assert event.outcome == "Not supported event: PipelineCompleted"


def test_a_change_and_its_event_lead_to_exactly_one_more_run_and_the_table_follows(
    stack: LiveStack, first_events: dict[str, int]
) -> None:
    before = {dataset_id: stack.newest_publish(dataset_id) for dataset_id in first_events}
    runs_before = {dataset_id: len(stack.runs_of(dataset_id)) for dataset_id in first_events}
    events = stack.await_settled([stack.fire(dataset_id, change=True) for dataset_id in first_events])
    stack.await_tick()
    assert {event.state for event in events} == {EventState.DONE}
    for dataset_id, load in before.items():
        assert len(stack.runs_of(dataset_id)) == runs_before[dataset_id] + 1
        newest = stack.published(dataset_id)[-1]
        assert newest.replaced_load_id == load.load_id
        assert newest.sha256 != load.sha256
        assert_table_is_as_served(stack, dataset_id)


def test_no_secret_is_left_in_any_file(stack: LiveStack, first_events: dict[str, int]) -> None:
    assert_no_secret_is_kept(stack, known=next(iter(first_events)))
