"""Watched runs of datasets, and a watched backfill.

Here: their state and results, for people and for scripts. Not here: waiting for them (see watch).
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qt_pipeline.cli.output import format_duration, pluralize, safe_markup
from qt_pipeline.cli.watch import WatchResult, expect_daemon
from qt_pipeline.dagster_api import Backfill, DagsterApi, Failure, Run, RunEvents, RunStatus, Stage
from qt_pipeline.values import utc_now

_MAX_EXPLAINED = 20

_STATUS_LABELS = {
    RunStatus.QUEUED: "queued",
    RunStatus.NOT_STARTED: "queued",
    RunStatus.STARTING: "starting",
    RunStatus.STARTED: "running",
    RunStatus.CANCELING: "being canceled",
    RunStatus.CANCELED: "canceled",
    RunStatus.SUCCESS: "succeeded",
    RunStatus.FAILURE: "failed",
}
_STAGE_LABELS = {Stage.DOWNLOAD: "downloading", Stage.LOAD: "loading"}


@dataclass
class _WatchedRun:
    run_id: str
    dataset_id: str
    run: Run | None = None
    events: RunEvents = field(default_factory=RunEvents)


class WatchedRuns:
    """Watched runs, one per dataset."""

    def __init__(self, api: DagsterApi) -> None:
        self._api = api
        self._runs: list[_WatchedRun] = []

    def start(self, dataset_id: str, tags: Mapping[str, str]) -> None:
        """Request a run of a dataset."""
        self._runs.append(_WatchedRun(self._api.launch(dataset_id, tags), dataset_id))

    def started(self) -> list[dict[str, object]]:
        """The started runs, for output."""
        return [
            {"dataset_id": watched.dataset_id, "run_id": watched.run_id, "url": self._api.run_url(watched.run_id)}
            for watched in self._runs
        ]

    def poll(self) -> bool:
        """See Watched."""
        for watched in self._runs:
            if watched.run is None or not watched.run.status.is_over:
                # In this order: a finished run has recorded all its events.
                watched.run = self._api.run(watched.run_id)
                watched.events = self._api.events(watched.run_id, watched.events)
        runs = [watched.run for watched in self._runs if watched.run is not None]
        if any(run.status.waits for run in runs):
            expect_daemon(self._api)
        return all(run.status.is_over for run in runs)

    def lines(self) -> Iterator[tuple[str, str]]:
        """See Watched."""
        for watched in self._runs:
            yield watched.dataset_id, "requested" if watched.run is None else _describe_run(watched.run, watched.events)

    def outcomes(self) -> Sequence[WatchResult]:
        """See Watched."""
        return [self._outcome(watched.run, watched.events) for watched in self._runs if watched.run is not None]

    def detach_hint(self) -> str:
        """See Watched."""
        ids = " ".join(watched.run_id for watched in self._runs)
        return (
            f"{'The run continues' if len(self._runs) == 1 else 'The runs continue'}: {self._api.url}/runs. "
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
    """A watched backfill: one run per dataset, started by Dagster's queue."""

    def __init__(self, api: DagsterApi) -> None:
        self._api = api
        self._backfill: Backfill | None = None
        self._id = ""
        self._datasets = 0
        self._began = time.monotonic()

    def start(self, dataset_ids: Sequence[str], tags: Mapping[str, str]) -> None:
        """Request the backfill."""
        self._id, self._datasets = self._api.launch_backfill(dataset_ids, tags), len(dataset_ids)

    def started(self) -> list[dict[str, object]]:
        """The started runs, for output."""
        url = self._api.backfill_url(self._id)
        return [{"backfill_id": self._id, "datasets": self._datasets, "url": url}] if self._id else []

    def poll(self) -> bool:
        """See Watched."""
        self._backfill = self._api.backfill(self._id)
        if not self._runs or any(run.status.waits for run in self._runs):
            expect_daemon(self._api)
        return self._backfill.is_over

    def lines(self) -> Iterator[tuple[str, str]]:
        """See Watched."""
        yield f"{self._datasets} datasets", self._counted() or "waiting for the daemon"
        for run in self._runs:
            if run.status in (RunStatus.STARTED, RunStatus.STARTING):
                yield f"  {run.dataset_id}", _STATUS_LABELS[run.status]

    def outcomes(self) -> Sequence[WatchResult]:
        """See Watched."""
        if self._backfill is None:
            return []
        # A backfill that was stopped has not requested all its runs.
        missing = self._datasets - len(self._runs)
        missing_status = RunStatus.CANCELED if self._backfill.status == "CANCELED" else RunStatus.FAILURE
        statuses = [run.status for run in self._runs] + [missing_status] * (missing > 0)
        failed = [run for run in self._runs if run.status is RunStatus.FAILURE]
        failures = {run.run_id: self._failure(run) for run in failed[:_MAX_EXPLAINED]}
        answer: dict[str, object] = {
            **self.started()[0],
            "status": self._backfill.status,
            "seconds": round(time.monotonic() - self._began, 1),
            "runs": Counter(run.status.value for run in self._runs),
            "failed": [self._failed(run, failures.get(run.run_id)) for run in failed],
            "error": self._backfill.error,
        }
        explained_runs = ((run, failures[run.run_id]) for run in failed[:_MAX_EXPLAINED])
        complaints = [f"{run.dataset_id}: {failure.message} {failure.hint}".rstrip() for run, failure in explained_runs]
        if failed[_MAX_EXPLAINED:]:
            complaints.append("Also failed: " + ", ".join(str(run.dataset_id) for run in failed[_MAX_EXPLAINED:]) + ".")
        complaints += [self._backfill.error] if self._backfill.error else []
        unrequested = f", {pluralize(missing, 'dataset')} never requested" if missing > 0 else ""
        duration = format_duration(time.monotonic() - self._began)
        headline = f"{pluralize(self._datasets, 'dataset')} after {duration}: {self._counted()}{unrequested}."
        return [WatchResult(tuple(statuses), answer, headline, tuple(complaints))]

    def detach_hint(self) -> str:
        """See Watched."""
        return f"The backfill continues. Cancel it in the UI: {self._api.backfill_url(self._id)}"

    @property
    def _runs(self) -> Sequence[Run]:
        return self._backfill.runs if self._backfill else ()

    def _counted(self) -> str:
        counts = Counter(_STATUS_LABELS.get(run.status, run.status.value) for run in self._runs)
        return ", ".join(f"{count} {label}" for label, count in counts.most_common())

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
    """The error and the fix of a failure, one line each."""
    hint = (f"How to fix: {failure.hint}",) if failure.hint else ()
    return (f"Error:      {failure.message}", *hint)


def _seconds(run: Run) -> float:
    return ((run.ended_at or utc_now()) - run.created_at).total_seconds()
