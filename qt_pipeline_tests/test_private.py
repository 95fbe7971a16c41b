"""Local state is for its owner alone, whatever the umask."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qt_pipeline.cli import main
from qt_pipeline.demo.dagster_dev import prepare_dagster_home
from qt_pipeline.inbox import NewEvent, open_inbox
from qt_pipeline.landing import Landing, Provenance
from qt_pipeline.liveness import RunLocks
from qt_pipeline.private import make_folder, mode_for_others
from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline.urls import sqlite_url
from qt_pipeline.warehouse import open_warehouse


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=["022", "000", "077"], autouse=True)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Everything below a folder, and the folder, that others may read, list or change."""
    return [f"{path} {path.stat().st_mode:o}" for path in (folder, *folder.rglob("*")) if mode_for_others(path)]


def test_inbox_target_landing_and_locks_are_private(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    inbox = open_inbox(sqlite_url(state / "inbox.db"))
    inbox.append([NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}", "127.0.0.1")])
    warehouse = open_warehouse(sqlite_url(state / "warehouse.db"))
    landing = Landing(str(state / "landing"))
    landing.probe()
    with landing.draft("d-one", "run-1") as draft:
        with draft.sink() as sink:
            sink.write(b"a\n1\n")
        provenance = Provenance(run_id="run-1", trace_id="t", inbox_id="i", through_seq=1, event_id=None)
        draft.commit(provenance).write_beside("note.csv", "a")
    RunLocks(state / "runs").acquire("run-of-a-test")
    with warehouse.probe(None) as probe:
        probe.stage()
        probe.publish()
    # While they are open, beside their journals.
    assert {path.name for path in state.rglob("*")} >= {"inbox.db", "inbox.db-wal", "inbox.db-shm", "warehouse.db"}
    assert open_to_others(state) == []
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    inbox.close()


def test_the_home_of_dagster_is_private(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path / "state" / "dagster")
    assert mode_for_others(tmp_path / "state") is None
    assert mode_for_others(tmp_path / "state" / "dagster") is None


@pytest.mark.parametrize("entry", ["cli", "definitions"])
def test_what_libraries_leave_is_private_too(tmp_path: Path, entry: str) -> None:
    # Dagster's storage and the logs of runs are files that none of our code makes.
    start = {
        "cli": "import sys; sys.argv = ['qt-pipeline', '--help']\nfrom qt_pipeline.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n",
        "definitions": "from qt_pipeline.definitions import defs\ndefs()\n",
    }[entry]
    program = f"{start}\nimport pathlib; pathlib.Path('left').write_text('x'); pathlib.Path('folder').mkdir()"
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT_ROOT), "QT_ENV_FILE": "", "QT_STATE_DIR": str(tmp_path / "state")},
        check=True,
        capture_output=True,
    )
    assert open_to_others(tmp_path / "left") == []
    assert open_to_others(tmp_path / "folder") == []
    assert callable(main)


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o750)
    make_folder(tmp_path / "shared" / "state")
    assert mode_for_others(tmp_path / "shared") == 0o750
    assert mode_for_others(tmp_path / "shared" / "state") is None
