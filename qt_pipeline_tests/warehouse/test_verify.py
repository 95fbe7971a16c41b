"""Proof that rows arrive whole: whatever is lost or changed on the way is noticed, and nothing is published."""

import itertools
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table

from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import LoadStatus, Totals, Verification, VerificationError, Warehouse
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine, Postgres, Sqlite
from qt_pipeline_tests.warehouse.loading import load

OLD = b"Paid,Incurred,Count,Wide\n1.00,2.00,1,1\n"
NEW = b"Paid,Incurred,Count,Wide\n" + b"".join(b"%d.10,%d.20,%d,%d\n" % (n, 2 * n, n, n) for n in range(1, 50))

DAMAGE = {
    'DELETE FROM {} WHERE "_qt_row" = 8': "48 rows instead of 49",
    'UPDATE {} SET "Paid" = "Paid" + 0.01 WHERE "_qt_row" = 8': "'Paid' adds up to 1229.91 instead of 1229.90",
    'UPDATE {} SET "Paid" = "Incurred", "Incurred" = "Paid" WHERE "_qt_row" = 8': "'Paid' adds up to",
    'UPDATE {} SET "Count" = "Count" + 1 WHERE "_qt_row" = 8': "'Count' adds up to 1226 instead of 1225",
    'UPDATE {} SET "Paid" = NULL WHERE "_qt_row" = 8': "'Paid' adds up to",
    'INSERT INTO {0} SELECT "Paid", "Incurred", "Count", "Wide", 0, 0 FROM {0} WHERE "_qt_row" = 8': "50 rows",
}


def damaging(statement: str) -> type:
    """A target that does this to each staging table once it is filled."""

    class Damaging:
        def stage(self: Any, stage: Table, batches: Iterable[Any], *, becomes_table: bool) -> int:
            copied = super().stage(stage, batches, becomes_table=becomes_table)
            with self.publishing(stage) as connection:
                name = connection.dialect.identifier_preparer.format_table(stage)
                connection.exec_driver_sql(statement.format(name))
            return copied

    return Damaging


def assert_rolled_back(engine: Engine, warehouse: Warehouse, caught: pytest.ExceptionInfo[VerificationError]) -> None:
    assert caught.value.dataset_id == "d-one"
    assert [float(value) for value in engine.column("Paid")] == [1]
    failed, published = warehouse.loads()
    assert (published.status, failed.status) == (LoadStatus.PUBLISHED, LoadStatus.FAILED)
    assert failed.error == str(caught.value)
    assert engine.tables() == OWN_TABLES | {"paid"}


@pytest.mark.parametrize("statement", DAMAGE)
@pytest.mark.parametrize("mode", [WriteMode.REPLACE, WriteMode.UPSERT])
def test_what_was_staged_otherwise_than_read_is_not_published(
    engine: Engine, warehouse: Warehouse, statement: str, mode: WriteMode
) -> None:
    how = {"mode": mode, "key": ("Wide",) if mode is WriteMode.UPSERT else ()}
    load(warehouse, OLD, **how)
    with pytest.raises(VerificationError, match=f"is not what the file holds: .*{DAMAGE[statement]}") as caught:
        load(engine.open(damaging(statement)), NEW, **how)
    assert_rolled_back(engine, warehouse, caught)


@pytest.mark.parametrize("mode", [WriteMode.REPLACE, WriteMode.APPEND])
@pytest.mark.parametrize("statement", list(DAMAGE)[:2])
def test_a_first_load_that_is_not_right_leaves_no_table(
    engine: Engine, warehouse: Warehouse, statement: str, mode: WriteMode
) -> None:
    with pytest.raises(VerificationError, match=DAMAGE[statement]):
        load(engine.open(damaging(statement)), NEW, mode=mode)
    assert engine.tables() == OWN_TABLES
    assert warehouse.contract("d-one") is None


@pytest.mark.parametrize("statement", DAMAGE)
def test_what_was_published_otherwise_than_read_is_rolled_back(
    engine: Engine, warehouse: Warehouse, statement: str
) -> None:
    load(warehouse, OLD)
    engine.make_trigger("damage", statement.format(engine.table()))
    with pytest.raises(VerificationError, match=f"What was published is not .*{DAMAGE[statement]}") as caught:
        load(warehouse, NEW)
    assert_rolled_back(engine, warehouse, caught)


@pytest.mark.parametrize("missed", [1, -1])
def test_a_database_that_says_it_took_another_number_of_rows_is_not_believed(
    engine: Engine, warehouse: Warehouse, missed: int
) -> None:
    class Miscounting:
        def stage(self, *args: Any, **options: Any) -> int:
            return super().stage(*args, **options) - missed

    load(warehouse, OLD)
    with pytest.raises(VerificationError, match=f"What was copied is not .*{49 - missed} rows instead of 49") as caught:
        load(engine.open(Miscounting), NEW)
    assert caught.value.verification.expected.rows == 49
    assert_rolled_back(engine, warehouse, caught)


SKIPS = "CREATE TRIGGER skips BEFORE INSERT ON paid WHEN new._qt_row = 8 BEGIN SELECT RAISE(IGNORE); END"


def test_a_row_that_sqlite_skips_is_noticed_where_older_rows_stay(sqlite: Sqlite) -> None:
    warehouse = sqlite.open()
    load(warehouse, OLD, mode=WriteMode.APPEND)
    sqlite.execute(SKIPS)
    with pytest.raises(VerificationError, match="48 rows instead of 49") as caught:
        load(warehouse, NEW, mode=WriteMode.APPEND)
    assert_rolled_back(sqlite, warehouse, caught)


def test_a_row_that_postgresql_skips_is_noticed_where_older_rows_stay(postgres: Postgres) -> None:
    warehouse = postgres.open()
    load(warehouse, OLD, mode=WriteMode.APPEND)
    function = postgres.table("skip")
    postgres.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        f"CREATE TRIGGER skips BEFORE INSERT ON {postgres.table()} FOR EACH ROW WHEN (NEW._qt_row = 8) "
        f"EXECUTE FUNCTION {function}()",
    )
    with pytest.raises(VerificationError, match="48 rows instead of 49") as caught:
        load(warehouse, NEW, mode=WriteMode.APPEND)
    assert_rolled_back(postgres, warehouse, caught)


SHAPES = st.sampled_from([(18, 0), (15, 0), (15, 2), (15, 14), (15, 15), (16, 2), (38, 1), (38, 2), (38, 37)])
_turns = itertools.count()


@few_examples()
@given(SHAPES.flatmap(lambda s: st.tuples(st.just(s[1]), st.lists(st.integers(1 - 10 ** s[0], 10 ** s[0] - 1)))))
def test_the_sums_that_database_and_file_agree_on_are_exact(warehouse: Warehouse, case: tuple[int, list[int]]) -> None:
    scale, units = case
    numbers = [0, *units]
    lines = [f"{'-' * (unit < 0)}{abs(unit) // 10**scale}.{abs(unit) % 10**scale:0{max(1, scale)}}" for unit in numbers]
    texts = lines if scale else [str(unit) for unit in numbers]
    name = f"t{next(_turns)}"
    published = load(warehouse, "\n".join(["Paid", *texts, ""]).encode(), dataset_id=name, name=name)
    assert Fraction(published.totals.sums["Paid"]) == Fraction(sum(numbers), 10**scale)
    assert published.totals.rows == len(numbers)


def test_sums_beyond_64_bits_and_of_many_cents_agree(engine: Engine, warehouse: Warehouse) -> None:
    wide = b"9" * 33 + b".99"
    row = b"9223372036854775807,9999999999999.99,0.00000000000001," + wide + b"\n"
    for _ in range(2):
        published = load(warehouse, b"Count,Paid,Tiny,Wide\n" + row * 30_000)
        assert published.totals.sums == {
            "Count": Decimal(30_000) * (2**63 - 1),
            "Paid": Decimal("299999999999999700.00"),
            "Tiny": Decimal("0.00000000030000"),
            "Wide": Decimal("29999999999999999999999999999999999700.00"),
        }
    assert engine.query(f"SELECT count(*) FROM {engine.table()}") == [(30_000,)]


def test_a_difference_among_very_few_rows_is_told_without_a_sum_that_would_show_a_row() -> None:
    one_row = [Totals(1, {"Paid": Decimal(amount)}) for amount in ("3.50", "3.51")]
    assert Verification(*one_row).difference == "column 'Paid' adds up differently"
    many_rows = [Totals(10, {"Paid": Decimal(amount)}) for amount in ("3.50", "3.51")]
    assert Verification(*many_rows).difference == "column 'Paid' adds up to 3.51 instead of 3.50"


DIFFERENT = {
    'UPDATE {} SET "Name" = upper("Name") WHERE "_qt_row" = 8': "'Name'",
    'UPDATE {} SET "Name" = NULL WHERE "_qt_row" = 8': "'Name'",
    'UPDATE {} SET "Count" = NULL WHERE "_qt_row" = 2': "'Count'",
    'UPDATE {} SET "Done" = NULL WHERE "_qt_row" = 8': "'Done'",
}
TEXTS = b"Paid,Name,Count,Day,Seen,Done\n" + b"".join(
    b"%d.10,caf\xc3\xa9 %d x,%d,2026-01-%02d,2026-01-%02d 10:00:00,true\n" % (n, n, n - 1, n % 28 + 1, n % 28 + 1)
    for n in range(1, 50)
)
OLDER = TEXTS.splitlines(keepends=True)[0] + b"1.00,old,0,2020-01-01,2020-01-01 10:00:00,false\n"
CHANGES = {
    **DIFFERENT,
    'UPDATE {} SET "Name" = replace("Name", \'f\', \'g\') WHERE "_qt_row" = 8': "'Name'",
    'UPDATE {} SET "Day" = \'2025-01-01\' WHERE "_qt_row" = 8': "'Day'",
    'UPDATE {} SET "Seen" = \'2026-01-08 10:00:01\' WHERE "_qt_row" = 8': "'Seen'",
    'UPDATE {} SET "Count" = CASE "_qt_row" WHEN 8 THEN "Count" + 1 ELSE "Count" - 1 END WHERE "_qt_row" IN (8, 9)': "",
}


@pytest.mark.parametrize("statement", DIFFERENT)
def test_text_and_blanks_that_were_staged_otherwise_than_read_are_noticed(
    engine: Engine, warehouse: Warehouse, statement: str
) -> None:
    load(warehouse, OLDER)
    with pytest.raises(VerificationError, match=f"column {DIFFERENT[statement]} has changed"):
        load(engine.open(damaging(statement)), TEXTS)
    assert engine.column("Name") == ["old"]


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("mode", WriteMode)
def test_a_trigger_that_changes_any_value_is_noticed_and_the_table_keeps_its_rows(
    engine: Engine, warehouse: Warehouse, statement: str, mode: WriteMode
) -> None:
    how = {"mode": mode, "key": ("Paid",) if mode is WriteMode.UPSERT else ()}
    load(warehouse, OLDER, **how)
    engine.make_trigger("damage", statement.format(engine.table()))
    with pytest.raises(VerificationError, match=f"published is not .*{CHANGES[statement]}") as caught:
        load(warehouse, TEXTS, **how)
    assert "caf" not in str(caught.value)
    assert engine.column("Name") == ["old"]


@pytest.mark.parametrize(
    "change",
    [
        'NEW."Name" = btrim(NEW."Name")',
        "NEW.\"Name\" = translate(NEW.\"Name\", 'ab', 'ba')",
        'NEW."Paid" = NEW."Paid" * 1.0 + (CASE WHEN NEW."Name" = \'ab\' THEN 1 ELSE -1 END)',
        'NEW."Day" = NEW."Day" + (CASE WHEN NEW."Name" = \'ab\' THEN 1 ELSE -1 END)',
    ],
)
@pytest.mark.parametrize("mode", WriteMode)
@pytest.mark.parametrize("lineage_columns", [True, False])
def test_a_trigger_before_each_row_on_postgresql_is_noticed_too(
    postgres: Postgres, change: str, mode: WriteMode, *, lineage_columns: bool
) -> None:
    key = ("Name",) if mode is WriteMode.UPSERT else ()
    how = {"mode": mode, "key": key, "lineage_columns": lineage_columns}
    load(postgres.open(), b"Name,Paid,Day\nold,1.00,2020-01-01\n", **how)
    function = postgres.table("damage")
    postgres.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NEW; END $$",
        f"CREATE TRIGGER damage BEFORE INSERT ON {postgres.table()} FOR EACH ROW EXECUTE FUNCTION {function}()",
    )
    data = "Name,Paid,Day\nab,2.00,2020-01-02\nba\u00a0,3.00,2020-01-03\n b,4.00,2020-01-04\n"
    with pytest.raises(VerificationError, match="What was published is not what the file holds"):
        load(postgres.open(), data.encode(), **how)
    assert postgres.query(f'SELECT "Name" FROM {postgres.table()}') == [("old",)]


def test_a_rule_on_postgresql_is_noticed_too(postgres: Postgres) -> None:
    load(postgres.open(), b"Name,Paid\nold,1.00\n")
    postgres.execute(
        f"CREATE RULE damage AS ON INSERT TO {postgres.table()} DO ALSO UPDATE {postgres.table()} SET \"Name\" = 'x'"
    )
    with pytest.raises(VerificationError, match="'Name'"):
        load(postgres.open(), b"Name,Paid\nnew,2.00\n")
    assert postgres.column("Name") == ["old"]


@pytest.mark.parametrize("mode", WriteMode)
def test_a_trigger_that_changes_nothing_of_the_file_is_left_alone(
    engine: Engine, warehouse: Warehouse, mode: WriteMode
) -> None:
    how = {"mode": mode, "key": ("Paid",) if mode is WriteMode.UPSERT else ()}
    load(warehouse, OLDER, **how)
    engine.make_trigger("logged", "INSERT INTO {} VALUES ('x')".format(engine.table("log")), log="log")
    load(warehouse, TEXTS, **how)
    assert "old" not in engine.column("Name")[1:]
    assert len(engine.query(f"SELECT * FROM {engine.table('log')}")) >= 1


_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and text != "\ufeff"
)


@few_examples()
@given(texts=st.lists(st.one_of(_TEXT, st.sampled_from(["a" * 1300, "日" * 401, "\U0001f600" * 400])), max_size=8))
def test_any_unicode_text_measures_the_same_in_the_file_and_in_the_table(engine: Engine, texts: list[str]) -> None:
    rows = [["x y", "1"], *([text, str(position)] for position, text in enumerate(texts))]
    load(engine.open(), csv_bytes(["Text", "Count"], rows))
    assert engine.column("Text") == [text for text, _ in rows]
