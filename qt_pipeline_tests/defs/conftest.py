import shutil
from collections.abc import Iterator
from dataclasses import replace
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


@pytest.fixture(scope="session")
def dagster_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Dagster has made its databases: to make them takes half a second, to copy them none."""
    folder = tmp_path_factory.mktemp("dagster")
    with _instance_in(folder):
        return folder


@pytest.fixture
def pipeline_on_disk(pipeline: LocalPipeline, tmp_path: Path, dagster_folder: Path) -> Iterator[LocalPipeline]:
    """With an instance on disk: a schedule's context cannot hold one that lives in memory."""
    folder = shutil.copytree(dagster_folder, tmp_path / "dagster")
    with _instance_in(folder) as instance:
        yield replace(pipeline, instance=instance)


def _instance_in(folder: Path) -> dg.DagsterInstance:
    """Dagster's default makes one more database for each run."""
    events = {
        "module": "dagster._core.storage.event_log",
        "class": "ConsolidatedSqliteEventLogStorage",
        "config": {"base_dir": str(folder / "history")},
    }
    return dg.DagsterInstance.local_temp(str(folder), overrides={"event_log_storage": events})
