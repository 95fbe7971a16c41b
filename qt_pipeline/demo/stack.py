"""The processes of the demo, their settings and their state in one folder.

Here: starting and stopping them, and controlling the sandbox.
Not here: the processes themselves; waiting for loads (see rounds).
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from qt_pipeline import sandbox
from qt_pipeline.demo.dagster_dev import dagster_dev, prepare_dagster_home
from qt_pipeline.demo.errors import DemoError
from qt_pipeline.demo.folder import env_file_of
from qt_pipeline.env_file import write_env_file
from qt_pipeline.inbox import Inbox, open_inbox
from qt_pipeline.private import make_folder, opener
from qt_pipeline.sandbox import ORGANISATION_ID
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline.urls import sqlite_url
from qt_pipeline.warehouse import Warehouse, open_warehouse

_CATALOG = Path(sandbox.__file__).with_name("datasets.yaml")
_START_SECONDS = 120
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the three processes on 127.0.0.1."""

    sandbox: int
    relay: int
    dagster: int


class Stack:
    """The processes, their settings and their state in one folder.

    The user's own settings are ignored, except environment variables that are named in `defaults`.
    """

    def __init__(
        self,
        state_dir: Path,
        ports: Ports,
        *,
        settings: Mapping[str, str] | None = None,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        self.state_dir = state_dir
        self.ports = ports
        self.client_id = "demo"
        self._client_secret = secrets.token_urlsafe(24)
        self._relay_token = secrets.token_urlsafe(24)
        self._settings = dict(settings or {})
        self._defaults = dict(defaults or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ui_url(self) -> str:
        """The URL of Dagster's UI."""
        return f"http://127.0.0.1:{self.ports.dagster}"

    @property
    def control_url(self) -> str:
        """The base URL of the sandbox's control routes."""
        return f"http://127.0.0.1:{self.ports.sandbox}/_control"

    @property
    def webhook_url(self) -> str:
        """The webhook's URL. It contains a secret."""
        return f"http://127.0.0.1:{self.ports.relay}/webhooks/quantemplate/{self._relay_token}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process."""
        state, sandbox_url = self.state_dir, f"http://127.0.0.1:{self.ports.sandbox}"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("QT_") or name in self._defaults
        }
        return (
            self._defaults
            | inherited
            | {
                "DAGSTER_HOME": str(state / "dagster"),
                "PYTHONUNBUFFERED": "1",
                "QT_API_URL": f"{sandbox_url}/v1",
                ENV_FILE_VARIABLE: "",
                "QT_CATALOG": str(_CATALOG),
                "QT_CLIENT_ID": self.client_id,
                "QT_CLIENT_SECRET": self._client_secret,
                "QT_DAGSTER_URL": self.ui_url,
                "QT_INBOX_URL": sqlite_url(state / "inbox.db"),
                "QT_LANDING_URL": str(state / "landing"),
                # Report a lasting fault quickly.
                "QT_NOT_READY_SECONDS": "5",
                # The sandbox has the new data ready when it posts an event.
                "QT_RECHECK_DELAYS_MINUTES": "never",
                "QT_ORGANISATION_ID": ORGANISATION_ID,
                "QT_RELAY_TOKENS": self._relay_token,
                "QT_RELAY_URL": f"http://127.0.0.1:{self.ports.relay}",
                "QT_STATE_DIR": str(state),
                "QT_TOKEN_URL": f"{sandbox_url}/auth/realms/qt/protocol/openid-connect/token",
                "QT_WAREHOUSE_URL": sqlite_url(state / "warehouse.db"),
                **self._settings,
            }
        )

    @property
    def env_file(self) -> Path:
        """The settings file that `write_env_file` writes."""
        return env_file_of(self.state_dir)

    def write_env_file(self) -> None:
        """Write the settings file for other commands (`QT_ENV_FILE`). It contains secrets."""
        self.env_file.unlink(missing_ok=True)
        settings = {name: value for name, value in self.environment.items() if name.startswith("QT_")}
        del settings[ENV_FILE_VARIABLE]
        write_env_file(
            self.env_file, settings, heading="# Settings of the running demo; this file is deleted when it ends.\n"
        )

    def open_inbox(self) -> Inbox:
        """The inbox of this stack."""
        return open_inbox(self.environment["QT_INBOX_URL"])

    def open_warehouse(self) -> Warehouse:
        """The target database of this stack."""
        return open_warehouse(self.environment["QT_WAREHOUSE_URL"])

    def start_sandbox(self) -> None:
        """Start the sandbox, wait until it responds, and set its webhook URL."""
        self._start("sandbox", [sys.executable, "-m", "qt_pipeline", "sandbox", "--port", str(self.ports.sandbox)])
        self._wait("sandbox", f"{self.control_url}/datasets")
        self.control("PUT", "webhook", json={"url": self.webhook_url})

    def start_relay(self) -> None:
        """Start the relay and wait until it can accept events."""
        ports = ["--port", str(self.ports.relay), "--metrics-port", "0"]
        self._start("relay", [sys.executable, "-m", "qt_pipeline", "relay", *ports])
        self._wait("relay", f"http://127.0.0.1:{self.ports.relay}/readyz")

    def start_dagster(self) -> None:
        """Start Dagster's webserver, daemon and code server, and wait until the UI responds."""
        prepare_dagster_home(self.state_dir / "dagster")
        self._start("dagster", dagster_dev(self.ports.dagster))
        self._wait("dagster", f"{self.ui_url}/server_info")

    def control(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401  # JSON in, JSON out
        """Call a control route of the sandbox.

        Raises:
            DemoError: the sandbox rejects the request.
        """
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.control_url}/{path}", timeout=60, **content)
        if not answer.ok:
            raise DemoError(
                f"The sandbox responded with status {answer.status_code} to {method} {path}.", hint=self._see("sandbox")
            )
        return answer.json() if answer.content else None

    def fire(self, dataset_id: str, *, change: bool = False) -> int:
        """Make the sandbox post the event of a dataset, optionally after a change. Returns its sequence number."""
        path = f"datasets/{dataset_id}/change?fire=true" if change else f"datasets/{dataset_id}/fire"
        answer = self.control("POST", path)
        delivery = answer["delivery"] if change else answer
        if delivery["status"] != requests.codes.accepted:
            raise DemoError(
                f"The relay responded with status {delivery['status']} to an event.", hint=self._see("relay")
            )
        return int(delivery["body"]["sequence"])

    def check_alive(self) -> None:
        """Raise DemoError if a process has ended unexpectedly."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise DemoError(f"The process {name} ended with exit code {process.returncode}.", hint=self._see(name))

    def is_running(self, name: str) -> bool:
        """Whether `sandbox`, `relay` or `dagster` was started and not stopped."""
        return name in self._processes

    def pid(self, name: str) -> int:
        """The process id of `sandbox`, `relay` or `dagster`."""
        return self._processes[name].pid

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop a process and its child processes; kill them after a timeout."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        _signal_group(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        # Kill remaining processes of the group; usually there are none.
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        """Stop all processes, the sources of events first."""
        self.env_file.unlink(missing_ok=True)
        for name in ("sandbox", "relay", "dagster"):
            self.stop(name)

    def _start(self, name: str, command: list[str]) -> None:
        folder = self.state_dir / "logs"
        make_folder(folder)
        with open(folder / f"{name}.log", "ab", opener=opener) as log:  # a path's own takes no opener
            # A separate session: Ctrl-C reaches only this process, which stops the others in order.
            self._processes[name] = subprocess.Popen(  # noqa: S603  # fixed commands
                command,
                # Not the project's root: for Dagster, a .env file in the working directory overrides the environment.
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, name: str, url: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < deadline:
                self.check_alive()
                with suppress(requests.RequestException):
                    if session.get(url, timeout=5).ok:
                        return
                time.sleep(0.1)
        raise DemoError(f"The process {name} did not respond within {_START_SECONDS} seconds.", hint=self._see(name))

    def _see(self, name: str) -> str:
        return f"See {self.state_dir / 'logs' / name}.log."


def free_ports(wanted: Ports, report: Callable[[str], None]) -> Ports:
    """The wanted ports, each replaced by a free one if it is in use; `report` gets a message for each."""

    def free(port: int, name: str) -> int:
        for candidate in (port, 0):
            with socket.socket() as probe, suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", candidate))
                actual = int(probe.getsockname()[1])
                if actual != port:
                    report(f"Port {port} is in use; {name} uses {actual}.")
                return actual
        raise DemoError("No port is free on 127.0.0.1.")

    return Ports(
        sandbox=free(wanted.sandbox, "the sandbox"),
        relay=free(wanted.relay, "the relay"),
        dagster=free(wanted.dagster, "Dagster"),
    )


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
