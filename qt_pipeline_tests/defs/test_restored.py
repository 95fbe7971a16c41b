"""What a person has restored is skipped by the schedule and the polling until an event or a manual run."""

import dagster as dg
import pytest

from qt_pipeline.catalog import load_catalog
from qt_pipeline.defs.refresh import polling_sensor, refresh_schedule
from qt_pipeline.inbox import EventState
from qt_pipeline.ingest import restore
from qt_pipeline.landing import Landing
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline

OTHER_ID = "d-another-of-a-test-002"
FIRST, SECOND = "Reference,Amount\n007,1.25\n", "Reference,Amount\n008,2.50\n"


@pytest.fixture
def pipeline(pipeline_on_disk: LocalPipeline) -> LocalPipeline:
    """With a dataset whose first load was restored after its second."""
    pipeline = pipeline_on_disk
    for csv in (FIRST, SECOND):
        pipeline.serve(csv)
        assert pipeline.run().success
    first = pipeline.warehouse.loads(dataset_id=DATASET_ID)[-1].load_id
    dataset = load_catalog(pipeline.folder / "datasets.yaml").dataset(DATASET_ID)
    restore(pipeline.warehouse, Landing(str(pipeline.folder / "landing")), dataset, first, run_id="restore-1")
    return pipeline


def refresh(pipeline: LocalPipeline) -> list[dg.RunRequest] | dg.SkipReason:
    return refresh_schedule("0 5 * * *")(dg.build_schedule_context(pipeline.instance), dispatcher=pipeline.dispatcher())


def poll(pipeline: LocalPipeline) -> list[dg.RunRequest] | dg.SkipReason:
    return polling_sensor(5)(dg.build_sensor_context(pipeline.instance), dispatcher=pipeline.dispatcher())


@pytest.mark.parametrize("look", [refresh, poll], ids=["schedule", "polling"])
def test_a_restored_dataset_is_not_looked_at_and_the_reason_names_it(pipeline: LocalPipeline, look: object) -> None:
    assert callable(look)
    skip = look(pipeline)
    assert isinstance(skip, dg.SkipReason)
    assert "show restored data until an event or a manual run" in str(skip.skip_message)
    assert DATASET_ID in str(skip.skip_message)
    pipeline.serve(FIRST, OTHER_ID)
    assert [request.partition_key for request in look(pipeline)] == [OTHER_ID]


def test_an_event_ends_it(pipeline: LocalPipeline) -> None:
    [seq] = pipeline.announce(DATASET_ID)
    [request] = pipeline.tick().requests
    assert pipeline.run(tags=request.tags).success
    pipeline.tick()
    assert pipeline.event(seq).state is EventState.DONE
    assert pipeline.sql("SELECT Reference FROM d_claims_of_a_test_0001") == [("008",)]
    assert [request.partition_key for request in refresh(pipeline)] == [DATASET_ID]


def test_a_run_by_hand_ends_it(pipeline: LocalPipeline) -> None:
    assert pipeline.run().success
    assert pipeline.sql("SELECT Reference FROM d_claims_of_a_test_0001") == [("008",)]
    assert [request.partition_key for request in refresh(pipeline)] == [DATASET_ID]


def test_nothing_is_looked_at_while_the_ledger_cannot_be_read(pipeline: LocalPipeline) -> None:
    pipeline.sql("ALTER TABLE _qt_loads RENAME TO _qt_loads_elsewhere")
    skip = refresh(pipeline)
    assert isinstance(skip, dg.SkipReason)
    assert "the ledger cannot be read" in str(skip.skip_message)
