"""Waits for runs in Dagster to end: polls every few seconds, tolerates short outages, and shows the progress.

Here: timeouts and the display. Not here: the watched runs (see watched_runs), options (see run).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from qt_pipeline.cli.output import console, format_duration, safe_markup
from qt_pipeline.dagster_api import DagsterApi, DagsterUnavailableError, RunStatus
from qt_pipeline.errors import PipelineError, TransientError

_POLL_SECONDS = 2.0
# A restart of Dagster takes half a minute.
_GAP_SECONDS = 90.0
# A newly started daemon sends its first heartbeat some seconds after the UI responds.
_DAEMON_SECONDS = 10.0
_REQUIRED_DAEMONS = ("QUEUED_RUN_COORDINATOR", "BACKFILL")


class DaemonStoppedError(DagsterUnavailableError):
    """Dagster's UI responds, but the daemon that starts runs sends no heartbeat."""


class TimedOutError(TransientError):
    """The timeout passed before all runs ended."""


@dataclass(frozen=True, slots=True)
class WatchResult:
    """The result of watched runs: `answer` for scripts, the texts for people. `statuses` are those of the runs."""

    statuses: tuple[RunStatus, ...]
    answer: dict[str, object]
    headline: str
    complaints: tuple[str, ...] = ()


class Watched(Protocol):
    """Runs or a backfill in Dagster, polled until they end."""

    def poll(self) -> bool:
        """Read the state from Dagster; whether everything has ended."""
        ...

    def lines(self) -> Iterator[tuple[str, str]]:
        """The current state: pairs of a name and its status text."""
        ...

    def outcomes(self) -> Sequence[WatchResult]:
        """The results after the end."""
        ...

    def detach_hint(self) -> str:
        """A sentence that the work continues unwatched, and how to cancel it."""
        ...


def expect_daemon(api: DagsterApi) -> None:
    """Check that Dagster's daemon is running; without it, a run would stay in the queue forever.

    Raises:
        DaemonStoppedError: it is not running.
    """
    deadline = time.monotonic() + _DAEMON_SECONDS
    while True:
        stopped = [daemon for daemon in api.daemons() if daemon.name in _REQUIRED_DAEMONS and not daemon.is_running]
        if not stopped:
            return
        if time.monotonic() >= deadline:
            age = stopped[0].silent_seconds
            problem = (
                "has sent no heartbeat yet" if age is None else f"has sent no heartbeat for {format_duration(age)}"
            )
            raise DaemonStoppedError(
                f"Dagster responds at {api.url}, but its daemon {problem}: requested runs would not start.",
                hint="Start the daemon: `make dev` runs it with the UI, `dagster-daemon run` without.",
            )
        time.sleep(0.5)


def watch(watched: Watched, deadline: float | None, *, silent: bool) -> Sequence[WatchResult]:
    """Poll until the runs end, and return their results.

    Raises:
        TimedOutError: it is not over at the `deadline` (of the monotonic clock).
        DagsterUnavailableError: Dagster was unreachable for too long, or its daemon has stopped.
    """
    with _Display(watched, silent=silent) as display:
        answered_at = time.monotonic()
        while True:
            try:
                is_over = watched.poll()
                answered_at = time.monotonic()
                display.show(gap=None)
                if is_over:
                    return watched.outcomes()
            except DagsterUnavailableError as error:
                silent_for = time.monotonic() - answered_at
                if silent_for >= _GAP_SECONDS or isinstance(error, DaemonStoppedError):
                    raise DagsterUnavailableError(error.message, hint=f"{error.hint} {watched.detach_hint()}") from None
                display.show(gap=error)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimedOutError("Timed out.", hint=watched.detach_hint())
            remaining = _POLL_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            time.sleep(min(_POLL_SECONDS, remaining))


class _Display:
    """The progress display: a live table in a terminal, otherwise one line per change."""

    def __init__(self, watched: Watched, *, silent: bool) -> None:
        self._watched = watched
        self._silent = silent
        self._console: Console = console()
        self._live: Live | None = None
        self._began = time.monotonic()
        self._printed: dict[str, str] = {}
        self._gap: PipelineError | None = None

    def __enter__(self) -> Self:
        if not self._silent and self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, *, gap: PipelineError | None) -> None:
        """Print what has changed."""
        previous_gap, self._gap = self._gap, gap
        if self._silent or self._live is not None:
            return
        if gap is not None:
            if previous_gap is None:
                self._print(f"{safe_markup(gap.message)} Retrying.")
            return
        for name, status in self._watched.lines():
            if self._printed.get(name) != status:
                self._printed[name] = status
                self._print(f"{safe_markup(name.strip())} {safe_markup(status)}")

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        elapsed = format_duration(time.monotonic() - self._began)
        for name, status in self._watched.lines():
            table.add_row(safe_markup(name), elapsed, safe_markup(status))
        if self._gap is not None:
            table.add_row("", "", f"[yellow]{safe_markup(self._gap.message)} Retrying.[/]")
        return table

    def _print(self, text: str) -> None:
        self._console.print(f"{format_duration(time.monotonic() - self._began):>8}  {text}")
