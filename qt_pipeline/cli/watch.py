"""Following what runs in Dagster to its end: looking every few seconds, over short gaps, and showing how far it is.

Here: how long one waits, and what is shown meanwhile. Not here: what is followed (see followed), options (see run).
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
# A daemon that has just been started gives its first sign some seconds after the UI answers.
_DAEMON_SECONDS = 10.0
_NEEDED = ("QUEUED_RUN_COORDINATOR", "BACKFILL")


class DaemonStoppedError(DagsterUnavailableError):
    """Dagster answers, but the part of it that starts runs gives no sign."""


class TimedOutError(TransientError):
    """The wait was as long as it was allowed to be, and nothing has ended."""


@dataclass(frozen=True, slots=True)
class WatchResult:
    """How something ended: for scripts, and for people. `statuses` are those of its runs."""

    statuses: tuple[RunStatus, ...]
    answer: dict[str, object]
    headline: str
    complaints: tuple[str, ...] = ()


class Watched(Protocol):
    """Something in Dagster that is looked at until it is over."""

    def poll(self) -> bool:
        """Ask Dagster how far it is; whether it is over."""
        ...

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is going on now: names, and words for each."""
        ...

    def outcomes(self) -> Sequence[WatchResult]:
        """How it ended."""
        ...

    def detach_hint(self) -> str:
        """A sentence: it goes on without being followed, and how it is canceled."""
        ...


def expect_daemon(api: DagsterApi) -> None:
    """Return if Dagster's daemon runs, without which a run would wait in the queue for ever.

    Raises:
        DaemonStoppedError: it does not.
    """
    deadline = time.monotonic() + _DAEMON_SECONDS
    while True:
        stopped = [daemon for daemon in api.daemons() if daemon.name in _NEEDED and not daemon.is_running]
        if not stopped:
            return
        if time.monotonic() >= deadline:
            silent = stopped[0].silent_seconds
            since = "has given no sign yet" if silent is None else f"has given no sign for {format_duration(silent)}"
            raise DaemonStoppedError(
                f"Dagster answers at {api.url}, but its daemon {since}: what is asked for would wait for ever.",
                hint="Start the daemon: `make dev` runs it with the UI, `dagster-daemon run` alone.",
            )
        time.sleep(0.5)


def watch(followed: Watched, deadline: float | None, *, silent: bool) -> Sequence[WatchResult]:
    """Look until it is over, and say how it ended.

    Raises:
        TimedOutError: it is not over at the `deadline` (of the monotonic clock).
        DagsterUnavailableError: Dagster has not answered for too long, or its daemon is gone.
    """
    with _Display(followed, silent=silent) as display:
        answered = time.monotonic()
        while True:
            try:
                is_over = followed.poll()
                answered = time.monotonic()
                display.show(gap=None)
                if is_over:
                    return followed.outcomes()
            except DagsterUnavailableError as error:
                silent_for = time.monotonic() - answered
                if silent_for >= _GAP_SECONDS or isinstance(error, DaemonStoppedError):
                    raise DagsterUnavailableError(
                        error.message, hint=f"{error.hint} {followed.detach_hint()}"
                    ) from None
                display.show(gap=error)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimedOutError("The time is up.", hint=followed.detach_hint())
            left = _POLL_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            time.sleep(min(_POLL_SECONDS, left))


class _Display:
    """What a person sees meanwhile: a live table in a terminal, else a line for each change."""

    def __init__(self, followed: Watched, *, silent: bool) -> None:
        self._followed = followed
        self._silent = silent
        self._console: Console = console()
        self._live: Live | None = None
        self._began = time.monotonic()
        self._said: dict[str, str] = {}
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
        """Say what has changed."""
        said_gap, self._gap = self._gap, gap
        if self._silent or self._live is not None:
            return
        if gap is not None:
            if said_gap is None:
                self._print(f"{safe_markup(gap.message)} It is asked again.")
            return
        for name, words in self._followed.lines():
            if self._said.get(name) != words:
                self._said[name] = words
                self._print(f"{safe_markup(name.strip())} {safe_markup(words)}")

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        elapsed = format_duration(time.monotonic() - self._began)
        for name, words in self._followed.lines():
            table.add_row(safe_markup(name), elapsed, safe_markup(words))
        if self._gap is not None:
            table.add_row("", "", f"[yellow]{safe_markup(self._gap.message)} It is asked again.[/]")
        return table

    def _print(self, words: str) -> None:
        self._console.print(f"{format_duration(time.monotonic() - self._began):>8}  {words}")
