from datetime import timedelta

import dagster as dg

from qt_pipeline.defs.freshness import freshness_sensor
from qt_pipeline_tests.defs.house import DATASET_ID, House, plain
from qt_pipeline_tests.hostile import as_read

CSV = "Ref\n1\n"


def look(house: House, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=house.instance, cursor=cursor)
    answer = freshness_sensor()(context, dispatcher=house.dispatcher())
    assert isinstance(answer, dg.SensorResult)
    return answer


def loaded(house: House, *, hours_ago: float, entry: str = "fresh_within_hours: 24.0") -> None:
    house.write_catalog(f"datasets: {{{DATASET_ID}: {{name: Claims, {entry}}}}}")
    house.serve(CSV)
    assert house.run().success
    age(house, hours_ago)


def age(house: House, hours: float) -> None:
    """Let the newest load have been downloaded so many hours ago."""
    [load] = house.warehouse.loads(limit=1)
    landed_at = load.landed_at - timedelta(hours=hours)
    house.sql(f"UPDATE _qt_loads SET landed_at = '{landed_at:%Y-%m-%d %H:%M:%S.%f}' WHERE load_id = {load.load_id}")


def test_a_dataset_is_stale_after_its_hours_and_told_once(house: House) -> None:
    loaded(house, hours_ago=24.5)
    first = look(house)
    [told] = first.asset_events
    assert isinstance(told, dg.AssetCheckEvaluation)
    assert (told.check_name, told.passed, told.partition) == ("fresh", False, DATASET_ID)
    words = "The newest download of Claims is 24.5 hours old (load 1); the catalog wants one within 24 hours."
    assert as_read(told.description or "") == words
    assert plain(told.metadata)["hours"] == 24.5
    again = look(house, first.cursor)
    assert again.asset_events == []
    assert again.skip_reason is not None
    assert again.skip_reason.skip_message == "1 datasets are stale."


def test_a_dataset_is_fresh_within_its_hours(house: House) -> None:
    loaded(house, hours_ago=23.5)
    answer = look(house)
    assert answer.asset_events == []
    assert answer.skip_reason is not None
    assert answer.skip_reason.skip_message == "No dataset is stale."


def test_a_download_without_a_change_makes_it_fresh_and_it_can_become_stale_again(house: House) -> None:
    loaded(house, hours_ago=30)
    stale = look(house)
    assert house.run().check("fresh").passed
    fresh = look(house, stale.cursor)
    assert fresh.asset_events == []
    age(house, 25)
    assert len(look(house, fresh.cursor).asset_events) == 1


def test_a_dataset_without_hours_or_without_a_load_is_never_stale(house: House) -> None:
    loaded(house, hours_ago=10_000, entry="min_rows: 0")
    assert look(house).asset_events == []
    house.write_catalog("datasets: {d-never-loaded-0000001: {fresh_within_hours: 1.0}}")
    assert look(house).asset_events == []


def test_the_hours_of_the_defaults_hold_for_a_dataset_that_is_not_listed(house: House) -> None:
    loaded(house, hours_ago=2)
    house.write_catalog("defaults: {fresh_within_hours: 1.0}")
    assert len(look(house).asset_events) == 1
    house.write_catalog("{unlisted: refuse, defaults: {fresh_within_hours: 1.0}}")
    assert look(house).asset_events == []


def test_the_check_of_a_stale_dataset_stands_in_dagsters_records(house: House) -> None:
    loaded(house, hours_ago=30)
    [told] = look(house).asset_events
    house.instance.report_runless_asset_event(told)
    key = dg.AssetCheckKey(dg.AssetKey(["warehouse", "table"]), "fresh")
    [record] = house.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert (record.status.value, record.partition) == ("FAILED", DATASET_ID)
