from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from qt_pipeline.inbox import open_inbox
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline_tests.faults.place import OLD, Place
from qt_pipeline_tests.postgres import close_idle_connections
from qt_pipeline_tests.warehouse.engines import Engine, Postgres, Sqlite

MakePlace = Callable[[Engine], Place]


@pytest.fixture
def make_place(tmp_path: Path, sandbox: SandboxServer) -> Iterator[MakePlace]:
    """A place whose table holds `OLD`."""
    inbox = open_inbox(f"sqlite:///{tmp_path}/inbox.db")

    with dg.DagsterInstance.ephemeral() as instance:

        def make(engine: Engine) -> Place:
            place = Place(tmp_path, sandbox, inbox, engine.open(), instance, engine)
            place.serve(OLD)
            assert place.run().success
            return place

        yield make
    inbox.close()


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Postgres]:
    engine = Postgres(postgres_server)
    yield engine
    engine.drop()
    close_idle_connections(postgres_server)


@pytest.fixture
def sqlite_place(tmp_path: Path, make_place: MakePlace) -> Place:
    return make_place(Sqlite(tmp_path / "warehouse.db"))


@pytest.fixture
def postgres_place(postgres: Postgres, make_place: MakePlace) -> Place:
    return make_place(postgres)
