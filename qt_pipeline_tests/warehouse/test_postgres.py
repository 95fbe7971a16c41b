"""PostgreSQL as a target, on a real server: what differs from SQLite, and what must not."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from psycopg.sql import SQL, Identifier

from qt_pipeline.errors import PipelineError
from qt_pipeline.warehouse import (
    LoadStatus,
    StaleLoadError,
    TableBusyError,
    TableNotOursError,
    TargetLimitError,
    TargetUnavailableError,
    VerificationError,
    Warehouse,
    open_warehouse,
    postgres,
)
from qt_pipeline_tests.postgres import running_postgres
from qt_pipeline_tests.tabular.files import as_it_stands, csv_bytes, tables
from qt_pipeline_tests.warehouse.loading import load
from qt_pipeline_tests.warehouse.test_values import EVERY_ROW, EVERY_SHAPE, HOSTILE

OLD = b"Name,Paid\nAnn,1.50\nBob,2.25\n"
NEW = b"Name,Paid\nCleo,10.00\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def reader(server: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


@pytest.fixture
def warehouse(server: str, reader: psycopg.Connection[Any]) -> Warehouse:
    """A warehouse in a schema of its own, which the reader looks at too."""
    reader.execute('DROP SCHEMA IF EXISTS "the schema" CASCADE')
    reader.execute('SET search_path = "the schema"')
    return open_warehouse(server, "the schema")


def rows(reader: psycopg.Connection[Any], table: str = "paid") -> list[tuple[Any, ...]]:
    return reader.execute(SQL("SELECT * FROM {} ORDER BY _qt_row").format(Identifier(table))).fetchall()


def tables_in_schema(reader: psycopg.Connection[Any]) -> set[str]:
    found = reader.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'the schema'")
    return {name for (name,) in found}


@settings(max_examples=25, deadline=None)
@given(tables())
@example((list(EVERY_SHAPE), EVERY_ROW))
def test_every_cell_arrives_as_it_stands_in_the_file(server: str, table: tuple[list[str], list[list[str]]]) -> None:
    headers, values = table
    with psycopg.connect(server, autocommit=True) as reader:
        reader.execute('DROP SCHEMA IF EXISTS cells CASCADE; SET search_path = "cells"')
        warehouse = open_warehouse(server, "cells")
        load(warehouse, csv_bytes(headers, values))
        contract = warehouse.contract("d-one")
        assert contract is not None
        stored = rows(reader)
    assert len(stored) == len(values)
    for row, texts in zip(stored, values, strict=True):
        for column, value, text in zip(contract.columns, row, texts, strict=False):
            assert as_it_stands(text, column.type, value)


def test_each_row_knows_its_load_and_its_line(reader: psycopg.Connection[Any], warehouse: Warehouse) -> None:
    first = load(warehouse, b'a,b\n1,x\n2,"y\nz"\n3,w\n')
    assert [row[-2:] for row in rows(reader)] == [(first.load_id, 2), (first.load_id, 3), (first.load_id, 5)]


def test_the_tables_are_in_the_schema_that_was_named(reader: psycopg.Connection[Any], warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    assert tables_in_schema(reader) == {"_qt_loads", "_qt_columns", "paid"}


def test_grants_a_dependent_view_and_an_index_survive_a_refresh_with_wider_decimals(
    server: str, reader: psycopg.Connection[Any], warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    reader.execute("DROP ROLE IF EXISTS analyst; CREATE ROLE analyst LOGIN")
    reader.execute('GRANT USAGE ON SCHEMA "the schema" TO analyst; GRANT SELECT ON paid TO analyst')
    reader.execute('CREATE VIEW total AS SELECT sum("Paid") AS total FROM paid; CREATE INDEX by_name ON paid ("Name")')
    load(warehouse, b"Name,Paid\nAnn,1.12345\n")
    assert [str(total) for (total,) in reader.execute("SELECT total FROM total")] == ["1.12345"]
    assert reader.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 'by_name'").fetchone() == (1,)
    with psycopg.connect(server, user="analyst") as analyst:
        assert analyst.execute('SELECT count(*) FROM "the schema".paid').fetchone() == (1,)


def test_a_table_that_is_not_ours_is_refused_and_kept(reader: psycopg.Connection[Any], warehouse: Warehouse) -> None:
    reader.execute("CREATE TABLE paid (a int); INSERT INTO paid VALUES (7)")
    with pytest.raises(TableNotOursError):
        load(warehouse, OLD)
    assert reader.execute("SELECT a FROM paid").fetchall() == [(7,)]


def test_older_data_never_replace_newer(reader: psycopg.Connection[Any], warehouse: Warehouse) -> None:
    load(warehouse, NEW, through_seq=5)
    with pytest.raises(StaleLoadError):
        load(warehouse, OLD, through_seq=4)
    assert [row[0] for row in rows(reader)] == ["Cleo"]


def test_a_failure_while_staging_leaves_the_old_table_and_no_staging(
    reader: psycopg.Connection[Any], warehouse: Warehouse
) -> None:
    class CableCutError(Exception):
        pass

    def then_broken(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches
        raise CableCutError("canary")

    load(warehouse, OLD)
    with pytest.raises(CableCutError):
        load(warehouse, NEW, through=then_broken)
    assert [row[0] for row in rows(reader)] == ["Ann", "Bob"]
    assert tables_in_schema(reader) == {"_qt_loads", "_qt_columns", "paid"}
    assert (warehouse.loads()[0].status, warehouse.loads()[0].error) == (LoadStatus.FAILED, "CableCutError")


def test_what_was_published_otherwise_than_read_is_rolled_back(
    reader: psycopg.Connection[Any], warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    reader.execute(
        "CREATE FUNCTION one_cent_less() RETURNS trigger LANGUAGE plpgsql AS "
        """$$ BEGIN NEW."Paid" := NEW."Paid" - 0.01; RETURN NEW; END $$;"""
        "CREATE TRIGGER cent BEFORE INSERT ON paid FOR EACH ROW EXECUTE FUNCTION one_cent_less()"
    )
    with pytest.raises(VerificationError, match=r"'Paid' adds up to 55.88 instead of 56.00"):
        load(warehouse, csv_bytes(["Name", "Paid"], [[f"n{n}", "5.09"] for n in range(11)] + [["n", "0.01"]]))
    assert [row[0] for row in rows(reader)] == ["Ann", "Bob"]


def test_readers_see_only_whole_states_while_loads_come_and_die(
    server: str, reader: psycopg.Connection[Any], warehouse: Warehouse
) -> None:
    states = [csv_bytes(["Name", "Paid"], [[f"n{n}", f"{size}.00"] for n in range(size)]) for size in (2000, 3000)]
    load(warehouse, states[0])
    enough = threading.Event()
    seen: set[tuple[int, int]] = set()

    def look() -> None:
        with psycopg.connect(server) as connection:
            connection.execute('SET search_path = "the schema"')
            while not enough.is_set():
                [found] = connection.execute('SELECT count(*), sum("Paid")::bigint FROM paid').fetchall()
                seen.add(found)
                connection.commit()

    looking = threading.Thread(target=look)
    looking.start()
    killed = 0
    try:
        for turn in range(20):
            loading = threading.Thread(target=_load_or_die, args=(server, states[turn % 2]))
            loading.start()
            if turn % 2:
                # The server ends the loader's sessions wherever they are.
                while loading.is_alive():
                    [(ended,)] = reader.execute(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                        "WHERE application_name = 'qt_pipeline' AND query NOT LIKE '%_qt_columns%'"
                    ).fetchall()
                    killed += ended
            loading.join()
    finally:
        enough.set()
        looking.join()
    assert killed
    assert seen <= {(2000, 4_000_000), (3000, 9_000_000)}
    load(warehouse, states[1])
    assert len(rows(reader)) == 3000
    assert tables_in_schema(reader) == {"_qt_loads", "_qt_columns", "paid"}


def _load_or_die(server: str, data: bytes) -> None:
    with suppress(PipelineError):
        load(open_warehouse(server, "the schema"), data)


def test_twenty_refreshes_do_not_grow_a_table_beyond_twice_its_size(
    reader: psycopg.Connection[Any], warehouse: Warehouse
) -> None:
    data = csv_bytes(["Name", "Paid"], [[f"name {n}", f"{n}.25"] for n in range(5000)])

    def size() -> int:
        [(found,)] = reader.execute("SELECT pg_total_relation_size('paid')").fetchall()
        return found

    load(warehouse, data)
    first = size()
    for _ in range(20):
        load(warehouse, data)
    assert size() <= 2.2 * first


def test_a_table_that_another_loads_for_too_long_is_busy(
    monkeypatch: pytest.MonkeyPatch, server: str, warehouse: Warehouse
) -> None:
    monkeypatch.setattr(postgres, "_WAIT_SECONDS", 1)
    impatient = open_warehouse(server, "the schema")

    def meanwhile(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with pytest.raises(TableBusyError):
            load(impatient, NEW)
        yield from batches

    load(warehouse, OLD, through=meanwhile)


@pytest.mark.parametrize("table", [name for name in HOSTILE if name.strip() and not name.startswith("_qt")])
def test_a_hostile_name_makes_a_table_or_is_refused_for_its_length(
    reader: psycopg.Connection[Any], warehouse: Warehouse, table: str
) -> None:
    if len(table.encode()) > 63:
        with pytest.raises(TargetLimitError, match="bytes; the target takes 63"):
            load(warehouse, b"a,b\n1,2\n", table_name=table)
        return
    load(warehouse, b"a,b\n1,2\n", table_name=table)
    load(warehouse, b"a,b\n3,4\n", table_name=table)
    assert [row[:2] for row in rows(reader, table)] == [(3, 4)]


def test_hostile_names_by_the_hundred_make_columns(reader: psycopg.Connection[Any], warehouse: Warehouse) -> None:
    headers = [name[:200] for name in HOSTILE] * 3
    load(warehouse, csv_bytes(headers, [[f"{place}.5" for place in range(len(headers))]]))
    [row] = rows(reader)
    assert [float(value) for value in row[:-2]] == [place + 0.5 for place in range(len(headers))]


def test_a_server_that_cannot_be_reached_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailableError) as caught:
        open_warehouse(f"postgresql://user:canary@/nowhere?host={tmp_path}")
    assert "canary" not in str(caught.value)
    assert "user:***@" in str(caught.value)
