"""How long it takes from an event to its rows in the table, with sandbox, relay and Dagster on one machine.

Here: the moments of one event after another, and what is made of them. Not here: many events at once.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

import requests
from rich.console import Console
from rich.table import Column, Table

from qt_pipeline.demo import DemoError, Ports, Stack, await_round, free_ports
from qt_pipeline.sandbox import SANDBOX_DATASETS, SandboxDataset
from qt_pipeline.sandbox.webhook import dataset_updated, post_event
from qt_pipeline.warehouse import LoadRecord, Warehouse
from qt_pipeline_tests.bench.document import Section

_PAUSE_SECONDS = (0, 7)
_LOOK_SECONDS = 0.05
_LONGEST_SECONDS = 120
# The same moments each time: a difference between two measurements is not one of luck.
_SEED = 20260724

_HEADING = "seconds, medians"
_STAGES = ("event → 202", "→ run started", "→ table committed")
_RUN_START = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { startTime } } }"


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the sending of an event until it was accepted, its run started, and its rows were to be seen."""

    accepted: float
    started: float
    committed: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One event and what became of it."""

    dataset: SandboxDataset
    rows: int
    latency: Latency


def run(*, events: int, console: Console) -> Section:
    """Measure this many events, print them, and return the section that tells of them."""
    with TemporaryDirectory(prefix="qt-bench-") as folder:
        stack = Stack(Path(folder), free_ports(Ports(sandbox=8641, relay=8642, dagster=3000), console.print))
        try:
            stack.start_sandbox()
            stack.start_relay()
            stack.start_dagster()
            console.print("Warming up: one round ...")
            await_round(stack, {dataset.id: stack.fire(dataset.id) for dataset in SANDBOX_DATASETS})
            measured = _measure(stack, events, console)
        finally:
            stack.stop_all()
    table = Table(Column(_HEADING, no_wrap=True), *(Column(stage, justify="right") for stage in _STAGES))
    for name, *figures in _summary(measured):
        table.add_row(name, *figures)
    console.print(table)
    return Section(name="event-to-table", title="From event to table", text=_markdown(measured))


def _measure(stack: Stack, events: int, console: Console) -> list[Measured]:
    random = Random(_SEED)
    warehouse = stack.open_warehouse()
    measured: list[Measured] = []
    for dataset in islice(cycle(SANDBOX_DATASETS), events):
        stack.control("POST", f"datasets/{dataset.id}/change")
        time.sleep(random.uniform(*_PAUSE_SECONDS))
        one = _follow(stack, warehouse, dataset)
        measured.append(one)
        latency = one.latency
        console.print(
            f"{len(measured)}/{events} {dataset.name}: accepted after {latency.accepted:.3f} s, "
            f"started after {latency.started:.2f} s, committed after {latency.committed:.2f} s"
        )
    return measured


def _follow(stack: Stack, warehouse: Warehouse, dataset: SandboxDataset) -> Measured:
    """Send one event, and return once it is done and nothing more is going on."""
    body = json.dumps(dataset_updated(dataset.id)).encode()
    sent = time.time()
    delivery = post_event(stack.webhook_url, body)
    accepted = time.time()
    if delivery.status != requests.codes.accepted or not isinstance(delivery.body, dict):
        raise DemoError(f"The relay answered {delivery.status} to an event.")
    seq = int(delivery.body["sequence"])
    load = _wait_for(stack, lambda: _published(warehouse, dataset.id, seq))
    committed = time.time()
    latency = Latency(
        accepted=accepted - sent, started=_run_start(stack, load.run_id) - sent, committed=committed - sent
    )
    await_round(stack, {dataset.id: seq})
    return Measured(dataset, load.rows, latency)


def _wait_for(stack: Stack, look: Callable[[], LoadRecord | None]) -> LoadRecord:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        stack.check_alive()
        time.sleep(_LOOK_SECONDS)
    raise DemoError(f"No table was committed within {_LONGEST_SECONDS} seconds.", hint=f"See {stack.ui_url}.")


def _published(warehouse: Warehouse, dataset_id: str, seq: int) -> LoadRecord | None:
    loads = warehouse.loads(dataset_id=dataset_id, limit=3)
    return next((load for load in loads if load.is_current and load.through_seq >= seq), None)


def _run_start(stack: Stack, run_id: str) -> float:
    """When Dagster says that a run has started, in seconds since 1970."""
    with requests.Session() as session:
        session.trust_env = False
        question = {"query": _RUN_START, "variables": {"id": run_id}}
        answer = session.post(f"{stack.ui_url}/graphql", json=question, timeout=60)
    return float(answer.json()["data"]["runOrError"]["startTime"])


def _summary(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Lines of a table: the median of each dataset, then median and maximum of all events."""
    lines: list[tuple[str, ...]] = []
    for dataset in SANDBOX_DATASETS:
        own = [one for one in measured if one.dataset == dataset]
        if own:
            lines.append((f"{dataset.name}, {own[-1].rows:,} rows", *_figures(median, own)))
    lines.append(("all", *_figures(median, measured)))
    lines.append(("maximum of all", *_figures(max, measured)))
    return lines


def _figures(of: Callable[[Sequence[float]], float], measured: Sequence[Measured]) -> tuple[str, ...]:
    accepted, started, committed = map(of, zip(*(astuple(one.latency) for one in measured), strict=True))
    return f"{accepted:.3f}", f"{started:.2f}", f"{committed:.2f}"


def _markdown(measured: Sequence[Measured]) -> str:
    lines = [f"| {name} | {' | '.join(figures)} |" for name, *figures in _summary(measured)]
    head = [f"| {_HEADING} | {' | '.join(_STAGES)} |", "|---|" + "---:|" * len(_STAGES)]
    table = "\n".join([*head, *lines])
    shortest, longest = _PAUSE_SECONDS
    return f"""{table}

{len(measured)} events, one at a time, for the sandbox's three datasets in turn, each with changed data.
Each is sent at a random time, {shortest} to {longest} s after the previous one was done.
The first round is a warm-up and is not counted.
Sandbox, relay, Dagster (webserver, daemon, code server) and the SQLite target share the machine.
All times start just before the event is sent:

- **event → 202**: the relay has answered, so the event is on disk.
- **→ run started**: Dagster's own start time of the run. Most of it is the start of the run's process.
- **→ table committed**: another connection sees the load as published; it polls every {_LOOK_SECONDS * 1000:.0f} ms.
"""
