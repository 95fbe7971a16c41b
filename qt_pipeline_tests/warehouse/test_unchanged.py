"""When a table shows a file already, it is left as it is; when anything is different, the file is loaded."""

from dataclasses import replace

import pytest

from qt_pipeline.warehouse import LoadProgress, LoadRecord, LoadStatus, PublishedLoad, StaleLoadError, Warehouse
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine
from qt_pipeline_tests.warehouse.loading import JOB, TABLE, CableCutError, load, load_or_leave, publish, then_broken

FILE = b"Name,Paid\nAnn,1.00\nBob,2.00\n"


def test_a_file_that_the_table_shows_is_left_and_only_the_ledger_says_so(engine: Engine, warehouse: Warehouse) -> None:
    first = load(warehouse, FILE)
    for _ in range(2):
        left = load_or_leave(warehouse, FILE, through_seq=3)
        assert isinstance(left, LoadRecord)
        assert (left.status, left.rows, left.table_rows) == (LoadStatus.UNCHANGED, 2, 2)
        assert left == warehouse.loads()[0]
        assert left.load_id > first.load_id
    assert set(engine.column("_qt_load")) == {first.load_id}
    assert engine.tables() == OWN_TABLES | {"paid"}
    assert [record.is_current for record in warehouse.loads()] == [True] * 3


def test_what_replaces_an_unchanged_table_tells_whose_rows_went(warehouse: Warehouse) -> None:
    first = load(warehouse, FILE)
    load_or_leave(warehouse, FILE)
    second = load(warehouse, b"Name,Paid\nCleo,3.00\n", sha256="1" * 64)
    assert (second.replaced_load_id, warehouse.loads()[0].replaced_load_id) == (first.load_id, first.load_id)


@pytest.mark.parametrize("change", [{"sha256": "1" * 64}, {"rules": "rules-2"}, {"name": "claims"}], ids=str)
def test_another_file_or_other_rules_lead_to_a_load(
    engine: Engine, warehouse: Warehouse, change: dict[str, str]
) -> None:
    load(warehouse, FILE)
    loaded = load_or_leave(warehouse, FILE, **change)
    assert isinstance(loaded, PublishedLoad)
    assert set(engine.column("_qt_load", change.get("name", "paid"))) == {loaded.load_id}


TAMPERING = {
    "the table is gone": "DROP TABLE {}",
    "a column is gone": 'ALTER TABLE {} DROP COLUMN "Paid"',
    "a row is gone": "DELETE FROM {} WHERE \"Name\" = 'Bob'",
    "all rows are gone": "DELETE FROM {}",
    "a row came": 'INSERT INTO {} ("Name", "_qt_load", "_qt_row") VALUES (\'Cleo\', 0, 9)',
}


@pytest.mark.parametrize("tampering", TAMPERING)
def test_a_table_that_somebody_has_changed_is_loaded_again(
    engine: Engine, warehouse: Warehouse, tampering: str
) -> None:
    load(warehouse, FILE)
    engine.execute(TAMPERING[tampering].format(engine.table()))
    assert isinstance(load_or_leave(warehouse, FILE), PublishedLoad)
    assert [(name, float(paid)) for name, paid in zip(engine.column("Name"), engine.column("Paid"), strict=True)] == [
        ("Ann", 1.0),
        ("Bob", 2.0),
    ]
    assert isinstance(load_or_leave(warehouse, FILE), LoadRecord)


def test_a_column_that_somebody_took_away_comes_back_in_a_type_that_has_grown(
    engine: Engine, warehouse: Warehouse
) -> None:
    load(warehouse, FILE)
    engine.execute(f'ALTER TABLE {engine.table()} DROP COLUMN "Paid"')
    load(warehouse, b"Name,Paid\nAnn,0.125\n")
    assert [float(value) for value in engine.column("Paid")] == [0.125]


def test_a_column_that_tells_the_load_is_part_of_what_a_table_shows(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, FILE, lineage_columns=False)
    assert isinstance(load_or_leave(warehouse, FILE, lineage_columns=False), LoadRecord)
    assert isinstance(load_or_leave(warehouse, FILE), PublishedLoad)
    assert engine.column("_qt_row") == [2, 3]


def test_a_file_that_was_loaded_before_the_last_is_loaded_again(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, FILE)
    load(warehouse, b"Name,Paid\nCleo,3.00\n", sha256="1" * 64)
    assert isinstance(load_or_leave(warehouse, FILE), PublishedLoad)
    assert engine.column("Name") == ["Ann", "Bob"]


def test_a_load_that_failed_in_between_is_no_reason_to_load_again(warehouse: Warehouse) -> None:
    load(warehouse, FILE)
    with pytest.raises(CableCutError):
        load(warehouse, FILE, sha256="1" * 64, through=then_broken)
    assert isinstance(load_or_leave(warehouse, FILE), LoadRecord)


def test_nothing_shows_a_file_before_the_first_load(warehouse: Warehouse) -> None:
    assert isinstance(load_or_leave(warehouse, FILE), PublishedLoad)


def test_a_file_left_counts_for_events_and_makes_older_data_stale(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, FILE, through_seq=3)
    load_or_leave(warehouse, FILE, through_seq=9)
    assert warehouse.reached("inbox-1", ["d-one"]) == {"d-one": LoadProgress(published_through=3, checked_through=9)}
    with pytest.raises(StaleLoadError):
        load(warehouse, b"Name,Paid\nCleo,3.00\n", through_seq=5)
    with pytest.raises(StaleLoadError):
        load_or_leave(warehouse, FILE, through_seq=5)
    assert [record.status.value for record in warehouse.loads()] == ["failed", "failed", "unchanged", "published"]
    assert engine.column("Name") == ["Ann", "Bob"]


def test_an_earlier_download_that_is_left_settles_no_events(warehouse: Warehouse) -> None:
    load(warehouse, FILE, through_seq=3)
    load_or_leave(warehouse, FILE, through_seq=9, run_id="run-2")
    assert warehouse.reached("inbox-1", ["d-one"]) == {"d-one": LoadProgress(published_through=3, checked_through=3)}


def test_a_load_that_is_neither_published_nor_left_has_failed(engine: Engine, warehouse: Warehouse) -> None:
    with warehouse.begin(JOB, TABLE):
        pass
    with warehouse.begin(replace(JOB, sha256="1" * 64), TABLE) as begun:
        with pytest.raises(RuntimeError, match="staged before"):
            begun.publish()
        publish(begun, FILE)
    assert [record.status.value for record in warehouse.loads()] == ["published", "failed"]
    assert engine.column("Name") == ["Ann", "Bob"]
