"""How runs ended: which are over since the last look, and why one failed.

Here: what is read from Dagster's records of runs and of their events. Not here: what is made of it (see alerting).
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
# A run is dated by the clock of its own machine, and seen when that is committed.
_OVERLAP = timedelta(minutes=2)
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
_REPORT_IT = "See the run's log. If it repeats, report it."


@dataclass(frozen=True, slots=True)
class FinishedRuns:
    """Runs that ended well or failed, and what the next look must know to see each of them once.

    `complete` is False when there are more of them than one look reads.
    """

    runs: tuple[FinishedRun, ...]
    until: datetime
    seen: Mapping[str, datetime]
    complete: bool


def finished_runs(
    instance: dg.DagsterInstance, *, until: datetime | None, seen: Mapping[str, datetime], now: datetime
) -> FinishedRuns:
    """The runs of datasets that are over since the last look, which came up to `until` and has `seen` the last ones.

    What is older than a day is left alone. A canceled run has neither loaded nor failed.
    """
    since = now - _LOOKBACK if until is None else max(until, now - _LOOKBACK)
    limit = _BATCH_SIZE + len(seen)
    records = instance.get_run_records(
        dg.RunsFilter(statuses=_ENDED, updated_after=since - _OVERLAP),
        limit=limit,
        order_by="update_timestamp",
        ascending=True,
    )
    dated = {record.dagster_run.run_id: record.update_timestamp.astimezone(UTC) for record in records}
    until = max([since, *dated.values()])
    ended = (_finished(record) for record in records if record.dagster_run.run_id not in seen)
    return FinishedRuns(
        # A tag that somebody gives to an old run makes it no new one.
        runs=tuple(run for run in ended if run is not None and run.ended_at > since - _OVERLAP),
        until=until,
        seen={run_id: moment for run_id, moment in {**seen, **dated}.items() if moment > until - _OVERLAP},
        complete=len(records) < limit,
    )


def why_failed(instance: dg.DagsterInstance, run_id: str) -> Cause | None:
    """What happened and what to do, as the run itself says; None if it says nothing.

    Words of errors that are not our own are left out: they may repeat values of rows.
    """
    run = instance.get_run_by_id(run_id)
    records = instance.get_records_for_run(run_id, of_type=_FAILURES, ascending=False).records
    events = [record.event_log_entry.dagster_event for record in records]
    causes = [_cause(event, is_ours=run is not None and FAILURE_SCOPE_TAG in run.tags) for event in events if event]
    # A step that failed says more than the run that failed of it.
    told = sorted((cause for cause in causes if cause is not None), key=lambda cause: not cause.hint)
    return told[0] if told else None


def _finished(record: dg.RunRecord) -> FinishedRun | None:
    run = record.dagster_run
    if PARTITION_TAG not in run.tags:
        return None
    ended_at = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
    concern = run.tags.get(FAILURE_SCOPE_TAG, "")
    return FinishedRun(
        run_id=run.run_id,
        dataset_id=run.tags[PARTITION_TAG],
        ended_at=ended_at.astimezone(UTC),
        failed=run.status is dg.DagsterRunStatus.FAILURE,
        scope=FailureScope(concern) if concern in set(FailureScope) else FailureScope.DATASET,
    )


def _cause(event: dg.DagsterEvent, *, is_ours: bool) -> Cause | None:
    explained = event.step_failure_data.user_failure_data if event.is_step_failure else None
    if explained is not None and "error" in explained.metadata:
        words = {name: str(entry.value) for name, entry in explained.metadata.items()}
        return Cause(words["error"], words.get("how to fix", _REPORT_IT))
    error = getattr(event.event_specific_data, "error", None)
    if error is None:
        return Cause(event.message) if event.message and event.is_run_failure else None
    while error.cause is not None:
        error = error.cause
    if is_ours:
        # `module.Class: words`, of an error before the first step.
        return Cause(error.message.partition(": ")[2].strip())
    return Cause(f"It failed unexpectedly ({error.cls_name}).", _REPORT_IT)
