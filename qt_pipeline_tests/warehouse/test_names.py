"""Names that try to be something else, and as many columns as a table takes."""

from decimal import Decimal

import pytest

from qt_pipeline.database import NameMatching
from qt_pipeline.values import DriftPolicy, WriteMode
from qt_pipeline.warehouse import TableNotOursError, TargetLimitError, Warehouse
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine
from qt_pipeline_tests.warehouse.loading import load

HOSTILE = [
    *('"', '""', "'", "''", "`", "[", "]", "]]", "[a]", '"; DROP TABLE paid; --', "'; DROP TABLE paid; --", "--", "/*"),
    *("]; DROP TABLE paid; --", "a.b", "a:b", ":a", "%", "%%", "%s", "%(a)s", "%%s", "?", "?1", "$1", "@a", "#a", "\\"),
    *(
        "{a}",
        "{}",
        "(a)",
        "a,b",
        ";",
        "=",
        "*",
        "a\tb",
        "a\r\nb",
        "a\x01b",
        "\x7f",
        "\u202e",
        "\u200b",
        "\ufeffa",
        " a ",
    ),
    *("select", "table", "user", "order", "group", "null", "rowid", "_ROWID_", "oid"),
    *("_qt_load", "_QT_ROW", "_qt_loaded_at", "_qt_stage_1", "A", "a", "ﬁ", "fi", "ß", "ss", "SS", "é", "e\u0301", "İ"),
    *("保険", "🚢", "x" * 200, "X" * 200, "é" * 200, "🚢" * 50, "1", "1e5", "-1", "true", "", " "),
]
# Beyond letters, some catalogs and a person's eye take these for one name; each has its turn alone.
TABLES = [name for name in HOSTILE if name.strip() and not name.lower().startswith("_qt")]


def test_hostile_headers_by_the_hundred_make_columns_that_load_grow_and_are_added_up(
    engine: Engine, warehouse: Warehouse
) -> None:
    headers = HOSTILE * 3
    for turn, cell in enumerate(["{}.5", "{}.5", "{}.125", "1234567890123{}.5", "text {}"]):
        # From turn to turn more of them, and of wider types.
        some = headers[: 100 + 20 * turn]
        cells = [cell.format(place) for place in range(len(some))]
        published = load(warehouse, csv_bytes(some, [cells]), policy=DriftPolicy.EVOLVE)
        contract = warehouse.contract("d-one")
        assert contract is not None
        assert [column.header for column in contract.columns] == some
        [row] = engine.rows(contract)
        assert [*published.totals.sums.values()] == [value for value in row if isinstance(value, Decimal)]
        assert bool(published.totals.sums) is (turn < 4)
        assert list(row) == [
            cell if type_ is str else Decimal(cell) for cell, type_ in zip(cells, map(type, row), strict=True)
        ]
    assert engine.tables() == OWN_TABLES | {"paid"}


def test_hostile_headers_may_be_the_key_of_a_row(engine: Engine, warehouse: Warehouse) -> None:
    how = {"mode": WriteMode.UPSERT, "key": tuple(HOSTILE[:16])}
    old, other, new = (["key", *[str(n)] * (len(HOSTILE) - 2), n] for n in ("old", "other", "new"))
    load(warehouse, csv_bytes(HOSTILE, [old, other]), **how)
    new[:16] = old[:16]
    load(warehouse, csv_bytes(HOSTILE, [new]), **how)
    last = warehouse.contract("d-one").columns[-1].name  # type: ignore[union-attr]
    assert engine.column(last) == ["new", "other"]


def test_a_hostile_name_makes_a_table_or_is_refused_for_its_length(engine: Engine, warehouse: Warehouse) -> None:
    replacing, upserting = {"mode": WriteMode.REPLACE}, {"mode": WriteMode.UPSERT, "key": ("a",)}
    # A table stays that of its dataset after somebody drops it, under every name that is the same there.
    matching = NameMatching.of({"sqlserver": "mssql"}.get(engine.name, engine.name))
    for number, table in enumerate({matching.fold(name): name for name in TABLES}.values()):
        this = {"name": table, "dataset_id": f"d-{number}", "policy": DriftPolicy.EVOLVE}
        this |= upserting if number % 2 else replacing
        if len(table.encode()) > engine.max_name_bytes:
            with pytest.raises(TargetLimitError, match=f"bytes; the target allows {engine.max_name_bytes}"):
                load(warehouse, b"a,b\n1,2\n", **this)
            continue
        load(warehouse, b"a,b\n1,2\n", **this)
        load(warehouse, b"a,b,%\n1,3.5,x\n", **this)
        assert [float(value) for value in engine.column("b", table)] == [3.5]
        assert engine.tables() == OWN_TABLES | {table}
        # Names that a database takes for equal may be among them.
        engine.execute(f"DROP TABLE {engine.table(table)}")


@pytest.mark.parametrize(("one", "other"), [("Paid", "PAID"), ("é", "e\u0301"), ("ﬁ", "fi")])
def test_names_that_differ_little_are_two_tables_or_the_second_is_refused(
    engine: Engine, warehouse: Warehouse, one: str, other: str
) -> None:
    load(warehouse, b"a\n1\n", name=one)
    try:
        load(warehouse, b"a\n2\n", name=other, dataset_id="d-two")
    except TableNotOursError:
        assert engine.tables() == OWN_TABLES | {one}
    else:
        assert engine.column("a", other) == [2]
    assert engine.column("a", one) == [1]


def test_a_table_that_is_too_wide_is_refused_before_anything_is_written(engine: Engine, warehouse: Warehouse) -> None:
    most = warehouse._target.max_columns
    headers = [f"c{position}" for position in range(most - 1)]
    for lineage in (True, False):
        with pytest.raises(TargetLimitError, match=f"{most + 1} columns; the target allows {most}"):
            load(warehouse, csv_bytes(headers, []), lineage_columns=lineage)
    assert engine.tables() == OWN_TABLES
    load(warehouse, b"a,b\n1,2\n")
    with pytest.raises(TargetLimitError):
        load(warehouse, csv_bytes(["a", "b", *headers[2:]], []))
    assert engine.column("a") == [1]


def test_a_table_of_as_many_columns_as_there_can_be_is_loaded_and_refreshed(
    engine: Engine, warehouse: Warehouse
) -> None:
    # A letter each: a row of PostgreSQL and of SQL Server has to fit into a page of 8 kB, 1600 numbers do not.
    headers = [f"c{position}" for position in range(warehouse._target.max_columns - 2)]
    for letter in "xy":
        load(warehouse, csv_bytes(headers, [[letter] * len(headers)] * 3))
    contract = warehouse.contract("d-one")
    assert contract is not None
    assert engine.rows(contract) == [("y",) * len(headers)] * 3


def test_sums_are_compared_however_many_there_are(engine: Engine, warehouse: Warehouse) -> None:
    # More than SQLite and PostgreSQL answer at once; a row of 700 decimals still fits into a page of SQL Server.
    headers = [f"c{position}" for position in range({"sqlite": 1500, "postgresql": 1100}.get(engine.name, 700))]
    totals = load(warehouse, csv_bytes(headers, [["0.5"] * len(headers)] * 2)).totals
    assert totals.sums == dict.fromkeys(headers, Decimal("1.0"))


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.UPSERT])
def test_a_column_with_the_longest_name_is_verified_beside_rows_that_stay(engine: Engine, mode: WriteMode) -> None:
    longest = "x" * engine.max_name_bytes
    for value in ("one", "two"):
        load(engine.open(), f"Key,{longest}\n{value},{value}\n".encode(), mode=mode, key=("Key",))
    assert sorted(engine.column(longest)) == ["one", "two"]
