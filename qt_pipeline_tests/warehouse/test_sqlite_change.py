"""A column of a SQLite table changes its type, and all else of the table stays."""

import sqlite3
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError

from qt_pipeline.values import DriftPolicy, WriteMode
from qt_pipeline.warehouse import TableRefusedError, Warehouse
from qt_pipeline.warehouse.sqlite_change import EXACT_TEXT, NewType, change_columns, exact_text
from qt_pipeline_tests.warehouse.engines import Sqlite
from qt_pipeline_tests.warehouse.loading import load

APPEND, EVOLVE = WriteMode.APPEND, DriftPolicy.EVOLVE


@pytest.fixture
def warehouse(sqlite: Sqlite) -> Warehouse:
    return sqlite.open()


MADE_BY_SOMEBODY = """CREATE TABLE paid (
  "Ref" TEXT COLLATE NOCASE PRIMARY KEY, -- its key, (mine)
  [Paid] NUMERIC ( 10 , 2 ) DEFAULT 0.5 CHECK ("Paid" <> 13), /* an amount, in GBP */
  `Count` INTEGER NOT NULL ON CONFLICT ABORT DEFAULT (1 + 1),
  doubled GENERATED ALWAYS AS ("Count" * 2) VIRTUAL,
  CONSTRAINT "not 14" CHECK ("Paid" <> 14),
  UNIQUE ("Count", "Paid")
)"""
BUILT_UPON_IT = (
    "ALTER TABLE paid ADD parent INTEGER REFERENCES parents(id) ON DELETE CASCADE",
    "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
    "CREATE TABLE children (ref TEXT REFERENCES paid(Ref), seen)",
    "CREATE TABLE log (what)",
    "CREATE INDEX partial ON paid (Paid) WHERE Paid > 1",
    "CREATE UNIQUE INDEX by_expression ON PAID (lower(Ref), Paid + 1)",
    "CREATE INDEX of_loads ON paid (_qt_load, _qt_row)",
    "CREATE VIEW sums AS SELECT Ref, Paid FROM paid WHERE Paid > 0",
    "CREATE VIEW on_view AS SELECT count(*) AS n FROM sums",
    "CREATE TRIGGER logging AFTER INSERT ON paid WHEN new._qt_row > 0 BEGIN INSERT INTO log VALUES (new._qt_row); END",
    "CREATE TRIGGER away INSTEAD OF DELETE ON sums BEGIN DELETE FROM paid WHERE Ref = old.Ref; END",
)


def test_what_a_person_has_made_stays_when_a_column_changes_its_type(sqlite: Sqlite, warehouse: Warehouse) -> None:
    sqlite.execute(MADE_BY_SOMEBODY)
    load(warehouse, b"Ref,Paid,Count\nA,1.50,1\nB,0.10,2\n", adopt=True, mode=APPEND, declared={"Ref": "text"})
    sqlite.execute("ALTER TABLE paid ADD 'note by hand' INTEGER DEFAULT 7", *BUILT_UPON_IT)
    sqlite.execute("UPDATE paid SET \"note by hand\" = 42 WHERE Ref = 'A'")
    look = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE '\\_qt%' ESCAPE '\\' ORDER BY name"
    before = sqlite.query(look)
    load(warehouse, b"Ref,Paid,Count\nC,12345678901234567890.25,3\n", mode=APPEND, declared={"Ref": "text"})
    [statement] = [row[3] for row in before if row[:2] == ("table", "paid")]
    expected = statement.replace("CREATE TABLE paid", 'CREATE TABLE "paid"').replace("NUMERIC ( 10 , 2 )", "TEXT")
    assert sqlite.query(look) == [(*row[:3], expected if row[1] == "paid" else row[3]) for row in before]
    assert sqlite.query('SELECT Ref, Paid, "Count", "note by hand", doubled FROM paid ORDER BY Ref') == [
        ("A", "1.50", 1, 42, 2),
        ("B", "0.10", 2, 7, 4),
        ("C", "12345678901234567890.25", 3, 7, 6),
    ]
    assert sqlite.query("SELECT n FROM on_view") == [(3,)]
    assert sqlite.query("SELECT what FROM log") == [(2,)]
    with pytest.raises(Exception, match="UNIQUE constraint"):
        sqlite.execute("INSERT INTO paid (Ref) VALUES ('a')")
    with pytest.raises(Exception, match="CHECK constraint"):
        sqlite.execute("INSERT INTO paid (Ref, Paid) VALUES ('D', 14)")
    sqlite.execute("DELETE FROM sums WHERE Ref = 'B'")
    assert sqlite.query("SELECT n FROM on_view") == [(2,)]


@pytest.mark.parametrize("clash", ["paid_qt_copy", "_qt_copy_1", "_QT_COPY_1"])
def test_a_table_under_any_name_of_a_copy_is_left_alone(sqlite: Sqlite, warehouse: Warehouse, clash: str) -> None:
    load(warehouse, b"Paid\n1.5\n")
    sqlite.execute(f'CREATE TABLE "{clash}" (x)', f'INSERT INTO "{clash}" VALUES (1)')
    load(warehouse, b"Paid\nmuch\n", policy=EVOLVE)
    assert (sqlite.column("Paid"), sqlite.query(f'SELECT x FROM "{clash}"')) == (["much"], [(1,)])


def test_a_column_of_ours_that_came_later_has_no_value_in_older_rows_when_a_type_changes(
    sqlite: Sqlite, warehouse: Warehouse
) -> None:
    load(warehouse, b"Paid\n1\n")
    load(warehouse, b"Paid\n2\n", mode=APPEND)
    load(warehouse, b"Paid\n3.5\n", mode=APPEND, policy=EVOLVE)
    assert sqlite.column("Paid") == ["1", "2", "3.5"]


@pytest.mark.parametrize(
    "header", ["returning", "nothing", "window", "generated", "always", "check", "a]b", 'c"d', "e`"]
)
def test_a_column_of_any_name_changes_its_type(sqlite: Sqlite, warehouse: Warehouse, header: str) -> None:
    quoted = '"' + header.replace('"', '""') + '"'
    load(warehouse, f"{quoted},Other\n1,x\n".encode(), mode=APPEND)
    load(warehouse, f"{quoted},Other\n1.5,x\nmuch,y\n".encode(), mode=APPEND, policy=EVOLVE)
    assert sqlite.column(header) == ["1", "1.5", "much"]


@pytest.mark.parametrize(
    ("first", "kept"),
    [
        ("0.00001", "0.00001"),
        ("1.50", "1.50"),
        ("-0.10", "-0.10"),
        ("12345678901234.5", "12345678901234.5"),
        ("7", "7"),
        ("9223372036854775807", "9223372036854775807"),
        ("100000000000000.0", "100000000000000.0"),
        ("0.000000000000001", "0.000000000000001"),
    ],
)
def test_a_number_that_becomes_text_is_written_with_the_places_of_its_column(
    sqlite: Sqlite, warehouse: Warehouse, first: str, kept: str
) -> None:
    load(warehouse, f"Paid\n{first}\n".encode(), mode=APPEND)
    load(warehouse, b"Paid\nmuch\n", mode=APPEND, policy=EVOLVE)
    assert sqlite.column("Paid") == [kept, "much"]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**8), max_value=10**8))
@example(Decimal("1e-05"))
def test_the_text_of_a_number_is_that_number(number: Decimal) -> None:
    told = exact_text(float(number), 6)
    assert isinstance(told, str)
    assert (Decimal(told), len(told.partition(".")[2])) == (number, 6)


def test_a_statement_that_leaves_doubt_is_refused_and_the_table_stays(sqlite: Sqlite, warehouse: Warehouse) -> None:
    sqlite.execute("CREATE TABLE paid (Ref TEXT, Paid INTEGER, CHECK (paid.Paid > 0))")
    load(warehouse, b"Ref,Paid\nA,1\n", adopt=True, mode=APPEND)
    before = sqlite.query("SELECT * FROM sqlite_master"), sqlite.query("SELECT * FROM paid")
    with pytest.raises(TableRefusedError):
        load(warehouse, b"Ref,Paid\nB,1.5\n", mode=APPEND, policy=EVOLVE)
    assert (sqlite.query("SELECT * FROM sqlite_master"), sqlite.query("SELECT * FROM paid")) == before


def test_a_counter_goes_on_where_it_was(sqlite: Sqlite, warehouse: Warehouse) -> None:
    sqlite.execute("CREATE TABLE paid (id INTEGER PRIMARY KEY AUTOINCREMENT, Paid INTEGER)")
    load(warehouse, b"id,Paid\n5,1\n900,2\n", adopt=True)
    load(warehouse, b"id,Paid\n3,1.5\n", policy=EVOLVE)
    sqlite.execute("INSERT INTO paid (Paid) VALUES ('by hand')")
    assert sqlite.query("SELECT id, Paid FROM paid") == [(3, "1.5"), (901, "by hand")]


# Any table: names in each way of quoting them, comments that look like SQL, constraints of every kind.

_QUOTED = ('"{}"', "[{}]", "`{}`", "'{}'", "{}")
_SPACE = st.sampled_from([" ", "\n\t", " /* , ( ' */ ", " -- it's ) , \"\n", "/**/ "])
_TYPES = st.sampled_from(["INTEGER", "TEXT", "NUMERIC(10,2)", "DECIMAL ( 10 , 2 )", "BIGINT", "VARCHAR(20)", "INT", ""])
_CONSTRAINTS = st.sampled_from(
    [
        "",
        "NOT NULL DEFAULT 3",
        "DEFAULT (1 + (2))",
        "DEFAULT -1.5",
        "DEFAULT 'a, b)'",
        "CHECK (1 IN (1, 2, ')'))",
        "COLLATE NOCASE",
        "UNIQUE ON CONFLICT IGNORE",
        'CONSTRAINT "x,y" UNIQUE',
        "REFERENCES others(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
        "NULL",
    ]
)
_NEW_TYPES = st.sampled_from(["TEXT", "BIGINT", "NUMERIC(15, 2)"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str, dict[str, str], list[str]]:
    """A statement, what it must be with other types, these types by column, and the columns that can be filled."""
    names = draw(
        st.lists(
            st.sampled_from(["id", "A b", "returning", "Größe", "x,y", "(", "type", "Ref", "n1", "保険", "key"]),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    changed = {name: draw(_NEW_TYPES) for name in draw(st.lists(st.sampled_from(names), min_size=1, unique=True))}
    key = draw(st.sampled_from([None, *names]))
    before, after = [], []
    for name in names:
        fits = [style for style in _QUOTED if style != "{}" or (name.isidentifier() and name != "returning")]
        written = draw(st.sampled_from(fits)).format(name)
        type_, space, constraint = draw(_TYPES), draw(_SPACE), draw(_CONSTRAINTS)
        if name == key:
            constraint = f"PRIMARY KEY {constraint}".replace("PRIMARY KEY NULL", "PRIMARY KEY")
        old = f"{space}{type_}" if type_ else ""
        new = (f"{space}{changed[name]}" if type_ else f" {changed[name]}") if name in changed else old
        before.append(f"{written}{old}{space}{constraint}")
        after.append(f"{written}{new}{space}{constraint}")
    more = draw(st.sampled_from(["", ", CHECK (2 > 1)", ", twice AS (1 + 1) STORED", ', UNIQUE ("{}") CHECK (1)']))
    more = more.format(names[0])
    space = draw(_SPACE)
    end = draw(st.sampled_from([")", ") WITHOUT ROWID" if key else ")"]))
    statement, expected = (f"CREATE TABLE {{}}{space}({','.join(parts)}{more}{end}" for parts in (before, after))
    return statement.format("paid"), expected.format('"paid"'), changed, names


@given(
    made=tables(),
    rows=st.lists(st.lists(st.sampled_from([None, 1, 2.5, "007", "x"]), min_size=5, max_size=5), max_size=4),
)
def test_any_table_is_the_same_but_for_the_types_or_it_is_refused_and_stays(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[str, str, dict[str, str], list[str]], rows: list[list[Any]]
) -> None:
    statement, expected, types, names = made
    file = tmp_path_factory.mktemp("any") / "t.db"
    _fill(file, statement, names, rows)
    before = _content(file)
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.begin() as connection:
            connection.connection.create_function(EXACT_TEXT, 2, exact_text)
            connection.exec_driver_sql("BEGIN")
            change_columns(connection, "PAID", {name: NewType(type_) for name, type_ in types.items()})
    except (TableRefusedError, IntegrityError):
        # Values that differed may be the same in another type.
        assert _content(file) == before
        return
    finally:
        engine.dispose()
    after = _content(file)
    statements = {row[4] for row in after[0]}
    assert expected in statements
    unchanged = [position for position, name in enumerate(names) if name not in types]
    old, new = ([repr([row[position] for position in unchanged]) for row in rows] for _, rows in (before, after))
    # A key of another type may have another order.
    assert sorted(old) == sorted(new)
    assert [row for row in after[0] if row[1] != "paid" and row[0] != "table"] == [
        row for row in before[0] if row[1] != "paid" and row[0] != "table"
    ]


def _fill(file: Path, statement: str, names: list[str], rows: list[list[Any]]) -> None:
    columns = ", ".join(f'"{name}"' for name in names)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE others (id INTEGER PRIMARY KEY)")
        connection.execute(statement)
        connection.execute(f'CREATE INDEX by_first ON paid ("{names[0]}" DESC)')
        connection.execute("CREATE TRIGGER t AFTER UPDATE ON paid BEGIN DELETE FROM others; END")
        for row in rows:
            marks = ", ".join("?" * len(names))
            with suppress(sqlite3.IntegrityError):
                connection.execute(f"INSERT INTO paid ({columns}) VALUES ({marks})", row[: len(names)])


def _content(file: Path) -> tuple[list[Any], list[Any]]:
    with closing(sqlite3.connect(file)) as connection:
        schema = connection.execute("SELECT type, name, tbl_name, 0, sql FROM sqlite_master ORDER BY name").fetchall()
        return schema, connection.execute("SELECT * FROM paid").fetchall()
