"""One load after another: what readers, ledger and contract show, and what a load that fails leaves behind."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

import pytest
from sqlalchemy import Table

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular import DriftError
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import LoadProgress, LoadStatus, StaleLoadError, TargetRefusedError, Warehouse
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine
from qt_pipeline_tests.warehouse.loading import CableCutError, load, then_broken

OLD = b"Name,Paid\nAnn,1.00\nBob,2.00\n"
NEW = b"Name,Paid\nCleo,3.00\n"


def names_in(engine: Engine, table: str = "paid") -> list[str]:
    return engine.column("Name", table)


def test_the_ledger_tells_where_each_load_came_from_and_what_it_replaced(warehouse: Warehouse) -> None:
    before = utc_now()
    first = load(warehouse, OLD)
    second = load(
        warehouse,
        NEW,
        run_id="run-2",
        landing_run_id="run-0",
        landing_uri="file:///x",
        landed_at=datetime(2026, 3, 29, 1, 30, 15, 123456, UTC),
        sha256="f" * 64,
        bytes=7,
        through_seq=9,
        event_id=None,
        rules="rules-2",
    )
    assert (first.replaced_load_id, second.replaced_load_id) == (None, first.load_id)
    newest, oldest = warehouse.loads()
    assert (oldest.load_id, oldest.status, oldest.rows, oldest.event_id) == (first.load_id, "published", 2, "event-1")
    assert (newest.load_id, newest.replaced_load_id, newest.error) == (second.load_id, first.load_id, None)
    assert (newest.run_id, newest.landing_run_id, newest.landing_uri) == ("run-2", "run-0", "file:///x")
    assert newest.landed_at == datetime(2026, 3, 29, 1, 30, 15, 123456, UTC)
    assert (newest.sha256, newest.bytes, newest.rows, newest.table_rows) == ("f" * 64, 7, 1, 1)
    assert (newest.inbox_id, newest.through_seq, newest.event_id) == ("inbox-1", 9, None)
    assert (newest.table_name, newest.mode, newest.rules, newest.changes) == ("paid", "replace", "rules-2", None)
    assert newest.finished_at is not None
    assert before <= oldest.started_at <= newest.started_at <= newest.finished_at <= utc_now()


def test_the_ledger_is_read_by_dataset_newest_first(warehouse: Warehouse) -> None:
    ids = [load(warehouse, OLD, dataset_id=name, name=name).load_id for name in ("one", "two", "one", "two")]
    assert [record.load_id for record in warehouse.loads()] == ids[::-1]
    assert [record.load_id for record in warehouse.loads(dataset_id="one")] == [ids[2], ids[0]]
    assert [record.load_id for record in warehouse.loads(limit=1)] == [ids[3]]


def test_the_contract_stands_from_the_first_publish_on(engine: Engine, warehouse: Warehouse) -> None:
    assert warehouse.contract("d-one") is None
    first = load(warehouse, OLD)
    contract = engine.open().contract("d-one")
    assert contract is not None
    assert [(c.header, c.name, str(c.type)) for c in contract.columns] == [
        ("Name", "Name", "text(50)"),
        ("Paid", "Paid", "decimal(15,2)"),
    ]
    second = load(warehouse, b"Paid,Name\n0.125,Ann\n")
    columns = f'SELECT name, scale, first_load, last_load FROM {engine.table("_qt_columns")} ORDER BY "position"'
    assert engine.query(columns) == [
        ("Name", 0, first.load_id, second.load_id),
        ("Paid", 3, first.load_id, second.load_id),
    ]
    with pytest.raises(DriftError):
        load(warehouse, b"Name,Paid\nAnn,much\n")


def test_nothing_of_a_load_is_left_but_table_ledger_and_contract(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    load(warehouse, NEW)
    assert engine.tables() == OWN_TABLES | {"paid"}
    assert names_in(engine) == ["Cleo"]


def test_a_file_without_rows_is_a_table_without_rows(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    assert load(warehouse, b"Name,Paid\n").totals.rows == 0
    assert names_in(engine) == []


def test_views_indexes_and_triggers_survive_a_refresh(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    engine.make_view("names", f'SELECT "Name" FROM {engine.table()}')
    engine.execute(f'CREATE UNIQUE INDEX by_name ON {engine.table()} ("Name")')
    engine.make_trigger("logging", f"INSERT INTO {engine.table('log')} VALUES ('seen')", log="log")
    before = engine.indexes()
    load(warehouse, b"Name,Paid\n" + b"".join(b"n%d,3.00\n" % n for n in range(7)))
    assert "by_name" in engine.indexes()
    assert engine.indexes() == before
    assert engine.query(f"SELECT * FROM {engine.table('names')}") == [(f"n{n}",) for n in range(7)]
    assert engine.query(f"SELECT * FROM {engine.table('log')}") == [("seen",)]


def test_older_data_never_replace_newer(engine: Engine, warehouse: Warehouse) -> None:
    newer = load(warehouse, NEW, through_seq=5)
    with pytest.raises(StaleLoadError, match=f"Load {newer.load_id} has already published newer data"):
        load(warehouse, OLD, through_seq=4)
    assert names_in(engine) == ["Cleo"]
    assert warehouse.loads()[0].status is LoadStatus.FAILED
    assert engine.tables() == OWN_TABLES | {"paid"}
    load(warehouse, OLD, through_seq=5)
    assert names_in(engine) == ["Ann", "Bob"]


def test_numbers_of_another_inbox_are_not_compared(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, NEW, through_seq=5)
    load(warehouse, OLD, through_seq=1, inbox_id="inbox-2")
    assert names_in(engine) == ["Ann", "Bob"]


def test_a_dataset_that_moves_to_another_table_leaves_the_old_one(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD, through_seq=5)
    load(warehouse, NEW, through_seq=5, name="claims")
    assert (names_in(engine), names_in(engine, "claims")) == (["Ann", "Bob"], ["Cleo"])
    with pytest.raises(StaleLoadError):
        load(warehouse, OLD, through_seq=4, name="claims")


def test_a_failure_while_staging_leaves_the_old_table_and_a_line_without_values(
    engine: Engine, warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    with pytest.raises(CableCutError):
        load(warehouse, NEW, through=then_broken)
    assert names_in(engine) == ["Ann", "Bob"]
    assert engine.tables() == OWN_TABLES | {"paid"}
    failed = warehouse.loads()[0]
    assert (failed.status, failed.error) == (LoadStatus.FAILED, "CableCutError")
    assert failed.finished_at is not None
    assert "canary" not in str(engine.query(f"SELECT * FROM {engine.table('_qt_loads')}"))


def test_a_first_load_that_fails_leaves_no_table_and_no_contract(engine: Engine, warehouse: Warehouse) -> None:
    with pytest.raises(CableCutError):
        load(warehouse, OLD, through=then_broken)
    assert engine.tables() == OWN_TABLES
    assert warehouse.contract("d-one") is None
    load(warehouse, OLD)
    assert names_in(engine) == ["Ann", "Bob"]


def test_a_load_that_fails_again_and_again_can_still_succeed(warehouse: Warehouse) -> None:
    for _ in range(3):
        with pytest.raises(CableCutError):
            load(warehouse, OLD, through=then_broken)
    load(warehouse, OLD)
    assert [record.status.value for record in warehouse.loads()] == ["published", "failed", "failed", "failed"]


def test_only_a_publish_of_an_own_download_counts_for_events(warehouse: Warehouse) -> None:
    load(warehouse, OLD, through_seq=3)
    load(warehouse, OLD, through_seq=7, run_id="run-2")
    with pytest.raises(CableCutError):
        load(warehouse, OLD, through_seq=8, through=then_broken)
    load(warehouse, OLD, through_seq=4, dataset_id="d-two", name="two")
    assert warehouse.reached("inbox-1", ["d-one", "d-two", "d-three"]) == {
        "d-one": LoadProgress(3, 3),
        "d-two": LoadProgress(4, 4),
    }
    assert warehouse.reached("inbox-2", ["d-one"]) == {}
    assert warehouse.reached("inbox-1", []) == {}


def test_events_of_datasets_by_the_thousand_are_asked_for_at_once(warehouse: Warehouse) -> None:
    load(warehouse, OLD, through_seq=3)
    ids = [f"d-{number}" for number in range(2500)]
    assert warehouse.reached("inbox-1", [*ids, "d-one"]) == {"d-one": LoadProgress(3, 3)}


def test_a_driver_error_is_told_without_the_row(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    engine.execute(f'CREATE UNIQUE INDEX one_of_each ON {engine.table()} ("Paid")')
    with pytest.raises(TargetRefusedError) as caught:
        load(warehouse, b"Name,Paid\ncanary,77.25\ncanary,77.25\n")
    assert isinstance(caught.value, PermanentError)
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__} {warehouse.loads()[0].error}"
    assert "canary" not in told
    assert "77.25" not in told
    assert names_in(engine) == ["Ann", "Bob"]


def test_a_reader_that_keeps_its_transaction_open_is_not_waited_for(engine: Engine, warehouse: Warehouse) -> None:
    if engine.name == "sqlserver":
        pytest.skip("SQL Server without row versioning lets writers wait for readers")
    load(warehouse, OLD)
    look = f'SELECT "Name" FROM {engine.table()}'
    with engine.transaction() as ask:
        assert len(ask(look)) == 2
        load(warehouse, NEW)
        # SQLite keeps a reader's picture for its whole transaction, READ COMMITTED shows what is committed by now.
        assert len(ask(look)) == (2 if engine.name == "sqlite" else 1)
    assert engine.query(look) == [("Cleo",)]


def test_a_database_that_stops_taking_rows_stops_their_reading(engine: Engine) -> None:
    class Full:
        def stage(self: Any, stage: Table, batches: Iterable[Any], *, becomes_table: bool) -> int:
            super().stage(stage, islice(batches, 1), becomes_table=becomes_table)
            raise TargetRefusedError("Full.")

    with pytest.raises(TargetRefusedError, match="Full") as caught:
        load(engine.open(Full), OLD, through=cycle)
    # Also while somebody holds the error, and with it all that was going on.
    assert caught.value.__traceback__
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
    assert engine.tables() == OWN_TABLES
