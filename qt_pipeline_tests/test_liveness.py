import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qt_pipeline.liveness import Process, RunLocks

HOLD = """
import sys, time
from pathlib import Path
from qt_pipeline.liveness import RunLocks

RunLocks(Path(sys.argv[1])).acquire(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def start_run(folder: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """A real process that holds the lock of a run, until it gets a line on stdin or is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(run_id: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(folder), run_id]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


def test_a_run_that_never_held_its_lock_is_unknown(folder: Path) -> None:
    assert RunLocks(folder).status("run-1") is Process.UNKNOWN
    assert not folder.exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_is_alive_until_its_process_ends_however_that_is(
    folder: Path, start_run: Callable[[str], subprocess.Popen[str]], end: signal.Signals
) -> None:
    locks = RunLocks(folder)
    process = start_run("run-1")
    assert [locks.status("run-1") for _ in range(3)] == [Process.ALIVE] * 3
    process.send_signal(end)
    assert process.wait(20) == -end
    assert [locks.status("run-1") for _ in range(3)] == [Process.DEAD] * 3


def test_a_run_that_ended_well_is_gone_too(folder: Path, start_run: Callable[[str], subprocess.Popen[str]]) -> None:
    process = start_run("run-1")
    process.communicate("end\n", timeout=20)
    assert process.returncode == 0
    assert RunLocks(folder).status("run-1") is Process.DEAD


def test_runs_do_not_share_a_fate(folder: Path, start_run: Callable[[str], subprocess.Popen[str]]) -> None:
    dying, _ = start_run("run-1"), start_run("run-2")
    dying.kill()
    dying.wait(20)
    locks = RunLocks(folder)
    assert [locks.status(run) for run in ("run-1", "run-2", "run-3")] == [Process.DEAD, Process.ALIVE, Process.UNKNOWN]


def test_a_stopped_process_is_alive(folder: Path, start_run: Callable[[str], subprocess.Popen[str]]) -> None:
    process = start_run("run-1")
    process.send_signal(signal.SIGSTOP)
    assert RunLocks(folder).status("run-1") is Process.ALIVE


def test_a_process_knows_that_it_lives_and_holds_once(folder: Path) -> None:
    locks = RunLocks(folder)
    locks.acquire("run-of-this-process")
    locks.acquire("run-of-this-process")
    RunLocks(folder).acquire("run-of-this-process")
    assert RunLocks(folder).status("run-of-this-process") is Process.ALIVE


def test_old_locks_are_swept_unless_they_are_held(
    folder: Path, start_run: Callable[[str], subprocess.Popen[str]]
) -> None:
    locks = RunLocks(folder)
    dead, _, fresh = start_run("dead"), start_run("long"), start_run("fresh")
    for process in (dead, fresh):
        process.kill()
        process.wait(20)
    two_days_ago = time.time() - 2 * 86_400
    for run in ("dead", "long"):
        os.utime(folder / f"{run}.lock", (two_days_ago, two_days_ago))
    locks.acquire("run-that-sweeps")
    assert [locks.status(run) for run in ("dead", "long", "fresh")] == [Process.UNKNOWN, Process.ALIVE, Process.DEAD]


def test_a_run_that_begins_is_never_taken_for_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = RunLocks(folder)
    seen: list[Process] = []
    give_its_name = Path.replace

    def check_status_first(path: Path, target: Path) -> Path:
        seen.append(locks.status("run-that-begins"))
        named = give_its_name(path, target)
        seen.append(locks.status("run-that-begins"))
        return named

    monkeypatch.setattr(Path, "replace", check_status_first)
    locks.acquire("run-that-begins")
    assert seen == [Process.UNKNOWN, Process.ALIVE]


def test_a_concurrent_status_check_does_not_stop_a_run_from_starting(
    folder: Path, start_run: Callable[[str], subprocess.Popen[str]]
) -> None:
    # A status check holds the lock briefly; here, a process holds it permanently.
    checking = start_run("run-1")
    start_run("run-1")
    checking.kill()
    checking.wait(20)
    assert RunLocks(folder).status("run-1") is Process.ALIVE
