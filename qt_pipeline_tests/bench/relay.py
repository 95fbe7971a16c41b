"""What the relay stands, beside what its disk can commit: throughput under full load, and latency at a moderate one.

Here: the two loads, SQLite alone, and what is written of them. Not here: the clients (see senders).
"""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Column, Table

from qt_pipeline.demo import Ports, Stack, free_ports
from qt_pipeline_tests.bench.document import Section
from qt_pipeline_tests.bench.senders import Load
from qt_pipeline_tests.relay.posting import event
from qt_pipeline_tests.relay.running import TOKEN, scraped

_CONNECTIONS = 128
_RATE = 500
_RATE_CONNECTIONS = 32
_WARM_UP_SECONDS = 2
_SQLITE_SECONDS = 5
_COLUMNS = ("", "events/s", "slowest second", "commits/s", "p50", "p99", "longest")


@dataclass(frozen=True, slots=True)
class _Measured:
    load: Load
    commits_per_second: float

    @property
    def group(self) -> float:
        """Events of one commit, on average."""
        return self.load.per_second / self.commits_per_second


def run(*, seconds: int, console: Console) -> Section:
    """Measure for this long each, print the figures, and return the section that tells of them."""
    with TemporaryDirectory(prefix="qt-bench-") as folder:
        ports = free_ports(Ports(sandbox=8641, relay=8642, dagster=3000), console.print)
        stack = Stack(Path(folder), ports, settings={"QT_RELAY_TOKENS": TOKEN})
        try:
            stack.start_relay()
            _measure(stack, connections=_CONNECTIONS, seconds=_WARM_UP_SECONDS, rate=0)
            full = _measure(stack, connections=_CONNECTIONS, seconds=seconds, rate=0)
            moderate = _measure(stack, connections=_RATE_CONNECTIONS, seconds=seconds, rate=_RATE)
        finally:
            stack.stop_all()
        group = max(1, round(full.group))
        single_commits = _commits_per_second(Path(folder) / "single.db", group=1)
        group_commits = _commits_per_second(Path(folder) / "groups.db", group=group)
    lines = [
        _line(f"relay, {_CONNECTIONS} clients, as fast as it answers", full),
        _line(f"relay, {_RATE} events/s offered", moderate),
        _sqlite_line("SQLite alone, a commit for each event", single_commits, 1),
        _sqlite_line(f"SQLite alone, groups of {group}", group_commits, group),
    ]
    table = Table(Column(_COLUMNS[0], no_wrap=True), *(Column(name, justify="right") for name in _COLUMNS[1:]))
    for line in lines:
        table.add_row(*line)
    console.print(table)
    return Section(name="relay", title="The relay under load", text=_markdown(lines, seconds))


def _measure(stack: Stack, *, connections: int, seconds: int, rate: float) -> _Measured:
    log = stack.state_dir / "logs" / "relay.log"
    command = [sys.executable, "-m", "qt_pipeline_tests.bench.senders"]
    arguments = map(str, (stack.ports.relay, connections, seconds, rate))
    before = scraped(log)
    sent = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    after = scraped(log)
    load = Load(**json.loads(sent.stdout))
    accepted = after["qt_relay_events_accepted_total"] - before["qt_relay_events_accepted_total"]
    assert accepted == load.accepted, "what was acknowledged is not what was stored"
    commits = after["qt_relay_commit_seconds_count"] - before["qt_relay_commit_seconds_count"]
    return _Measured(load, commits * load.per_second / load.accepted)


def _commits_per_second(file: Path, *, group: int) -> float:
    """How often plain SQLite commits so many events, with the durability of the inbox and nothing around it."""
    numbers = count()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT, body BLOB)")
        began, commits = time.perf_counter(), 0
        while time.perf_counter() < began + _SQLITE_SECONDS:
            ids = [f"event-{next(numbers)}" for _ in range(group)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO events (event_id, body) VALUES (?, ?)", [(i, event(i)) for i in ids])
            connection.execute("COMMIT")
            commits += 1
        return commits / (time.perf_counter() - began)


def _line(name: str, measured: _Measured) -> tuple[str, ...]:
    load = measured.load
    times = (f"{milliseconds:.1f} ms" for milliseconds in (load.p50, load.p99, load.longest))
    return (name, f"{load.per_second:,.0f}", f"{load.slowest_second:,}", f"{measured.commits_per_second:,.0f}", *times)


def _sqlite_line(name: str, commits_per_second: float, group: int) -> tuple[str, ...]:
    return (name, f"{commits_per_second * group:,.0f}", "", f"{commits_per_second:,.0f}", "", "", "")


def _markdown(lines: list[tuple[str, ...]], seconds: int) -> str:
    table = "\n".join(f"| {' | '.join(line)} |" for line in [_COLUMNS, ("---", *["---:"] * 6), *lines])
    return f"""{table}

{seconds} s each. The relay is `qt-pipeline relay` on an inbox in SQLite. The clients are one process beside it, with
persistent connections and one request at a time on each. Every answer was 202, after the commit of its event.
At a given rate, times start when the event was due, so that a delayed client hides no latency.
"SQLite alone" is its driver in a loop on the same disk, in WAL mode with `synchronous=FULL`, without HTTP.
"""
