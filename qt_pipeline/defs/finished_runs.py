"""Finished runs since the last tick, and why a run failed.

Here: reading Dagster's run records and events. Not here: incidents (see alerting).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from qt_pipeline.alerting import Cause, FinishedRun
from qt_pipeline.defs.partitions import PARTITION_TAG
from qt_pipeline.defs.runs import FAILURE_SCOPE_TAG
from qt_pipeline.errors import FailureScope

_BATCH_SIZE = 500
_LOOKBACK = timedelta(days=1)
# A run has the time of its own machine's clock, and becomes visible later, when that is committed.
_OVERLAP = timedelta(minutes=2)
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
_REPORT_IT = "See the run's log. If it repeats, report it."


@dataclass(frozen=True, slots=True)
class FinishedRuns:
    """Runs that succeeded or failed, and the position (`until`, `seen`) from which the next tick continues.

    `complete` is False when more runs finished than one tick reads.
    """

    runs: tuple[FinishedRun, ...]
    until: datetime
    seen: Mapping[str, datetime]
    complete: bool


def finished_runs(
    instance: dg.DagsterInstance, *, until: datetime | None, seen: Mapping[str, datetime], now: datetime
) -> FinishedRuns:
    """The runs of datasets that finished after the position (`until`, `seen`) of the last tick.

    Skips runs that finished over a day ago, and canceled runs: they neither loaded nor failed.
    """
    since = now - _LOOKBACK if until is None else max(until, now - _LOOKBACK)
    limit = _BATCH_SIZE + len(seen)
    records = instance.get_run_records(
        dg.RunsFilter(statuses=_FINISHED, updated_after=since - _OVERLAP),
        limit=limit,
        order_by="update_timestamp",
        ascending=True,
    )
    dated = {record.dagster_run.run_id: record.update_timestamp.astimezone(UTC) for record in records}
    until = max([since, *dated.values()])
    finished = (_finished(record) for record in records if record.dagster_run.run_id not in seen)
    return FinishedRuns(
        # Adding a tag updates an old run; it did not finish again.
        runs=tuple(run for run in finished if run is not None and run.ended_at > since - _OVERLAP),
        until=until,
        seen={run_id: updated_at for run_id, updated_at in {**seen, **dated}.items() if updated_at > until - _OVERLAP},
        complete=len(records) < limit,
    )


def why_failed(instance: dg.DagsterInstance, run_id: str) -> Cause | None:
    """The error and the fix that the failed run recorded; None if it recorded none.

    Omits messages of foreign exceptions: they may contain values of rows.
    """
    run = instance.get_run_by_id(run_id)
    records = instance.get_records_for_run(run_id, of_type=_FAILURES, ascending=False).records
    events = [record.event_log_entry.dagster_event for record in records]
    causes = [_cause(event, is_ours=run is not None and FAILURE_SCOPE_TAG in run.tags) for event in events if event]
    # The failure of a step says more than the failure of the run.
    ordered = sorted((cause for cause in causes if cause is not None), key=lambda cause: not cause.hint)
    return ordered[0] if ordered else None


def _finished(record: dg.RunRecord) -> FinishedRun | None:
    run = record.dagster_run
    if PARTITION_TAG not in run.tags:
        return None
    ended_at = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
    scope = run.tags.get(FAILURE_SCOPE_TAG, "")
    return FinishedRun(
        run_id=run.run_id,
        dataset_id=run.tags[PARTITION_TAG],
        ended_at=ended_at.astimezone(UTC),
        failed=run.status is dg.DagsterRunStatus.FAILURE,
        scope=FailureScope(scope) if scope in set(FailureScope) else FailureScope.DATASET,
    )


def _cause(event: dg.DagsterEvent, *, is_ours: bool) -> Cause | None:
    failure = event.step_failure_data.user_failure_data if event.is_step_failure else None
    if failure is not None and "error" in failure.metadata:
        metadata = {name: str(entry.value) for name, entry in failure.metadata.items()}
        return Cause(metadata["error"], metadata.get("how to fix", _REPORT_IT))
    error = getattr(event.event_specific_data, "error", None)
    if error is None:
        return Cause(event.message) if event.message and event.is_run_failure else None
    while error.cause is not None:
        error = error.cause
    if is_ours:
        # An error before the first step reads `module.Class: message`.
        return Cause(error.message.partition(": ")[2].strip())
    return Cause(f"Unexpected error ({error.cls_name}).", _REPORT_IT)
