"""What only SQLite has: a file that is opened, locked and filled, and few types."""

import resource
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from qt_pipeline.errors import ConfigurationError, TransientError
from qt_pipeline.tabular import Rows
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import (
    LoadStatus,
    TableBusyError,
    TableNotOursError,
    TableRefusedError,
    TargetRefusedError,
    TargetUnavailableError,
    Warehouse,
    open_warehouse,
)
from qt_pipeline.warehouse import publish as publish_module
from qt_pipeline.warehouse import sqlite as sqlite_module
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Sqlite
from qt_pipeline_tests.warehouse.loading import load
from qt_pipeline_tests.warehouse.test_round_trip import EVERY_ROW, EVERY_SHAPE

FILE = b"Name,Paid\nAnn,1.00\n"
LONG = b"Name,Paid\n" + b"x" * 500_000 + b",1\n"


@pytest.fixture
def warehouse(sqlite: Sqlite) -> Warehouse:
    return sqlite.open()


@pytest.fixture
def impatient(sqlite: Sqlite, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setattr(sqlite_module, "_WAIT_SECONDS", 0.1)
    return sqlite.open()


def open_at(file: Path) -> Warehouse:
    return open_warehouse(f"sqlite:///{file}")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_what_cannot_be_a_target_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_WAREHOUSE_URL"):
        open_warehouse(url)


def test_a_new_target_has_a_ledger_its_readers_never_wait_and_commits_survive_a_power_cut(tmp_path: Path) -> None:
    warehouse = open_at(tmp_path / "new" / "warehouse.db")
    assert warehouse.loads() == []
    with warehouse._target.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_new_target_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    callers = 8
    barrier = threading.Barrier(callers)

    def open_together(file: Path) -> int:
        barrier.wait()
        return len(open_at(file).loads())

    for round_ in range(3):
        with ThreadPoolExecutor(callers) as pool:
            assert set(pool.map(open_together, [tmp_path / f"{round_}" / "warehouse.db"] * callers)) == {0}


def test_a_file_that_cannot_be_a_target_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database. " * 100)
    with pytest.raises(TargetRefusedError, match="not a database"):
        open_at(tmp_path / "text.db")
    with pytest.raises(TargetUnavailableError, match=r"Not a directory|File exists"):
        open_at(tmp_path / "text.db" / "warehouse.db")


def test_asking_for_a_contract_makes_no_file(tmp_path: Path) -> None:
    assert open_warehouse(f"sqlite:///{tmp_path}/none/warehouse.db", prepare=False).contract("d-one") is None
    assert list(tmp_path.iterdir()) == []


def test_values_are_stored_in_the_words_that_sqlite_has_for_them(sqlite: Sqlite, warehouse: Warehouse) -> None:
    load(warehouse, csv_bytes(list(EVERY_SHAPE), EVERY_ROW))
    contract = warehouse.contract("d-one")
    assert contract is not None
    stored = dict(zip(EVERY_SHAPE, zip(*sqlite.stored(contract), strict=True), strict=True))
    assert stored["Name"] == ('Ann, "B"\r\nC', "保険 ﬁ ß 🚢", None, " ")
    assert stored["Claim No"] == ("007", "1e5", None, "-0")
    assert stored["Paid"] == (-1234567890123.45, 0.1, None, 0.5)
    assert stored["Tiny"] == (0.00000000000001, -1.5, None, 5)
    assert stored["Wide"] == ("1" * 30 + ".12345678", "-0.00000001", None, "-7")
    assert stored["Written"] == ("0001-01-01", "9999-12-31", None, "2020-02-29")
    assert stored["Loss date"] == ("2024-02-29", "1999-12-31", None, "2024-01-01")
    assert stored["Seen at"][:2] == ("2020-01-31 10:00:00.500000", "0001-01-01 00:00:00.000000")
    assert stored["Open"] == (1, 0, None, 1)
    assert sqlite.query('SELECT typeof("Tiny"), typeof("Count") FROM paid WHERE _qt_row = 2') == [("real", "integer")]


@contextmanager
def locked(sqlite: Sqlite) -> Iterator[sqlite3.Connection]:
    """Somebody else, who is writing."""
    with closing(sqlite3.connect(sqlite.file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_a_locked_target_is_unavailable_to_loads_and_not_to_readers(sqlite: Sqlite, impatient: Warehouse) -> None:
    load(impatient, FILE)
    with locked(sqlite):
        with pytest.raises(TargetUnavailableError, match="database is locked"):
            load(impatient, FILE)
        assert len(impatient.loads()) == 1
    load(impatient, FILE)
    assert len(impatient.loads()) == 2


def test_staging_holds_no_lock_and_a_publish_waits_for_others_to_end(
    sqlite: Sqlite, impatient: Warehouse, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    assert at_once is None
    load(impatient, FILE)
    with locked(sqlite) as other:
        other.execute("ROLLBACK")
        waits: list[object] = []

        def then_give_way(state: object) -> None:
            waits.append(state)
            other.execute("ROLLBACK")

        def take_the_lock(rows: Iterable[Rows]) -> Iterator[Rows]:
            yield from rows
            other.execute("BEGIN IMMEDIATE")
            other.execute("CREATE TABLE theirs (x)")

        monkeypatch.setattr(publish_module, "_log_retry", then_give_way)
        load(impatient, b"Name,Paid\nBob,2.00\n", through=take_the_lock)
    assert len(waits) == 1
    assert sqlite.column("Name") == ["Bob"]


def test_a_publish_has_the_lock_from_its_first_statement_on(sqlite: Sqlite) -> None:
    class Watched:
        def totals(self: Any, *args: Any) -> Any:
            # Whoever wrote now would make the publish begin anew.
            other = sqlite3.connect(sqlite.file, isolation_level=None, timeout=0)
            with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            return super().totals(*args)

    load(sqlite.open(Watched), FILE)
    assert sqlite.column("Name") == ["Ann"]


def test_a_disk_that_is_full_while_staging_is_told_and_leaves_the_table(sqlite: Sqlite, warehouse: Warehouse) -> None:
    load(warehouse, FILE)
    sizes = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # No file may grow beyond what the ledger still needs.
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, sizes[1]))
        with pytest.raises(TargetUnavailableError, match=r"full|I/O error") as caught:
            load(warehouse, LONG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, sizes)
    assert "xxx" not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    assert sqlite.column("Name") == ["Ann"]
    assert sqlite.tables() == OWN_TABLES | {"paid"}
    assert warehouse.loads()[0].error == str(caught.value)


@pytest.mark.usefixtures("tried_once")
def test_a_disk_that_is_full_while_publishing_is_told_and_leaves_the_table(
    sqlite: Sqlite, warehouse: Warehouse
) -> None:
    load(warehouse, FILE)
    [(pages,)] = sqlite.query("PRAGMA page_count")
    engine = warehouse._target._engine

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")

    event.listen(engine, "connect", limit)
    engine.dispose()
    with pytest.raises(TargetUnavailableError, match="database or disk is full"):
        load(warehouse, LONG)
    assert sqlite.column("Name") == ["Ann"]
    assert "disk is full" in str(warehouse.loads()[0].error)
    assert sqlite.tables() == OWN_TABLES | {"paid"}


def test_names_of_tables_that_differ_in_case_alone_are_one_table_and_one_lock(
    sqlite: Sqlite, impatient: Warehouse
) -> None:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with sqlite.open()._target.table_lock("PAID"):
            held.set()
            over.wait()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        try:
            assert held.wait(30)
            with pytest.raises(TableBusyError, match="'paid'"):
                load(impatient, FILE)
            load(impatient, FILE, dataset_id="d-two", name="two")
        finally:
            over.set()
        holding.result()
    load(impatient, FILE)
    with pytest.raises(TableNotOursError, match="belongs to the dataset d-one"):
        load(impatient, FILE, dataset_id="d-three", name="PAID")


@pytest.mark.parametrize("made", ["TABLE PAID (x)", "VIEW PAID AS SELECT 1 AS x"])
def test_a_table_that_differs_in_case_alone_is_somebody_elses(sqlite: Sqlite, warehouse: Warehouse, made: str) -> None:
    sqlite.execute(f"CREATE {made}")
    before = sqlite.query("SELECT * FROM sqlite_master")
    with pytest.raises(TableNotOursError):
        load(warehouse, FILE)
    assert sqlite.query("SELECT * FROM sqlite_master") == before
    assert warehouse.loads() == []


def test_indexes_triggers_and_views_are_word_for_word_the_same_after_a_column_has_grown(
    sqlite: Sqlite, warehouse: Warehouse
) -> None:
    load(warehouse, b"Name,Paid\nAnn,1.00\n")
    sqlite.execute(
        "CREATE TABLE log (name TEXT)",
        "CREATE VIEW names AS SELECT Name FROM paid",
        "CREATE UNIQUE INDEX by_name ON PAID (Name) WHERE Name > 'A'",
        "CREATE INDEX by_paid ON paid (Paid DESC)",
        "CREATE TRIGGER logging AFTER INSERT ON Paid BEGIN INSERT INTO log VALUES (new.Name); END",
        "CREATE TRIGGER elsewhere AFTER INSERT ON log BEGIN UPDATE log SET name = (SELECT max(Name) FROM paid); END",
    )
    look = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%qt%' AND name <> 'paid' ORDER BY name"
    kept = sqlite.query(look)
    load(warehouse, b"Name,Paid\nBob,12345678901234567890.25\n")
    assert sqlite.query(look) == kept
    assert sqlite.query("SELECT Name FROM names") == sqlite.query("SELECT name FROM log") == [("Bob",)]
    assert sqlite.tables() == OWN_TABLES | {"paid", "log"}


def test_a_statement_after_the_publish_is_one_statement(sqlite: Sqlite, warehouse: Warehouse) -> None:
    two = "INSERT INTO paid (Name) VALUES ('x'); DELETE FROM paid"
    with pytest.raises(TargetRefusedError, match="one statement"):
        load(warehouse, FILE, after_publish=two)
    assert warehouse.loads()[0].status is LoadStatus.FAILED
    assert sqlite.tables() == OWN_TABLES


def test_an_upsert_looks_each_row_up_and_does_not_go_through_all_that_are_staged(
    sqlite: Sqlite,
) -> None:
    plans: list[str] = []

    class Watched:
        def totals(self: Any, connection: Any, *args: Any) -> Any:
            connection.connection.dbapi_connection.set_trace_callback(plans.append)
            return super().totals(connection, *args)

    by_key = {"mode": WriteMode.UPSERT, "key": ("Amount", "Name")}
    warehouse = sqlite.open(Watched)
    load(warehouse, b"Amount,Name\n1234567890123456.50,Ann\n", **by_key)
    plans.clear()
    load(warehouse, b"Amount,Name\n1234567890123456.5,Ann\n", **by_key)
    [delete] = [sql for sql in plans if sql.startswith(("DELETE FROM paid", 'DELETE FROM "paid"'))]
    assert sqlite.column("Amount") == ["1234567890123456.5"]
    with warehouse._target.reading() as connection:
        connection.exec_driver_sql("ATTACH ':memory:' AS qt_stage")
        made = [sql for sql in plans if sql.startswith("CREATE INDEX")]
        [stage] = {sql.split(" ON ")[1].split(" (")[0] for sql in made}
        connection.exec_driver_sql(f"CREATE TABLE qt_stage.{stage} (Amount TEXT, Name TEXT, _qt_load, _qt_row)")
        connection.exec_driver_sql(made[0])
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {delete}").all())
    assert "USING INDEX _qt_key" in plan or "USING COVERING INDEX _qt_key" in plan


@pytest.mark.parametrize("constraint", ["NOT NULL DEFAULT 1", "CHECK (Paid < 2)", "UNIQUE"])
def test_a_constraint_that_a_row_breaks_is_named_and_not_the_disk(
    sqlite: Sqlite, warehouse: Warehouse, constraint: str
) -> None:
    sqlite.execute(f"CREATE TABLE paid (Name TEXT, Paid NUMERIC(10,2) {constraint})")
    load(warehouse, FILE, adopt=True)
    with pytest.raises(TableRefusedError, match="constraint failed") as refused:
        load(warehouse, b"Name,Paid\ncanary,77.25\ncanary,77.25\ncanary,\n")
    assert "disk" not in str(refused.value)
    assert "canary" not in str(refused.value)
    assert sqlite.column("Name") == ["Ann"]


def test_what_a_repeat_may_help_is_transient() -> None:
    assert issubclass(TableBusyError, TransientError)
    assert issubclass(TargetUnavailableError, TransientError)


def test_decimals_that_are_text_here_are_told(warehouse: Warehouse) -> None:
    declared = {"Wide": "decimal(18,2)", "Narrow": "decimal(15,2)"}
    published = load(warehouse, b"Wide,Narrow,Name\n1.25,2.50,Ann\n", declared=declared)
    [told] = [warning for warning in published.warnings if "Wide" in warning]
    assert told.startswith("The column 'Wide' (decimal(18,2)) is text here")
    assert not any("Narrow" in warning or "Name" in warning for warning in published.warnings)
