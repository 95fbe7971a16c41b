"""The columns of a table of SQL Server, as its catalog has them, and which of their types can hold values."""

from typing import Any

import pytest
from sqlalchemy.dialects.mssql import mssqlpython
from sqlalchemy.types import String

from qt_pipeline.tabular import Column, ColumnType, Contract, Kind
from qt_pipeline.warehouse import TableNotOursError
from qt_pipeline.warehouse.adopt import adopted, column_type_error, unfit_columns
from qt_pipeline.warehouse.mssql import MssqlTarget
from qt_pipeline.warehouse.target import SqlTypes
from qt_pipeline_tests.warehouse.mssql_recorder import Driver
from qt_pipeline_tests.warehouse.test_mssql_snapshots import ANSWERS, target_over

DIALECT = mssqlpython.dialect()
# A type as sys.columns has it (bytes, precision, scale, collation), and as SQL has it.
HELD: list[tuple[tuple[Any, ...], str, ColumnType]] = [
    (("nvarchar", 100, 0, 0, "Latin1_General_BIN2"), "NVARCHAR(50)", ColumnType(Kind.TEXT, length=50)),
    (("nvarchar", -1, 0, 0, "Latin1_General_BIN2"), "NVARCHAR(max)", ColumnType(Kind.TEXT)),
    (("decimal", 9, 10, 2, None), "DECIMAL(10, 2)", ColumnType(Kind.DECIMAL, 10, 2)),
    (("numeric", 17, 38, 0, None), "DECIMAL(38, 0)", ColumnType(Kind.DECIMAL, 38, 0)),
    (("datetime2", 8, 26, 6, None), "DATETIME2(6)", ColumnType(Kind.TIMESTAMP, format="iso")),
    (("datetime2", 8, 27, 7, None), "DATETIME2(7)", ColumnType(Kind.TIMESTAMP, format="iso")),
    (("date", 3, 10, 0, None), "DATE", ColumnType(Kind.DATE, format="iso")),
    (("bit", 1, 1, 0, None), "BIT", ColumnType(Kind.BOOLEAN)),
    (("int", 4, 10, 0, None), "INTEGER", ColumnType(Kind.INTEGER, 9)),
    (("bigint", 8, 19, 0, None), "BIGINT", ColumnType(Kind.INTEGER)),
]
LOSSY: list[tuple[tuple[Any, ...], str]] = [
    *((("datetimeoffset", 10, 26 + scale, scale, None), rf"DATETIMEOFFSET\({scale}\)") for scale in range(8)),
    *((("datetime2", 8, 19 + scale, scale, None), rf"DATETIME2\({scale}\)") for scale in range(6)),
    (("datetime", 8, 23, 3, None), "DATETIME"),
    (("smalldatetime", 4, 16, 0, None), "SMALLDATETIME"),
    (("time", 5, 15, 6, None), "TIME"),
    (("varchar", 50, 0, 0, "Latin1_General_BIN2"), "VARCHAR"),
    (("nchar", 20, 0, 0, "Latin1_General_BIN2"), "NCHAR"),
    (("float", 8, 53, 0, None), "FLOAT"),
    (("real", 4, 24, 0, None), "REAL"),
    (("tinyint", 1, 3, 0, None), "TINYINT"),
    (("money", 8, 19, 4, None), "MONEY"),
    (("a type to come", 8, 0, 0, None), "NULL"),
    ((None, 8, 0, 0, None), "NULL"),
]


def reflected(
    monkeypatch: pytest.MonkeyPatch, in_sql: tuple[Any, ...], *, is_generated: int = 0
) -> tuple[MssqlTarget, SqlTypes]:
    driver = Driver([("sys.columns", [("One", *in_sql, is_generated)]), *ANSWERS], ["_qt_loads", "_qt_columns"])
    target = target_over(monkeypatch, driver)
    with target.reading() as connection:
        columns = target.columns_of(connection, "paid", "qt")
    assert columns is not None
    return target, columns


@pytest.mark.parametrize(("in_sql", "type_", "held"), HELD, ids=[f"{in_sql[0]}-{in_sql[1]}" for in_sql, _, _ in HELD])
def test_a_type_is_reflected_with_its_precision_and_collation(
    monkeypatch: pytest.MonkeyPatch, in_sql: tuple[Any, ...], type_: str, held: ColumnType
) -> None:
    target, columns = reflected(monkeypatch, in_sql)
    collation = f" COLLATE {in_sql[-1]}" if in_sql[-1] else ""
    assert columns["One"].compile(dialect=DIALECT) == f"{type_}{collation}"
    [column] = adopted(columns, target, table="paid", dataset_id="d-one", dialect=DIALECT).columns
    found = column.type
    assert (found.kind, found.precision, found.scale, found.length) == (
        held.kind,
        held.precision,
        held.scale,
        held.length,
    )
    assert bool(found.format) is bool(held.format)
    assert not isinstance(columns["One"], String) or columns["One"].collation == in_sql[-1]


@pytest.mark.parametrize(("in_sql", "words"), LOSSY, ids=[f"{in_sql[0]}-{in_sql[3]}" for in_sql, _ in LOSSY])
def test_a_type_that_could_change_values_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, in_sql: tuple[Any, ...], words: str
) -> None:
    target, columns = reflected(monkeypatch, in_sql)
    with pytest.raises(TableNotOursError, match=rf"'One' \({words}"):
        adopted(columns, target, table="paid", dataset_id="d-one", dialect=DIALECT)


@pytest.mark.parametrize(
    ("in_sql", "is_generated"),
    [
        pytest.param(("decimal", 9, 10, 2, None), 1, id="computed, of a type that could hold values"),
        pytest.param(("datetime2", 8, 19, 0, None), 1, id="of a period, of a type that could not"),
        pytest.param(("timestamp", 8, 0, 0, None), 0, id="ROWVERSION"),
    ],
)
def test_a_column_that_the_server_fills_is_left_alone_and_refuses_a_file_that_has_it(
    monkeypatch: pytest.MonkeyPatch, in_sql: tuple[Any, ...], is_generated: int
) -> None:
    target, columns = reflected(monkeypatch, in_sql, is_generated=is_generated)
    assert adopted(columns, target, table="paid", dataset_id="d-one", dialect=DIALECT).columns == ()
    contract = Contract((Column("One", "One", ColumnType(Kind.DECIMAL, 4, 2)),))
    [unfit] = unfit_columns(columns, {}, contract, target)
    error = column_type_error([unfit], target, table="paid", dataset_id="d-one", dialect=DIALECT)
    assert "'One' is computed by the database" in str(error)


def test_a_table_that_is_not_there_has_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(ANSWERS, ["_qt_loads", "_qt_columns"])
    target = target_over(monkeypatch, driver)
    driver.lines.clear()
    with target.reading() as connection:
        assert target.columns_of(connection, "a]b", None) is None
        assert target.columns_of(connection, "paid", "its own") is None
    assert "-- with '[dbo].[a]]b]'" in driver.lines
    assert "-- with '[its own].[paid]'" in driver.lines
