"""A ledger that an older version made is completed when the target is opened."""

import pytest

from qt_pipeline.warehouse import LoadStatus
from qt_pipeline_tests.warehouse.engines import Engine
from qt_pipeline_tests.warehouse.loading import load

FILE = b"Name,Paid\nAnn,1.50\n"


@pytest.fixture
def older(engine: Engine) -> Engine:
    """With one load, from before loads could be restored."""
    load(engine.open(), FILE)
    engine.execute(f"ALTER TABLE {engine.table('_qt_loads')} DROP COLUMN restores_load_id")
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
