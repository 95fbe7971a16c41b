"""Reads Dagster's runs for planning, and tags runs.

Here: which runs are read, the meaning of their status and tags, and the tag of a permanent failure.
Not here: planning (see dispatch).
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import dagster as dg

from qt_pipeline.defs.partitions import PARTITION_TAG
from qt_pipeline.dispatch import KnownRun, RunState, is_orphaned
from qt_pipeline.errors import PermanentError, PipelineError
from qt_pipeline.liveness import RunLocks
from qt_pipeline.safe_text import printable
from qt_pipeline.values import utc_now

DELIVERY_TAG = "qt/delivery"
FAILURE_SCOPE_TAG = "qt/failure_scope"
DATASET_TAG = "qt/dataset"
"""The display name of a run's dataset."""
_FAILURE_TAG = "qt/failure"
_PERMANENT = "permanent"
# Set by the launcher that starts runs as local processes; other launchers monitor their runs.
_LOCAL_TAG = ".dagster/grpc_info"
_KEYS_BATCH_SIZE = 500

_STARTED = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_STATES = {
    dg.DagsterRunStatus.SUCCESS: RunState.SUCCEEDED,
    dg.DagsterRunStatus.FAILURE: RunState.FAILED,
    dg.DagsterRunStatus.CANCELED: RunState.CANCELED,
}
_IN_FLIGHT = [status for status in dg.DagsterRunStatus if status not in _STATES]


def tag_dataset(instance: dg.DagsterInstance, run: dg.DagsterRun, label: str) -> None:
    """Tag a run with the name of its dataset, unless its requester did: the UI and backfills only know the id."""
    if DATASET_TAG not in run.tags:
        instance.add_run_tags(run.run_id, {DATASET_TAG: printable(label)})


def tag_failure(instance: dg.DagsterInstance, run_id: str, error: PipelineError) -> None:
    """Tag a failed run with its failure scope and, for a permanent error, that it must not be retried."""
    permanent = {_FAILURE_TAG: _PERMANENT} if isinstance(error, PermanentError) else {}
    instance.add_run_tags(run_id, {FAILURE_SCOPE_TAG: error.scope.value, **permanent})


def known_runs(instance: dg.DagsterInstance, locks: RunLocks, deliveries: Collection[str]) -> list[KnownRun]:
    """All runs in flight, and all runs of these deliveries, newest first. Fails runs whose process is dead."""
    keys = sorted(deliveries)
    filters = [dg.RunsFilter(statuses=_IN_FLIGHT)]
    filters += [
        dg.RunsFilter(tags={DELIVERY_TAG: keys[start : start + _KEYS_BATCH_SIZE]})
        for start in range(0, len(keys), _KEYS_BATCH_SIZE)
    ]
    records = {
        record.dagster_run.run_id: record for run_filter in filters for record in instance.get_run_records(run_filter)
    }
    newest_first = sorted(records.values(), key=lambda record: record.storage_id, reverse=True)
    return [_known_run(instance, locks, record) for record in newest_first if PARTITION_TAG in record.dagster_run.tags]


def _known_run(instance: dg.DagsterInstance, locks: RunLocks, record: dg.RunRecord) -> KnownRun:
    run = record.dagster_run
    state = _STATES.get(run.status, RunState.IN_FLIGHT)
    if state is RunState.FAILED and run.tags.get(_FAILURE_TAG) == _PERMANENT:
        state = RunState.REFUSED
    if run.status in _STARTED and _LOCAL_TAG in run.tags:
        started = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.update_timestamp
        unseen_for: timedelta = utc_now() - started.astimezone(UTC)
        if is_orphaned(locks.status(run.run_id), unseen_for):
            instance.report_run_failed(
                run,
                "The process of this run and the code server that monitored it have ended. The run will be retried.",
            )
            state = RunState.FAILED
    return KnownRun(run.run_id, run.tags[PARTITION_TAG], state, run.tags.get(DELIVERY_TAG))
