"""The sensor: on each tick it brings events and runs to the plan, and carries the plan out.

Here: how Dagster's runs are read and asked for. Not here: what is decided about them (see dispatch).
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from qt_pipeline.defs.assets import DATASET, TABLE
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import Dispatcher
from qt_pipeline.dispatch import Delivery, KnownRun, RunState, is_lost, plan
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import PendingEvent
from qt_pipeline.ingest import missing
from qt_pipeline.values import utc_now

DELIVERY_TAG = "qt/delivery"
_PARTITION_TAG = "dagster/partition"
# Set by the launcher that starts runs as processes beside this one; others have monitoring of their own.
_LOCAL_TAG = ".dagster/grpc_info"
_KEYS_AT_ONCE = 500

_STARTED = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_STATES = {
    dg.DagsterRunStatus.SUCCESS: RunState.SUCCEEDED,
    dg.DagsterRunStatus.FAILURE: RunState.FAILED,
    dg.DagsterRunStatus.CANCELED: RunState.CANCELED,
}
_IN_FLIGHT = [status for status in dg.DagsterRunStatus if status not in _STATES]


@dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # its stub leaves a PathLike open
    name="quantemplate_events",
    target=dg.AssetSelection.assets(DATASET, TABLE),
    # Below the 5 seconds of the daemon's own loop: at 5, every other tick would come a moment too early and be skipped.
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads the inbox of events, asks for one run for each dataset that changed, and settles what is done.",
)
def quantemplate_events(
    context: dg.SensorEvaluationContext, dispatcher: dg.ResourceParam[Dispatcher]
) -> dg.SensorResult:
    """One tick. What it writes into the inbox is committed before Dagster sees a request."""
    newest = dispatcher.inbox.newest_seq()
    result = _look(context, dispatcher)
    # The daemon looks every 5 seconds; a tick that stays a while spares most events that wait.
    if not result.run_requests and dispatcher.inbox.wait_for_newer(newest, seconds=dispatcher.wait_seconds):
        result = _look(context, dispatcher)
    return result


def _look(context: dg.SensorEvaluationContext, dispatcher: Dispatcher) -> dg.SensorResult:
    events = dispatcher.inbox.pending()
    runs = _known_runs(context.instance, dispatcher, events)
    ids = {event.dataset_id for event in events if event.dataset_id is not None}
    decided = plan(
        events,
        runs,
        _published(context, dispatcher, ids),
        now=utc_now(),
        policy=dispatcher.policy,
        refused={dataset_id for dataset_id in ids if not dispatcher.catalog.accepts(dataset_id)},
    )
    deliveries = decided.deliveries
    if dispatcher.missing_credentials:
        # Nothing is written either: a delivery that cannot be downloaded would only use up a try.
        reason = f"Nothing can be downloaded; {len(events)} events wait. {missing(dispatcher.missing_credentials)}"
        return dg.SensorResult(
            skip_reason=reason, dynamic_partitions_requests=_new_partitions(context.instance, dispatcher, ())
        )
    dispatcher.inbox.update(decided.updates)
    return dg.SensorResult(
        run_requests=[_run_request(delivery, dispatcher) for delivery in deliveries],
        dynamic_partitions_requests=_new_partitions(context.instance, dispatcher, deliveries),
        skip_reason=None if deliveries else _skip_reason(events, runs),
    )


def _known_runs(instance: dg.DagsterInstance, dispatcher: Dispatcher, events: Sequence[PendingEvent]) -> list[KnownRun]:
    """All runs in flight, and all that carry the delivery of an event, newest first."""
    keys = sorted({event.delivery for event in events if event.delivery is not None})
    filters = [dg.RunsFilter(statuses=_IN_FLIGHT)]
    filters += [
        dg.RunsFilter(tags={DELIVERY_TAG: keys[start : start + _KEYS_AT_ONCE]})
        for start in range(0, len(keys), _KEYS_AT_ONCE)
    ]
    records = {record.dagster_run.run_id: record for found in filters for record in instance.get_run_records(found)}
    newest_first = sorted(records.values(), key=lambda record: record.storage_id, reverse=True)
    return [
        _known_run(instance, dispatcher, record) for record in newest_first if _PARTITION_TAG in record.dagster_run.tags
    ]


def _known_run(instance: dg.DagsterInstance, dispatcher: Dispatcher, record: dg.RunRecord) -> KnownRun:
    run = record.dagster_run
    state = _STATES.get(run.status, RunState.IN_FLIGHT)
    if run.status in _STARTED and _LOCAL_TAG in run.tags:
        started = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.update_timestamp
        unseen_for: timedelta = utc_now() - started.astimezone(UTC)
        if is_lost(dispatcher.locks.look(run.run_id), unseen_for):
            instance.report_run_failed(
                run, "The process of this run is gone, and so is the code server that watched it. It is tried again."
            )
            state = RunState.FAILED
    return KnownRun(run.run_id, run.tags[_PARTITION_TAG], state, run.tags.get(DELIVERY_TAG))


def _published(
    context: dg.SensorEvaluationContext, dispatcher: Dispatcher, dataset_ids: Collection[str]
) -> dict[str, int] | None:
    if not dataset_ids:
        return {}
    try:
        return dispatcher.open_warehouse().published_through(dispatcher.inbox.inbox_id, sorted(dataset_ids))
    except PipelineError as error:
        context.log.warning("Events cannot be settled now. %s", error)
        return None


def _run_request(delivery: Delivery, dispatcher: Dispatcher) -> dg.RunRequest:
    first, last = delivery.events[0], delivery.events[-1]
    return dg.RunRequest(
        run_key=delivery.key,
        partition_key=delivery.dataset_id,
        tags={
            DELIVERY_TAG: delivery.key,
            "qt/dataset": dispatcher.catalog.dataset(delivery.dataset_id).label,
            "qt/events": str(first) if first == last else f"{len(delivery.events)}, from {first} to {last}",
            "qt/attempt": str(delivery.attempt),
        },
    )


def _new_partitions(
    instance: dg.DagsterInstance, dispatcher: Dispatcher, deliveries: Sequence[Delivery]
) -> list[dg.AddDynamicPartitionsRequest]:
    wanted = {delivery.dataset_id for delivery in deliveries} | {d.id for d in dispatcher.catalog.datasets}
    new = wanted - set(instance.get_dynamic_partitions(str(datasets.name)))
    return [datasets.build_add_request(sorted(new))] if new else []


def _skip_reason(events: Sequence[PendingEvent], runs: Sequence[KnownRun]) -> str:
    if not events:
        return "No event waits."
    waiting = {event.dataset_id for event in events if event.dataset_id is not None}
    in_flight = {run.dataset_id for run in runs if run.state is RunState.IN_FLIGHT}
    going = len(waiting & in_flight)
    seen = f"{len(events)} events for {len(waiting)} datasets"
    return f"{seen}: {going} datasets have a run in flight, the others are settled or wait for their next try."
