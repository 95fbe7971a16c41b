"""Readers and loaders at once, and loaders that are killed: nobody ever sees half a table."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, Table

from qt_pipeline.tabular import Rows
from qt_pipeline.warehouse import LoadStatus, TableBusyError, Warehouse
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine, Look, Sqlite
from qt_pipeline_tests.warehouse.loading import load
from qt_pipeline_tests.warehouse.processes import DEATHS, ONE, TWO, Loaders, loaders_for

WHOLE = {("Ann", "Ann", 2000, 2000.0), ("Bob", "Bob", 1500, 3750.0)}
REFRESHES = 50


def whole_state(engine: Engine, look: Look | None = None) -> tuple[Any, ...]:
    """What a reader sees in one question; fails if that is not the whole of one published load."""
    newest = f"SELECT max(load_id) FROM {engine.table('_qt_loads')} WHERE status = 'published' AND table_name = 'paid'"
    [(low, high, rows, paid, loads, load_id, last)] = (look or engine.query)(
        f'SELECT min("Name"), max("Name"), count(*), sum("Paid"), count(DISTINCT "_qt_load"), min("_qt_load"), '
        f"({newest}) FROM {engine.table()}"
    )
    state = (low, high, rows, float(paid))
    assert state in WHOLE
    assert loads == 1
    # Without row versioning a question does not see all tables of one moment.
    assert load_id == last or engine.name == "sqlserver"
    return state


def assert_sound(engine: Engine) -> None:
    whole_state(engine)
    if engine.name == "sqlite":
        assert engine.query("PRAGMA integrity_check") == [("ok",)]


@contextmanager
def readers(engine: Engine, count: int) -> Iterator[list[tuple[Any, ...]]]:
    """Readers that look again and again while the block runs, and what they saw."""
    seen: list[tuple[Any, ...]] = []
    over = threading.Event()

    def look() -> None:
        with engine.reader() as ask:
            while not over.is_set():
                seen.append(whole_state(engine, ask))
                # Loaders and servers need a processor, too.
                over.wait(0.005)

    with ThreadPoolExecutor(count) as pool:
        looking = [pool.submit(look) for _ in range(count)]
        try:
            yield seen
        finally:
            over.set()
        for one in looking:
            one.result()


def test_a_reader_in_the_middle_of_a_publish_sees_the_old_rows(engine: Engine) -> None:
    if engine.name == "sqlserver":
        pytest.skip("SQL Server without row versioning lets readers wait")
    seen: list[tuple[Any, ...]] = []

    class Watched:
        def totals(self: Any, connection: Connection, table: Table, summed: Any) -> Any:
            seen.append(whole_state(engine))
            return super().totals(connection, table, summed)

    load(engine.open(), ONE)
    load(engine.open(Watched), TWO)
    # Once when the rows were staged, once when they stood in the table.
    assert [state[0] for state in seen] == ["Ann", "Ann"]
    assert whole_state(engine)[0] == "Bob"


def test_readers_see_only_whole_states_while_loaders_come_and_are_killed(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, ONE)
    moments = random.Random(20260131)
    killed = 0
    with loaders_for(engine) as loaders, readers(engine, 2) as seen:
        for turn in range(REFRESHES):
            if turn % 2:
                loader = loaders.ask("go on")
                threading.Event().wait(moments.uniform(0.01, 0.2))
                os.kill(loader, signal.SIGKILL)
                assert loaders.answer() == -signal.SIGKILL
                killed += 1
            else:
                assert loaders.ask("load") == 0
            assert_sound(engine)
    load(warehouse, TWO)
    assert set(seen) <= WHOLE
    assert killed == REFRESHES // 2
    assert whole_state(engine)[0] == "Bob"
    assert engine.tables() == OWN_TABLES | {"paid"}
    records = warehouse.loads(limit=10_000)
    assert {record.status.value for record in records} <= {"published", "abandoned"}
    assert sum(record.status is LoadStatus.PUBLISHED for record in records) > REFRESHES // 2


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("place", DEATHS)
def test_what_a_killed_load_leaves_is_gone_after_the_next_load_of_its_table_alone(
    engine: Engine, warehouse: Warehouse, place: str, first: bool
) -> None:
    load(warehouse, ONE, dataset_id="d-two", name="two")
    if not first:
        load(warehouse, ONE)
    with loaders_for(engine) as loaders:
        assert loaders.ask(f"die at {place}") == -signal.SIGKILL
    left = engine.stages()
    if place == "publish" or engine.name == "sqlite":
        # Where a publish was prepared, there is something to be swept.
        assert left
    load(warehouse, TWO, dataset_id="d-two", name="two")
    assert engine.stages() == left
    if place == "end":
        assert whole_state(engine)[0] == "Bob"
    elif not first:
        assert whole_state(engine)[0] == "Ann"
    else:
        assert "paid" not in engine.tables()
        assert warehouse.contract("d-one") is None
    load(warehouse, ONE)
    assert_sound(engine)
    assert engine.tables() == OWN_TABLES | {"paid", "two"}
    newest, dead, *_ = warehouse.loads(dataset_id="d-one")
    ended = (LoadStatus.PUBLISHED, None) if place == "end" else (LoadStatus.ABANDONED, "Its process died.")
    assert (newest.status, dead.status, dead.error) == (LoadStatus.PUBLISHED, *ended)
    assert dead.finished_at is not None


def test_a_loader_killed_in_any_statement_leaves_a_whole_table_and_a_later_load_repairs_all(sqlite: Sqlite) -> None:
    warehouse = sqlite.open()
    load(warehouse, ONE)
    killed = 12
    with loaders_for(sqlite) as loaders:
        ticks = loaders.ask("load until 0")
        load(warehouse, ONE)
        for number in range(1, killed + 1):
            assert loaders.ask(f"load until {ticks * number // (killed + 1)}") == -signal.SIGKILL
            assert whole_state(sqlite)[0] == "Ann"
            assert_sound(sqlite)
    load(warehouse, TWO)
    assert whole_state(sqlite)[0] == "Bob"
    assert sqlite.tables() == OWN_TABLES | {"paid"}
    newest, *abandoned = [record.status.value for record in warehouse.loads()][: killed + 1]
    assert (newest, set(abandoned)) == ("published", {"abandoned"})


def test_loads_of_one_table_by_two_processes_go_one_after_the_other(engine: Engine, warehouse: Warehouse) -> None:
    def load_thrice(loaders: Loaders) -> None:
        for _ in range(3):
            assert loaders.ask("load") == 0

    with loaders_for(engine) as one, loaders_for(engine) as other, ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(load_thrice, loaders) for loaders in (one, other)]:
            ended.result()
    ledger = warehouse.loads()[::-1]
    assert [record.status.value for record in ledger] == ["published"] * 6
    assert [record.replaced_load_id for record in ledger] == [None, *(record.load_id for record in ledger[:-1])]
    for earlier, later in pairwise(ledger):
        assert earlier.finished_at is not None
        assert earlier.finished_at <= later.started_at
    whole_state(engine)


def test_a_table_that_another_loads_for_too_long_is_busy_and_others_do_not_wait(
    engine: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[type(warehouse._target).__module__], "_WAIT_SECONDS", 1)
    impatient = engine.open()

    def meanwhile(rows: Iterable[Rows]) -> Iterator[Rows]:
        # While the one is staging.
        with pytest.raises(TableBusyError, match="paid"):
            load(impatient, TWO)
        load(impatient, TWO, dataset_id="d-two", name="two")
        yield from rows

    load(warehouse, ONE, through=meanwhile)
    load(impatient, TWO)
    assert whole_state(engine)[0] == "Bob"
    assert [record.status.value for record in warehouse.loads()] == ["published"] * 3


def test_twenty_refreshes_do_not_grow_a_table_beyond_twice_its_size(engine: Engine, warehouse: Warehouse) -> None:
    data = csv_bytes(["Name", "Paid"], [[f"name {n}", f"{n}.25"] for n in range(5000)])
    load(warehouse, data)
    engine.make_index("by_name", "Name")
    first = engine.size()
    for _ in range(20):
        load(warehouse, data)
    assert engine.size() <= 2.2 * first
