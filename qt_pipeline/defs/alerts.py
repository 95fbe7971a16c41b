"""The alerts sensor: each tick updates the incidents and sends pending notifications.

Here: what a tick reads, and its skip message. Not here: what opens an incident and when it is notified (see alerting),
reading finished runs (see finished_runs).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg

from qt_pipeline.alerting import (
    KINDS,
    SHARED,
    AlertKind,
    AlertState,
    AlertStore,
    Cause,
    ColumnChange,
    MessageContext,
    Observations,
    PendingNotifications,
    SendResult,
    as_text,
    datasets_named,
    from_text,
    merged,
    notify,
    observe,
    runs_named,
)
from qt_pipeline.catalog import Catalog
from qt_pipeline.defs.finished_runs import finished_runs, why_failed
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import AlertMonitor
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import EventState, Inbox
from qt_pipeline.ingest import stale
from qt_pipeline.safe_text import printable
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import LoadRecord

_SECONDS = 20
_NO_ADDRESS = "QT_ALERT_URLS is not set: no alerts are sent."
_PARKED = "Events of this dataset are parked."
# Reading the newest load of all datasets is slow with a long ledger, and staleness is measured in hours.
_LEDGER_PAUSE = timedelta(minutes=5)

ContextLoader = Callable[[Sequence[PendingNotifications]], MessageContext]


def alerts_sensor(interval_seconds: int = _SECONDS) -> dg.SensorDefinition:
    """Build the sensor that sends alerts."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # its stub has a PathLike without a type argument
        name="quantemplate_alerts",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts the addresses of QT_ALERT_URLS about failures, parked events, stale datasets and changed "
        "columns: one message each, and one on recovery.",
    )
    def quantemplate_alerts(
        context: dg.SensorEvaluationContext, monitor: dg.ResourceParam[AlertMonitor]
    ) -> dg.SensorResult | dg.SkipReason:
        """Evaluate one tick. What cannot be read or sent now is left for the next tick."""
        if not monitor.routing.addresses:
            return dg.SkipReason(_NO_ADDRESS)
        now = utc_now()
        try:
            state, results = _evaluate_tick(context, monitor, now)
            # The incidents that the cursor kept while the inbox was unavailable are in the inbox now.
            cursor = as_text(AlertState()) if context.cursor else None
        except PipelineError as error:
            state, results = _evaluate_without_inbox(context, monitor, error, now)
            cursor = as_text(state)
        return dg.SensorResult(skip_reason=_skip_reason(state, results), cursor=cursor)

    return quantemplate_alerts


def _evaluate_tick(
    context: dg.SensorEvaluationContext, monitor: AlertMonitor, now: datetime
) -> tuple[AlertState, list[SendResult]]:
    store, inbox = monitor.open_store(), monitor.open_inbox()
    before = store.read()
    checkpoint = before.checkpoint
    finished = finished_runs(context.instance, until=checkpoint.runs_until, seen=checkpoint.runs_seen, now=now)
    unread = {run.run_id: run.dataset_id for run in finished.runs if not run.failed}
    checkpoint = replace(
        checkpoint, runs_until=finished.until, runs_seen=finished.seen, unread={**before.checkpoint.unread, **unread}
    )
    catalog, problems = _catalog(monitor)
    observed = Observations(
        runs=finished.runs,
        parked={group.dataset_id for group in inbox.open_events(EventState.PARKED) if group.dataset_id is not None},
        known=None if catalog is None else _known_datasets(context.instance, catalog),
        detected=problems,
    )
    state = AlertState(checkpoint, observe(merged(before.incidents, from_text(context.cursor)), observed, now=now))
    # Written before anything else can fail, so that no run is counted twice.
    store.write(before, state)
    if catalog is not None:
        state = _read_ledger(context, monitor, store, state, observed=observed, catalog=catalog, now=now)
    if not finished.complete:
        # The remaining runs may close incidents that have just opened.
        return state, []
    load_context = _context_loader(context.instance, monitor, catalog, inbox, observed.parked)
    return notify(state, monitor.routing, now=now, save=store.write, load_context=load_context)


def _evaluate_without_inbox(
    context: dg.SensorEvaluationContext, monitor: AlertMonitor, error: PipelineError, now: datetime
) -> tuple[AlertState, list[SendResult]]:
    """Evaluate a tick without the inbox: the cursor keeps the incidents, which the inbox would store."""
    detected = {SHARED.get(error.scope, AlertKind.INBOX): Cause(error.message, error.hint)}
    state = AlertState(
        incidents=observe(merged({}, from_text(context.cursor)), Observations(detected=detected), now=now)
    )
    load_context = _context_loader(context.instance, monitor, None, None, frozenset())
    return notify(state, monitor.routing, now=now, save=lambda _before, _after: None, load_context=load_context)


def _catalog(monitor: AlertMonitor) -> tuple[Catalog | None, Mapping[AlertKind, Cause]]:
    """The catalog, or its error: without a catalog, no run is requested that could report it."""
    try:
        return monitor.read_catalog(), {}
    except PipelineError as error:
        return None, {AlertKind.CONFIGURATION: Cause(error.message, error.hint)}


def _known_datasets(instance: dg.DagsterInstance, catalog: Catalog) -> set[str]:
    # Includes datasets that the catalog rejects: their runs fail.
    return {*instance.get_dynamic_partitions(str(datasets.name)), *(dataset.id for dataset in catalog.datasets)}


def _read_ledger(
    context: dg.SensorEvaluationContext,
    monitor: AlertMonitor,
    store: AlertStore,
    state: AlertState,
    *,
    observed: Observations,
    catalog: Catalog,
    now: datetime,
) -> AlertState:
    """Add stale datasets and changed columns from the ledger. An unavailable target is not queried on each tick."""
    checkpoint = state.checkpoint
    is_due = checkpoint.ledger_asked_at is None or now - checkpoint.ledger_asked_at >= _LEDGER_PAUSE
    if not is_due and not (checkpoint.unread and checkpoint.ledger_answered):
        return state
    # Written before the query: if the target blocks this tick until it times out, the next tick skips the query.
    asking = AlertState(replace(checkpoint, ledger_asked_at=now, ledger_answered=False), state.incidents)
    store.write(state, asking)
    accepted = [
        catalog.dataset(dataset_id) for dataset_id in sorted(observed.known or ()) if catalog.accepts(dataset_id)
    ]
    limited = [dataset for dataset in accepted if dataset.fresh_within_hours is not None]
    try:
        newest = monitor.open_warehouse().newest_loads() if limited else {}
        changed = monitor.open_warehouse().changed_by(checkpoint.unread) if checkpoint.unread else []
    except PipelineError as error:
        context.log.warning("Freshness unknown: %s", printable(str(error)))
        return asking
    observed = replace(
        observed,
        runs=(),
        stale={
            entry.dataset.id: Cause(f"{entry}", KINDS[AlertKind.STALE].hint) for entry in stale(limited, newest, now)
        },
        changes=[_change(load) for load in changed],
    )
    answered = replace(asking.checkpoint, ledger_answered=True, unread={})
    after = AlertState(answered, observe(state.incidents, observed, now=now))
    store.write(asking, after)
    return after


def _change(load: LoadRecord) -> ColumnChange:
    message = "; ".join((load.changes or "").splitlines())
    return ColumnChange(load.dataset_id, load.load_id, load.run_id, load.finished_at or load.started_at, f"{message}.")


def _context_loader(
    instance: dg.DagsterInstance,
    monitor: AlertMonitor,
    catalog: Catalog | None,
    inbox: Inbox | None,
    parked: AbstractSet[str],
) -> ContextLoader:
    """Build the function that reads what messages need, only for the datasets and runs that they name."""

    def load_context(pending: Sequence[PendingNotifications]) -> MessageContext:
        named = {dataset_id for notifications in pending for dataset_id in datasets_named(notifications)}
        runs = {run_id for notifications in pending for run_id in runs_named(notifications)}
        causes = {run_id: why_failed(instance, run_id) for run_id in runs}
        return MessageContext(
            names={d: catalog.dataset(d).label for d in named if catalog is not None and catalog.accepts(d)},
            causes={run_id: cause for run_id, cause in causes.items() if cause is not None},
            parked=dict.fromkeys(parked, _PARKED) | dict(_park_reasons(inbox, named & parked)),
            dagster_url=monitor.dagster_url,
        )

    return load_context


def _park_reasons(inbox: Inbox | None, dataset_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Why the newest parked event of each dataset is parked."""
    if inbox is None:
        return
    for dataset_id in dataset_ids:
        for event in inbox.events(state=EventState.PARKED, dataset_id=dataset_id, limit=1):
            yield dataset_id, event.outcome or _PARKED


def _skip_reason(state: AlertState, results: Sequence[SendResult]) -> str:
    open_now = [incident for incident in state.incidents.values() if incident.is_open and not incident.is_notice]
    kinds = Counter(incident.kind.value for incident in open_now)
    listed = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
    sentences = [f"Open incidents: {listed}." if listed else "No open incidents."]
    if sent := sum(result.delivered for result in results):
        sentences.append(f"Messages sent: {sent}.")
    sentences += [
        f"Not sent, will be retried: {result.address.label}, because {result.problem}."
        for result in results
        if not result.delivered
    ]
    return " ".join(sentences)
