"""The sensor: on each tick it brings events and runs to the plan, and carries the plan out.

Here: what a tick reads, writes, asks for and says. Not here: what is decided (see dispatch), what Dagster knows of runs
(see runs).
"""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from qt_pipeline.defs.assets import DATASET, EVENTS, TABLE
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import Dispatcher
from qt_pipeline.defs.runs import DELIVERY_TAG, known_runs
from qt_pipeline.dispatch import Delivery, KnownRun, RunState, plan, surplus
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import EventState, OpenEvents
from qt_pipeline.ingest import missing
from qt_pipeline.quantemplate import DATASET_UPDATED
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import Reached

_NOT_LISTED = "The catalog refuses datasets that it does not list. List this one, then replay the event."
_TOO_MANY = (
    "There are {most} datasets, the most that QT_MAX_DATASETS allows. List this one in the catalog or raise the limit, "
    "then replay the event."
)


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
    inbox = dispatcher.inbox
    pending, parked = inbox.open_events(EventState.PENDING), inbox.open_events(EventState.PARKED)
    partitions = set(context.instance.get_dynamic_partitions(str(datasets.name)))
    deliveries = {group.delivery for group in pending if group.delivery is not None}
    runs = known_runs(context.instance, dispatcher.locks, deliveries)
    if dispatcher.missing_credentials:
        # Nothing is written: a delivery that cannot be downloaded would only use up a try.
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
    counts = {state.value: count for state, count in inbox.counts().items()}
    return dg.SensorResult(
        run_requests=[_run_request(delivery, dispatcher) for delivery in decided.deliveries],
        dynamic_partitions_requests=_additions(partitions, dispatcher, decided.deliveries),
        skip_reason=None if decided.deliveries else _skip_reason(pending, runs, counts),
        # The cursor only says what was observed last, so that each change is one observation.
        asset_events=[] if str(counts) == context.cursor else [_observation(counts)],
        cursor=str(counts),
    )


def _refused(pending: Sequence[OpenEvents], partitions: Collection[str], dispatcher: Dispatcher) -> Mapping[str, str]:
    named = [group.dataset_id for group in pending if group.name == DATASET_UPDATED and group.dataset_id is not None]
    unlisted = {dataset_id: _NOT_LISTED for dataset_id in named if not dispatcher.catalog.accepts(dataset_id)}
    known = {*partitions, *(dataset.id for dataset in dispatcher.catalog.datasets)}
    wanted = (dataset_id for dataset_id in named if dataset_id not in unlisted)
    too_many = _TOO_MANY.format(most=dispatcher.max_datasets)
    return dict.fromkeys(surplus(wanted, known, dispatcher.max_datasets), too_many) | unlisted


def _reached(
    context: dg.SensorEvaluationContext, dispatcher: Dispatcher, events: Sequence[OpenEvents]
) -> dict[str, Reached] | None:
    dataset_ids = {group.dataset_id for group in events if group.dataset_id is not None}
    if not dataset_ids:
        return {}
    try:
        return dispatcher.open_warehouse().reached(dispatcher.inbox.inbox_id, sorted(dataset_ids))
    except PipelineError as error:
        context.log.warning("Events cannot be settled now. %s", error)
        return None


def _run_request(delivery: Delivery, dispatcher: Dispatcher) -> dg.RunRequest:
    first, last = delivery.first, delivery.last
    return dg.RunRequest(
        run_key=delivery.key,
        partition_key=delivery.dataset_id,
        tags={
            DELIVERY_TAG: delivery.key,
            "qt/dataset": dispatcher.catalog.dataset(delivery.dataset_id).label,
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
    aside = f" {parked} are parked: see `qt-pipeline events --state parked`." if parked else ""
    if not pending:
        return f"No event waits.{aside}"
    going = {run.dataset_id for run in runs if run.state is RunState.IN_FLIGHT}
    busy = len({group.dataset_id for group in pending} & going)
    others = "the others are settled or wait for their next try or look"
    return f"{_waiting(pending)}: {busy} have a run in flight, {others}.{aside}"


def _waiting(pending: Sequence[OpenEvents]) -> str:
    number = len({group.dataset_id for group in pending if group.dataset_id is not None})
    return f"events wait for {number} dataset{'' if number == 1 else 's'}"


def _observation(counts: Mapping[str, int]) -> dg.AssetObservation:
    return dg.AssetObservation(EVENTS.key, metadata={state: dg.MetadataValue.int(n) for state, n in counts.items()})
