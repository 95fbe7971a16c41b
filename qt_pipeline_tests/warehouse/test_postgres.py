"""What only PostgreSQL has: schemas, sessions that are ended, a server's own words."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, MetaData, Table, create_engine, event
from tenacity import RetryCallState

from qt_pipeline.errors import FailureScope, PipelineError
from qt_pipeline.values import DriftPolicy
from qt_pipeline.warehouse import (
    ColumnDefaultError,
    LoadStatus,
    TableNotOursError,
    TargetRefusedError,
    TargetUnavailableError,
    Warehouse,
    open_warehouse,
)
from qt_pipeline.warehouse import postgres as postgres_module
from qt_pipeline.warehouse import publish as publish_module
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Postgres, watched_by
from qt_pipeline_tests.warehouse.loading import JOB, TABLE, CableCutError, load, publish, then_broken

OLD = b"Name,Paid\nAnn,1.50\nBob,2.25\n"
NEW = b"Name,Paid\nCleo,10.00\n"


@pytest.fixture
def warehouse(postgres: Postgres) -> Warehouse:
    return postgres.open()


@pytest.fixture
def reader(postgres: Postgres, warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    assert warehouse.loads() == []
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"SET search_path = {postgres.quote(str(postgres.schema))}".encode())
        yield connection


def test_a_column_that_is_added_waits_for_a_reader_only_shortly_and_is_added_once_the_reader_has_ended(
    postgres: Postgres, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(warehouse, OLD)
    monkeypatch.setattr(postgres_module, "_ALTER_SECONDS", 1)
    told: list[str] = []
    with ExitStack() as reading:
        reading.enter_context(postgres.transaction())(f"SELECT * FROM {postgres.table()}")

        def and_end(state: RetryCallState) -> None:
            assert state.outcome is not None
            told.append(str(state.outcome.exception()))
            reading.close()

        monkeypatch.setattr(publish_module, "_log_retry", and_end)
        load(warehouse, b"Name,Paid,New\nCleo,10.00,x\n")
    assert len(told) == 1
    assert "lock timeout" in told[0]
    assert postgres.column("New") == ["x"]


def test_a_decimal_has_no_width_so_that_it_need_never_be_rewritten(postgres: Postgres, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    postgres.make_view("total", f'SELECT sum("Paid") AS total FROM {postgres.table()}')
    load(warehouse, b"Name,Paid\nAnn,123456789012345678901234567890.12345\n")
    assert postgres.columns()["Paid"] == "NUMERIC"
    assert postgres.query(f"SELECT total FROM {postgres.table('total')}") == [
        (Decimal("123456789012345678901234567890.12345"),)
    ]


def test_a_column_that_a_view_needs_as_it_is_keeps_its_type_and_the_table_its_rows(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    load(warehouse, b"Name,Count\nAnn,1\n")
    postgres.make_view("counts", f'SELECT "Count" FROM {postgres.table()}')
    with pytest.raises(TargetRefusedError, match=r"cannot alter type of a column used by a view.*counts"):
        load(warehouse, b"Name,Count\nAnn,1.5\n", policy=DriftPolicy.EVOLVE)
    assert postgres.column("Count") == [1]
    assert postgres.tables() == OWN_TABLES | {"paid"}
    contract = warehouse.contract("d-one")
    assert contract is not None
    assert str(contract.columns[1].type) == "integer"


def set_default(postgres: Postgres, column: str, default: str) -> None:
    postgres.execute(f"ALTER TABLE {postgres.table()} ALTER {postgres.quote(column)} SET DEFAULT {default}")


def default_of(postgres: Postgres, column: str) -> list[tuple[Any, ...]]:
    """The default of a column, as the server says it and as it is for a new row."""
    postgres.execute(
        f"DELETE FROM {postgres.table()}",
        f"INSERT INTO {postgres.table()} (_qt_load, _qt_row) VALUES (0, 0)",
    )
    return postgres.query(
        f"SELECT pg_get_expr(adbin, adrelid), {postgres.quote(column)} FROM {postgres.table()}, pg_attrdef "
        f"WHERE adrelid = '{postgres.table()}'::regclass"
    )


DEFAULTS = {
    "a number": ("", "", "'7'", {}, "1.5", "'7'::numeric", Decimal(7)),
    "a date": ("", "", "'2026-01-31'", {}, "2024-02-29", "'2026-01-31'::date", date(2026, 1, 31)),
    "a boolean": ("", "", "'true'", {}, "false", "true", True),
    "a quoted number": ("x", "text", "'-1.50'", {"Paid": "decimal(18,2)"}, "2", "'-1.50'::numeric", Decimal("-1.50")),
    "a number of a date": (
        "1",
        "integer",
        "20260131",
        {"Paid": "date %d/%m/%Y"},
        "29/02/2024",
        None,
        date(2026, 1, 31),
    ),
    "a number that becomes text": ("1", "integer", "7", {"Paid": "text"}, "x", None, "7"),
    "an expression that becomes text": ("1", "integer", "1 + length('own')", {"Paid": "text"}, "x", None, "4"),
    "a number that becomes a decimal": ("1", "integer", "7", {"Paid": "decimal(18,2)"}, "1.5", None, Decimal(7)),
}


@pytest.mark.parametrize("case", DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_that_fits_the_new_type_of_its_column_stays(
    postgres: Postgres, warehouse: Warehouse, case: tuple[str, str, str, dict[str, str], str, str | None, object]
) -> None:
    first, declared, default, later, value, expression, stored = case
    load(warehouse, f"Name,Paid\nAnn,{first}\n".encode(), declared={"Paid": declared} if declared else {})
    set_default(postgres, "Paid", default)
    load(warehouse, f"Name,Paid\nAnn,{value}\n".encode(), declared=later)
    [(now, of_new_row)] = default_of(postgres, "Paid")
    assert (type(of_new_row), of_new_row) == (type(stored), stored)
    assert expression in (None, now)


UNFIT_DEFAULTS = {
    "a text": ("'own'", "1.5", "'own'::text", "decimal(15,1)"),
    "a blank": ("''", "1", "''::text", "integer"),
    "a text with quotes": ("'it''s 50% :a'", "1", "'it''s 50% :a'::text", "integer"),
    "an expression": ("CURRENT_USER || '7'", "1", "((CURRENT_USER)::text || '7'::text)", "integer"),
    "a fraction": ("'1.5'", "2024-02-29", "'1.5'::text", "date"),
}


@pytest.mark.parametrize("case", UNFIT_DEFAULTS.values(), ids=UNFIT_DEFAULTS)
def test_a_default_that_does_not_fit_the_new_type_is_named_before_anything_is_staged(
    postgres: Postgres, warehouse: Warehouse, case: tuple[str, str, str, str]
) -> None:
    default, value, expression, type_ = case
    load(warehouse, b"Name,Paid\nAnn,\n")
    set_default(postgres, "Paid", default)
    before = postgres.columns(), postgres.query(f"SELECT * FROM {postgres.table()}")
    file = f"Name,Paid\nAnn,{value}\n".encode()
    with pytest.raises(ColumnDefaultError) as refused:
        load(warehouse, file)
    assert f"'Paid' has the default {expression} and becomes {type_}. The table keeps its rows." in str(refused.value)
    assert refused.value.scope is FailureScope.DATASET
    assert (postgres.columns(), postgres.query(f"SELECT * FROM {postgres.table()}")) == before
    with pytest.raises(ColumnDefaultError) as found:
        publish(warehouse.dry_run(JOB, TABLE), file)
    assert str(found.value) == str(refused.value)


def test_staging_tables_may_live_in_a_schema_of_their_own(postgres: Postgres) -> None:
    staging = f"{postgres.schema} staging"
    warehouse = open_warehouse(postgres.url, postgres.schema, staging)
    seen: list[str] = []

    class Watched:
        @contextmanager
        def publishing(self: Any, stage: Table) -> Iterator[Connection]:
            with super().publishing(stage) as connection:
                seen.append(str(stage.schema))
                yield connection

    watched_by(warehouse, Watched)
    try:
        load(warehouse, OLD)
        load(warehouse, NEW)
        with pytest.raises(CableCutError):
            load(warehouse, NEW, through=then_broken)
        assert seen == [staging] * 2
        assert postgres.column("Name") == ["Cleo"]
        assert postgres.tables() == OWN_TABLES | {"paid"}
        [(logged,)] = postgres.query(f"SELECT relpersistence FROM pg_class WHERE oid = '{postgres.table()}'::regclass")
        assert logged == "p"
        assert postgres.query(f"SELECT * FROM pg_tables WHERE schemaname = '{staging}'") == []
    finally:
        postgres.execute(f"DROP SCHEMA {postgres.quote(staging)} CASCADE")


def test_the_staging_table_of_a_first_load_becomes_the_table_where_it_has_its_columns(postgres: Postgres) -> None:
    renamed: list[str] = []

    class Watched:
        def rename(self: Any, connection: Connection, stage: Table, table: Table) -> None:
            renamed.append(table.name)
            super().rename(connection, stage, table)

    warehouse = postgres.open(Watched)
    for _ in range(2):
        load(warehouse, OLD)
        load(warehouse, OLD, dataset_id="d-bare", name="bare", lineage_columns=False)
    assert renamed == ["paid"]


def test_a_staging_table_that_becomes_the_table_survives_a_crash_of_the_server(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    # An unlogged table would be empty after a crash.
    logged = f"SELECT relpersistence FROM pg_class WHERE oid = '{postgres.table()}'::regclass"
    assert postgres.query(logged) == [("p",)]
    load(warehouse, NEW)
    assert postgres.query(logged) == [("p",)]


def test_a_table_in_a_schema_of_its_own_is_told_apart_from_its_namesake(
    postgres: Postgres, warehouse: Warehouse
) -> None:
    other = f"{postgres.schema} other"
    postgres.execute(f"CREATE SCHEMA {postgres.quote(other)}")
    try:
        load(warehouse, OLD)
        load(warehouse, NEW, dataset_id="d-two", schema=other)
        assert postgres.column("Name") == ["Ann", "Bob"]
        assert postgres.query(f'SELECT "Name" FROM {postgres.quote(other)}.paid') == [("Cleo",)]
        with pytest.raises(TableNotOursError):
            load(warehouse, OLD, schema=other)
    finally:
        postgres.execute(f"DROP SCHEMA {postgres.quote(other)} CASCADE")


def test_readers_see_only_whole_states_while_the_server_ends_the_sessions_of_loads(
    postgres: Postgres, reader: psycopg.Connection[Any]
) -> None:
    states = [csv_bytes(["Name", "Paid"], [[f"n{n}", f"{size}.00"] for n in range(size)]) for size in (2000, 3000)]
    load(postgres.open(), states[0])
    enough = threading.Event()
    seen: set[tuple[int, int]] = set()

    def look() -> None:
        with postgres.reader() as ask:
            while not enough.is_set():
                [found] = ask(f'SELECT count(*), sum("Paid")::bigint FROM {postgres.table()}')
                seen.add(found)
                enough.wait(0.002)

    def load_or_die(data: bytes) -> None:
        with suppress(PipelineError):
            load(postgres.open(), data)

    looking = threading.Thread(target=look)
    looking.start()
    killed = 0
    try:
        for turn in range(20):
            loading = threading.Thread(target=load_or_die, args=(states[turn % 2],))
            loading.start()
            while turn % 2 and loading.is_alive():
                # Wherever they are, but while they make the ledger ready.
                [(ended,)] = reader.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'qt_pipeline' AND query NOT LIKE '%_qt_columns%'"
                ).fetchall()
                killed += ended
            loading.join()
    finally:
        enough.set()
        looking.join()
    assert killed
    assert seen <= {(2000, 4_000_000), (3000, 9_000_000)}
    load(postgres.open(), states[1])
    assert len(postgres.column("Name")) == 3000
    assert postgres.tables() == OWN_TABLES | {"paid"}


@pytest.mark.usefixtures("at_once")
def test_a_publish_whose_session_the_server_ends_is_done_again(
    postgres: Postgres, reader: psycopg.Connection[Any]
) -> None:
    class Ended:
        sessions = 0

        @contextmanager
        def publishing(self: Any, stage: Table) -> Iterator[Connection]:
            with super().publishing(stage) as connection:
                yield connection
                Ended.sessions += 1
                if Ended.sessions < 3:
                    pid: Any = connection.connection.driver_connection
                    reader.execute("SELECT pg_terminate_backend(%s, 5000)", [pid.info.backend_pid])

    load(postgres.open(), OLD)
    load(postgres.open(Ended), NEW)
    assert Ended.sessions == 3
    assert postgres.column("Name") == ["Cleo"]
    assert [record.status.value for record in postgres.open().loads()] == ["published"] * 2


def test_a_server_that_cannot_be_reached_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailableError) as caught:
        open_warehouse(f"postgresql://user:canary@/nowhere?host={tmp_path}")
    assert "canary" not in str(caught.value)
    assert "user:***@" in str(caught.value)


def test_what_keeps_a_table_from_being_vacuumed_is_logged_and_the_publish_stands(
    postgres: Postgres, warehouse: Warehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(warehouse, OLD)
    target: Any = warehouse._target
    target._engine = create_engine(f"postgresql+psycopg://user:canary@/nowhere?host={tmp_path}")
    target.post_publish_maintenance(Table("paid", MetaData()))
    [record] = caplog.records
    assert "could not be vacuumed" in record.getMessage()
    assert "canary" not in record.getMessage()
    assert postgres.column("Name") == ["Ann", "Bob"]


@pytest.mark.parametrize("state", ["57014", "53100", "40001", "22P02", "P0001"])
def test_the_row_at_which_the_server_stops_is_not_told(postgres: Postgres, warehouse: Warehouse, state: str) -> None:
    load(warehouse, OLD)
    function = postgres.table("stop")
    postgres.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'stopped' USING ERRCODE = '{state}', HINT = NEW.\"Name\"; END $$"
    )

    def stop_at_each_row(stage: Table, connection: Connection, **_: Any) -> None:
        name = connection.dialect.identifier_preparer.format_table(stage)
        trigger = f"CREATE TRIGGER stop BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION {function}()"
        connection.exec_driver_sql(trigger, execution_options={"no_parameters": True})

    event.listen(Table, "after_create", stop_at_each_row)
    try:
        with pytest.raises(PipelineError) as caught:
            load(warehouse, b"Name,Paid\ncanary,77.25\n")
    finally:
        event.remove(Table, "after_create", stop_at_each_row)
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__} {warehouse.loads()[0].error}"
    assert "canary" not in told
    assert "77.25" not in told
    assert warehouse.loads()[0].status is LoadStatus.FAILED
    assert postgres.column("Name") == ["Ann", "Bob"]


def test_a_column_of_chosen_words_cannot_be_taken_over(postgres: Postgres, warehouse: Warehouse) -> None:
    mood = postgres.table("mood")
    postgres.execute(f"CREATE TYPE {mood} AS ENUM ('good')", f'CREATE TABLE {postgres.table()} ("Name" {mood})')
    with pytest.raises(TableNotOursError, match="'Name'"):
        load(warehouse, b"Name\ngood\n", adopt=True)


@pytest.mark.parametrize("header", ["ctid", "xmin", "tableoid"])
def test_a_header_that_postgresql_keeps_for_itself_gets_another_name(
    postgres: Postgres, warehouse: Warehouse, header: str
) -> None:
    load(warehouse, f"a,{header}\n1,2\n".encode())
    assert postgres.column(f"{header}_2") == [2]
