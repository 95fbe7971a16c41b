import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from qt_pipeline.errors import ConfigurationError, TransientError
from qt_pipeline.warehouse import TableBusyError, TargetUnavailableError, Warehouse, open_warehouse, sqlite
from qt_pipeline_tests.warehouse.loading import load, open_at, query

FILE = b"Name,Paid\nAnn,1.00\n"


@pytest.fixture
def impatient(file: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setattr(sqlite, "_WAIT_SECONDS", 0.1)
    return open_at(file)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "mysql://u:canary@h/d"],
)
def test_what_cannot_be_a_target_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_WAREHOUSE_URL") as caught:
        open_warehouse(url)
    assert "canary" not in str(caught.value)


def test_a_new_target_has_a_ledger_and_its_readers_never_wait(file: Path, warehouse: Warehouse) -> None:
    assert warehouse.loads() == []
    assert query(file, "PRAGMA journal_mode") == [("wal",)]


def test_a_new_target_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    callers = 8
    barrier = threading.Barrier(callers)

    def open_together(file: Path) -> int:
        barrier.wait()
        return len(open_at(file).loads())

    for round_ in range(3):
        with ThreadPoolExecutor(callers) as pool:
            assert set(pool.map(open_together, [tmp_path / f"{round_}" / "warehouse.db"] * callers)) == {0}


def test_a_file_that_cannot_be_a_target_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database. " * 100)
    with pytest.raises(TargetUnavailableError, match="not a database"):
        open_at(tmp_path / "text.db")
    with pytest.raises(TargetUnavailableError, match=r"Not a directory|File exists"):
        open_at(tmp_path / "text.db" / "warehouse.db")


def test_a_locked_target_is_unavailable_to_loads_and_not_to_readers(file: Path, impatient: Warehouse) -> None:
    load(impatient, FILE)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TargetUnavailableError, match="database is locked"):
            load(impatient, FILE)
        assert len(impatient.loads()) == 1
        other.execute("ROLLBACK")
    load(impatient, FILE)
    assert len(impatient.loads()) == 2


def test_a_full_disk_while_staging_is_told_and_leaves_the_table(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, FILE)
    with warehouse._target.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(TargetUnavailableError, match="database or disk is full"):
        load(warehouse, b"Name,Paid\n" + b"x" * 500_000 + b",1\n")
    assert query(file, "SELECT Name FROM paid") == [("Ann",)]
    assert "disk is full" in str(warehouse.loads()[0].error)


def test_a_table_that_another_loads_for_too_long_is_busy(file: Path, impatient: Warehouse) -> None:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with open_at(file)._target.exclusive("PAID"):
            held.set()
            over.wait()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        try:
            assert held.wait(30)
            with pytest.raises(TableBusyError, match="'paid'"):
                load(impatient, FILE)
            load(impatient, FILE, dataset_id="d-two", table_name="two")
        finally:
            over.set()
        holding.result()
    load(impatient, FILE)


def test_what_a_repeat_may_help_is_transient() -> None:
    assert issubclass(TableBusyError, TransientError)
    assert issubclass(TargetUnavailableError, TransientError)
