from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from qt_pipeline.tabular import Rules, inspect, read_header, settle
from qt_pipeline.warehouse import TableNotOursError, TableSpec, TargetRefusedError, Warehouse, open_warehouse
from qt_pipeline_tests.postgres import running_postgres
from qt_pipeline_tests.tabular.files import stream_of
from qt_pipeline_tests.warehouse.loading import load

DATA = b"Name,Paid\nAnn,1.50\nBob,2.25\n"
LOGIN = 'loader "of" ins'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("pg")) as url:
        yield url.replace("postgresql://", "postgresql+psycopg://")


def prepared(url: str, schema: str | None, staging: str | None, spec: TableSpec | None) -> tuple[list[str], list[str]]:
    warehouse = open_warehouse(url, schema, staging, prepare=False)
    header = read_header(stream_of(DATA))
    inspection = inspect(stream_of(DATA), header, [None, None])
    contract = settle(None, header.names, inspection.seen, Rules(max_name_bytes=63)).contract
    return warehouse.preparation(spec, contract if spec else None, login=LOGIN)


def restricted(server: str) -> str:
    """The URL of a login that may do what it was granted, and nothing else."""
    with create_engine(server).begin() as connection:
        tables, rights = prepared(server, "ins", "staging", TableSpec("paid"))
        connection.execute(text(f'CREATE ROLE "{LOGIN.replace(chr(34), chr(34) * 2)}" LOGIN'))
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
    assert load(warehouse, b"Name,Paid\nZoe,3.00\n").replaced_load_id is not None
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
        connection.execute(text("INSERT INTO paid VALUES ('Eve', 1, 1, 1)"))
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
    ]
    assert not any("paid" in right for right in rights)


def test_sql_server_gets_its_own_types_and_the_index_that_orders_rows() -> None:
    tables, rights = prepared("mssql+mssqlpython://nobody@127.0.0.1/none", "ins", "staging", TableSpec("paid"))
    text_ = "\n".join(tables)
    assert "NTEXT" not in text_
    assert "[Paid] DECIMAL(15, 2) NULL" in text_
    assert "CLUSTERED INDEX _qt_rows ON ins.paid" in text_.replace("[", "").replace("]", "")
    assert any("ON SCHEMA::staging" in right for right in rights)
