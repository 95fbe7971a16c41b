"""Tables that were there before: refused, unless they are prepared for a dataset or may be taken over."""

from decimal import Decimal
from typing import Any

import pytest

from qt_pipeline.tabular import DriftError
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import LoadRecord, LoadStatus, TableNotOursError, Warehouse
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine, Postgres, Sqlite
from qt_pipeline_tests.warehouse.loading import load, load_or_leave

FILE = b"Name,Paid,Count,Day,Open\nAnn,1.50,7,2026-01-31,true\nBob,,,,\n"


def make(engine: Engine, **more: str) -> None:
    """A table of somebody else's, with a row, a view and an index."""
    columns = {"Name": engine.text_type, "Paid": "DECIMAL(10,2)", "Count": "INTEGER", "Day": "DATE"}
    columns |= {"Open": engine.boolean_type, **more}
    made = ", ".join(f"{engine.quote(name)} {type_}" for name, type_ in columns.items())
    engine.execute(f"CREATE TABLE {engine.table()} ({made})")
    engine.execute(f'INSERT INTO {engine.table()} ("Name", "Paid", "Count") VALUES (\'Old\', 9.25, 1)')
    engine.make_view("names", f'SELECT "Name" FROM {engine.table()}')
    engine.make_index("by_count", "Count")


def rows(engine: Engine, warehouse: Warehouse) -> list[tuple[Any, ...]]:
    contract = warehouse.contract("d-one")
    assert contract is not None
    return engine.rows(contract)


def test_a_table_of_somebody_else_is_refused_and_kept(engine: Engine, warehouse: Warehouse) -> None:
    make(engine)
    before = engine.columns(), engine.query(f"SELECT * FROM {engine.table()}")
    with pytest.raises(TableNotOursError, match="'paid' exists already and was not created by this project") as caught:
        load(warehouse, FILE)
    assert caught.value.dataset_id == "d-one"
    assert (engine.columns(), engine.query(f"SELECT * FROM {engine.table()}")) == before
    assert warehouse.loads() == []


def test_a_table_that_is_taken_over_keeps_its_shape_and_gets_the_rows_of_the_file(
    engine: Engine, warehouse: Warehouse
) -> None:
    make(engine)
    before = engine.columns()
    load(warehouse, FILE, adopt=True)
    after = engine.columns()
    assert list(after) == [*before, "_qt_load", "_qt_row"]
    assert {name: after[name] for name in before} == before
    [ann, bob] = rows(engine, warehouse)
    assert (ann[:3], str(ann[3]), ann[4]) == (("Ann", Decimal("1.50"), 7), "2026-01-31", True)
    assert bob == ("Bob", None, None, None, None)
    assert sorted(engine.query(f"SELECT * FROM {engine.table('names')}")) == [("Ann",), ("Bob",)]
    assert "by_count" in engine.indexes()
    assert engine.tables() == OWN_TABLES | {"paid"}
    newest = warehouse.loads()[0]
    assert (newest.status, newest.replaced_load_id, newest.table_rows) == (LoadStatus.PUBLISHED, None, 2)


def test_a_table_once_taken_over_is_ours(engine: Engine, warehouse: Warehouse) -> None:
    make(engine)
    load(warehouse, FILE, adopt=True)
    assert isinstance(load_or_leave(warehouse, FILE), LoadRecord)
    load(warehouse, b"Name,Paid,Count,Day,Open,New\nCleo,2.125,3000000000,2026-01-31,true,x\n")
    assert rows(engine, warehouse)[0][:3] == ("Cleo", Decimal("2.125"), 3_000_000_000)
    assert engine.columns()["Count"] == ("INTEGER" if engine.name == "sqlite" else "BIGINT")
    assert sorted(engine.query(f"SELECT * FROM {engine.table('names')}")) == [("Cleo",)]
    assert "by_count" in engine.indexes()


def test_a_whole_number_too_large_for_its_column_makes_the_column_larger(engine: Engine, warehouse: Warehouse) -> None:
    make(engine, Small="SMALLINT")
    load(warehouse, b"Name,Paid,Count,Day,Open,Small\nAnn,1,-2147483648,,,-32768\n", adopt=True)
    # SQLite's own have 64 bits under any name.
    wide = ("INTEGER", "SMALLINT") if engine.name == "sqlite" else ("BIGINT", "BIGINT")
    assert (engine.columns()["Count"], engine.columns()["Small"]) == wide
    assert (rows(engine, warehouse)[0][2], rows(engine, warehouse)[0][5]) == (-2147483648, -32768)


def test_the_columns_that_were_there_are_the_contract(engine: Engine, warehouse: Warehouse) -> None:
    make(engine)
    with pytest.raises(DriftError, match="missing: 'Paid'"):
        load(warehouse, b"Name,Count,Day,Open\nAnn,7,,\n", adopt=True)
    with pytest.raises(DriftError, match="another type: 'Count"):
        load(warehouse, b"Name,Paid,Count,Day,Open\nAnn,1,many,,\n", adopt=True)
    assert engine.query(f'SELECT "Name" FROM {engine.table()}') == [("Old",)]
    assert warehouse.contract("d-one") is None


def test_a_column_is_found_by_its_header_in_whatever_case(engine: Engine, warehouse: Warehouse) -> None:
    make(engine)
    load(warehouse, b"OPEN,NAME,paid,count,DAY\ntrue,Ann,1.50,7,\n", adopt=True)
    load(warehouse, b"OPEN,NAME,paid,count,DAY\ntrue,Bob,1.50,7,\n")
    assert engine.column("Name") == ["Bob"]


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.UPSERT])
def test_where_rows_stay_those_that_were_there_stay_too(engine: Engine, warehouse: Warehouse, mode: WriteMode) -> None:
    make(engine)
    key = ("Name",) if mode is WriteMode.UPSERT else ()
    load(warehouse, b"Name,Paid,Count,Day,Open\nAnn,12345678901.5,,,\n", adopt=True, mode=mode, key=key)
    look = f'SELECT "Name", "_qt_row" FROM {engine.table()} ORDER BY "Name"'
    assert engine.query(look) == [("Ann", 2), ("Old", None)]
    load(warehouse, b"Name,Paid,Count,Day,Open\nOld,1,,,\n", mode=mode, key=key)
    olds = [("Old", 2)] if key else [("Old", None), ("Old", 2)]
    assert sorted(engine.query(look), key=str) == sorted([("Ann", 2), *olds], key=str)


def test_a_table_may_be_taken_over_as_it_is_without_columns_of_ours(engine: Engine, warehouse: Warehouse) -> None:
    make(engine)
    before = engine.columns()
    load(warehouse, FILE, adopt=True, lineage_columns=False)
    load(warehouse, FILE, lineage_columns=False)
    assert engine.columns() == before
    assert isinstance(load_or_leave(warehouse, FILE, lineage_columns=False), LoadRecord)
    assert sorted(engine.query(f'SELECT "Name" FROM {engine.table()}')) == [("Ann",), ("Bob",)]


def test_types_that_could_change_values_are_refused_by_name(engine: Engine, warehouse: Warehouse) -> None:
    for type_ in engine.lossy_types:
        engine.execute(f'CREATE TABLE {engine.table()} ("Name" {engine.text_type}, "Bad one" {type_})')
        with pytest.raises(TableNotOursError, match="'Bad one'") as caught:
            load(warehouse, b"Name,Bad one\nAnn,\n", adopt=True)
        assert "'Name'" not in str(caught.value)
        engine.execute(f"DROP TABLE {engine.table()}")
    assert warehouse.loads() == []


def test_an_empty_table_with_our_columns_is_prepared_for_the_dataset(engine: Engine, warehouse: Warehouse) -> None:
    ours = '"_qt_load" BIGINT NOT NULL, "_qt_row" BIGINT NOT NULL'
    engine.execute(f'CREATE TABLE {engine.table()} ("Name" {engine.text_type}, "Paid" DECIMAL(10,2), {ours})')
    before = engine.columns()
    load(warehouse, b"Name,Paid\nAnn,1.50\n")
    assert engine.columns() == before
    assert rows(engine, warehouse) == [("Ann", Decimal("1.50"))]


def test_a_table_with_our_columns_and_rows_in_it_is_somebody_elses(engine: Engine, warehouse: Warehouse) -> None:
    engine.execute(f'CREATE TABLE {engine.table()} ("Name" {engine.text_type}, "_qt_load" BIGINT, "_qt_row" BIGINT)')
    engine.execute(f"INSERT INTO {engine.table()} VALUES ('Old', 1, 2)")
    with pytest.raises(TableNotOursError):
        load(warehouse, b"Name\nAnn\n")


@pytest.mark.parametrize("table", ["_qt_loads", "_qt_columns", "_QT_LOADS", "_qt_stage_1"])
def test_our_own_tables_are_nobodys_dataset_even_where_tables_may_be_taken_over(
    warehouse: Warehouse, table: str
) -> None:
    for adopt in (False, True):
        with pytest.raises(TableNotOursError):
            load(warehouse, FILE, name=table, adopt=adopt)
    assert warehouse.loads() == []


def test_the_table_of_another_dataset_cannot_be_taken_over(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, FILE)
    for adopt in (False, True):
        with pytest.raises(TableNotOursError, match="'paid' belongs to the dataset d-one") as caught:
            load(warehouse, FILE, dataset_id="d-two", adopt=adopt)
        assert caught.value.dataset_id == "d-two"
    assert engine.column("Name") == ["Ann", "Bob"]


def test_a_view_is_not_a_table_of_ours(engine: Engine, warehouse: Warehouse) -> None:
    engine.make_view("paid", "SELECT 1 AS x")
    with pytest.raises(TableNotOursError, match="exists already"):
        load(warehouse, b"x\n2\n")
    assert warehouse.loads() == []


@pytest.mark.parametrize("type_", ["NUMERIC", "DECIMAL", "NUMERIC(10,2)", "DECIMAL(20,4)", "DECIMAL(38,10)"])
@pytest.mark.parametrize("value", ["0.10", "1234567890123.45", "-12345678901234567890.125"])
def test_a_number_of_sqlite_that_is_called_exact_holds_as_many_digits_as_a_float(
    sqlite: Sqlite, type_: str, value: str
) -> None:
    warehouse = sqlite.open()
    sqlite.execute(f"CREATE TABLE paid (Paid {type_})")
    load(warehouse, f"Paid\n{value}\n".encode(), adopt=True)
    assert rows(sqlite, warehouse) == [(Decimal(value),)]


@pytest.mark.parametrize("type_", ["NUMERIC", "NUMERIC(5,0)", "NUMERIC(60,2)"])
@pytest.mark.parametrize("value", ["0.10", "1234567890123.45", "-12345678901234567890.125"])
def test_a_number_of_postgresql_holds_what_comes(postgres: Postgres, type_: str, value: str) -> None:
    warehouse = postgres.open()
    postgres.execute(f'CREATE TABLE {postgres.table()} ("Paid" {type_})')
    load(warehouse, f"Paid\n{value}\n".encode(), adopt=True)
    assert rows(postgres, warehouse) == [(Decimal(value),)]
