"""Snapshots of the SQL that SQL Server is sent: each statement of a load, in order, in `mssql/*.sql`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from qt_pipeline.database import mssql as mssql_connect
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import (
    AfterPublishError,
    ColumnDefaultError,
    LoadRecord,
    LoadStatus,
    TargetRefusedError,
    TargetUnavailableError,
    TransactionEndedError,
    Warehouse,
)
from qt_pipeline.warehouse.mssql import MssqlTarget
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.keywords import TSQL
from qt_pipeline_tests.warehouse.loading import JOB, load
from qt_pipeline_tests.warehouse.mssql_recorder import Answer, Driver

SNAPSHOTS = Path(__file__).with_name("mssql")
FILE = b"Name,Paid,Seen,Day,Done,Blank\nAnn,1.50,2020-01-31 10:00:00.5,2020-01-31,true,\nBob,2.25,,,,\n"
# As sys.columns has them: type, bytes, precision, scale, collation.
COLUMNS: Mapping[str, tuple[tuple[Any, ...], tuple[str, int, int, int, str]]] = {
    "Name": (("nvarchar", 100, 0, 0, "Latin1_General_CI_AS"), ("text", 0, 0, 50, "")),
    "Paid": (("decimal", 9, 15, 2, None), ("decimal", 15, 2, 0, "")),
    "Seen": (("datetime2", 8, 26, 6, None), ("timestamp", 0, 0, 0, "%Y-%m-%d %H:%M:%S.%1f")),
    "Day": (("date", 3, 10, 0, None), ("date", 0, 0, 0, "%Y-%m-%d")),
    "Done": (("bit", 1, 1, 0, None), ("boolean", 0, 0, 0, "")),
    "Blank": (("nvarchar", 100, 0, 0, "Latin1_General_BIN2"), ("open", 0, 0, 0, "")),
}
OWN = {"_qt_load": ("bigint", 8, 19, 0, None), "_qt_row": ("bigint", 8, 19, 0, None)}
LAST = LoadRecord(
    **asdict(JOB),
    load_id=7,
    table_schema="qt",
    table_name="paid",
    mode="replace",
    status=LoadStatus.PUBLISHED,
    rows=2,
    table_rows=2,
    started_at=datetime(2026, 1, 31, 10, tzinfo=UTC),
    finished_at=datetime(2026, 1, 31, 10, tzinfo=UTC),
    replaced_load_id=None,
    changes=None,
    error=None,
)

Opened = Callable[..., tuple[Warehouse, Driver]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a warehouse over a recording driver, as after earlier loads, and forgets what opening has sent."""

    def open_(*, loaded: bool, answers: Sequence[tuple[str, Answer]] = ()) -> tuple[Warehouse, Driver]:
        driver = Driver([*answers, *ANSWERS, *(LOADED if loaded else [])], ["_qt_loads", "_qt_columns"])
        target = target_over(monkeypatch, driver)
        driver.lines.clear()
        return Warehouse(target), driver

    return open_


def target_over(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, url: str = "mssql://sa:secret@server/db"
) -> MssqlTarget:
    monkeypatch.setattr(mssql_connect, "create_engine", partial(create_engine, module=driver))
    return MssqlTarget(make_url(url), "qt", None)


def record(_statement: str, _parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    values = (getattr(LAST, field.name) for field in fields(LoadRecord))
    return [tuple(value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in values)]


def contract(_statement: str, _parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    rows = enumerate((name, kind) for name, (_, kind) in COLUMNS.items())
    return [("d-one", position, name, name, *kind, 7, 7) for position, (name, kind) in rows]


ANSWERS: Sequence[tuple[str, Answer]] = (
    ("sp_getapplock", [(0,)]),
    ("schema_id(", [(5,)]),
    ("col_length(", [(800,)]),
    ("is_read_committed_snapshot_on", [(True,)]),
    ("OUTPUT inserted.load_id", [(8,)]),
    ("SELECT COUNT_BIG(*) AS count_1 \nFROM qt.[paid]", [(4,)]),
)
LOADED: Sequence[tuple[str, Answer]] = (
    (
        "sys.columns",
        [(name, *in_sql, 0) for name, (in_sql, _) in COLUMNS.items()] + [(n, *t, 0) for n, t in OWN.items()],
    ),
    ("SELECT TOP 1 ", record),
    ("SELECT max(", [(7,)]),
    ("_qt_columns.position, ", contract),
    ("_qt_columns.first_load FROM", [(name, kind[0], 7) for name, (_, kind) in COLUMNS.items()]),
)


def held(name: str, driver: Driver) -> None:
    # SQLAlchemy keeps the indexes of a table in no order.
    indexes = iter(sorted(line for line in driver.lines if line.startswith("CREATE INDEX")))
    driver.lines = [next(indexes) if line.startswith("CREATE INDEX") else line for line in driver.lines]
    assert driver.text == (SNAPSHOTS / f"{name}.sql").read_text()


def test_opening_makes_the_schema_and_the_ledger_and_tells_that_readers_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Driver(
        [("schema_id(", [(None,)]), ("is_read_committed_snapshot_on", [(False,)]), ("sp_getapplock", [(0,)])]
    )
    target = target_over(monkeypatch, driver)
    held("prepare", driver)
    assert "READ_COMMITTED_SNAPSHOT ON" in target.warnings[0]
    assert target.warnings[0] in caplog.text


def test_opening_a_database_that_is_prepared_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(ANSWERS, ["_qt_loads", "_qt_columns"])
    assert target_over(monkeypatch, driver).warnings == ()
    held("open", driver)


def test_a_first_load_becomes_the_table(opened: Opened) -> None:
    target, driver = opened(loaded=False)
    load(target, FILE)
    held("first_load", driver)


def test_a_table_without_lineage_columns_is_made_and_filled_from_its_stage(opened: Opened) -> None:
    target, driver = opened(loaded=False)
    load(target, FILE, lineage_columns=False)
    held("first_load_without_lineage", driver)


def test_a_refresh_replaces_the_rows_in_one_transaction(opened: Opened) -> None:
    target, driver = opened(loaded=True)
    load(target, FILE)
    held("refresh", driver)


def test_a_refresh_without_row_versioning_locks_the_table_as_a_whole_first(opened: Opened) -> None:
    target, driver = opened(loaded=True, answers=[("is_read_committed_snapshot_on", [(False,)])])
    load(target, FILE)
    held("refresh_without_versioning", driver)


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.UPSERT])
def test_every_mode_locks_the_table_before_it_is_changed(opened: Opened, mode: WriteMode) -> None:
    target, driver = opened(loaded=True, answers=[("is_read_committed_snapshot_on", [(False,)])])
    load(target, FILE, mode=mode, key=("Name",) if mode is WriteMode.UPSERT else ())
    writes = [line for line in driver.lines if re.match(r"(DELETE FROM|INSERT INTO|ALTER TABLE) qt\.\[paid\]", line)]
    [locked] = [line for line in driver.lines if "TABLOCKX" in line]
    assert locked == "SELECT TOP 1 1 FROM qt.[paid] WITH (TABLOCKX, HOLDLOCK);"
    assert driver.lines.index(locked) < min(map(driver.lines.index, writes))


@pytest.mark.usefixtures("tried_once")
def test_a_change_of_columns_that_is_not_let_in_leaves_no_setting_behind(opened: Opened) -> None:

    def refuse(*_: object) -> Sequence[tuple[object, ...]]:
        raise Driver.Error("[Microsoft][SQL Server]Lock request time out period exceeded.")

    target, driver = opened(loaded=True, answers=[("ALTER TABLE", refuse)])
    with pytest.raises(TargetUnavailableError, match="1222"):
        load(target, FILE.replace(b"Blank", b"Blank,New").replace(b",\n", b",,7\n"))
    at = driver.lines.index("SET LOCK_TIMEOUT 2000;")
    assert driver.lines[at + 1 : at + 3] == ["ROLLBACK;", "-- closed"]


def test_a_refresh_adds_and_widens_columns_and_keeps_their_collation(opened: Opened) -> None:
    sums = [(1, *map(Decimal, ("0", "1.12345678901234567", "5", "7")))]
    target, driver = opened(loaded=True, answers=[("sum(", sums)])
    long = b"x" * 60
    load(target, b"Name,Paid,Seen,Day,Done,Blank,New ]\n" + long + b",1.12345678901234567,,,,5,7\n")
    held("columns", driver)


def test_a_default_that_fits_the_new_type_of_its_column_is_dropped_for_the_change_and_set_again(opened: Opened) -> None:
    defaults = [("blank", "('7')", "DF ]"), ("Paid", "((5))", "DF_paid"), ("Day", "(getdate())", "DF_day")]
    answers = [("sys.default_constraints", defaults), ("TRY_CAST", [(1,)])]
    target, driver = opened(loaded=True, answers=answers)
    load(target, FILE.replace(b",\n", b",5\n"))
    asked = [line for line in driver.lines if "TRY_CAST" in line]
    assert asked == ["SELECT CASE WHEN TRY_CAST(CAST(? AS NVARCHAR(4000)) AS BIGINT) IS NULL THEN 0 ELSE 1 END;"] * 2
    assert driver.lines.count("-- with '7'") == len(asked)
    assert [line for line in driver.lines if line.startswith("ALTER TABLE")] == [
        "ALTER TABLE [qt].[paid] DROP CONSTRAINT [DF ]]];",
        "ALTER TABLE [qt].[paid] ALTER COLUMN [Blank] BIGINT NULL;",
        "ALTER TABLE [qt].[paid] ADD CONSTRAINT [DF ]]] DEFAULT ('7') FOR [Blank];",
    ]


@pytest.mark.parametrize(("default", "fits"), [("('own')", 0), ("(' ')", 1), ("(suser_name())", 1)])
def test_a_default_that_does_not_fit_the_new_type_of_its_column_is_named_and_nothing_is_changed(
    opened: Opened, default: str, fits: int
) -> None:
    answers = [("sys.default_constraints", [("Blank", default, "DF_blank")]), ("TRY_CAST", [(fits,)])]
    target, driver = opened(loaded=True, answers=answers)
    with pytest.raises(ColumnDefaultError, match=re.escape(f"'Blank' has the default {default} and becomes integer")):
        load(target, FILE.replace(b",\n", b",5\n"))
    assert not [line for line in driver.lines if line.startswith(("ALTER TABLE", "CREATE TABLE"))]


@pytest.mark.parametrize("words", [TSQL.split()[:100], TSQL.split()[100:]], ids=["a", "b"])
def test_reserved_words_are_quoted_wherever_they_stand(opened: Opened, words: list[str]) -> None:
    target, driver = opened(loaded=False)
    load(target, csv_bytes(words, [["x"] * len(words)]), name="external")
    written = "\n".join(line for line in driver.lines if line.startswith(("CREATE TABLE", "INSERT INTO qt.[ext", " ")))
    assert "qt.external" not in written
    bare = re.sub(r"\[(?:[^\]]|\]\])*\]", "", written)
    assert all(f"[{word}] NVARCHAR(50)" in written for word in words)
    assert {word for word in words if re.search(rf"\b{word} NVARCHAR|[.(]{word}[,)]", bare)} == set()


def test_an_upsert_looks_for_doubled_keys_and_deletes_what_comes_again(opened: Opened) -> None:
    target, driver = opened(loaded=True)
    load(target, FILE, mode=WriteMode.UPSERT, key=("Name", "Day"))
    held("upsert", driver)


def test_an_append_knows_when_its_rows_were_landed(opened: Opened) -> None:
    target, driver = opened(loaded=True)
    load(target, FILE, mode=WriteMode.APPEND)
    held("append", driver)


@pytest.mark.parametrize("inside", [True, False])
def test_a_statement_after_the_publish_is_sent_as_it_is_written(opened: Opened, *, inside: bool) -> None:
    target, driver = opened(loaded=True)
    statement = "EXEC dbo.refresh @like = '100%', @at = ':now?', @x = '%(a)s'"
    load(target, FILE, after_publish=statement, after_publish_in_transaction=inside)
    held("after_publish_inside" if inside else "after_publish_outside", driver)


def test_what_a_statement_says_after_its_first_result_undoes_the_publish(opened: Opened) -> None:
    target, driver = opened(loaded=True)
    driver.comes_later = Driver.Error("Could not find stored procedure 'dbo.nowhere'.")
    with pytest.raises(TargetRefusedError, match=r"dbo\.nowhere"):
        load(target, FILE, after_publish="SELECT 2; EXEC dbo.nowhere")
    after = driver.lines[driver.lines.index("SELECT 2; EXEC dbo.nowhere;") :]
    assert after[1] == "ROLLBACK;"


@pytest.mark.parametrize("inside", [True, False])
def test_a_statement_that_rolls_back_is_found_out_before_the_ledger_says_otherwise(
    opened: Opened, *, inside: bool
) -> None:
    target, driver = opened(loaded=True)
    statement = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION"
    with pytest.raises((TransactionEndedError, AfterPublishError), match="ended or began a transaction"):
        load(target, FILE, after_publish=statement, after_publish_in_transaction=inside)
    after = driver.lines[driver.lines.index(f"{statement};") + 1 :]
    assert after[0].startswith("SELECT CONCAT(CURRENT_TRANSACTION_ID()")
    assert after[1:3] == ["ROLLBACK;", "-- closed"]


def test_none_is_written_as_null_and_bound_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(ANSWERS, ["_qt_loads", "_qt_columns"])
    target = target_over(monkeypatch, driver)
    driver.lines.clear()
    with target.writing() as connection:
        connection.exec_driver_sql("SELECT '?', 'it''s ?', [?]]?], \"?\", ?, ?, ?", (None, 1, None))
        connection.exec_driver_sql("SELECT ?, ?", (1, 2))
        connection.exec_driver_sql("SELECT ?", (None,))
    assert driver.lines == [
        "SELECT '?', 'it''s ?', [?]]?], \"?\", NULL, ?, NULL;",
        "-- with 1",
        "SELECT ?, ?;",
        "-- with 1, 2",
        "SELECT NULL;",
        "COMMIT;",
    ]


def test_the_widest_decimals_are_added_up_in_halves(opened: Opened) -> None:
    whole, fine = "1" * 36 + ".25", "0." + "1" * 30
    sums = (1, whole[:19], "1" * 17 + ".25", fine[:13], "0." + "0" * 11 + "1" * 19, "1.5")
    target, driver = opened(loaded=False, answers=[("sum(", [tuple(map(Decimal, sums))])])
    load(target, f"Whole,Fine,Few\n{whole},{fine},1.5\n".encode())
    held("wide_decimals", driver)
