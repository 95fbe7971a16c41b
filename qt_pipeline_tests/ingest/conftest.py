from collections.abc import Iterator
from pathlib import Path

import pytest

from qt_pipeline.sandbox import SandboxServer
from qt_pipeline_tests.ingest.place import CSV, Place
from qt_pipeline_tests.open_results import no_result_stays_open

__all__ = ["no_result_stays_open"]


@pytest.fixture
def place(sandbox: SandboxServer, tmp_path: Path) -> Iterator[Place]:
    with Place.opened(sandbox, tmp_path) as place:
        place.serve(CSV)
        yield place
