from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from qt_pipeline.inbox import open_inbox
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline.warehouse import open_warehouse
from qt_pipeline_tests.defs.local_pipeline import LocalPipeline


@pytest.fixture
def pipeline(tmp_path: Path, sandbox: SandboxServer) -> Iterator[LocalPipeline]:
    inbox = open_inbox(f"sqlite:///{tmp_path}/inbox.db")
    with dg.DagsterInstance.ephemeral() as instance:
        yield LocalPipeline(tmp_path, sandbox, inbox, open_warehouse(f"sqlite:///{tmp_path}/warehouse.db"), instance)
    inbox.close()
