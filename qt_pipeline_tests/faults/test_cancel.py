"""A run that somebody cancels in the UI ends within seconds, leaves the old table, and its dataset is free again."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from qt_pipeline.inbox import EventState
from qt_pipeline.warehouse import LoadStatus
from qt_pipeline_tests.e2e.live import LiveStack, until
from qt_pipeline_tests.faults.place import NEW, OLD, bordereau
from qt_pipeline_tests.warehouse.cells import assert_holds
from qt_pipeline_tests.warehouse.engines import Engine, Postgres, Sqlite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# Mostly one or two; a machine under load takes longer, and what is not noticed takes a minute and more.
SECONDS = 30
LARGE_ROWS = 1_500_000

_SLOW_STAGING = """
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
CREATE FUNCTION slow_down() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made text;
BEGIN
  FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE '%_qt_stage_%' LOOP
    EXECUTE format('CREATE TRIGGER slow BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION public.sleep()', made);
  END LOOP;
END $$;
CREATE EVENT TRIGGER slow_staging ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION slow_down();
"""


def canceled(stack: LiveStack, dataset_id: str, run_id: str) -> None:
    """Cancel a run as the UI does; it is over in time, and says so."""
    began = time.monotonic()
    stack.dagster.terminate(run_id)
    run = stack.await_run(dataset_id, lambda run: run.is_over, "is over")
    took = time.monotonic() - began
    assert (run.run_id, run.status) == (run_id, "CANCELED")
    print(f"canceled within {took:.1f} s")  # noqa: T201  # a figure
    assert took < SECONDS


def loaded(stack: LiveStack, dataset_id: str) -> None:
    stack.serve(dataset_id, OLD)
    stack.await_settled([stack.fire(dataset_id)])


def assert_old_and_free(stack: LiveStack, engine: Engine, dataset_id: str, seq: int) -> None:
    """The table was left, nothing else was, the event waits for a person, and the next event brings the next file."""

    def holds(csv: bytes) -> None:
        contract = stack.warehouse.contract(dataset_id)
        assert contract is not None
        assert_holds(engine, csv, contract, dataset_id.replace("-", "_"))

    holds(OLD)
    landings = (stack.state_dir / "landing" / dataset_id).iterdir()
    assert [folder for folder in landings if not (folder / "manifest.json").exists()] == []
    assert engine.stages() == set()
    assert stack.await_settled([seq])[0].state is EventState.PARKED
    stack.serve(dataset_id, NEW)
    stack.spoil(dataset_id)
    [event] = stack.await_settled([stack.fire(dataset_id)])
    assert event.state is EventState.DONE
    holds(NEW)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with LiveStack(tmp_path_factory.mktemp("cancel")) as running:
        yield running


def test_a_run_that_is_canceled_while_it_downloads_ends_within_seconds(stack: LiveStack) -> None:
    dataset_id = "d-slow"
    loaded(stack, dataset_id)
    stack.spoil(dataset_id, kind="slow", seconds=300)
    seq = stack.fire(dataset_id)
    run = stack.await_download(dataset_id, number=2)
    until(lambda: list((stack.state_dir / "landing" / dataset_id).glob("00000002-*")), "a draft")
    canceled(stack, dataset_id, run.run_id)
    assert_old_and_free(stack, Sqlite(stack.warehouse_file), dataset_id, seq)


@pytest.mark.long
def test_a_run_that_is_canceled_while_it_copies_ends_within_seconds(stack: LiveStack) -> None:
    dataset_id, engine = "d-large", Sqlite(stack.warehouse_file)
    loaded(stack, dataset_id)
    stack.serve(dataset_id, bordereau(LARGE_ROWS, "50"))
    seq = stack.fire(dataset_id)
    run = stack.await_download(dataset_id, number=2)
    until(lambda: size_of_stages(stack.state_dir) > 1 << 20, "rows in staging")
    canceled(stack, dataset_id, run.run_id)
    assert stack.warehouse.loads(dataset_id=dataset_id)[0].status is LoadStatus.FAILED
    assert_old_and_free(stack, engine, dataset_id, seq)


def size_of_stages(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*._qt_stage_*"))


@pytest.mark.long
def test_a_run_that_is_canceled_while_a_slow_server_copies_ends_within_seconds(
    tmp_path: Path, postgres_server: str
) -> None:
    dataset_id = "d-slow-server"
    engine = Postgres(postgres_server)
    settings = {"QT_WAREHOUSE_URL": engine.url, "QT_WAREHOUSE_SCHEMA": str(engine.schema)}
    with LiveStack(tmp_path, settings=settings) as stack, psycopg.connect(postgres_server, autocommit=True) as admin:
        stack.warehouse = engine.open()
        loaded(stack, dataset_id)
        admin.execute(_SLOW_STAGING)
        try:
            stack.serve(dataset_id, bordereau(50_000, "50"))
            seq = stack.fire(dataset_id)
            run = stack.await_download(dataset_id, number=2)
            copied = "SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 100"
            until(lambda: admin.execute(copied).fetchone(), "rows in staging")
            canceled(stack, dataset_id, run.run_id)
        finally:
            admin.execute("DROP EVENT TRIGGER slow_staging")
        assert stack.warehouse.loads(dataset_id=dataset_id)[0].status is LoadStatus.FAILED
        assert_old_and_free(stack, engine, dataset_id, seq)
    engine.drop()
