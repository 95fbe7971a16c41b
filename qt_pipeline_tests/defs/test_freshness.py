from datetime import timedelta

import dagster as dg

from qt_pipeline.defs.freshness import freshness_sensor
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline, plain
from qt_pipeline_tests.hostile import as_read

CSV = "Ref\n1\n"


def look(pipeline: LocalPipeline, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=pipeline.instance, cursor=cursor)
    answer = freshness_sensor()(context, dispatcher=pipeline.dispatcher())
    assert isinstance(answer, dg.SensorResult)
    return answer


def loaded(pipeline: LocalPipeline, *, hours_ago: float, entry: str = "fresh_within_hours: 24.0") -> None:
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{name: Claims, {entry}}}}}")
    pipeline.serve(CSV)
    assert pipeline.run().success
    age(pipeline, hours_ago)


def age(pipeline: LocalPipeline, hours: float) -> None:
    """Let the newest load have been downloaded so many hours ago."""
    [load] = pipeline.warehouse.loads(limit=1)
    landed_at = load.landed_at - timedelta(hours=hours)
    pipeline.sql(f"UPDATE _qt_loads SET landed_at = '{landed_at:%Y-%m-%d %H:%M:%S.%f}' WHERE load_id = {load.load_id}")


def test_a_dataset_is_stale_after_its_hours_and_told_once(pipeline: LocalPipeline) -> None:
    loaded(pipeline, hours_ago=24.5)
    first = look(pipeline)
    [told] = first.asset_events
    assert isinstance(told, dg.AssetCheckEvaluation)
    assert (told.check_name, told.passed, told.partition) == ("fresh", False, DATASET_ID)
    words = "The newest download of Claims is 24.5 hours old (load 1); the catalog wants one within 24 hours."
    assert as_read(told.description or "") == words
    assert plain(told.metadata)["hours"] == 24.5
    again = look(pipeline, first.cursor)
    assert again.asset_events == []
    assert again.skip_reason is not None
    assert again.skip_reason.skip_message == "1 datasets are stale."


def test_a_dataset_is_fresh_within_its_hours(pipeline: LocalPipeline) -> None:
    loaded(pipeline, hours_ago=23.5)
    answer = look(pipeline)
    assert answer.asset_events == []
    assert answer.skip_reason is not None
    assert answer.skip_reason.skip_message == "No dataset is stale."


def test_a_download_without_a_change_makes_it_fresh_and_it_can_become_stale_again(pipeline: LocalPipeline) -> None:
    loaded(pipeline, hours_ago=30)
    stale = look(pipeline)
    assert pipeline.run().check("fresh").passed
    fresh = look(pipeline, stale.cursor)
    assert fresh.asset_events == []
    age(pipeline, 25)
    assert len(look(pipeline, fresh.cursor).asset_events) == 1


def test_a_dataset_without_hours_or_without_a_load_is_never_stale(pipeline: LocalPipeline) -> None:
    loaded(pipeline, hours_ago=10_000, entry="min_rows: 0")
    assert look(pipeline).asset_events == []
    pipeline.write_catalog("datasets: {d-never-loaded-0000001: {fresh_within_hours: 1.0}}")
    assert look(pipeline).asset_events == []


def test_the_hours_of_the_defaults_hold_for_a_dataset_that_is_not_listed(pipeline: LocalPipeline) -> None:
    loaded(pipeline, hours_ago=2)
    pipeline.write_catalog("defaults: {fresh_within_hours: 1.0}")
    assert len(look(pipeline).asset_events) == 1
    pipeline.write_catalog("{unlisted: refuse, defaults: {fresh_within_hours: 1.0}}")
    assert look(pipeline).asset_events == []


def test_the_check_of_a_stale_dataset_stands_in_dagsters_records(pipeline: LocalPipeline) -> None:
    loaded(pipeline, hours_ago=30)
    [told] = look(pipeline).asset_events
    pipeline.instance.report_runless_asset_event(told)
    key = dg.AssetCheckKey(dg.AssetKey(["warehouse", "table"]), "fresh")
    [record] = pipeline.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert (record.status.value, record.partition) == ("FAILED", DATASET_ID)
