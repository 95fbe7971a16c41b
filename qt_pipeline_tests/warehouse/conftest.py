from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tenacity import wait_none

from qt_pipeline.warehouse import Warehouse
from qt_pipeline.warehouse import load as load_module
from qt_pipeline_tests.open_results import no_result_stays_open
from qt_pipeline_tests.postgres import running_postgres
from qt_pipeline_tests.warehouse.engines import MSSQL_URL, Engine, Postgres, Sqlite, SqlServer

__all__ = ["no_result_stays_open"]

_CLOSE_IDLE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND state = 'idle' AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            # Tests kill processes, not the machine: no commit needs to wait for the disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path / "state" / "warehouse.db")


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Postgres]:
    engine = Postgres(postgres_server)
    yield engine
    engine.drop()
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        # A pool lives as long as its warehouse, and the server has a hundred connections for all tests.
        connection.execute(_CLOSE_IDLE)


@pytest.fixture
def sqlserver() -> Iterator[SqlServer]:
    if not MSSQL_URL:
        pytest.skip("QT_TEST_MSSQL_URL is not set: nothing is tested on SQL Server")
    engine = SqlServer()
    yield engine
    engine.drop()


@pytest.fixture(params=["sqlite", "postgres", "sqlserver"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, in a place of its own."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def warehouse(engine: Engine) -> Warehouse:
    return engine.open()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publish is tried again without a pause."""
    monkeypatch.setattr(load_module, "wait_random_exponential", lambda **_: wait_none())
