"""The main command, as a person gives it in a checkout of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline_tests.e2e.live import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEFAULT_PORTS = (8641, 8642, 3000)
TABLES = ("schedule_p", "claims", "bordereau")
ROUND_SECONDS = 300


class Checkout:
    """A copy of the project, whose demo keeps its state there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.output = root / "output.txt"
        shutil.copytree(
            PROJECT_ROOT / "qt_pipeline", root / "qt_pipeline", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("pyproject.toml", "workspace.yaml", "dagster.yaml"):
            shutil.copy(PROJECT_ROOT / name, root)

    def demo(self, *options: str) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "qt_pipeline", "demo", *options],
                cwd=self.root,
                env=self.environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def demo_output(self, *options: str) -> str:
        """What another demo says that ends by itself."""
        done = subprocess.run(
            [sys.executable, "-m", "qt_pipeline", "demo", *options],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr

    def said(self) -> str:
        return self.output.read_text()

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started for the state in this checkout."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def await_no_process(self) -> None:
        until(lambda: not self.processes(), "every process ended", seconds=10)

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "DAGSTER_"))}
        return inherited | {"PYTHONPATH": str(self.root), "PYTHONUNBUFFERED": "1"}

    def _is_ours(self, process: psutil.Process) -> bool:
        # Processes end, and others are not ours to ask, while we look.
        with suppress(psutil.Error):
            traces = [*process.cmdline(), *process.environ().values(), process.cwd()]
            return process.status() != psutil.STATUS_ZOMBIE and any(str(self.root) in trace for trace in traces)
        return False


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    copied = Checkout(tmp_path_factory.mktemp("checkout"))
    yield copied
    for process in copied.processes():
        process.kill()


@pytest.fixture
def default_ports_taken() -> Iterator[None]:
    with ExitStack() as stack:
        for port in DEFAULT_PORTS:
            # Somebody else may hold it, which is just as well.
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def assert_one_round_was_shown(said: str) -> None:
    [header] = [line for line in said.splitlines() if "Seconds from event to commit" in line]
    assert "Rows" in header
    for table in TABLES:
        assert f" {table} " in said


def assert_other_commands_can_mean_it(checkout: Checkout) -> None:
    assert "QT_ENV_FILE=.qt/demo/demo.env" in checkout.said()
    assert (checkout.root / ".qt" / "demo" / "demo.env").stat().st_mode & 0o777 == 0o600
    asked = subprocess.run(
        [sys.executable, "-m", "qt_pipeline", "doctor", "--json"],
        cwd="/",
        env=checkout.environment() | {"QT_ENV_FILE": ".qt/demo/demo.env"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    findings = json.loads(asked.stdout)["findings"]
    assert [finding for finding in findings if finding["state"] == "failure"] == []
    assert [finding for finding in findings if finding["state"] == "warning"] == []
    assert [finding["subject"] for finding in findings if finding["area"] == "catalog"] == [
        str(checkout.root / "qt_pipeline" / "sandbox" / "datasets.yaml")
    ]


@pytest.mark.usefixtures("default_ports_taken")
def test_once_does_one_round_and_takes_other_ports_when_its_own_are_taken(checkout: Checkout) -> None:
    demo = checkout.demo("--once")
    assert demo.wait(ROUND_SECONDS) == 0, checkout.said()
    assert_one_round_was_shown(checkout.said())
    for port in DEFAULT_PORTS:
        assert f"Port {port} is in use; " in checkout.said()
    checkout.await_no_process()


def test_it_runs_again_on_the_same_state_and_ctrl_c_ends_it_well_without_a_process_left(checkout: Checkout) -> None:
    assert (checkout.root / ".qt" / "demo" / "warehouse.db").is_file()
    demo = checkout.demo()
    until(
        lambda: "Ctrl-C stops everything" in checkout.said() or demo.poll() is not None,
        "a round",
        seconds=ROUND_SECONDS,
    )
    assert_one_round_was_shown(checkout.said())
    assert len(checkout.processes()) > 4
    assert_other_commands_can_mean_it(checkout)
    another = checkout.demo_output("--once")
    assert "A demo is already running in" in another
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0, checkout.said()
    checkout.await_no_process()
    assert not (checkout.root / ".qt" / "demo" / "demo.env").exists()
