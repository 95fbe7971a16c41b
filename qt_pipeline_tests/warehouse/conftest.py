from pathlib import Path

import pytest

from qt_pipeline.warehouse import Warehouse
from qt_pipeline_tests.warehouse.loading import open_at


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "warehouse.db"


@pytest.fixture
def warehouse(file: Path) -> Warehouse:
    return open_at(file)
