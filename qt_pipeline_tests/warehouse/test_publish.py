import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular import DriftError
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import LoadStatus, StaleLoadError, TableNotOursError, Warehouse
from qt_pipeline_tests.warehouse.loading import execute, load, open_at, query, tables_in

OLD = b"Name,Paid\nAnn,1.00\nBob,2.00\n"
NEW = b"Name,Paid\nCleo,3.00\n"
OWN_TABLES = {"_qt_loads", "_qt_columns"}


class CableCutError(Exception):
    """The end of a download that broke in the middle."""


def then_broken(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches
    raise CableCutError("canary")


def names_in(file: Path, table: str = "paid") -> list[str]:
    return [name for (name,) in query(file, f'SELECT Name FROM "{table}" ORDER BY _qt_row')]


def test_the_ledger_tells_where_each_load_came_from_and_what_it_replaced(warehouse: Warehouse) -> None:
    before = utc_now()
    first = load(warehouse, OLD)
    second = load(
        warehouse,
        NEW,
        run_id="run-2",
        landing_run_id="run-0",
        landing_uri="file:///x",
        sha256="f" * 64,
        bytes=7,
        through_seq=9,
        event_id=None,
    )
    assert (first.replaced_load_id, second.replaced_load_id) == (None, first.load_id)
    newest, oldest = warehouse.loads()
    assert (oldest.load_id, oldest.status, oldest.rows, oldest.event_id) == (first.load_id, "published", 2, "event-1")
    assert (newest.load_id, newest.replaced_load_id, newest.error) == (second.load_id, first.load_id, None)
    assert (newest.run_id, newest.landing_run_id, newest.landing_uri) == ("run-2", "run-0", "file:///x")
    assert (newest.sha256, newest.bytes, newest.rows) == ("f" * 64, 7, 1)
    assert (newest.inbox_id, newest.through_seq, newest.event_id) == ("inbox-1", 9, None)
    assert newest.finished_at is not None
    assert before <= oldest.started_at <= newest.started_at <= newest.finished_at <= utc_now()


def test_the_ledger_is_read_by_dataset_newest_first(warehouse: Warehouse) -> None:
    ids = [load(warehouse, OLD, dataset_id=name, table_name=name).load_id for name in ("one", "two", "one", "two")]
    assert [record.load_id for record in warehouse.loads()] == ids[::-1]
    assert [record.load_id for record in warehouse.loads(dataset_id="one")] == [ids[2], ids[0]]
    assert [record.load_id for record in warehouse.loads(limit=1)] == [ids[3]]


def test_the_contract_stands_from_the_first_publish_on(file: Path, warehouse: Warehouse) -> None:
    assert warehouse.contract("d-one") is None
    first = load(warehouse, OLD)
    contract = open_at(file).contract("d-one")
    assert contract is not None
    assert [(c.header, c.name, str(c.type)) for c in contract.columns] == [
        ("Name", "Name", "text"),
        ("Paid", "Paid", "decimal(15,2)"),
    ]
    second = load(warehouse, b"Paid,Name\n0.125,Ann\n")
    columns = query(file, "SELECT name, scale, first_load, last_load FROM _qt_columns ORDER BY position")
    assert columns == [("Name", 0, first.load_id, second.load_id), ("Paid", 3, first.load_id, second.load_id)]
    with pytest.raises(DriftError):
        load(warehouse, b"Name,Paid\nAnn,much\n")


def test_nothing_of_a_load_is_left_but_table_ledger_and_contract(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    load(warehouse, NEW)
    assert tables_in(file) == OWN_TABLES | {"paid"}
    assert names_in(file) == ["Cleo"]


def test_a_file_without_rows_is_a_table_without_rows(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    assert load(warehouse, b"Name,Paid\n").totals.rows == 0
    assert names_in(file) == []


def test_views_indexes_and_triggers_survive_a_refresh(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    execute(
        file,
        "CREATE TABLE log (name TEXT)",
        "CREATE VIEW names AS SELECT Name FROM paid",
        "CREATE UNIQUE INDEX by_name ON paid (Name)",
        "CREATE TRIGGER logging AFTER INSERT ON paid BEGIN INSERT INTO log VALUES (new.Name); END",
    )
    kept = query(file, "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%qt%' ORDER BY name")
    load(warehouse, NEW)
    assert query(file, "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%qt%' ORDER BY name") == kept
    assert query(file, "SELECT Name FROM names") == query(file, "SELECT name FROM log") == [("Cleo",)]


@pytest.mark.parametrize("made", ["TABLE paid (x)", "VIEW paid AS SELECT 1 AS x", "TABLE PAID (x)"])
def test_a_table_that_is_not_ours_is_refused_and_kept(file: Path, warehouse: Warehouse, made: str) -> None:
    execute(file, f"CREATE {made}")
    before = query(file, "SELECT * FROM sqlite_master")
    with pytest.raises(TableNotOursError, match="'paid' exists already and was not made by this project") as caught:
        load(warehouse, OLD)
    assert caught.value.dataset_id == "d-one"
    assert query(file, "SELECT * FROM sqlite_master") == before
    assert warehouse.loads() == []


@pytest.mark.parametrize("table", ["_qt_loads", "_qt_columns"])
def test_our_own_tables_are_nobodys_dataset(warehouse: Warehouse, table: str) -> None:
    with pytest.raises(TableNotOursError):
        load(warehouse, OLD, table_name=table)
    assert warehouse.loads() == []


def test_a_table_belongs_to_one_dataset(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    with pytest.raises(TableNotOursError, match="'paid' belongs to the dataset d-one") as caught:
        load(warehouse, NEW, dataset_id="d-two")
    assert caught.value.dataset_id == "d-two"
    assert isinstance(caught.value, PermanentError)
    assert names_in(file) == ["Ann", "Bob"]


def test_older_data_never_replace_newer(file: Path, warehouse: Warehouse) -> None:
    newer = load(warehouse, NEW, through_seq=5)
    with pytest.raises(StaleLoadError, match=f"Load {newer.load_id} has published newer data"):
        load(warehouse, OLD, through_seq=4)
    assert names_in(file) == ["Cleo"]
    assert warehouse.loads()[0].status is LoadStatus.FAILED
    assert tables_in(file) == OWN_TABLES | {"paid"}
    load(warehouse, OLD, through_seq=5)
    assert names_in(file) == ["Ann", "Bob"]


def test_numbers_of_another_inbox_are_not_compared(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, NEW, through_seq=5)
    load(warehouse, OLD, through_seq=1, inbox_id="inbox-2")
    assert names_in(file) == ["Ann", "Bob"]


def test_a_dataset_that_moves_to_another_table_leaves_the_old_one(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD, through_seq=5)
    load(warehouse, NEW, through_seq=5, table_name="claims")
    assert (names_in(file), names_in(file, "claims")) == (["Ann", "Bob"], ["Cleo"])
    with pytest.raises(StaleLoadError):
        load(warehouse, OLD, through_seq=4, table_name="claims")


def test_a_failure_while_staging_leaves_the_old_table_and_a_line_without_values(
    file: Path, warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    with pytest.raises(CableCutError):
        load(warehouse, NEW, through=then_broken)
    assert names_in(file) == ["Ann", "Bob"]
    assert tables_in(file) == OWN_TABLES | {"paid"}
    failed = warehouse.loads()[0]
    assert (failed.status, failed.error) == (LoadStatus.FAILED, "CableCutError")
    assert failed.finished_at is not None
    assert "canary" not in str(query(file, "SELECT * FROM _qt_loads"))


def test_a_first_load_that_fails_leaves_no_table_and_no_contract(file: Path, warehouse: Warehouse) -> None:
    with pytest.raises(CableCutError):
        load(warehouse, OLD, through=then_broken)
    assert tables_in(file) == OWN_TABLES
    assert warehouse.contract("d-one") is None
    load(warehouse, OLD)
    assert names_in(file) == ["Ann", "Bob"]


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
    load(warehouse, OLD, through_seq=4, dataset_id="d-two", table_name="two")
    assert warehouse.published_through("inbox-1", ["d-one", "d-two", "d-three"]) == {"d-one": 3, "d-two": 4}
    assert warehouse.published_through("inbox-2", ["d-one"]) == {}
    assert warehouse.published_through("inbox-1", []) == {}


def test_events_of_datasets_by_the_thousand_are_asked_for_at_once(warehouse: Warehouse) -> None:
    load(warehouse, OLD, through_seq=3)
    ids = [f"d-{number}" for number in range(2500)]
    assert warehouse.published_through("inbox-1", [*ids, "d-one"]) == {"d-one": 3}


def test_a_driver_error_is_told_without_the_row(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    execute(file, "CREATE UNIQUE INDEX one_of_each ON paid (Paid)")
    with pytest.raises(Exception, match=r"UNIQUE constraint failed: paid\.Paid") as caught:
        load(warehouse, b"Name,Paid\ncanary,77.25\ncanary,77.25\n")
    assert "canary" not in str(caught.value)
    assert "77.25" not in f"{caught.value!r} {caught.value.__cause__}"
    assert names_in(file) == ["Ann", "Bob"]


def test_a_reader_that_keeps_its_transaction_open_keeps_its_rows(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    before = reader.execute("SELECT * FROM paid").fetchall()
    load(warehouse, NEW)
    assert reader.execute("SELECT * FROM paid").fetchall() == before
    reader.execute("COMMIT")
    assert reader.execute("SELECT Name FROM paid").fetchall() == [("Cleo",)]
    reader.close()
