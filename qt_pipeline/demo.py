"""The local demo: sandbox, relay and Dagster as processes of this machine, the first events, and what came of them.

Here: starting and stopping these processes, and driving them as Quantemplate would.
Not here: the processes themselves; nothing of this plays a part in production.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import requests
from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qt_pipeline import sandbox
from qt_pipeline.env_file import write_env_file
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import EventState, Inbox, StoredEvent, open_inbox
from qt_pipeline.sandbox import ORGANISATION_ID, SANDBOX_DATASETS
from qt_pipeline.settings import ENV_FILE_VARIABLE, PROJECT_ROOT
from qt_pipeline.warehouse import LoadRecord, Warehouse, open_warehouse

_CATALOG = Path(sandbox.__file__).with_name("datasets.yaml")
_START_SECONDS = 120
_ROUND_SECONDS = 300
_STOP_SECONDS = 20
_CHANGE_SECONDS = (10, 30)


class DemoError(PipelineError):
    """The demo did not do what it should; its logs say more."""


class NotArrivedError(DemoError):
    """What an event announced is not in its table: somebody has told the sandbox to serve something else, perhaps."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the three processes listen, on 127.0.0.1."""

    sandbox: int
    relay: int
    dagster: int


class Stack:
    """The processes, their settings and their state in one folder.

    Nothing of the user's own settings is used, but what the environment says of the variables in `defaults`.
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
        """The Dagster UI."""
        return f"http://127.0.0.1:{self.ports.dagster}"

    @property
    def control_url(self) -> str:
        """The control routes of the sandbox."""
        return f"http://127.0.0.1:{self.ports.sandbox}/_control"

    @property
    def webhook_url(self) -> str:
        """Where events are posted. It holds a secret."""
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
                "QT_INBOX_URL": f"sqlite:///{state}/inbox.db",
                "QT_LANDING_URL": str(state / "landing"),
                # The stand-in has its new data ready when it posts an event.
                "QT_LOOK_AGAIN_MINUTES": "never",
                "QT_ORGANISATION_ID": ORGANISATION_ID,
                "QT_RELAY_TOKENS": self._relay_token,
                "QT_RELAY_URL": f"http://127.0.0.1:{self.ports.relay}",
                "QT_STATE_DIR": str(state),
                "QT_TOKEN_URL": f"{sandbox_url}/auth/realms/qt/protocol/openid-connect/token",
                "QT_WAREHOUSE_URL": f"sqlite:///{state}/warehouse.db",
                **self._settings,
            }
        )

    @property
    def env_file(self) -> Path:
        """Where `write_env_file` keeps the settings of this stack."""
        return self.state_dir / "demo.env"

    def write_env_file(self) -> None:
        """Let other commands mean this stack, by `QT_ENV_FILE`, until it is stopped. The file holds its secrets."""
        self.env_file.unlink(missing_ok=True)
        settings = {name: value for name, value in self.environment.items() if name.startswith("QT_")}
        del settings[ENV_FILE_VARIABLE]
        write_env_file(self.env_file, settings, heading="# The demo that is running; this file goes when it ends.\n")

    def open_inbox(self) -> Inbox:
        """The inbox of this stack."""
        return open_inbox(self.environment["QT_INBOX_URL"])

    def open_warehouse(self) -> Warehouse:
        """The target of this stack."""
        return open_warehouse(self.environment["QT_WAREHOUSE_URL"])

    def start_sandbox(self) -> None:
        """Start the sandbox, wait until it answers, and tell it where events go."""
        self._start("sandbox", [sys.executable, "-m", "qt_pipeline", "sandbox", "--port", str(self.ports.sandbox)])
        self._wait("sandbox", f"{self.control_url}/datasets")
        self.control("PUT", "webhook", json={"url": self.webhook_url})

    def start_relay(self) -> None:
        """Start the relay and wait until it can accept events."""
        ports = ["--port", str(self.ports.relay), "--metrics-port", "0"]
        self._start("relay", [sys.executable, "-m", "qt_pipeline", "relay", *ports])
        self._wait("relay", f"http://127.0.0.1:{self.ports.relay}/readyz")

    def start_dagster(self) -> None:
        """Start Dagster's webserver, daemon and code server, and wait until the UI answers."""
        prepare_dagster_home(self.state_dir / "dagster")
        self._start("dagster", dagster_dev(self.ports.dagster))
        self._wait("dagster", f"{self.ui_url}/server_info")

    def control(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401  # JSON in, JSON out
        """Call a control route of the sandbox.

        Raises:
            DemoError: it refuses.
        """
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.control_url}/{path}", timeout=60, **content)
        if not answer.ok:
            raise DemoError(f"The sandbox answered {answer.status_code} to {method} {path}.", todo=self._see("sandbox"))
        return answer.json() if answer.content else None

    def fire(self, dataset_id: str, *, change: bool = False) -> int:
        """Let the sandbox post the event of a dataset, after a change of it or without; return its sequence number."""
        path = f"datasets/{dataset_id}/change?fire=true" if change else f"datasets/{dataset_id}/fire"
        answer = self.control("POST", path)
        delivery = answer["delivery"] if change else answer
        if delivery["status"] != requests.codes.accepted:
            raise DemoError(f"The relay answered {delivery['status']} to an event.", todo=self._see("relay"))
        return int(delivery["body"]["sequence"])

    def check_alive(self) -> None:
        """Raise DemoError if a process has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise DemoError(f"The process {name} ended with {process.returncode}.", todo=self._see(name))

    def is_running(self, name: str) -> bool:
        """Whether `sandbox`, `relay` or `dagster` was started and not ended."""
        return name in self._processes

    def pid(self, name: str) -> int:
        """The process id of `sandbox`, `relay` or `dagster`."""
        return self._processes[name].pid

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End a process and all it has started; by force when it does not end in time."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        _signal_group(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        # What is left of the group: nothing, as a rule.
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        """End everything, the sources of events first."""
        self.env_file.unlink(missing_ok=True)
        for name in ("sandbox", "relay", "dagster"):
            self.stop(name)

    def _start(self, name: str, command: list[str]) -> None:
        folder = self.state_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C reaches only this process, which ends the others in order.
            self._processes[name] = subprocess.Popen(  # noqa: S603  # our own commands
                command,
                # Not the project's root: Dagster lets a .env file in its working directory win over the environment.
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
        raise DemoError(f"The process {name} did not answer within {_START_SECONDS} seconds.", todo=self._see(name))

    def _see(self, name: str) -> str:
        return f"See {self.state_dir / 'logs' / name}.log."


def dagster_dev(port: int) -> list[str]:
    """The command that runs Dagster's webserver, daemon and code server in the project's root."""
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    return [sys.executable, "-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)]


def prepare_dagster_home(home: Path) -> None:
    """Write the project's `dagster.yaml` to a folder of its own, where Dagster may leave files."""
    home.mkdir(parents=True, exist_ok=True)
    instance = (PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8")
    (home / "dagster.yaml").write_text(instance.replace(".qt/dagster", str(home)), encoding="utf-8")


def free_ports(wanted: Ports, say: Callable[[str], None]) -> Ports:
    """The wanted ports, and for each that is taken another one, which is said."""

    def free(port: int, name: str) -> int:
        for candidate in (port, 0):
            with socket.socket() as probe, suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", candidate))
                found = int(probe.getsockname()[1])
                if found != port:
                    say(f"Port {port} is taken; {name} takes {found}.")
                return found
        raise DemoError("No port is free on 127.0.0.1.")

    return Ports(
        sandbox=free(wanted.sandbox, "the sandbox"),
        relay=free(wanted.relay, "the relay"),
        dagster=free(wanted.dagster, "Dagster"),
    )


def run_demo(state_dir: Path, wanted: Ports, *, once: bool) -> None:
    """Run the whole path on this machine: one round with `once`, else until Ctrl-C.

    Raises:
        DemoError: anything is wrong.
    """
    console = Console(soft_wrap=True)
    with _only_one(state_dir), _ending_in_order():
        ports = free_ports(wanted, console.print)
        # Nobody is told of a demo's failures but those who watch it, unless they say otherwise for this very demo.
        here = f"json://127.0.0.1:{ports.sandbox}/_control/alerts"
        stack = Stack(state_dir, ports, defaults={"QT_ALERT_URLS": here})
        try:
            console.print("Starting the sandbox, the relay and Dagster ...")
            stack.start_sandbox()
            stack.start_relay()
            stack.start_dagster()
            stack.write_env_file()
            console.print(_welcome(stack))
            seqs = {dataset.id: stack.fire(dataset.id) for dataset in SANDBOX_DATASETS}
            _show(console, await_round(stack, seqs))
            if not once:
                _change_now_and_then(stack, console)
        except KeyboardInterrupt:
            if once:
                raise DemoError("The demo was interrupted before its round was over.") from None
        finally:
            console.print("Stopping ...")
            stack.stop_all()


def _welcome(stack: Stack) -> str:
    return (
        f"\nDagster's UI: {stack.ui_url}\n"
        "  Catalog > warehouse/table: rows, columns, preview and checks of each dataset\n"
        "  Automation > quantemplate_events: the sensor that turns events into runs\n"
        f"The tables: sqlite3 {stack.state_dir / 'warehouse.db'}\n"
        f"The logs: {stack.state_dir / 'logs'}\n"
        f"Ask it from a second terminal: QT_ENV_FILE={_from_root(stack.env_file)} "
        f"{_from_root(Path(sys.prefix))}/bin/qt-pipeline doctor (or events, datasets, run ...)\n\n"
        "Three datasets have changed in the sandbox; their events are on the way ..."
    )


def _from_root(path: Path) -> Path:
    return path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path


@dataclass(frozen=True, slots=True)
class _Arrival:
    dataset: str
    load: LoadRecord
    seconds: float


def await_round(stack: Stack, seqs: Mapping[str, int]) -> list[_Arrival]:
    """Wait until every one of these events is done, and say which loads brought their data."""
    inbox, warehouse = stack.open_inbox(), stack.open_warehouse()
    served = {entry["datasetId"]: entry["sha256"] for entry in stack.control("GET", "datasets")}
    names = {dataset.id: dataset.name for dataset in SANDBOX_DATASETS}
    arrivals: dict[str, _Arrival] = {}
    deadline = time.monotonic() + _ROUND_SECONDS
    while len(arrivals) < len(seqs):
        if time.monotonic() > deadline:
            raise NotArrivedError(
                f"Not all events were done within {_ROUND_SECONDS} seconds.", todo=f"See {stack.ui_url}."
            )
        stack.check_alive()
        time.sleep(0.2)
        for dataset_id in seqs.keys() - arrivals.keys():
            event = next(e for e in inbox.events(dataset_id=dataset_id) if e.seq == seqs[dataset_id])
            if event.state is EventState.PENDING:
                continue
            load = _load_of(event, warehouse)
            if event.state is not EventState.DONE or load is None or load.finished_at is None:
                name = names[dataset_id]
                raise NotArrivedError(f"The event {event.seq} of {name} ended as {event.state}: {event.outcome}")
            if load.sha256 != served[dataset_id]:
                raise NotArrivedError(f"The table of {names[dataset_id]} does not hold what the sandbox serves.")
            seconds = (load.finished_at - event.received_at).total_seconds()
            arrivals[dataset_id] = _Arrival(names[dataset_id], load, seconds)
    return [arrivals[dataset_id] for dataset_id in seqs]


def _load_of(event: StoredEvent, warehouse: Warehouse) -> LoadRecord | None:
    """The first publish that shows the data of an event."""
    loads = [
        load for load in warehouse.loads(dataset_id=event.dataset_id) if load.shows and load.through_seq >= event.seq
    ]
    return loads[-1] if loads else None


def _show(console: Console, arrivals: list[_Arrival]) -> None:
    table = Table("Dataset", "Table", "Rows", "Seconds from event to commit")
    table.columns[2].justify = table.columns[3].justify = "right"
    for arrival in arrivals:
        table.add_row(arrival.dataset, arrival.load.table_name, f"{arrival.load.rows:,}", f"{arrival.seconds:.1f}")
    console.print(table)


def _change_now_and_then(stack: Stack, console: Console) -> None:
    console.print("A dataset changes now and then; watch it arrive in the UI. Ctrl-C ends everything.")
    random = Random()  # noqa: S311  # a demo's whims
    alerts = _Alerts(stack, console)
    while True:
        for _ in range(random.randint(*_CHANGE_SECONDS)):
            time.sleep(1)
            alerts.show_new()
        dataset = random.choice(SANDBOX_DATASETS)
        try:
            [arrival] = await_round(stack, {dataset.id: stack.fire(dataset.id, change=True)})
        except NotArrivedError as error:
            console.print(f"[yellow]{escape(str(error))}[/]")
            continue
        rows, load_id, seconds = arrival.load.rows, arrival.load.load_id, arrival.seconds
        console.print(f"{arrival.dataset} changed: load {load_id}, {rows:,} rows, committed after {seconds:.1f} s.")


class _Alerts:
    """What the demo's own alerts say, which the sandbox takes in place of a chat or a mailbox."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self._stack = stack
        self._console = console
        self._shown = 0

    def show_new(self) -> None:
        """Print the alerts that have come since the last time."""
        alerts = self._stack.control("GET", "alerts")
        for alert in alerts[self._shown :]:
            self._console.print(f"[yellow]Alert: {escape(alert['title'])}[/]\n{escape(alert['message'])}\n")
        self._shown = len(alerts)


@contextmanager
def _only_one(state_dir: Path) -> Generator[None]:
    """Hold the folder of the demo: two would each find the other's rows in the tables."""
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(state_dir / "demo.lock", blocking=False):
            yield
    except Timeout:
        raise DemoError(
            f"A demo runs already on {state_dir}.", todo="End it first, by Ctrl-C in its terminal."
        ) from None


@contextmanager
def _ending_in_order() -> Generator[None]:
    """Let a terminal that closes, or a supervisor, interrupt as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
