from collections.abc import Iterator
from pathlib import Path

import pytest

from qt_pipeline.inbox import open_inbox
from qt_pipeline.landing import Landing
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline.warehouse import open_warehouse
from qt_pipeline_tests.ingest.place import CSV, Place
from qt_pipeline_tests.open_results import no_result_stays_open

__all__ = ["no_result_stays_open"]


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as running:
        yield running


@pytest.fixture
def place(server: SandboxServer, tmp_path: Path) -> Iterator[Place]:
    made = Place(
        server,
        tmp_path,
        open_inbox(f"sqlite:///{tmp_path}/inbox.db"),
        Landing(str(tmp_path / "landing")),
        open_warehouse(f"sqlite:///{tmp_path}/warehouse.db"),
    )
    made.serve(CSV)
    yield made
    made.inbox.close()
