from collections.abc import Iterator
from pathlib import Path

import pytest
from tenacity import wait_none

from qt_pipeline.warehouse import Warehouse
from qt_pipeline.warehouse import publish as publish_module
from qt_pipeline_tests.open_results import no_result_stays_open
from qt_pipeline_tests.postgres import close_idle_connections
from qt_pipeline_tests.warehouse.engines import MSSQL_URL, Engine, Postgres, Sqlite, SqlServer

__all__ = ["no_result_stays_open"]


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path / "state" / "warehouse.db")


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Postgres]:
    engine = Postgres(postgres_server)
    yield engine
    engine.drop()
    close_idle_connections(postgres_server)


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
    monkeypatch.setattr(publish_module, "wait_random_exponential", lambda **_: wait_none())


@pytest.fixture
def tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publish that fails is not tried again."""
    monkeypatch.setattr(publish_module, "_RETRY_SECONDS", 0)
