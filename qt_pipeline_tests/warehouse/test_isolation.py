import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Connection, Table

from qt_pipeline.tabular import Contract
from qt_pipeline.warehouse import Totals, Warehouse
from qt_pipeline.warehouse.sqlite import SqliteTarget
from qt_pipeline_tests.warehouse.loading import execute, load, open_at, query, tables_in
from qt_pipeline_tests.warehouse.processes import ONE, TWO, Loaders, loaders_for

WHOLE = {("Ann", "Ann", 2000, 2000), ("Bob", "Bob", 1500, 3750)}
STATE = """
SELECT min(Name), max(Name), count(*), sum(Paid), count(DISTINCT _qt_load),
       min(_qt_load) = (SELECT max(load_id) FROM _qt_loads WHERE status = 'published')
FROM paid
"""


def whole_state(file: Path) -> tuple[object, ...]:
    """What a reader sees; fails if that is not the whole of one published load."""
    [(*state, loads, is_the_newest)] = query(file, STATE)
    assert tuple(state) in WHOLE
    assert (loads, is_the_newest) == (1, 1)
    return tuple(state)


@contextmanager
def readers(file: Path, count: int) -> Iterator[list[tuple[object, ...]]]:
    """Readers that look again and again while the block runs, and what they saw."""
    seen: list[tuple[object, ...]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(whole_state(file))

    with ThreadPoolExecutor(count) as pool:
        looking = [pool.submit(look) for _ in range(count)]
        try:
            yield seen
        finally:
            over.set()
        for one in looking:
            one.result()


def test_a_reader_in_the_middle_of_a_publish_sees_the_old_rows(file: Path) -> None:
    seen: list[tuple[object, ...]] = []

    class Watched(SqliteTarget):
        def totals(self, connection: Connection, table: Table, contract: Contract) -> Totals:
            seen.append(whole_state(file))
            return super().totals(connection, table, contract)

    load(open_at(file), ONE)
    load(open_at(file, Watched), TWO)
    # Once when the rows were staged, once when they stood in the table.
    assert [state[0] for state in seen] == ["Ann", "Ann"]
    assert whole_state(file)[0] == "Bob"


def test_readers_see_only_whole_states_during_refreshes_and_kills_at_random_moments(
    file: Path, warehouse: Warehouse
) -> None:
    load(warehouse, ONE)
    moments = random.Random(20260131)
    with loaders_for(file) as loaders, readers(file, 2) as seen:
        for _ in range(6):
            loader = loaders.ask("go on")
            threading.Event().wait(moments.uniform(0.05, 0.6))
            os.kill(loader, signal.SIGKILL)
            assert loaders.answer() == -signal.SIGKILL
            whole_state(file)
            assert query(file, "PRAGMA integrity_check") == [("ok",)]
        for _ in range(10):
            assert loaders.ask("load 0") > 0
    assert set(seen) <= WHOLE
    assert whole_state(file)[0] == "Bob"
    assert tables_in(file) == {"_qt_loads", "_qt_columns", "paid"}
    assert {record.status.value for record in warehouse.loads(limit=10_000)} <= {"published", "abandoned"}


def test_a_loader_killed_in_any_statement_leaves_a_whole_table_and_a_later_load_repairs_all(
    file: Path, warehouse: Warehouse
) -> None:
    load(warehouse, ONE)
    killed = 12
    with loaders_for(file) as loaders:
        ticks = loaders.ask("load 0")
        load(warehouse, ONE)
        for number in range(1, killed + 1):
            assert loaders.ask(f"load {ticks * number // (killed + 1)}") == -signal.SIGKILL
            assert whole_state(file)[0] == "Ann"
            assert query(file, "PRAGMA integrity_check") == [("ok",)]
    load(warehouse, TWO)
    assert whole_state(file)[0] == "Bob"
    assert tables_in(file) == {"_qt_loads", "_qt_columns", "paid"}
    newest, *abandoned = [record.status.value for record in warehouse.loads()][: killed + 1]
    assert (newest, set(abandoned)) == ("published", {"abandoned"})


def test_what_a_dead_load_left_is_swept_by_the_next_of_its_table_alone(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, ONE)
    load(warehouse, ONE, dataset_id="d-two", table_name="two")
    for load_id, table in ((101, "paid"), (102, "two")):
        execute(
            file,
            f"CREATE TABLE _qt_stage_{load_id} (Name TEXT)",
            f"INSERT INTO _qt_loads SELECT {load_id}, dataset_id, table_name, 'staging', run_id, landing_run_id, "
            "landing_uri, sha256, bytes, inbox_id, through_seq, event_id, rows, started_at, NULL, NULL, NULL "
            f"FROM _qt_loads WHERE table_name = '{table}'",
        )
    load(warehouse, TWO)
    statuses = {record.load_id: record.status.value for record in warehouse.loads()}
    assert (statuses[101], statuses[102]) == ("abandoned", "staging")
    assert tables_in(file) == {"_qt_loads", "_qt_columns", "paid", "two", "_qt_stage_102"}


def test_loads_of_one_table_by_two_processes_go_one_after_the_other(file: Path, warehouse: Warehouse) -> None:
    def load_thrice(loaders: Loaders) -> None:
        for _ in range(3):
            assert loaders.ask("load 0") > 0

    with loaders_for(file) as one, loaders_for(file) as other, ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(load_thrice, loaders) for loaders in (one, other)]:
            ended.result()
    ledger = warehouse.loads()[::-1]
    assert [record.status.value for record in ledger] == ["published"] * 6
    assert [record.replaced_load_id for record in ledger] == [None, *(record.load_id for record in ledger[:-1])]
    for earlier, later in pairwise(ledger):
        assert earlier.finished_at is not None
        assert earlier.finished_at <= later.started_at
    whole_state(file)
