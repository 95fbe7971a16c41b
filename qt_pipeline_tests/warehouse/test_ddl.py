import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from qt_pipeline.tabular import SchemaRules, profile, read_header, resolve_contract
from qt_pipeline.warehouse import TableNotOursError, TableSpec, TargetRefusedError, Warehouse, open_warehouse
from qt_pipeline_tests.postgres import new_database
from qt_pipeline_tests.tabular.files import stream_of
from qt_pipeline_tests.warehouse.loading import load

DATA = b"Name,Paid,Day,Seen\nAnn,1.50,2026-01-31,2026-01-31 10:00:00\nBob,2.25,,\n"
LOGIN = 'loader "of" ins'


@pytest.fixture
def server(postgres_server: str) -> Iterator[str]:
    """A database of its own: rights on the schema `public` are taken away in it."""
    with new_database(postgres_server) as url:
        yield url.replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {quoted(LOGIN)}".encode())


def prepared(url: str, schema: str | None, staging: str | None, spec: TableSpec | None) -> tuple[list[str], list[str]]:
    warehouse = open_warehouse(url, schema, staging, prepare=False)
    header = read_header(stream_of(DATA))
    inspection = profile(stream_of(DATA), header, [None] * len(header.names))
    contract = resolve_contract(None, header.names, inspection.seen, SchemaRules(max_name_bytes=63)).contract
    return warehouse.preparation(spec, contract if spec else None, login=LOGIN)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def restricted(server: str) -> str:
    """The URL of a login that may do what it was granted, and nothing else."""
    with create_engine(server).begin() as connection:
        tables, rights = prepared(server, "ins", "staging", TableSpec("paid"))
        connection.execute(text(f"CREATE ROLE {quoted(LOGIN)} LOGIN"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        for statement in (*tables, *rights):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    return make_url(server).set(username=LOGIN).render_as_string()


def rows_in(server: str) -> list[tuple[object, ...]]:
    with create_engine(server).connect() as connection:
        found = connection.execute(text('SELECT "Name", "Paid"::text, _qt_row FROM ins.paid ORDER BY 3'))
        return [tuple(row) for row in found]


def test_a_login_without_ddl_rights_loads_into_tables_that_were_prepared(server: str) -> None:
    warehouse = open_warehouse(restricted(server), "ins", "staging")
    assert load(warehouse, DATA).totals.rows == 2
    assert load(warehouse, b"Name,Paid,Day,Seen\nZoe,3.00,,\n").replaced_load_id is not None
    assert rows_in(server) == [("Zoe", "3.00", 2)]
    with pytest.raises(TargetRefusedError, match="permission denied"):
        load(warehouse, DATA, name="another", dataset_id="d-two")
    with create_engine(server).connect() as connection:
        left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'"
        assert connection.scalar(text(left)) == 0


def test_a_prepared_table_with_rows_is_somebody_elses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/target.db"
    tables, rights = prepared(url, None, None, TableSpec("paid"))
    assert rights == []
    with create_engine(url).begin() as connection:
        for statement in tables:
            connection.exec_driver_sql(statement)
        connection.execute(text("INSERT INTO paid VALUES ('Eve', 1, NULL, NULL, 1, 1)"))
    warehouse: Warehouse = open_warehouse(url)
    with pytest.raises(TableNotOursError):
        load(warehouse, DATA)
    with create_engine(url).begin() as connection:
        connection.execute(text("DELETE FROM paid"))
    assert load(warehouse, DATA).totals.rows == 2


def test_without_a_dataset_only_the_ledger_and_the_schemas_are_made() -> None:
    tables, rights = prepared("postgresql://nobody@127.0.0.1:1/none", "ins", "staging", None)
    assert [statement.split("(")[0].strip() for statement in tables] == [
        "CREATE SCHEMA ins",
        "CREATE SCHEMA staging",
        "CREATE TABLE ins._qt_columns",
        "CREATE TABLE ins._qt_loads",
        "CREATE INDEX _qt_loads_dataset ON ins._qt_loads",
        "CREATE INDEX _qt_loads_table ON ins._qt_loads",
    ]
    assert not any("paid" in right for right in rights)


def test_sql_server_gets_its_own_types_and_the_index_that_orders_rows() -> None:
    tables, rights = prepared("mssql+mssqlpython://nobody@127.0.0.1/none", "ins", "staging", TableSpec("paid"))
    text_ = "\n".join(tables)
    assert "NTEXT" not in text_
    assert "DATETIME NULL" not in text_
    assert "DATETIME NOT NULL" not in text_
    for column in ("[Paid] DECIMAL(15, 2)", "[Day] DATE", "[Seen] DATETIME2(6)", "[Name] NVARCHAR(50)"):
        assert f"{column} NULL" in text_
    assert "CLUSTERED INDEX _qt_rows ON ins.paid" in text_.replace("[", "").replace("]", "")
    assert any("ON SCHEMA::staging" in right for right in rights)


def granted(url: str, schema: str | None, staging: str | None, spec: TableSpec | None) -> set[str]:
    """The schemas in which the login may make tables."""
    _, rights = prepared(url, schema, staging, spec)
    makes = re.compile(r"GRANT (?:ALTER, SELECT, INSERT, DELETE|CREATE) ON SCHEMA(?:::| )(\S+) TO")
    return {found[1].strip('[]"') for right in rights if (found := makes.match(right))}


@pytest.mark.parametrize(("backend", "default"), [("mssql", "dbo"), ("postgresql", "public")])
def test_the_login_may_make_staging_tables_where_they_are_made(backend: str, default: str) -> None:
    url = f"{backend}://nobody@127.0.0.1:1/none"
    elsewhere = TableSpec("paid", schema="sales")
    assert granted(url, None, None, TableSpec("paid")) == granted(url, None, None, None) == {default}
    assert granted(url, "ins", None, TableSpec("paid")) == granted(url, "ins", None, None) == {"ins"}
    assert granted(url, "ins", None, elsewhere) == granted(url, None, None, elsewhere) == {"sales"}
    assert granted(url, None, "staging", TableSpec("paid")) == granted(url, "ins", "staging", elsewhere) == {"staging"}


def test_a_login_of_sql_server_finds_the_tables_that_have_no_schema() -> None:
    [where] = [right for right in prepared("mssql://u@h/d", None, None, None)[1] if right.startswith("ALTER USER")]
    assert where == f"ALTER USER [{LOGIN}] WITH DEFAULT_SCHEMA = dbo"
    assert not any("ALTER USER" in right for right in prepared("mssql://u@h/d", "ins", None, None)[1])


def test_a_login_without_ddl_rights_loads_where_no_schema_is_named(server: str) -> None:
    with create_engine(server).begin() as connection:
        connection.execute(text(f"CREATE ROLE {quoted(LOGIN)} LOGIN"))
        connection.execute(text("REVOKE ALL ON SCHEMA public FROM PUBLIC"))
        tables, rights = prepared(server, None, None, TableSpec("paid"))
        for statement in (*tables, *rights):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    warehouse = open_warehouse(make_url(server).set(username=LOGIN).render_as_string())
    assert load(warehouse, DATA).totals.rows == 2
    with pytest.raises(TargetRefusedError, match="must be owner"):
        load(warehouse, b"Name,Paid,Day,Seen,New\nZoe,3.00,,,x\n")
