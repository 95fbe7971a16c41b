import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qt_pipeline.tabular import ColumnType, Kind
from qt_pipeline.warehouse import TargetLimitError, Warehouse
from qt_pipeline_tests.tabular.files import csv_bytes, tables
from qt_pipeline_tests.warehouse.loading import load, open_at, query

EVERY_SHAPE = {
    "Name": ("text", ['Ann, "B"\r\nC', "保険 ﬁ ß", "", " "]),
    "Claim No": ("text", ["007", "1e5", "", "-0"]),
    "Paid": ("decimal(15,2)", ["-1234567890123.45", "0.10", "", ".5"]),
    "Tiny": ("decimal(15,14)", ["0.00000000000001", "-1.5", "", "5."]),
    "Wide": ("decimal(38,8)", ["1" * 30 + ".12345678", "-0.00000001", "", "-0"]),
    "Count": ("integer", ["-9223372036854775808", "9223372036854775807", "", "0"]),
    "Written": ("date", ["0001-01-01", "9999-12-31", "", "2020-02-29"]),
    "Loss date": ("date", ["20240229", "19991231", "", "20240101"]),
    "Seen at": ("timestamp", ["2020-01-31 10:00:00.5", "0001-01-01 00:00:00.0", "", "9999-12-31 23:59:59.9"]),
    "Open": ("boolean", ["TRUE", "false", "", "True"]),
}
EVERY_ROW = [list(row) for row in zip(*(values for _, values in EVERY_SHAPE.values()), strict=True)]


def stored_day(text: str) -> str:
    return text if "-" in text else f"{text[:4]}-{text[4:6]}-{text[6:]}"


def stored_moment(text: str) -> str:
    whole, _, fraction = text.replace("T", " ").partition(".")
    return f"{whole}.{fraction:0<6}"


STORED: dict[Kind, Callable[[str], Any]] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.BOOLEAN: lambda text: int(text.lower() == "true"),
    Kind.DATE: stored_day,
    Kind.TIMESTAMP: stored_moment,
}


def assert_stored(text: str, type_: ColumnType, stored: Any) -> None:
    """A blank is NULL, a decimal is equal as a number, all else is one word of SQLite's for it."""
    if text == "":
        assert stored is None
    elif type_.kind is Kind.DECIMAL:
        assert isinstance(stored, (int, float) if type_.precision <= 15 else str)
        assert Decimal(str(stored)) == Decimal(text)
    else:
        expected = STORED[type_.kind](text)
        assert (type(stored), stored) == (type(expected), expected)


@settings(max_examples=25, deadline=None)
@given(tables(), st.sampled_from(["\r\n", "\n"]))
@example((list(EVERY_SHAPE), EVERY_ROW), "\r\n")
def test_every_cell_arrives_as_it_stands_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[list[str], list[list[str]]], line_end: str
) -> None:
    headers, rows = table
    file = tmp_path_factory.mktemp("values") / "warehouse.db"
    warehouse = open_at(file)
    published = load(warehouse, csv_bytes(headers, rows, line_end=line_end))
    contract = warehouse.contract("d-one")
    assert contract is not None
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT * FROM paid ORDER BY _qt_row")
        names = [description[0] for description in found.description]
        stored = found.fetchall()
    assert names == [*(column.name for column in contract.columns), "_qt_load", "_qt_row"]
    assert len(stored) == published.totals.rows == len(rows)
    for row, values in zip(rows, stored, strict=True):
        assert values[-2] == published.load_id
        for text, column, value in zip(row, contract.columns, values[:-2], strict=True):
            assert_stored(text, column.type, value)


def test_the_example_of_every_shape_has_every_type(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, csv_bytes(list(EVERY_SHAPE), EVERY_ROW))
    contract = warehouse.contract("d-one")
    assert contract is not None
    assert {c.name: str(c.type) for c in contract.columns} == {name: type_ for name, (type_, _) in EVERY_SHAPE.items()}
    assert query(file, 'SELECT typeof("Tiny") FROM paid WHERE _qt_row = 2') == [("real",)]


def test_each_row_knows_its_load_and_its_line(file: Path, warehouse: Warehouse) -> None:
    first = load(warehouse, b'a,b\n1,x\n2,"y\nz"\n3,w\n')
    assert query(file, "SELECT a, _qt_load, _qt_row FROM paid ORDER BY a") == [
        (1, first.load_id, 2),
        (2, first.load_id, 3),
        (3, first.load_id, 5),
    ]
    second = load(warehouse, b"b,a\nx,9\n")
    assert query(file, "SELECT a, b, _qt_load, _qt_row FROM paid") == [(9, "x", second.load_id, 2)]


def test_plain_sql_adds_up_money(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, b"Paid,Count\n" + b"0.10,1\n" * 1000 + b"-0.05,2\n")
    assert query(file, "SELECT round(sum(Paid), 2), avg(Count), max(Paid) FROM paid WHERE Paid > 0") == [(100, 1, 0.1)]


def test_a_decimal_that_gains_places_keeps_every_digit(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, b"Paid\n1.5\n")
    load(warehouse, b"Paid\n0.00000125\n")
    assert query(file, "SELECT Paid FROM paid") == [(0.00000125,)]
    contract = warehouse.contract("d-one")
    assert contract is not None
    assert str(contract.columns[0].type) == "decimal(15,8)"


HOSTILE = [
    *(
        '"',
        '""',
        '"; DROP TABLE paid; --',
        "'",
        "`",
        "[a]",
        "a.b",
        "a:b",
        ":a",
        "%",
        "%s",
        "%(a)s",
        "?",
        "?1",
        "$1",
        "\\",
    ),
    *("select", "rowid", "_ROWID_", "oid", "table", "_qt_load", "_QT_ROW", "_qt_stage_1", "--", "/*", "a\tb", "a\r\nb"),
    *(
        "",
        " ",
        "A",
        "a",
        "ﬁ",
        "fi",
        "ß",
        "ss",
        "保険",
        "x" * 300,
        "é" * 300,
        "{a}",
        "(a)",
        "a,b",
        ";",
        "null",
        "\u202e",
    ),
]


@pytest.mark.parametrize("table", [name for name in HOSTILE if name.strip() and not name.startswith("_qt")])
def test_a_hostile_name_makes_a_table_or_is_refused_for_its_length(
    file: Path, warehouse: Warehouse, table: str
) -> None:
    if len(table.encode()) > 128:
        with pytest.raises(TargetLimitError, match="bytes; the target takes 128"):
            load(warehouse, b"a,b\n1,2\n", table_name=table)
        return
    load(warehouse, b"a,b\n1,2\n", table_name=table)
    load(warehouse, b"a,b\n3,4\n", table_name=table)
    quoted = '"' + table.replace('"', '""') + '"'
    assert query(file, f"SELECT a, b FROM {quoted}") == [(3, 4)]


def test_hostile_names_by_the_hundred_make_columns_whose_sums_are_checked(file: Path, warehouse: Warehouse) -> None:
    headers = [name[:200] for name in HOSTILE] * 5 + [f"c{position}" for position in range(1000)]
    # More sums than SQLite answers at once.
    assert len(headers) > 1000
    totals = load(warehouse, csv_bytes(headers, [[f"{place}.5" for place in range(len(headers))]])).totals
    assert [total % 1 for total in totals.sums.values()] == [Decimal("0.5")] * len(totals.sums)
    assert len(totals.sums) > 1000
    [row] = query(file, "SELECT * FROM paid")
    assert [float(value) for value in row[:-2]] == [place + 0.5 for place in range(len(headers))]


def test_a_table_that_is_too_wide_is_refused_before_anything_is_written(warehouse: Warehouse) -> None:
    with pytest.raises(TargetLimitError, match="2001 columns; the target takes 2000"):
        load(warehouse, csv_bytes([f"c{position}" for position in range(1999)], []))
    assert warehouse.loads() == []
