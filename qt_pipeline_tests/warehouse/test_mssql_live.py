"""What only SQL Server has, on the server that `QT_TEST_MSSQL_URL` names; its login may do anything there."""

import importlib.util
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.tabular import Rows, SchemaRules, profile, read_header, resolve_contract
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import (
    ColumnDefaultError,
    ColumnTypeError,
    DuplicateKeyError,
    LoadStatus,
    TableBusyError,
    TableSpec,
    TargetRefusedError,
    TargetUnavailableError,
    Warehouse,
    open_warehouse,
)
from qt_pipeline.warehouse import publish as publish_module
from qt_pipeline.warehouse.mssql import engine as mssql
from qt_pipeline.warehouse.mssql import fill as mssql_fill
from qt_pipeline_tests.tabular.files import csv_bytes, stream_of
from qt_pipeline_tests.warehouse.engines import MSSQL_URL, OWN_TABLES, SqlServer
from qt_pipeline_tests.warehouse.loading import CableCutError, load, then_broken

pytestmark = pytest.mark.skipif(
    not MSSQL_URL, reason="QT_TEST_MSSQL_URL is not set: nothing that only SQL Server has is tested"
)

OLD = b"Name,Paid\nAnn,1.50\nBob,2.25\n"
NEW = b"Name,Paid\nCleo,10.00\n"


@pytest.fixture
def warehouse(sqlserver: SqlServer) -> Warehouse:
    return sqlserver.open()


def index_types(sqlserver: SqlServer, table: str = "paid") -> list[tuple[Any, ...]]:
    where = f"object_id = OBJECT_ID('{sqlserver.table(table)}')"
    return sqlserver.query(f"SELECT name, type_desc, is_unique FROM sys.indexes WHERE {where}")


def test_the_table_is_clustered_by_load_and_line_after_a_first_load_and_after_a_refresh(
    sqlserver: SqlServer, warehouse: Warehouse
) -> None:
    for data in (OLD, NEW):
        load(warehouse, data)
        assert index_types(sqlserver) == [("_qt_rows", "CLUSTERED", True)]
    load(warehouse, OLD, name="bare", dataset_id="d-bare", lineage_columns=False)
    assert index_types(sqlserver, "bare") == [(None, "HEAP", False)]


def test_a_staging_table_that_will_be_thrown_away_is_a_heap(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    seen: list[tuple[Any, ...]] = []

    def looking(rows: Iterable[Rows]) -> Iterator[Rows]:
        # By then the table is there: its bulk copy asks for rows.
        yield from rows
        [stage] = sqlserver.stages()
        seen.extend(index_types(sqlserver, stage))

    load(warehouse, csv_bytes(["Name", "Paid"], [["n", "1.00"]] * 10), through=looking)
    assert seen == [(None, "HEAP", False)]
    assert sqlserver.stages() == set()


def test_whether_readers_wait_is_told_as_the_database_has_it(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    [(versioned,)] = sqlserver.query("SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME()")
    warned = any("READ_COMMITTED_SNAPSHOT ON" in warning for warning in warehouse._target.warnings)
    assert warned is not bool(versioned)


def test_a_table_is_loaded_by_one_process_at_a_time(sqlserver: SqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mssql, "_WAIT_SECONDS", 1)
    one, other = sqlserver.open(), sqlserver.open()
    with one._target.table_lock("x.paid"):
        with pytest.raises(TableBusyError, match=r"'x\.PAID'"), other._target.table_lock("x.PAID"):
            pass
        with other._target.table_lock("x.another"):
            pass
    with other._target.table_lock("x.paid"):
        pass


def test_many_may_open_a_new_schema_at_once(sqlserver: SqlServer) -> None:
    callers = 4
    barrier = threading.Barrier(callers)

    def open_together(_: int) -> int:
        barrier.wait()
        return len(sqlserver.open().loads())

    with ThreadPoolExecutor(callers) as pool:
        assert set(pool.map(open_together, range(callers))) == {0}
    assert sqlserver.tables() == OWN_TABLES


@pytest.mark.usefixtures("tried_once")
def test_a_table_that_somebody_holds_is_unavailable_and_keeps_its_rows(
    sqlserver: SqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mssql, "_WAIT_SECONDS", 1)
    warehouse = sqlserver.open()
    load(warehouse, OLD)
    with sqlserver.transaction() as hold:
        hold(f"SELECT COUNT(*) FROM {sqlserver.table()} WITH (TABLOCKX, HOLDLOCK)")
        with pytest.raises(TargetUnavailableError, match="Lock request time out"):
            load(warehouse, NEW)
    assert sqlserver.column("Name") == ["Ann", "Bob"]
    load(warehouse, NEW)
    assert sqlserver.column("Name") == ["Cleo"]


@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_table_is_locked_as_a_whole_where_nothing_is_versioned(
    sqlserver: SqlServer, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, mode: WriteMode
) -> None:
    monkeypatch.setattr(mssql, "_HAS_VERSIONING", text("SELECT 0"))
    key = ("Name",) if mode is WriteMode.UPSERT else ()
    load(warehouse, OLD, mode=mode, key=key)
    load(warehouse, NEW, mode=mode, key=key, sha256="1" * 64)
    expected = ["Cleo"] if mode is WriteMode.REPLACE else ["Ann", "Bob", "Cleo"]
    assert sorted(sqlserver.column("Name")) == expected


@pytest.mark.usefixtures("tried_once")
def test_a_column_that_is_added_waits_for_a_reader_only_shortly(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    # Under this mode nothing is deleted first, which would wait for the reader, too.
    load(warehouse, OLD, mode=WriteMode.APPEND)
    wider = b"Name,Paid,New\nCleo,10.00,x\n"
    with sqlserver.transaction() as hold:
        hold(f"SELECT COUNT(*) FROM {sqlserver.table()} WITH (HOLDLOCK)")
        with pytest.raises(TargetUnavailableError, match="Lock request time out"):
            load(warehouse, wider, mode=WriteMode.APPEND, sha256="1" * 64)
    load(warehouse, wider, mode=WriteMode.APPEND, sha256="1" * 64)
    assert sorted(map(str, sqlserver.column("New"))) == ["None", "None", "x"]
    with warehouse._target.reading() as connection:
        assert connection.exec_driver_sql("SELECT @@LOCK_TIMEOUT").scalar() == 120_000


_PERIOD = (
    "Extra DATETIME2(2) GENERATED ALWAYS AS ROW START NOT NULL DEFAULT SYSUTCDATETIME(), "
    "Until DATETIME2(2) GENERATED ALWAYS AS ROW END NOT NULL DEFAULT '9999-12-31 23:59:59.99', "
    "PERIOD FOR SYSTEM_TIME (Extra, Until)"
)


@pytest.mark.parametrize(
    "column", ["Extra AS (1 + 1)", "Extra AS (1 + 1) PERSISTED NOT NULL", "Extra ROWVERSION", _PERIOD]
)
def test_columns_that_the_server_fills_are_left_to_it(sqlserver: SqlServer, warehouse: Warehouse, column: str) -> None:
    sqlserver.execute(f'CREATE TABLE {sqlserver.table()} ("Name" NVARCHAR(50), "Paid" DECIMAL(15, 2), {column})')
    with pytest.raises(ColumnTypeError, match="'Extra' is computed by the database"):
        load(warehouse, b"Name,Paid,Extra\nAnn,1.50,x\n", adopt=True)
    load(warehouse, OLD, adopt=True)
    load(warehouse, NEW)
    assert (sqlserver.column("Name"), len(sqlserver.column("Extra"))) == (["Cleo"], 1)


@pytest.mark.parametrize("collation", ["Latin1_General_BIN2", "Latin1_General_CI_AI"])
def test_keys_are_compared_as_the_table_compares_them(
    sqlserver: SqlServer, warehouse: Warehouse, collation: str
) -> None:
    sqlserver.execute(
        f'CREATE TABLE {sqlserver.table()} ("Name" NVARCHAR(50) COLLATE {collation}, "Paid" DECIMAL(15, 2))'
    )
    both = b"Name,Paid\nann,1.50\nAnn,2.50\n"
    tells_apart = collation.endswith("BIN2")
    if tells_apart:
        load(warehouse, both, adopt=True, mode=WriteMode.UPSERT, key=("Name",))
        load(warehouse, b"Name,Paid\nANN,3.50\n", mode=WriteMode.UPSERT, key=("Name",))
        assert sorted(sqlserver.column("Name")) == ["ANN", "Ann", "ann"]
    else:
        with pytest.raises(DuplicateKeyError):
            load(warehouse, both, adopt=True, mode=WriteMode.UPSERT, key=("Name",))
        load(warehouse, OLD, adopt=True, mode=WriteMode.UPSERT, key=("Name",))
        load(warehouse, b"Name,Paid\nANN,3.50\n", mode=WriteMode.UPSERT, key=("Name",))
        assert sorted(sqlserver.column("Name")) == ["ANN", "Bob"]


def test_text_grows_to_the_longest_bound_and_beyond_and_keeps_its_collation(
    sqlserver: SqlServer, warehouse: Warehouse
) -> None:
    load(warehouse, b"Name,Blank\nAnn,\n")
    assert sqlserver.columns()["Name"].startswith("NVARCHAR(50)")
    sqlserver.execute(
        f"ALTER TABLE {sqlserver.table()} ALTER COLUMN Name NVARCHAR(50) COLLATE Latin1_General_BIN2 NULL"
    )
    for length, type_ in ((60, "NVARCHAR(200)"), (1500, "NVARCHAR(4000)"), (4001, "NVARCHAR(max)")):
        value = "é🚢"[: 1 + (length % 2)] + "x" * (length - 1 - 2 * (length % 2))
        load(warehouse, csv_bytes(["Name", "Blank"], [[value, ""]]))
        assert sqlserver.column("Name") == [value]
        assert sqlserver.columns()["Name"].startswith(type_)
        assert sqlserver.columns()["Name"].endswith("COLLATE Latin1_General_BIN2")
    load(warehouse, b"Name,Blank\nAnn,7\n")
    assert sqlserver.columns()["Blank"] == "BIGINT"
    assert sqlserver.column("Blank") == [7]


def test_the_first_and_the_last_moments_arrive(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    moments = ["0001-01-01 00:00:00.000000", "1752-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"]
    load(warehouse, csv_bytes(["Seen", "Day"], [[moment, moment[:10]] for moment in moments]))
    assert {name: sqlserver.columns()[name] for name in ("Seen", "Day")} == {"Seen": "DATETIME2(6)", "Day": "DATE"}
    assert sqlserver.column("Seen") == [datetime.fromisoformat(moment) for moment in moments]
    assert sqlserver.column("Day") == [date.fromisoformat(moment[:10]) for moment in moments]
    [record] = warehouse.loads()
    assert record.finished_at is not None
    assert record.started_at < record.finished_at


@pytest.mark.parametrize("digits", [(36, 2), (38, 0), (30, 8), (20, 18), (19, 19), (8, 30), (1, 37)])
def test_the_widest_numbers_are_added_up_exactly(
    sqlserver: SqlServer, warehouse: Warehouse, digits: tuple[int, int]
) -> None:
    whole, places = digits
    number = "9" * whole + ("." + "9" * places if places else "")
    cells = [[sign + number] for sign in ("", "", "-", "", "")] * 20
    published = load(warehouse, csv_bytes(["Wide"], cells), declared={"Wide": f"decimal(38,{places})"})
    expected = [Decimal(value) for (value,) in cells]
    assert sqlserver.column("Wide") == expected
    target, table = warehouse._target, TableSpec("paid", schema=sqlserver.schema)
    contract = warehouse.contract("d-one")
    assert contract is not None
    shape = publish_module.TableBuilder(target, table).table(contract)
    with target.reading() as connection:
        assert target.totals(connection, shape, contract.columns) == published.totals


def test_whole_numbers_are_added_up_beyond_64_bits(warehouse: Warehouse) -> None:
    most = 2**63 - 1
    published = load(warehouse, csv_bytes(["Count"], [[str(most)]] * 3))
    assert published.totals.sums == {"Count": Decimal(3 * most)}
    load(warehouse, csv_bytes(["Count"], [[str(-most - 1)]] * 3))


@pytest.mark.parametrize("name", ["a]b", "[a]", "]]", "it's", "a.b", '"', "'; DROP TABLE paid; --", "保険", "x" * 128])
def test_a_hostile_name_is_that_of_the_table_and_no_other(
    sqlserver: SqlServer, warehouse: Warehouse, name: str
) -> None:
    load(warehouse, OLD, name=name)
    assert sqlserver.tables() == OWN_TABLES | {name}
    load(warehouse, NEW, name=name)
    assert sqlserver.column("Name", name) == ["Cleo"]


def test_a_name_of_temporary_tables_is_refused(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    with pytest.raises(TargetRefusedError, match="'#paid'"):
        load(warehouse, OLD, name="#paid")
    assert sqlserver.tables() == OWN_TABLES


@pytest.mark.parametrize("at_once", [1, 100_000])
def test_a_source_that_fails_midway_leaves_the_old_rows_and_its_own_error(
    sqlserver: SqlServer, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    # With one row to a transaction, some of them are committed when the source fails.
    monkeypatch.setattr(mssql_fill, "_ROWS_IN_A_TRANSACTION", at_once)
    load(warehouse, OLD)
    with pytest.raises(CableCutError):
        load(warehouse, csv_bytes(["Name", "Paid"], [[f"n{n}", "1.00"] for n in range(200)]), through=then_broken)
    assert sqlserver.column("Name") == ["Ann", "Bob"]
    assert sqlserver.tables() == OWN_TABLES | {"paid"}
    assert (warehouse.loads()[0].status, warehouse.loads()[0].error) == (LoadStatus.FAILED, "CableCutError")


def test_rows_arrive_over_several_transactions_and_none_at_all(
    sqlserver: SqlServer, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mssql_fill, "_ROWS_IN_A_TRANSACTION", 1000)
    load(warehouse, csv_bytes(["Name"], [[f"n{n}"] for n in range(10_500)]))
    assert sqlserver.column("Name") == [f"n{n}" for n in range(10_500)]
    load(warehouse, b"Name\n")
    assert sqlserver.column("Name") == []


def test_twenty_refreshes_do_not_grow_a_table_beyond_twice_its_size(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    data = csv_bytes(["Name", "Paid"], [[f"name {n}", f"{n}.25"] for n in range(20_000)])
    load(warehouse, data)
    first = sqlserver.size()
    for _ in range(20):
        load(warehouse, data)
    assert sqlserver.size() <= 2.2 * first


def test_grants_a_view_and_an_index_survive_a_refresh_with_an_added_column(
    sqlserver: SqlServer, warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    reader = f"reader {uuid.uuid4().hex}"
    sqlserver.execute(
        f"CREATE USER {sqlserver.quote(reader)} WITHOUT LOGIN",
        f"GRANT SELECT ON {sqlserver.table()} TO {sqlserver.quote(reader)}",
    )
    try:
        sqlserver.make_view("total", f"SELECT SUM(Paid) AS total FROM {sqlserver.table()}")
        sqlserver.make_index("by_name", "Name")
        load(warehouse, b"Name,Paid,New\nAnn,1.125,x\n")
        assert [str(total) for (total,) in sqlserver.query(f"SELECT total FROM {sqlserver.table('total')}")] == [
            "1.125"
        ]
        assert sqlserver.indexes() == {"_qt_rows", "by_name"}
        granted = sqlserver.query(
            f"SELECT permission_name FROM sys.database_permissions WHERE grantee_principal_id = USER_ID('{reader}') "
            f"AND major_id = OBJECT_ID('{sqlserver.table()}')"
        )
        assert granted == [("SELECT",)]
    finally:
        sqlserver.execute(f"DROP USER {sqlserver.quote(reader)}")


def test_a_widening_that_an_index_forbids_is_refused_in_words_and_keeps_the_rows(
    sqlserver: SqlServer, warehouse: Warehouse
) -> None:
    load(warehouse, OLD)
    sqlserver.make_index("by_paid", "Paid")
    with pytest.raises(TargetRefusedError, match=r"error (4922|5074)"):
        load(warehouse, b"Name,Paid\nAnn,1.12345678901234567\n")
    assert sqlserver.column("Name") == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("SELECT * FROM dbo.nowhere", r"Invalid object name 'dbo\.nowhere' \(error 208\)"),
        ("EXEC dbo.nowhere", r"Could not find stored procedure 'dbo\.nowhere' \(error 2812\)"),
        ("SELECT CAST('canary' AS INT)", r"error 245\b"),
        ("DECLARE @t TABLE (a VARCHAR(9) PRIMARY KEY); INSERT INTO @t VALUES ('canary'), ('canary')", r"error 2627\b"),
        ("DECLARE @t TABLE (a VARCHAR(2)); INSERT INTO @t VALUES ('canary')", "returned an error"),
        ("THROW 50001, 'canary', 1", "returned an error"),
        # What comes after a first result has undone the publish too.
        ("SELECT 1; EXEC dbo.nowhere", "error 2812"),
        ("DECLARE @t TABLE (a INT); INSERT INTO @t VALUES (1); THROW 50001, 'canary', 1", "returned an error"),
    ],
)
def test_what_the_server_says_is_known_repeats_no_value_and_undoes_the_publish(
    sqlserver: SqlServer, warehouse: Warehouse, statement: str, words: str
) -> None:
    with pytest.raises(TargetRefusedError, match=words) as caught:
        load(warehouse, OLD, after_publish=statement)
    assert "canary" not in str(caught.value)
    assert sqlserver.tables() == OWN_TABLES
    assert warehouse.loads()[0].status is LoadStatus.FAILED


def test_a_default_follows_the_type_of_its_column_or_is_named(sqlserver: SqlServer, warehouse: Warehouse) -> None:
    load(warehouse, b"Name,Paid,Share\nAnn,,\n")
    sqlserver.execute(
        f"ALTER TABLE {sqlserver.table()} ADD CONSTRAINT [DF ]] paid] DEFAULT '7' FOR Paid",
        f"ALTER TABLE {sqlserver.table()} ADD DEFAULT 'own' FOR Share",
    )
    load(warehouse, b"Name,Paid,Share\nAnn,1.5,\n")
    sqlserver.execute(f"INSERT INTO {sqlserver.table()} (Name, _qt_load, _qt_row) VALUES ('Bob', 0, 0)")
    assert sqlserver.column("Paid") == [Decimal(7), Decimal("1.5")]
    before = sqlserver.columns(), sqlserver.query(f"SELECT * FROM {sqlserver.table()}")
    with pytest.raises(ColumnDefaultError, match=r"'Share' has the default \('own'\) and becomes decimal"):
        load(warehouse, b"Name,Paid,Share\nAnn,1.5,0.5\n")
    assert (sqlserver.columns(), sqlserver.query(f"SELECT * FROM {sqlserver.table()}")) == before


@pytest.fixture
def logins(sqlserver: SqlServer) -> Iterator[Callable[[], URL]]:
    """Makes a login of a user without any right."""
    made: list[str] = []

    def make() -> URL:
        name, password = f"qt_{uuid.uuid4().hex}", f"P-{uuid.uuid4().hex}"
        try:
            # In a contained database the user has the password; elsewhere the server's login has it.
            sqlserver.execute(f"CREATE USER [{name}] WITH PASSWORD = '{password}'")
        except DBAPIError:
            try:
                sqlserver.execute(f"CREATE LOGIN [{name}] WITH PASSWORD = '{password}'")
                sqlserver.execute(f"CREATE USER [{name}] FOR LOGIN [{name}]")
            except DBAPIError as error:
                pytest.skip(f"This login may not make others: {error.orig}")
        made.append(name)
        return make_url(MSSQL_URL).set(username=name, password=password)

    yield make
    for name in made:
        sqlserver.execute(f"DROP USER [{name}]")
        with suppress(DBAPIError):
            sqlserver.execute(f"DROP LOGIN [{name}]")


PREPARED = b"Name,Paid,Day,Seen,Done,Count\nAnn,1.50,1752-12-31,0001-01-01 00:00:00.000001,true,7\nBob,2.25,,,,\n"


@pytest.mark.parametrize("apart", [False, True])
def test_a_login_without_ddl_rights_loads_prepared_tables(
    sqlserver: SqlServer, logins: Callable[[], URL], *, apart: bool
) -> None:
    staging = f"staging {uuid.uuid4().hex}" if apart else None
    url = logins()
    tables, rights = preparation(sqlserver.schema, staging, url)
    sqlserver.execute(*tables, *rights)
    try:
        warehouse = open_warehouse(url.render_as_string(hide_password=False), sqlserver.schema, staging)
        before = sqlserver.columns()
        assert (before["Day"], before["Seen"]) == ("DATE", "DATETIME2(6)")
        load(warehouse, PREPARED)
        load(warehouse, PREPARED.replace(b"Ann", b"Cleo"))
        assert sqlserver.column("Name") == ["Cleo", "Bob"]
        assert sqlserver.column("Day") == [date(1752, 12, 31), None]
        assert sqlserver.column("Seen") == [datetime.fromisoformat("0001-01-01 00:00:00.000001"), None]
        assert sqlserver.columns() == before
        assert index_types(sqlserver) == [("_qt_rows", "CLUSTERED", True)]
        if apart:
            with pytest.raises(TargetRefusedError, match="error"):
                load(warehouse, OLD, name="another", dataset_id="d-two")
        assert sqlserver.stages() == set()
    finally:
        if staging:
            sqlserver.execute(f"DROP SCHEMA {sqlserver.quote(staging)}")


def test_a_login_without_ddl_rights_loads_where_no_schema_is_named(
    sqlserver: SqlServer, logins: Callable[[], URL]
) -> None:
    url, name = logins(), f"paid_{uuid.uuid4().hex}"
    if sqlserver.query("SELECT OBJECT_ID('dbo._qt_loads'), SCHEMA_NAME()") != [(None, "dbo")]:
        pytest.skip("The schema dbo of this database is in use: what is made there is not tested")
    tables, rights = preparation(None, None, url, name)
    try:
        sqlserver.execute(*tables, *rights)
        warehouse = open_warehouse(url.render_as_string(hide_password=False))
        load(warehouse, PREPARED, name=name)
        load(warehouse, PREPARED.replace(b"Ann", b"Cleo"), name=name)
        assert sqlserver.query(f"SELECT [Name] FROM dbo.[{name}] ORDER BY [_qt_row]") == [("Cleo",), ("Bob",)]
    finally:
        sqlserver.execute(*(f"DROP TABLE IF EXISTS dbo.[{made}]" for made in (name, *OWN_TABLES)))


def preparation(schema: str | None, staging: str | None, url: URL, name: str = "paid") -> tuple[list[str], list[str]]:
    """What `ddl` prints for the file above."""
    header = read_header(stream_of(PREPARED))
    seen = profile(stream_of(PREPARED), header, [None] * len(header.names)).seen
    contract = resolve_contract(None, header.names, seen, SchemaRules(max_name_bytes=128)).contract
    unprepared = open_warehouse(MSSQL_URL, schema, staging, prepare=False)
    return unprepared.preparation(TableSpec(name), contract, login=str(url.username))


def test_a_login_that_does_not_exist_is_refused_in_words_without_its_password() -> None:
    url = make_url(MSSQL_URL).set(username=f"qt_{uuid.uuid4().hex}", password="canary")
    with pytest.raises(TargetRefusedError, match="Login failed") as caught:
        open_warehouse(url.render_as_string(hide_password=False))
    assert "canary" not in str(caught.value)


@pytest.fixture
def by_pyodbc(sqlserver: SqlServer) -> SqlServer:
    """The same place, reached by the other driver."""
    try:
        importlib.import_module("pyodbc")
    except ImportError as error:
        pytest.skip(f"pyodbc cannot be loaded, its path is not tested: {error}")
    url = make_url(MSSQL_URL).set(drivername="mssql+pyodbc")
    if "driver" not in url.query:
        url = url.update_query_dict({"driver": "ODBC Driver 18 for SQL Server"})
    try:
        create_engine(url).connect().close()
    except DBAPIError as error:
        pytest.skip(f"The ODBC driver cannot be loaded, its path is not tested: {error.orig}")
    sqlserver.url = url.render_as_string(hide_password=False)
    return sqlserver


def test_every_type_goes_in_by_odbc_too_and_that_it_is_slower_is_said(
    by_pyodbc: SqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    warehouse = by_pyodbc.open()
    assert "slower" in caplog.text
    row = ["Ann", "1.50", "-0.00000001", "7", "0001-01-01", "9999-12-31 23:59:59.999999", "true", "é🚢" * 3000, ""]
    headers = ["Name", "Paid", "Wide", "Count", "Day", "Seen", "Done", "Long", "Blank"]
    blank = ["x", *[""] * (len(row) - 1)]
    data = csv_bytes(headers, [row, blank, *([["y", "2.25", *[""] * (len(row) - 2)]] * 12_000)])
    for _ in range(2):
        load(warehouse, data, declared={"Wide": "decimal(38,8)"})
    contract = warehouse.contract("d-one")
    assert contract is not None
    [first, second, *others] = by_pyodbc.rows(contract)
    expected = (Decimal("1.50"), Decimal("-0.00000001"), 7, date(1, 1, 1), datetime.fromisoformat(row[5]), True, row[7])
    assert first == ("Ann", *expected, None)
    assert second == ("x", *[None] * 8)
    assert len(others) == 12_000
    with pytest.raises(CableCutError):
        load(warehouse, OLD, through=then_broken, name="two", dataset_id="d-two")
    load(warehouse, NEW, mode=WriteMode.UPSERT, key=("Name",), name="three", dataset_id="d-three")
    assert by_pyodbc.stages() == set()


def test_refusals_are_known_by_odbc_too(by_pyodbc: SqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mssql, "_WAIT_SECONDS", 1)
    warehouse = by_pyodbc.open()
    with pytest.raises(TargetRefusedError, match=r"Invalid object name 'dbo\.nowhere' \(error 208\)"):
        load(warehouse, OLD, after_publish="SELECT * FROM dbo.nowhere")
    with warehouse._target.table_lock("x"), pytest.raises(TableBusyError), by_pyodbc.open()._target.table_lock("X"):
        pass


def test_a_driver_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError, match="QT_WAREHOUSE_URL"):
        open_warehouse(make_url(MSSQL_URL).set(drivername="mssql+pymssql").render_as_string(hide_password=False))
