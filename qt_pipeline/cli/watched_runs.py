"""What can be followed in Dagster: runs of datasets, and a backfill.

Here: how far they are, how they ended, in words and for scripts. Not here: how long one waits for them (see following).
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qt_pipeline.cli.output import format_duration, pluralize, safe_markup
from qt_pipeline.cli.watch import WatchResult, expect_daemon
from qt_pipeline.dagster_api import Backfill, DagsterApi, Failure, Run, RunEvents, RunStatus, Stage
from qt_pipeline.values import utc_now

_EXPLAINED = 20

_STATUS_LABELS = {
    RunStatus.QUEUED: "waits in the queue",
    RunStatus.NOT_STARTED: "waits in the queue",
    RunStatus.STARTING: "starts",
    RunStatus.STARTED: "runs",
    RunStatus.CANCELING: "is being canceled",
    RunStatus.CANCELED: "canceled",
    RunStatus.SUCCESS: "succeeded",
    RunStatus.FAILURE: "failed",
}
_STAGE_LABELS = {Stage.DOWNLOAD: "downloads", Stage.LOAD: "loads"}


@dataclass
class _WatchedRun:
    run_id: str
    dataset_id: str
    run: Run | None = None
    events: RunEvents = field(default_factory=RunEvents)


class WatchedRuns:
    """Runs, one for each dataset."""

    def __init__(self, api: DagsterApi) -> None:
        self._api = api
        self._runs: list[_WatchedRun] = []

    def start(self, dataset_id: str, tags: Mapping[str, str]) -> None:
        """Ask for a run of a dataset."""
        self._runs.append(_WatchedRun(self._api.launch(dataset_id, tags), dataset_id))

    def started(self) -> list[dict[str, object]]:
        """What was started."""
        return [
            {"dataset_id": its.dataset_id, "run_id": its.run_id, "url": self._api.run_url(its.run_id)}
            for its in self._runs
        ]

    def poll(self) -> bool:
        """See Followed."""
        for its in self._runs:
            if its.run is None or not its.run.status.is_over:
                # In this order: a run that is over has told all of its events.
                its.run = self._api.run(its.run_id)
                its.events = self._api.events(its.run_id, its.events)
        runs = [its.run for its in self._runs if its.run is not None]
        if any(run.status.waits for run in runs):
            expect_daemon(self._api)
        return all(run.status.is_over for run in runs)

    def lines(self) -> Iterator[tuple[str, str]]:
        """See Followed."""
        for its in self._runs:
            yield its.dataset_id, "is asked for" if its.run is None else _describe_run(its.run, its.events)

    def outcomes(self) -> Sequence[WatchResult]:
        """See Followed."""
        return [self._outcome(its.run, its.events) for its in self._runs if its.run is not None]

    def detach_hint(self) -> str:
        """See Followed."""
        ids = " ".join(its.run_id for its in self._runs)
        return (
            f"{'The run goes' if len(self._runs) == 1 else 'The runs go'} on: {self._api.url}/runs. "
            f"To cancel: qt-pipeline cancel {ids}"
        )

    def _outcome(self, run: Run, events: RunEvents) -> WatchResult:
        report = events.report
        failure = _failure_of(run, events)
        seconds = _seconds(run)
        answer: dict[str, object] = {
            "dataset_id": run.dataset_id,
            "run_id": run.run_id,
            "url": self._api.run_url(run.run_id),
            "status": run.status.value,
            "seconds": round(seconds, 1),
            "table": report and report.table,
            "rows": report and report.rows,
            "load_id": report and report.load_id,
            "load_status": report and report.status,
            "error": failure and failure.message,
            "hint": failure and failure.hint,
        }
        headline = f"{safe_markup(run.dataset_id or '')}: {_STATUS_LABELS[run.status]} after {format_duration(seconds)}"
        if report is not None and run.status is RunStatus.SUCCESS:
            rows = pluralize(report.rows or 0, "row")
            headline += f": {rows} in {safe_markup(report.table or '')}, {report.status} (load {report.load_id})"
        return WatchResult((run.status,), answer, f"{headline}.", complaints(failure) if failure else ())


class WatchedBackfill:
    """A backfill: a run for each of its datasets, as fast as Dagster's queue lets them."""

    def __init__(self, api: DagsterApi) -> None:
        self._api = api
        self._backfill: Backfill | None = None
        self._id = ""
        self._datasets = 0
        self._began = time.monotonic()

    def start(self, dataset_ids: Sequence[str], tags: Mapping[str, str]) -> None:
        """Ask for the backfill."""
        self._id, self._datasets = self._api.launch_backfill(dataset_ids, tags), len(dataset_ids)

    def started(self) -> list[dict[str, object]]:
        """What was started."""
        url = self._api.backfill_url(self._id)
        return [{"backfill_id": self._id, "datasets": self._datasets, "url": url}] if self._id else []

    def poll(self) -> bool:
        """See Followed."""
        self._backfill = self._api.backfill(self._id)
        if not self._runs or any(run.status.waits for run in self._runs):
            expect_daemon(self._api)
        return self._backfill.is_over

    def lines(self) -> Iterator[tuple[str, str]]:
        """See Followed."""
        yield f"{self._datasets} datasets", self._counted() or "wait for the daemon"
        for run in self._runs:
            if run.status in (RunStatus.STARTED, RunStatus.STARTING):
                yield f"  {run.dataset_id}", _STATUS_LABELS[run.status]

    def outcomes(self) -> Sequence[WatchResult]:
        """See Followed."""
        if self._backfill is None:
            return []
        # Others of a backfill that was given up were never asked for.
        missing = self._datasets - len(self._runs)
        its_own = RunStatus.CANCELED if self._backfill.status == "CANCELED" else RunStatus.FAILURE
        statuses = [run.status for run in self._runs] + [its_own] * (missing > 0)
        failed = [run for run in self._runs if run.status is RunStatus.FAILURE]
        failures = {run.run_id: self._failure(run) for run in failed[:_EXPLAINED]}
        answer: dict[str, object] = {
            **self.started()[0],
            "status": self._backfill.status,
            "seconds": round(time.monotonic() - self._began, 1),
            "runs": Counter(run.status.value for run in self._runs),
            "failed": [self._failed(run, failures.get(run.run_id)) for run in failed],
            "error": self._backfill.error,
        }
        explained = ((run, failures[run.run_id]) for run in failed[:_EXPLAINED])
        complaints = [f"{run.dataset_id}: {failure.message} {failure.hint}".rstrip() for run, failure in explained]
        if failed[_EXPLAINED:]:
            complaints.append("Also failed: " + ", ".join(str(run.dataset_id) for run in failed[_EXPLAINED:]) + ".")
        complaints += [self._backfill.error] if self._backfill.error else []
        never = f", {pluralize(missing, 'dataset')} never asked for" if missing > 0 else ""
        took = format_duration(time.monotonic() - self._began)
        headline = f"{pluralize(self._datasets, 'dataset')} after {took}: {self._counted()}{never}."
        return [WatchResult(tuple(statuses), answer, headline, tuple(complaints))]

    def detach_hint(self) -> str:
        """See Followed."""
        return f"The backfill goes on. It can be canceled in the UI: {self._api.backfill_url(self._id)}"

    @property
    def _runs(self) -> Sequence[Run]:
        return self._backfill.runs if self._backfill else ()

    def _counted(self) -> str:
        counts = Counter(_STATUS_LABELS.get(run.status, run.status.value) for run in self._runs)
        return ", ".join(f"{count} {words}" for words, count in counts.most_common())

    def _failure(self, run: Run) -> Failure:
        return self._api.events(run.run_id).why_failed

    def _failed(self, run: Run, failure: Failure | None) -> dict[str, object]:
        return {
            "dataset_id": run.dataset_id,
            "run_id": run.run_id,
            "url": self._api.run_url(run.run_id),
            "error": failure and failure.message,
            "hint": failure and failure.hint,
        }


def _describe_run(run: Run, events: RunEvents) -> str:
    if run.status is not RunStatus.STARTED or events.stage is None:
        return _STATUS_LABELS.get(run.status, run.status.value.lower())
    return f"{_STAGE_LABELS[events.stage]}: {events.message}" if events.message else _STAGE_LABELS[events.stage]


def _failure_of(run: Run, events: RunEvents) -> Failure | None:
    return events.why_failed if run.status is RunStatus.FAILURE else None


def complaints(failure: Failure) -> tuple[str, ...]:
    """Why something failed and the next step, a line each."""
    hint = (f"What to do:    {failure.hint}",) if failure.hint else ()
    return (f"What happened: {failure.message}", *hint)


def _seconds(run: Run) -> float:
    return ((run.ended_at or utc_now()) - run.created_at).total_seconds()
