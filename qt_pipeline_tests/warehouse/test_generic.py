"""Any other dialect, on three that can stand for it; DuckDB's runs where its dialect is installed."""

import importlib.util
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import (
    LoadStatus,
    TableBusyError,
    TargetRefusedError,
    TargetUnavailableError,
    VerificationError,
    Warehouse,
    generic,
    open_warehouse,
)
from qt_pipeline.warehouse.generic import GenericTarget
from qt_pipeline_tests.postgres import new_database
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.loading import CableCutError, load, then_broken

OLD = b"Name,Paid,Count,Day,Seen,Done\nAnn,1.50,7,2020-02-29,0001-01-01 00:00:00.5,true\nBob,2.25,,,,\n"
NEW = b"Name,Paid,Count,Day,Seen,Done\nCleo,10.00,1,,,\n"

duckdb = pytest.param(
    "duckdb",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("duckdb_sqlalchemy") is None, reason="duckdb-sqlalchemy is not installed"
    ),
)


@pytest.fixture(scope="module")
def postgres(postgres_server: str) -> Iterator[URL]:
    with new_database(postgres_server) as url:
        yield make_url(url).set(drivername="postgresql+psycopg")


@pytest.fixture(params=["postgresql", duckdb])
def url(request: pytest.FixtureRequest, tmp_path: Path, postgres: URL) -> URL:
    """A database with exact decimals."""
    if request.param == "duckdb":
        return make_url(f"duckdb:///{tmp_path}/target.duckdb")
    with create_engine(postgres).begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS qt CASCADE"))
    return postgres


@pytest.fixture(autouse=True)
def locks_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def warehouse(url: URL) -> Warehouse:
    return Warehouse(GenericTarget(url, "qt", None))


def rows(warehouse: Warehouse, table: str = '"qt"."paid"') -> list[tuple[Any, ...]]:
    with warehouse._target.reading() as connection:
        found = connection.exec_driver_sql(f'SELECT * FROM {table} ORDER BY "_qt_row"')
        return [tuple(str(value) if value is not None else None for value in row[:-2]) for row in found]


def test_rows_arrive_as_they_stand_and_a_refresh_replaces_them(warehouse: Warehouse) -> None:
    assert load(warehouse, OLD).table_rows == 2
    assert rows(warehouse) == [
        ("Ann", "1.50", "7", "2020-02-29", "0001-01-01 00:00:00.500000", "True"),
        ("Bob", "2.25", None, None, None, None),
    ]
    published = load(warehouse, NEW)
    assert [row[0] for row in rows(warehouse)] == ["Cleo"]
    assert "plain inserts" in published.warnings[0]


def test_wide_numbers_are_added_up_exactly(warehouse: Warehouse) -> None:
    wide = "1" * 25 + ".12345678"
    load(warehouse, csv_bytes(["Wide", "Count"], [[wide, str(2**63 - 1)]] * 3))
    assert rows(warehouse) == [(wide, str(2**63 - 1))] * 3


def test_more_rows_than_one_statement_takes_arrive(warehouse: Warehouse) -> None:
    count = 2500
    load(warehouse, csv_bytes(["Name"], [[f"n{n}"] for n in range(count)]))
    assert [name for (name,) in rows(warehouse)] == [f"n{n}" for n in range(count)]


def test_hostile_headers_make_columns(warehouse: Warehouse) -> None:
    headers = ['"', "'; DROP TABLE paid; --", "%(a)s", ":a", "?", "a.b", "[x]", "select", "保険", "\\"]
    load(warehouse, csv_bytes(headers, [[f"{n}.5" for n in range(len(headers))]]))
    assert rows(warehouse) == [tuple(f"{n}.5" for n in range(len(headers)))]


def test_an_upsert_and_a_new_column_keep_the_other_rows(warehouse: Warehouse) -> None:
    keys = {"mode": WriteMode.UPSERT, "key": ("Name",)}
    load(warehouse, b"Name,Paid\nAnn,1.50\nBob,2.25\n", **keys)
    assert load(warehouse, b"Name,Paid,New\nBob,3.00,x\n", **keys).table_rows == 2
    with warehouse._target.reading() as connection:
        found = connection.exec_driver_sql('SELECT "Name", "New" FROM "qt"."paid" ORDER BY "Name"').all()
    assert [tuple(row) for row in found] == [("Ann", None), ("Bob", "x")]


def test_a_column_that_is_too_narrow_is_for_a_person_to_change(warehouse: Warehouse) -> None:
    load(warehouse, b"Name\nAnn\n")
    with pytest.raises(TargetRefusedError, match=r"manually \('Name' to VARCHAR\(200\)\)"):
        load(warehouse, b"Name\n" + b"x" * 80 + b"\n")
    assert rows(warehouse) == [("Ann",)]


def test_a_load_that_fails_leaves_the_old_rows_and_no_staging_table(warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    with pytest.raises(CableCutError):
        load(warehouse, NEW, through=then_broken)
    assert [row[0] for row in rows(warehouse)] == ["Ann", "Bob"]
    last = warehouse.loads()[0]
    assert last.status is LoadStatus.FAILED
    with pytest.raises(TargetRefusedError):
        rows(warehouse, f'"qt"."_qt_stage_{last.load_id}"')


def test_a_table_that_another_loads_for_too_long_is_busy(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> None:
    monkeypatch.setattr(generic, "_WAIT_SECONDS", 0.1)
    with warehouse._target.table_lock("qt.paid"), pytest.raises(TableBusyError, match=r"'qt\.paid'"):
        load(warehouse, OLD)


def test_opened_without_preparing_nothing_is_made(url: URL) -> None:
    assert not GenericTarget(url, None, None, prepare=False).has_ledger()


@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does \\*not\\* support Decimal")
def test_what_a_database_without_decimals_would_round_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "target.db"
    warehouse = Warehouse(GenericTarget(make_url(f"sqlite:///{file}"), None, None))
    load(warehouse, b"Name,Paid\nAnn,0.10\nBob,0.20\n")
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("SELECT Paid FROM paid").fetchall() == [(0.1,), (0.2,)]
    with pytest.raises(VerificationError, match="'Paid' adds up differently"):
        load(warehouse, b"Name,Paid\nAnn,1234567890123456.78\n", dataset_id="d-two", name="two")


@pytest.mark.parametrize("url", ["nosuch://u:canary@h/d", "mysql://u:canary@h/d"])
def test_a_dialect_that_is_not_installed_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_WAREHOUSE_URL") as caught:
        open_warehouse(url)
    assert "canary" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailableError) as caught:
        GenericTarget(make_url(f"postgresql+psycopg://user:canary@/nowhere?host={tmp_path}"), None, None)
    assert "canary" not in str(caught.value)
