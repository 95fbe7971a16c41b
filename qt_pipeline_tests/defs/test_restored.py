"""What a person has restored is left alone by the schedule and the polling, until an event or a run by hand."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from qt_pipeline.catalog import load_catalog
from qt_pipeline.defs.refresh import polling_sensor, refresh_schedule
from qt_pipeline.inbox import EventState
from qt_pipeline.ingest import restore
from qt_pipeline.landing import Landing
from qt_pipeline_tests.defs.house import DATASET_ID, House

OTHER_ID = "d-another-of-the-house-002"
FIRST, SECOND = "Reference,Amount\n007,1.25\n", "Reference,Amount\n008,2.50\n"


@pytest.fixture
def house(house: House, tmp_path: Path) -> Iterator[House]:
    """With an instance on disk, and a dataset whose first load was restored after its second."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        house = replace(house, instance=instance)
        for csv in (FIRST, SECOND):
            house.serve(csv)
            assert house.run().success
        first = house.warehouse.loads(dataset_id=DATASET_ID)[-1].load_id
        dataset = load_catalog(house.folder / "datasets.yaml").dataset(DATASET_ID)
        restore(house.warehouse, Landing(str(house.folder / "landing")), dataset, first, run_id="restore-1")
        yield house


def refresh(house: House) -> list[dg.RunRequest] | dg.SkipReason:
    return refresh_schedule("0 5 * * *")(dg.build_schedule_context(house.instance), dispatcher=house.dispatcher())


def poll(house: House) -> list[dg.RunRequest] | dg.SkipReason:
    return polling_sensor(5)(dg.build_sensor_context(house.instance), dispatcher=house.dispatcher())


@pytest.mark.parametrize("look", [refresh, poll], ids=["schedule", "polling"])
def test_a_restored_dataset_is_not_looked_at_and_the_reason_names_it(house: House, look: object) -> None:
    assert callable(look)
    skip = look(house)
    assert isinstance(skip, dg.SkipReason)
    assert "somebody restored, until an event or a run by hand" in str(skip.skip_message)
    assert DATASET_ID in str(skip.skip_message)
    house.serve(FIRST, OTHER_ID)
    assert [request.partition_key for request in look(house)] == [OTHER_ID]


def test_an_event_ends_it(house: House) -> None:
    [seq] = house.announce(DATASET_ID)
    [request] = house.tick().requests
    assert house.run(tags=request.tags).success
    house.tick()
    assert house.event(seq).state is EventState.DONE
    assert house.sql("SELECT Reference FROM d_claims_of_the_house_0001") == [("008",)]
    assert [request.partition_key for request in refresh(house)] == [DATASET_ID]


def test_a_run_by_hand_ends_it(house: House) -> None:
    assert house.run().success
    assert house.sql("SELECT Reference FROM d_claims_of_the_house_0001") == [("008",)]
    assert [request.partition_key for request in refresh(house)] == [DATASET_ID]


def test_nothing_is_looked_at_while_the_ledger_cannot_be_read(house: House) -> None:
    house.sql("ALTER TABLE _qt_loads RENAME TO _qt_loads_elsewhere")
    skip = refresh(house)
    assert isinstance(skip, dg.SkipReason)
    assert "the ledger cannot be read" in str(skip.skip_message)
