from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from qt_pipeline.inbox import Inbox, database, open_inbox
from qt_pipeline_tests.azurite import running_azurite
from qt_pipeline_tests.inbox.places import MSSQL_URL, Place, Postgres, Sqlite, SqlServer
from qt_pipeline_tests.open_results import no_result_stays_open
from qt_pipeline_tests.postgres import close_idle_connections

__all__ = ["no_result_stays_open"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "inbox.db"


@pytest.fixture
def sqlite(file: Path) -> Sqlite:
    return Sqlite(file)


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Postgres]:
    place = Postgres(postgres_server)
    yield place
    place.drop()
    close_idle_connections(postgres_server)


@pytest.fixture
def sqlserver() -> Iterator[SqlServer]:
    if not MSSQL_URL:
        pytest.skip("QT_TEST_MSSQL_URL is not set: nothing is tested on SQL Server")
    place = SqlServer(MSSQL_URL)
    yield place
    place.drop()


@pytest.fixture(params=["sqlite", "postgres", "sqlserver"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each engine in turn, with no inbox in it yet."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def inbox(place: Place) -> Iterator[Inbox]:
    opened = open_inbox(place.url)
    yield opened
    opened.close()


@pytest.fixture
def impatient_inbox(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    monkeypatch.setattr(database, "_WAIT_SECONDS", 0.1)
    opened = open_inbox(place.url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    with running_azurite("queue") as address:
        yield address


@pytest.fixture
def queue_url(azurite: str) -> str:
    """A queue that is not there yet."""
    return f"{azurite}/devstoreaccount1/q-{uuid4().hex}"
