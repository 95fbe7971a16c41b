"""A stack whose processes run, and how the tests drive it, look at it and wait for it. Every wait is bounded, here."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import requests

from qt_pipeline.demo import Ports, Stack, free_ports
from qt_pipeline.inbox import StoredEvent
from qt_pipeline.sandbox.tokens import ACCESS_TOKEN_PREFIX
from qt_pipeline.warehouse import LoadRecord, LoadStatus
from qt_pipeline_tests.compare import assert_table_equals_csv
from qt_pipeline_tests.dagster_client import DagsterClient, Run

_PATIENCE_SECONDS = 120
_POLL_SECONDS = 0.3

SMALL_CSV = b"Ref,Amount\n007,1.25\n008,2.50\n"

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, *, seconds: float = _PATIENCE_SECONDS) -> T:
    """The first true value of `condition`; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"Not within {seconds} s: {what}"
        time.sleep(_POLL_SECONDS)
    return value


class LiveStack(Stack):
    """Sandbox, relay and Dagster on free ports, with all their state in one folder."""

    def __init__(self, state_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        # No test may be met by what happens once a day.
        never_daily = {"QT_REFRESH_CRON": "never"}
        super().__init__(
            state_dir, free_ports(Ports(0, 0, 0), lambda _: None), settings=never_daily | dict(settings or {})
        )
        self.warehouse_file = state_dir / "warehouse.db"
        self.inbox = self.open_inbox()
        self.warehouse = self.open_warehouse()
        self.dagster = DagsterClient(self.ui_url)
        self._http = requests.Session()
        self._http.trust_env = False

    def __enter__(self) -> Self:
        try:
            self.start_sandbox()
            self.start_relay()
            self.start_dagster()
        except BaseException:
            self.stop_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def serve(self, dataset_id: str, csv: bytes) -> None:
        """Let the sandbox serve these bytes from now on."""
        self.control("PUT", f"datasets/{dataset_id}", data=csv)

    def served(self, dataset_id: str) -> bytes:
        """What the sandbox serves."""
        return self._http.get(f"{self.control_url}/datasets/{dataset_id}/csv", timeout=60).content

    def spoil(self, dataset_id: str, **fault: Any) -> None:
        """Let the downloads of a dataset go wrong, see `qt_pipeline.sandbox.faults`; without a fault they are well."""
        self.control("PUT", f"datasets/{dataset_id}/faults", json=[fault] if fault else [])

    def runs_of(self, dataset_id: str) -> list[Run]:
        return self.dagster.runs(partition=dataset_id)

    def published(self, dataset_id: str) -> list[LoadRecord]:
        """The loads that readers have seen, oldest first."""
        newest_first = self.warehouse.loads(dataset_id=dataset_id)
        return [load for load in reversed(newest_first) if load.is_current]

    def newest_publish(self, dataset_id: str) -> LoadRecord:
        """The load whose rows are in the table: later ones found the file unchanged."""
        return [load for load in self.published(dataset_id) if load.status is LoadStatus.PUBLISHED][-1]

    def event(self, seq: int) -> StoredEvent:
        return next(event for event in self.inbox.events(limit=100_000) if event.seq == seq)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a reader of the warehouse sees."""
        with closing(sqlite3.connect(self.warehouse_file, timeout=60)) as connection:
            return connection.execute(query).fetchall()

    def staging_tables(self) -> list[str]:
        return [
            name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE name LIKE '\\_qt\\_stage%' ESCAPE '\\'")
        ]

    def await_settled(self, seqs: Iterable[int]) -> list[StoredEvent]:
        """Wait until none of these events is pending."""
        wanted = set(seqs)

        def settled() -> list[StoredEvent]:
            self.check_alive()
            events = [event for event in self.inbox.events(limit=100_000) if event.seq in wanted]
            return events if len(events) == len(wanted) and all(event.settled_at for event in events) else []

        return until(settled, f"{len(wanted)} events settled") if wanted else []

    def await_run(self, dataset_id: str, condition: Callable[[Run], bool], what: str) -> Run:
        """Wait until the newest run of a dataset is as wanted."""

        def newest() -> Run | None:
            run = next(iter(self.runs_of(dataset_id)), None)
            return run if run is not None and condition(run) else None

        return until(newest, f"the newest run of {dataset_id} {what}")

    def await_download(self, dataset_id: str, *, number: int = 1) -> Run:
        """Wait until the sandbox has begun to serve the download of this number, and say which run it is for."""

        def trace_id() -> str | None:
            seen = self.control("GET", "requests")
            traces = [request["traceId"] for request in seen if request["datasetId"] == dataset_id]
            return traces[number - 1] if len(traces) >= number else None

        return self.dagster.run(until(trace_id, f"download {number} of {dataset_id} began"))

    def await_tick(self) -> None:
        """Wait until a sensor tick that begins from now on is over: what it would ask for can be seen then."""
        now = time.time()
        until(lambda: self.dagster.last_tick() > now, "a sensor tick")

    @contextmanager
    def warehouse_locked(self) -> Generator[None]:
        """Hold the one write lock of the warehouse, as a load of another table does for moments."""
        with closing(sqlite3.connect(self.warehouse_file, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def daemon(self) -> psutil.Process:
        """The Dagster daemon."""
        return self._below_dagster("dagster._daemon")[0]

    def code_servers(self) -> list[psutil.Process]:
        """The code server and the process that keeps it alive, this one first."""
        return [*self._below_dagster("code-server"), *self._below_dagster("api", "grpc")]

    def worker(self, run_id: str) -> psutil.Process:
        """The process of a run: the one that holds its lock."""

        def holder() -> psutil.Process | None:
            for process in self._below_dagster("spawn_main"):
                if any(file.path.endswith(f"{run_id}.lock") for file in process.open_files()):
                    return process
            return None

        return until(holder, f"the worker of run {run_id}")

    def restart_dagster(self) -> None:
        """What is left of Dagster ends at once, and all of it starts again."""
        self.stop("dagster", signal.SIGKILL)
        self.start_dagster()

    def wake_dagster(self) -> None:
        """Start Dagster where it has been stopped."""
        if not self.is_running("dagster"):
            self.start_dagster()

    def _below_dagster(self, *words: str) -> list[psutil.Process]:
        children = psutil.Process(self.pid("dagster")).children(recursive=True)
        found = [child for child in children if all(any(word in part for part in child.cmdline()) for word in words)]
        assert found or "spawn_main" in words, f"no process {words}"
        return found


def assert_table_is_as_served(stack: LiveStack, dataset_id: str) -> None:
    """The table of a dataset equals, cell by cell, what the sandbox serves; every row is of the newest load of rows."""
    contract = stack.warehouse.contract(dataset_id)
    assert contract is not None
    load = stack.newest_publish(dataset_id)
    served = stack.served(dataset_id)
    assert_table_equals_csv(stack.warehouse_file, load.table_name, served, contract, load_id=load.load_id)


def assert_no_secret_is_kept(stack: LiveStack, *, known: str) -> None:
    """No file of the stack holds a secret, while the same search finds `known` in its databases and logs."""

    found = files_that_hold(stack, known)
    for place in ("inbox.db", "warehouse.db", "logs/dagster.log", "dagster/storage/"):
        assert any(file.startswith(place) for file in found), f"{known} is not in {place}"
    for secret in (stack.environment["QT_CLIENT_SECRET"], stack.environment["QT_RELAY_TOKENS"], ACCESS_TOKEN_PREFIX):
        assert files_that_hold(stack, secret) == set()


def files_that_hold(stack: LiveStack, text: str) -> set[str]:
    """The files of the stack's state that hold a text, databases among them.

    Another process looks: one that closes a file gives up the locks that its own connections to a SQLite file need.
    """
    options = ["--recursive", "--files-with-matches", "--fixed-strings", "--text", "-e"]
    command = ["env", "LC_ALL=C", "grep", *options, text, "."]
    done = subprocess.run(command, cwd=stack.state_dir, capture_output=True, text=True, check=False)
    # A file that is gone before it is read is no error of ours; a pattern that cannot be read is.
    assert done.returncode in {0, 1} or "No such file" in done.stderr, done.stderr
    return {line.removeprefix("./") for line in done.stdout.splitlines()}
