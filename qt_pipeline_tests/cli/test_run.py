"""`run` against a Dagster that is out, or whose daemon is; what it does with a real one is tested end to end."""

import _thread
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qt_pipeline import cli
from qt_pipeline.cli import watch
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline_tests.fake_dagster import DAEMONS, RUN_ID, FakeDagster

Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command, which looks often: its exit code, and what it says."""
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    monkeypatch.setenv("QT_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(watch, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(watch, "_GAP_SECONDS", 3)
    monkeypatch.setattr(watch, "_DAEMON_SECONDS", 0.1)

    def ran(dagster: FakeDagster, *arguments: str) -> Ran:
        monkeypatch.setenv("QT_DAGSTER_URL", dagster.url)
        monkeypatch.setattr(sys, "argv", ["qt-pipeline", "run", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output.out, output.err

    return ran


def test_a_short_gap_is_bridged_and_said_once(run: Run) -> None:
    with FakeDagster("QUEUED", "STARTING", "STARTED", "STARTED", "SUCCESS") as dagster:
        dagster.out_after(2, seconds=0.5)
        code, told, complaint = run(dagster, "d-one", "--wait")
    assert (code, complaint) == (0, "")
    assert told.count("Retrying") == 1
    assert "d-one: succeeded after" in told


def test_a_dagster_that_goes_away_for_long_ends_the_wait_with_code_4(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_GAP_SECONDS", 0.2)
    with FakeDagster("STARTED") as dagster:
        dagster.out_after(3, seconds=5)
        code, told, complaint = run(dagster, "d-one", "--wait")
    assert code == 4
    assert f"run {RUN_ID}" in told
    assert "cannot be reached" in complaint
    assert f"The run continues: {dagster.url}/runs. To cancel: qt-pipeline cancel {RUN_ID}" in complaint


def test_a_dagster_that_is_down_is_told_with_code_4(run: Run) -> None:
    with FakeDagster() as dagster:
        pass
    code, told, complaint = run(dagster, "d-one", "--wait")
    assert (code, told) == (4, "")
    assert complaint.startswith(f"Dagster cannot be reached at {dagster.url}. Start it with `make dev`")
    code, told, complaint = run(dagster, "--all", "--json")
    assert (code, json.loads(told)["status"], complaint) == (4, "failed", "")


@pytest.mark.parametrize(("silent", "words"), [(None, "has sent no heartbeat yet"), (3630, "no heartbeat for 1 h")])
def test_nothing_is_asked_of_a_daemon_that_does_not_run(run: Run, silent: float | None, words: str) -> None:
    with FakeDagster(daemon_silent_for=silent) as dagster:
        code, told, complaint = run(dagster, "d-one", "--wait")
        assert (code, told) == (4, "")
        assert words in complaint
        assert "would not start" in complaint
        assert "make dev" in complaint
        assert "launchRun" not in dagster.asked


def test_a_daemon_that_stops_while_the_run_waits_ends_the_wait(run: Run) -> None:
    with FakeDagster("QUEUED") as dagster:
        threading.Timer(0.5, lambda: setattr(dagster, "silent", dict.fromkeys(DAEMONS, 630))).start()
        code, _, complaint = run(dagster, "d-one", "--wait")
    assert code == 4
    assert "daemon has sent no heartbeat for 10 min" in complaint
    assert "The run continues" in complaint


def test_the_time_is_up_with_code_124_and_the_run_goes_on(run: Run) -> None:
    with FakeDagster("STARTED") as dagster:
        code, told, complaint = run(dagster, "d-one", "--wait", "--timeout", "1")
        answer = run(dagster, "d-one", "--wait", "--timeout", "1", "--json")
    assert code == 124
    assert "d-one running" in told
    assert "Timed out. The run continues" in complaint
    started, error = map(json.loads, answer[1].splitlines())
    assert (answer[0], started["run_id"], error["error"]) == (124, RUN_ID, "Timed out.")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process in the background may have been told to take no notice of Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_wait_and_not_the_run(run: Run) -> None:
    with FakeDagster("STARTED") as dagster:
        threading.Timer(0.5, _thread.interrupt_main).start()
        code, _, complaint = run(dagster, "d-one", "--wait", "--timeout", "60")
        assert code == 130
        assert f"To cancel: qt-pipeline cancel {RUN_ID}" in complaint
        assert not any("terminate" in asked for asked in dagster.asked)


def test_a_run_that_died_without_a_word_is_a_failure(run: Run) -> None:
    with FakeDagster("STARTED", "FAILURE") as dagster:
        code, told, complaint = run(dagster, "d-one", "--wait")
    assert code == 1
    assert "d-one: failed after" in told
    assert "without an error message" in complaint


@pytest.mark.parametrize(
    ("dataset_id", "words"),
    [
        ("../d-one", "cannot be the id of a dataset"),
        ("d-onne", "Neither the catalog nor Dagster knows this dataset. Did you mean d-one?"),
        ("d-refused", "refuses datasets that it does not list"),
    ],
)
def test_ids_that_cannot_be_asked_for_are_refused_before_anything_starts(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset_id: str, words: str
) -> None:
    if dataset_id == "d-refused":
        (tmp_path / "datasets.yaml").write_text("unlisted: refuse\ndatasets: {d-one: {}}\n")
        monkeypatch.setenv("QT_CATALOG", str(tmp_path / "datasets.yaml"))
    with FakeDagster() as dagster:
        code, told, complaint = run(dagster, "d-one", dataset_id)
        assert (code, told) == (1, "")
        assert words in complaint
        assert not {"launchRun", "addDynamicPartition"} & set(dagster.asked)
        assert json.loads(run(dagster, dataset_id, "--json")[1])["status"] == "failed"


def test_a_new_dataset_is_made_known_first(run: Run) -> None:
    with FakeDagster() as dagster:
        assert run(dagster, "d-new", "--new")[0] == 0
        assert dagster.asked.index("addDynamicPartition") < dagster.asked.index("launchRun")


def test_without_a_wait_the_run_and_its_page_are_told(run: Run) -> None:
    with FakeDagster() as dagster:
        code, told, _ = run(dagster, "d-one")
        assert (code, told.split()) == (0, ["d-one:", "run", RUN_ID, f"{dagster.url}/runs/{RUN_ID}"])
        answer = json.loads(run(dagster, "d-one", "--json")[1])
        assert answer == {"dataset_id": "d-one", "run_id": RUN_ID, "url": f"{dagster.url}/runs/{RUN_ID}"}


@pytest.mark.parametrize("arguments", [[], ["d-one", "--all"], ["d-one", "--timeout", "5"]])
def test_what_says_nothing_clear_is_a_wrong_option(run: Run, arguments: list[str]) -> None:
    with FakeDagster() as dagster:
        assert run(dagster, *arguments)[0] == 2
        assert dagster.asked == []
