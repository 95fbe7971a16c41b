import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from qt_pipeline.tabular import Column, ColumnType, Contract, Kind
from qt_pipeline_tests.compare import assert_table_equals_csv

CSV = (
    "\ufeffNote,Note,Day,Seen,Paid,Wide,Count,Open\r\n"
    'a,"line\nbreak",20260131,2026-01-31T10:00:00,1.50,12345678901234567.10,3,TRUE\r\n'
    'b,"",,,-0.00,,,\r\n'
).encode()
ROWS = [
    ("line\nbreak", "a", "2026-01-31", "2026-01-31 10:00:00.000000", 1.5, "12345678901234567.10", 3, 1, 9, 2),
    (None, "b", None, None, 0, None, None, None, 9, 4),
]
CONTRACT = Contract(
    (
        Column("Note", "Note", ColumnType(Kind.TEXT)),
        Column("Note", "Note_2", ColumnType(Kind.TEXT)),
        Column("Day", "Day", ColumnType(Kind.DATE, format="%Y%m%d")),
        Column("Seen", "Seen", ColumnType(Kind.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S")),
        Column("Paid", "Paid", ColumnType(Kind.DECIMAL, 15, 2)),
        Column("Wide", "Wide", ColumnType(Kind.DECIMAL, 38, 2)),
        Column("Count", "Count", ColumnType(Kind.INTEGER)),
        Column("Open", "Open", ColumnType(Kind.BOOLEAN)),
    )
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "target.db"
    names = [f'"{column.name}"' for column in CONTRACT.columns]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t ({', '.join(names)}, _qt_load, _qt_row)")
        places = ", ".join("?" * 10)
        connection.executemany(f"INSERT INTO t VALUES ({places})", [(r[1], r[0], *r[2:]) for r in ROWS])
    return path


def test_a_table_that_equals_its_file_is_equal(file: Path) -> None:
    assert_table_equals_csv(file, "t", CSV, CONTRACT)
    assert_table_equals_csv(file, "t", CSV, CONTRACT, load_id=9)


@pytest.mark.parametrize(
    "sabotage",
    [
        "UPDATE t SET Note = 'A' WHERE _qt_row = 2",
        "UPDATE t SET Note_2 = 'line\r\nbreak' WHERE _qt_row = 2",
        "UPDATE t SET Note_2 = '' WHERE _qt_row = 4",
        "UPDATE t SET Day = '2026-01-30' WHERE _qt_row = 2",
        "UPDATE t SET Day = '20260131' WHERE _qt_row = 2",
        "UPDATE t SET Seen = '2026-01-31 10:00:01' WHERE _qt_row = 2",
        "UPDATE t SET Paid = 1.49 WHERE _qt_row = 2",
        "UPDATE t SET Paid = '1.50' WHERE _qt_row = 2",
        "UPDATE t SET Paid = NULL WHERE _qt_row = 4",
        "UPDATE t SET Wide = '12345678901234567.11' WHERE _qt_row = 2",
        "UPDATE t SET Wide = 12345678901234567.10 WHERE _qt_row = 2",
        "UPDATE t SET Count = '3' WHERE _qt_row = 2",
        "UPDATE t SET Count = 0 WHERE _qt_row = 4",
        "UPDATE t SET Open = 0 WHERE _qt_row = 2",
        "UPDATE t SET _qt_row = 3 WHERE _qt_row = 4",
        "UPDATE t SET _qt_load = 8 WHERE _qt_row = 4",
        "DELETE FROM t WHERE _qt_row = 4",
        "INSERT INTO t SELECT * FROM t WHERE _qt_row = 4",
        "ALTER TABLE t ADD more",
        "ALTER TABLE t RENAME Note TO Notes",
    ],
)
def test_the_smallest_difference_is_found(file: Path, sabotage: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sabotage)
    with pytest.raises(AssertionError):
        assert_table_equals_csv(file, "t", CSV, CONTRACT)


def test_a_load_that_was_not_the_one_asked_for_is_found(file: Path) -> None:
    with pytest.raises(AssertionError):
        assert_table_equals_csv(file, "t", CSV, CONTRACT, load_id=8)
