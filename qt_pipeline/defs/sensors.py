"""The events sensor: each tick reads events and runs, plans, and executes the plan.

Here: what a tick reads, writes and requests, and its skip message. Not here: planning (see dispatch), reading runs (see
runs).
"""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import dagster as dg

from qt_pipeline.defs.assets import DATASET, EVENTS, TABLE
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import Dispatcher
from qt_pipeline.defs.runs import DATASET_TAG, DELIVERY_TAG, known_runs
from qt_pipeline.dispatch import Delivery, KnownRun, RunState, over_limit, plan
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import EventState, InboxUnavailableError, OpenEvents
from qt_pipeline.ingest import missing
from qt_pipeline.quantemplate import DATASET_UPDATED
from qt_pipeline.safe_text import printable
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import LoadProgress

# Below the 5 seconds of the daemon's loop: with 5, every other tick would come slightly too early and be skipped.
_SECONDS = 1

# Limits of the work of a tick before planning.
_MAX_MESSAGES = 2000
_DRAIN_SECONDS = 10
_QUEUE_POLL_SECONDS = 1
_PURGE_BATCH_SIZE = 100_000

_NOT_LISTED = "The catalog rejects unlisted datasets. List this dataset, then replay the event."
_TOO_MANY = (
    "The limit of {limit} datasets (QT_MAX_DATASETS) is reached. List this dataset in the catalog or raise the limit, "
    "then replay the event."
)


def events_sensor(interval_seconds: int = _SECONDS) -> dg.SensorDefinition:
    """Build the sensor that requests runs for events."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # its stub has a PathLike without a type argument
        name="quantemplate_events",
        target=dg.AssetSelection.assets(DATASET, TABLE),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reads the inbox of events, requests one run per changed dataset, and settles events.",
    )
    def quantemplate_events(
        context: dg.SensorEvaluationContext, dispatcher: dg.ResourceParam[Dispatcher]
    ) -> dg.SensorResult:
        """Evaluate one tick. Its inbox updates are committed before Dagster gets a run request."""
        _drain_queue(context, dispatcher)
        newest = dispatcher.inbox.newest_seq()
        result = _evaluate_tick(context, dispatcher)
        # The daemon ticks every 5 seconds; a tick that waits for events saves most events that delay.
        if not result.run_requests and _waited_for_newer(context, dispatcher, newest):
            result = _evaluate_tick(context, dispatcher)
        return result

    return quantemplate_events


def _drain_queue(context: dg.SensorEvaluationContext, dispatcher: Dispatcher) -> int:
    """Move messages from the queue into the inbox, if there is a queue. Returns the number of moved events."""
    if dispatcher.queue is None:
        return 0
    try:
        drained = dispatcher.queue.drain_into(dispatcher.inbox, limit=_MAX_MESSAGES, seconds=_DRAIN_SECONDS)
    except InboxUnavailableError as error:
        context.log.warning("Events stay in the queue for now. %s", printable(str(error)))
        return 0
    if drained.poisoned:
        context.log.warning(
            "%d messages of the queue are not valid events and were moved to the poison queue.", drained.poisoned
        )
    return drained.moved


def _waited_for_newer(context: dg.SensorEvaluationContext, dispatcher: Dispatcher, newest: int) -> bool:
    if dispatcher.queue is None:
        return dispatcher.inbox.wait_for_newer(newest, seconds=dispatcher.wait_seconds)
    deadline = time.monotonic() + dispatcher.wait_seconds
    while time.monotonic() < deadline:
        time.sleep(min(_QUEUE_POLL_SECONDS, dispatcher.wait_seconds))
        if _drain_queue(context, dispatcher):
            return True
    return False


def _evaluate_tick(context: dg.SensorEvaluationContext, dispatcher: Dispatcher) -> dg.SensorResult:
    inbox = dispatcher.inbox
    pending, parked = inbox.open_events(EventState.PENDING), inbox.open_events(EventState.PARKED)
    partitions = set(context.instance.get_dynamic_partitions(str(datasets.name)))
    deliveries = {group.delivery for group in pending if group.delivery is not None}
    runs = known_runs(context.instance, dispatcher.locks, deliveries)
    if dispatcher.missing_credentials:
        # Nothing is written: a delivery that cannot be downloaded would only use up an attempt.
        reason = f"Nothing can be downloaded; {_waiting(pending)}. {missing(dispatcher.missing_credentials)}"
        return dg.SensorResult(skip_reason=reason, dynamic_partitions_requests=_additions(partitions, dispatcher, ()))
    decided = plan(
        [*pending, *parked],
        runs,
        _reached(context, dispatcher, [*pending, *parked]),
        now=utc_now(),
        policy=dispatcher.policy,
        refused=_refused(pending, partitions, dispatcher),
    )
    inbox.update(decided.updates)
    before = _Cursor.of(context.cursor)
    after = _Cursor(
        purged=_purge(dispatcher, before.purged), counts={str(state): n for state, n in inbox.counts().items()}
    )
    return dg.SensorResult(
        run_requests=[_run_request(delivery, dispatcher) for delivery in decided.deliveries],
        dynamic_partitions_requests=_additions(partitions, dispatcher, decided.deliveries),
        skip_reason=None if decided.deliveries else _skip_reason(pending, runs, after.counts),
        asset_events=[] if after.counts == before.counts else [_observation(after.counts)],
        cursor=after.as_cursor(),
    )


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What one tick passes to the next as Dagster's cursor; no event depends on it.

    `counts` are the last observed event counts, so that each change is one observation. `purged` is the hour of the
    last purge.
    """

    purged: str = ""
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, cursor: str | None) -> "_Cursor":
        return cls(**json.loads(cursor)) if cursor else cls()

    def as_cursor(self) -> str:
        return json.dumps(asdict(self))


def _purge(dispatcher: Dispatcher, purged: str) -> str:
    """Delete old events once an hour. Returns the hour of the last purge."""
    now = utc_now()
    hour = f"{now:%Y-%m-%d %H}"
    if dispatcher.retention is not None and hour != purged:
        dispatcher.inbox.purge(now - dispatcher.retention, limit=_PURGE_BATCH_SIZE)
    return hour


def _refused(pending: Sequence[OpenEvents], partitions: Collection[str], dispatcher: Dispatcher) -> Mapping[str, str]:
    named = [group.dataset_id for group in pending if group.name == DATASET_UPDATED and group.dataset_id is not None]
    unlisted = {dataset_id: _NOT_LISTED for dataset_id in named if not dispatcher.catalog.accepts(dataset_id)}
    known = {*partitions, *(dataset.id for dataset in dispatcher.catalog.datasets)}
    wanted = (dataset_id for dataset_id in named if dataset_id not in unlisted)
    too_many = _TOO_MANY.format(limit=dispatcher.max_datasets)
    return dict.fromkeys(over_limit(wanted, known, dispatcher.max_datasets), too_many) | unlisted


def _reached(
    context: dg.SensorEvaluationContext, dispatcher: Dispatcher, events: Sequence[OpenEvents]
) -> dict[str, LoadProgress] | None:
    dataset_ids = {group.dataset_id for group in events if group.dataset_id is not None}
    if not dataset_ids:
        return {}
    try:
        return dispatcher.open_warehouse().reached(dispatcher.inbox.inbox_id, sorted(dataset_ids))
    except PipelineError as error:
        context.log.warning("Events cannot be settled now. %s", printable(str(error)))
        return None


def _run_request(delivery: Delivery, dispatcher: Dispatcher) -> dg.RunRequest:
    first, last = delivery.first, delivery.last
    return dg.RunRequest(
        run_key=delivery.key,
        partition_key=delivery.dataset_id,
        tags={
            DELIVERY_TAG: delivery.key,
            DATASET_TAG: printable(dispatcher.catalog.dataset(delivery.dataset_id).label),
            "qt/events": str(first) if first == last else f"{first} to {last}",
            "qt/attempt": str(delivery.attempt),
        },
    )


def _additions(
    partitions: Collection[str], dispatcher: Dispatcher, deliveries: Sequence[Delivery]
) -> list[dg.AddDynamicPartitionsRequest]:
    wanted = {delivery.dataset_id for delivery in deliveries} | {d.id for d in dispatcher.catalog.datasets}
    new = wanted.difference(partitions)
    return [datasets.build_add_request(sorted(new))] if new else []


def _skip_reason(pending: Sequence[OpenEvents], runs: Sequence[KnownRun], counts: Mapping[str, int]) -> str:
    parked = counts[EventState.PARKED]
    parked_note = f" {parked} are parked: see `qt-pipeline events --state parked`." if parked else ""
    if not pending:
        return f"No pending events.{parked_note}"
    in_flight = {run.dataset_id for run in runs if run.state is RunState.IN_FLIGHT}
    busy = len({group.dataset_id for group in pending} & in_flight)
    others = "the others are settled or wait for their next retry or recheck"
    return f"{_waiting(pending)}: {busy} have a run in flight, {others}.{parked_note}"


def _waiting(pending: Sequence[OpenEvents]) -> str:
    number = len({group.dataset_id for group in pending if group.dataset_id is not None})
    return f"events of {number} dataset{'' if number == 1 else 's'} are pending"


def _observation(counts: Mapping[str, int]) -> dg.AssetObservation:
    return dg.AssetObservation(EVENTS.key, metadata={state: dg.MetadataValue.int(n) for state, n in counts.items()})
