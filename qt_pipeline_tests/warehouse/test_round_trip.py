"""What is in the file comes back from the table, cell by cell, on every engine."""

import itertools
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qt_pipeline.sandbox import SANDBOX_DATASETS, SandboxDataset
from qt_pipeline.sandbox.datasets import first_version
from qt_pipeline.tabular import format_value, parse_type
from qt_pipeline.warehouse import Warehouse
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import TEXTS, csv_bytes, tables
from qt_pipeline_tests.warehouse.cells import assert_holds
from qt_pipeline_tests.warehouse.engines import Engine
from qt_pipeline_tests.warehouse.loading import load

EVERY_SHAPE = {
    "Name": ("text(50)", ['Ann, "B"\r\nC', "保険 ﬁ ß 🚢", "", " "]),
    "Claim No": ("text(50)", ["007", "1e5", "", "-0"]),
    "Paid": ("decimal(15,2)", ["-1234567890123.45", "0.10", "", ".5"]),
    "Tiny": ("decimal(15,14)", ["0.00000000000001", "-1.5", "", "5."]),
    "Wide": ("decimal(38,8)", ["1" * 30 + ".12345678", "-0.00000001", "", "-7"]),
    "Count": ("integer", ["-9223372036854775808", "9223372036854775807", "", "0"]),
    "Written": ("date", ["0001-01-01", "9999-12-31", "", "2020-02-29"]),
    "Loss date": ("date %Y%m%d", ["20240229", "19991231", "", "20240101"]),
    "Seen at": (
        "timestamp %Y-%m-%d %H:%M:%S.%1f",
        ["2020-01-31 10:00:00.5", "0001-01-01 00:00:00.0", "", "9999-12-31 23:59:59.9"],
    ),
    "Open": ("boolean", ["TRUE", "false", "", "True"]),
    "Later": ("open", ["", "", "", ""]),
}
EVERY_ROW = [list(row) for row in zip(*(values for _, values in EVERY_SHAPE.values()), strict=True)]

DATA = Path(__file__).parents[1] / "data"
_turns = itertools.count()


def load_apart(engine: Engine, warehouse: Warehouse, data: bytes, **changes: Any) -> None:
    """Load a file into a table of its own, and look at it."""
    name = f"t{next(_turns)}"
    published = load(warehouse, data, dataset_id=name, name=name, **changes)
    contract = warehouse.contract(name)
    assert contract is not None
    assert_holds(engine, data, contract, name)
    assert set(engine.column("_qt_load", name)) <= {published.load_id}


@few_examples()
@given(tables(), st.sampled_from(["\r\n", "\n"]))
@example((list(EVERY_SHAPE), EVERY_ROW), "\r\n")
def test_every_cell_comes_back_as_it_stands_in_the_file(
    engine: Engine, warehouse: Warehouse, table: tuple[list[str], list[list[str]]], line_end: str
) -> None:
    load_apart(engine, warehouse, csv_bytes(*table, line_end=line_end))


def decimals(limit: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(1 - 10**limit, 10**limit - 1).map(lambda units: Decimal(units).scaleb(-places))


def to_the_second(at: datetime) -> datetime:
    return at.replace(microsecond=0)


DECLARED: dict[str, st.SearchStrategy[Any]] = {
    "decimal(15,2) 1.234,56": decimals(15, 2),
    "decimal(18,2) 1,234.56": decimals(18, 2),
    "decimal(38,10) 1 234,56": decimals(28, 10),
    "decimal(6,0) 1'234": decimals(6, 0),
    "integer 1,234": st.integers(-(2**63), 2**63 - 1),
    "boolean Y/N": st.booleans(),
    "boolean oui/non": st.booleans(),
    "date %d/%m/%Y": st.dates(),
    "date %d-%b-%Y": st.dates(),
    "timestamp %d/%m/%Y %H:%M": st.datetimes().map(lambda at: at.replace(second=0, microsecond=0)),
    "timestamp %Y%m%dT%H%M%S": st.datetimes().map(to_the_second),
    "timestamp %d.%m.%Y %H:%M:%S,%6f": st.datetimes(),
    "text(200)": TEXTS.filter(bool),
}


@st.composite
def declared_tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Declared types, and rows of values as files write them under these."""
    types = draw(st.lists(st.sampled_from(list(DECLARED)), min_size=1, max_size=5))

    def value(type_: str) -> st.SearchStrategy[str]:
        return st.just("") | DECLARED[type_].map(lambda value: format_value(value, parse_type(type_)) or "")

    return types, [list(row) for row in draw(st.lists(st.tuples(*map(value, types)), max_size=15))]


@few_examples()
@given(declared_tables())
def test_values_in_a_declared_form_come_back_in_that_form(
    engine: Engine, warehouse: Warehouse, table: tuple[list[str], list[list[str]]]
) -> None:
    types, rows = table
    declared = {f"c{position}": type_ for position, type_ in enumerate(types)}
    load_apart(engine, warehouse, csv_bytes(list(declared), rows), declared=declared)


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_a_real_file_comes_back_cell_by_cell(engine: Engine, warehouse: Warehouse, dataset: SandboxDataset) -> None:
    load_apart(engine, warehouse, first_version(dataset).csv)


def test_a_small_triangle_comes_back_cell_by_cell(engine: Engine, warehouse: Warehouse) -> None:
    load_apart(engine, warehouse, (DATA / "ukmotor.csv").read_bytes())


def test_the_example_of_every_shape_has_every_type(warehouse: Warehouse) -> None:
    load(warehouse, csv_bytes(list(EVERY_SHAPE), EVERY_ROW))
    contract = warehouse.contract("d-one")
    assert contract is not None
    assert {c.name: str(c.type) for c in contract.columns} == {name: type_ for name, (type_, _) in EVERY_SHAPE.items()}


def test_our_columns_are_the_last_and_tell_the_load_and_the_line(engine: Engine, warehouse: Warehouse) -> None:
    first = load(warehouse, b'a,b\n1,x\n2,"y\nz"\n3,w\n')
    assert list(engine.columns()) == ["a", "b", "_qt_load", "_qt_row"]
    look = f'SELECT "a", "b", "_qt_load", "_qt_row" FROM {engine.table()} ORDER BY "a"'
    assert engine.query(look) == [
        (1, "x", first.load_id, 2),
        (2, "y\nz", first.load_id, 3),
        (3, "w", first.load_id, 5),
    ]
    second = load(warehouse, b"b,a\nx,9\n")
    assert engine.query(look) == [(9, "x", second.load_id, 2)]


def test_plain_sql_adds_up_money(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Paid,Count\n" + b"0.10,1\n" * 1000 + b"-0.05,2\n")
    [found] = engine.query(f'SELECT sum("Paid"), avg("Count"), max("Paid") FROM {engine.table()} WHERE "Paid" > 0')
    assert [round(float(value), 2) for value in found] == [100.0, 1.0, 0.1]
