"""A ledger that an older version made is completed when the target is opened."""

import pytest

from qt_pipeline.warehouse import LoadStatus
from qt_pipeline.warehouse.ledger import ADDED_LATER
from qt_pipeline_tests.warehouse.engines import Engine
from qt_pipeline_tests.warehouse.loading import load

FILE = b"Name,Paid\nAnn,1.50\n"


@pytest.fixture
def older(engine: Engine) -> Engine:
    """With one load, from before loads could be restored and forms could be long."""
    load(engine.open(), FILE)
    for name in ADDED_LATER:
        engine.execute(f"ALTER TABLE {engine.table('_qt_loads')} DROP COLUMN {name}")
    narrow = {"postgresql": "TYPE VARCHAR(60)", "sqlserver": "NVARCHAR(60) NOT NULL"}.get(engine.name)
    if narrow:
        engine.execute(f"ALTER TABLE {engine.table('_qt_columns')} ALTER COLUMN format {narrow}")
    return engine


def test_what_an_older_ledger_lacks_is_added_and_its_lines_stay(older: Engine) -> None:
    assert "restores_load_id" not in older.columns("_qt_loads")
    warehouse = older.open()
    assert "restores_load_id" in older.columns("_qt_loads")
    load(warehouse, FILE, restores_load_id=1, through_seq=1)
    newest, first = warehouse.loads()
    assert (first.status, first.restores_load_id) == (LoadStatus.PUBLISHED, None)
    assert (newest.status, newest.restores_load_id) == (LoadStatus.PUBLISHED, 1)


def test_a_ledger_that_is_complete_is_left_as_it_is(older: Engine) -> None:
    older.open()
    before = older.columns("_qt_loads")
    older.open()
    assert older.columns("_qt_loads") == before


def test_an_index_that_an_older_ledger_lacks_is_made(engine: Engine) -> None:
    if engine.name == "sqlserver":
        pytest.skip(
            "SQL Server's ledger gets columns that it lacks, not indexes: a login that only loads may make none"
        )
    engine.open()
    engine.execute(f"DROP INDEX {engine.table('_qt_loads_table')}")
    engine.open()
    assert "_qt_loads_table" in engine.indexes("_qt_loads")


def test_a_declared_form_may_be_long(older: Engine) -> None:
    form = "date " + "on the day of " * 12 + "%d/%m/%Y"
    day = "on the day of " * 12 + "31/01/2026"
    load(older.open(), f"Day\n{day}\n".encode(), declared={"Day": form}, dataset_id="d-two", name="two")
    assert str(older.column("Day", "two")[0]) == "2026-01-31"
