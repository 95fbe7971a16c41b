"""Datasets that are looked at without an event."""

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.refresh import polling_sensor, refresh_schedule
from qt_pipeline.inbox import EventState
from qt_pipeline.warehouse import LoadStatus
from qt_pipeline_tests.defs.local_pipeline import CREDENTIALS, DATASET_ID, LocalPipeline

OTHER_ID = "d-another-of-a-test-002"
CSV = "Reference,Amount\n007,1.25\n"


@pytest.fixture
def pipeline(pipeline_on_disk: LocalPipeline) -> LocalPipeline:
    return pipeline_on_disk


def refresh(pipeline: LocalPipeline, *, with_credentials: bool = True) -> list[dg.RunRequest] | dg.SkipReason:
    """What one tick of the schedule asks for."""
    context = dg.build_schedule_context(pipeline.instance)
    return refresh_schedule("0 5 * * *")(context, dispatcher=pipeline.dispatcher(with_credentials=with_credentials))


def poll(pipeline: LocalPipeline) -> list[dg.RunRequest] | dg.SkipReason:
    """What one tick of the polling sensor asks for."""
    return polling_sensor(5)(dg.build_sensor_context(pipeline.instance), dispatcher=pipeline.dispatcher())


def test_the_schedule_asks_for_each_known_dataset_and_only_a_change_is_loaded(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.serve(CSV, OTHER_ID)
    pipeline.run()
    requests = refresh(pipeline)
    assert {request.partition_key for request in requests} == {DATASET_ID, OTHER_ID}
    assert {request.tags["qt/reason"] for request in requests} == {"schedule"}
    for request in requests:
        assert pipeline.run(dataset_id=str(request.partition_key), tags=request.tags).success
    assert [load.status for load in pipeline.warehouse.loads(dataset_id=DATASET_ID)] == [
        LoadStatus.UNCHANGED,
        LoadStatus.PUBLISHED,
    ]
    assert [load.status for load in pipeline.warehouse.loads(dataset_id=OTHER_ID)] == [LoadStatus.PUBLISHED]


def test_polling_asks_for_the_same_at_its_own_interval(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    [request] = poll(pipeline)
    assert (request.partition_key, request.tags["qt/reason"]) == (DATASET_ID, "polling")
    sensor = build_defs(poll_minutes=2.5).get_repository_def().get_sensor_def("quantemplate_polling")
    assert sensor.minimum_interval_seconds == 150
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_look_without_an_event_settles_the_events_that_came_before_it(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    [seq] = pipeline.announce(DATASET_ID)
    [request] = refresh(pipeline)
    pipeline.run(tags=request.tags)
    pipeline.tick()
    assert pipeline.event(seq).state is EventState.DONE


def test_a_dataset_with_a_run_in_flight_is_not_asked_for_again(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    create_run_for_test(pipeline.instance, "__ASSET_JOB", tags={"dagster/partition": DATASET_ID})
    assert refresh(pipeline).skip_message == "1 datasets are known; each of them has a run in flight."


def test_a_dataset_that_the_catalog_does_not_list_is_left_out_where_it_refuses_such(pipeline: LocalPipeline) -> None:
    pipeline.serve(CSV)
    pipeline.serve(CSV, OTHER_ID)
    pipeline.write_catalog(f"unlisted: refuse\ndatasets: {{{OTHER_ID}: {{}}}}")
    assert [request.partition_key for request in refresh(pipeline)] == [OTHER_ID]


def test_without_credentials_the_variables_are_named(pipeline: LocalPipeline) -> None:
    message = refresh(pipeline, with_credentials=False).skip_message
    assert all(name in message for name in CREDENTIALS)


def test_nothing_is_looked_at_without_an_event_unless_it_is_wanted() -> None:
    repository = build_defs().get_repository_def()
    assert "quantemplate_polling" not in [sensor.name for sensor in repository.sensor_defs]
    assert repository.schedule_defs == []


def test_the_schedule_runs_from_the_start() -> None:
    schedule = build_defs(refresh_cron="0 5 * * *").get_repository_def().get_schedule_def("quantemplate_refresh")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 5 * * *", dg.DefaultScheduleStatus.RUNNING)


def test_a_cron_that_is_none_is_refused() -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="cron"):
        build_defs(refresh_cron="61 5 * * *")
