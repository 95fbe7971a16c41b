"""The sensor of alerts: on each tick it looks at what went wrong and what is well again, and tells whom it concerns.

Here: what a tick reads, and what it says of itself. Not here: what is an incident and when it is told (see alerting),
how runs ended (see endings).
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
_NO_ADDRESS = "QT_ALERT_URLS is not set; nobody is told of failures."
_PARKED = "Events of it are parked."
# The newest loads of all datasets take a long ledger its time, and staleness is counted in hours.
_LEDGER_PAUSE = timedelta(minutes=5)

ContextLoader = Callable[[Sequence[PendingNotifications]], MessageContext]


def alerts_sensor(interval_seconds: int = _SECONDS) -> dg.SensorDefinition:
    """Sends alerts, every so many seconds."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # its stub leaves a PathLike open
        name="quantemplate_alerts",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the addresses of QT_ALERT_URLS of failures, parked events, stale datasets and changed "
        "columns, once each, and once when it is over.",
    )
    def quantemplate_alerts(
        context: dg.SensorEvaluationContext, watch: dg.ResourceParam[AlertMonitor]
    ) -> dg.SensorResult | dg.SkipReason:
        """One tick. What cannot be read or sent now is left for the next one."""
        if not watch.post.addresses:
            return dg.SkipReason(_NO_ADDRESS)
        now = utc_now()
        try:
            state, outcomes = _evaluate_tick(context, watch, now)
            # What the cursor kept while the inbox was away is in the inbox now.
            cursor = as_text(AlertState()) if context.cursor else None
        except PipelineError as error:
            state, outcomes = _evaluate_without_inbox(context, watch, error, now)
            cursor = as_text(state)
        return dg.SensorResult(skip_reason=_skip_reason(state, outcomes), cursor=cursor)

    return quantemplate_alerts


def _evaluate_tick(
    context: dg.SensorEvaluationContext, watch: AlertMonitor, now: datetime
) -> tuple[AlertState, list[SendResult]]:
    store, inbox = watch.open_store(), watch.open_inbox()
    before = store.read()
    memory = before.checkpoint
    ended = finished_runs(context.instance, until=memory.runs_until, seen=memory.runs_seen, now=now)
    unread = {run.run_id: run.dataset_id for run in ended.runs if not run.failed}
    memory = replace(
        memory, runs_until=ended.until, runs_seen=ended.seen, unread={**before.checkpoint.unread, **unread}
    )
    catalog, wrong = _catalog(watch)
    seen = Observations(
        runs=ended.runs,
        parked={group.dataset_id for group in inbox.open_events(EventState.PARKED) if group.dataset_id is not None},
        known=None if catalog is None else _load_state(context.instance, catalog),
        detected=wrong,
    )
    state = AlertState(memory, observe(merged(before.incidents, from_text(context.cursor)), seen, now=now))
    # Before anything else may fail: no run is counted twice.
    store.write(before, state)
    if catalog is not None:
        state = _read_ledger(context, watch, store, state, seen=seen, catalog=catalog, now=now)
    if not ended.complete:
        # What comes next may end what has just begun.
        return state, []
    background = _background(context.instance, watch, catalog, inbox, seen.parked)
    return notify(state, watch.post, now=now, keep=store.write, background=background)


def _evaluate_without_inbox(
    context: dg.SensorEvaluationContext, watch: AlertMonitor, error: PipelineError, now: datetime
) -> tuple[AlertState, list[SendResult]]:
    """The inbox keeps the incidents too: that it is away is kept by the cursor."""
    met = {SHARED.get(error.scope, AlertKind.INBOX): Cause(error.message, error.hint)}
    state = AlertState(incidents=observe(merged({}, from_text(context.cursor)), Observations(detected=met), now=now))
    background = _background(context.instance, watch, None, None, frozenset())
    return notify(state, watch.post, now=now, keep=lambda _before, _after: None, background=background)


def _catalog(watch: AlertMonitor) -> tuple[Catalog | None, Mapping[AlertKind, Cause]]:
    """The catalog, or what is wrong with it: no run is asked for then that could say so."""
    try:
        return watch.read_catalog(), {}
    except PipelineError as error:
        return None, {AlertKind.CONFIGURATION: Cause(error.message, error.hint)}


def _load_state(instance: dg.DagsterInstance, catalog: Catalog) -> set[str]:
    # Also those that the catalog refuses: their runs fail.
    return {*instance.get_dynamic_partitions(str(datasets.name)), *(dataset.id for dataset in catalog.datasets)}


def _read_ledger(
    context: dg.SensorEvaluationContext,
    watch: AlertMonitor,
    store: AlertStore,
    state: AlertState,
    *,
    seen: Observations,
    catalog: Catalog,
    now: datetime,
) -> AlertState:
    """With the datasets that are stale, and the columns that changed. A target that is away is not asked each time."""
    memory = state.checkpoint
    is_time = memory.ledger_asked_at is None or now - memory.ledger_asked_at >= _LEDGER_PAUSE
    if not is_time and not (memory.unread and memory.ledger_answered):
        return state
    # Before it is asked: should the target hold this tick for too long, the next one goes without it.
    asking = AlertState(replace(memory, ledger_asked_at=now, ledger_answered=False), state.incidents)
    store.write(state, asking)
    accepted = [catalog.dataset(dataset_id) for dataset_id in sorted(seen.known or ()) if catalog.accepts(dataset_id)]
    limited = [dataset for dataset in accepted if dataset.fresh_within_hours is not None]
    try:
        newest = watch.open_warehouse().newest_loads() if limited else {}
        changed = watch.open_warehouse().changed_by(memory.unread) if memory.unread else []
    except PipelineError as error:
        context.log.warning("Nobody knows now which datasets are stale. %s", printable(str(error)))
        return asking
    found = replace(
        seen,
        runs=(),
        stale={one.dataset.id: Cause(f"{one}", KINDS[AlertKind.STALE].hint) for one in stale(limited, newest, now)},
        changes=[_change(load) for load in changed],
    )
    answered = replace(asking.checkpoint, ledger_answered=True, unread={})
    after = AlertState(answered, observe(state.incidents, found, now=now))
    store.write(asking, after)
    return after


def _change(load: LoadRecord) -> ColumnChange:
    words = "; ".join((load.changes or "").splitlines())
    return ColumnChange(load.dataset_id, load.load_id, load.run_id, load.finished_at or load.started_at, f"{words}.")


def _background(
    instance: dg.DagsterInstance,
    watch: AlertMonitor,
    catalog: Catalog | None,
    inbox: Inbox | None,
    parked: AbstractSet[str],
) -> ContextLoader:
    """Looks up what messages need, for what they name alone."""

    def look_up(owed: Sequence[PendingNotifications]) -> MessageContext:
        named = {dataset_id for one in owed for dataset_id in datasets_named(one)}
        runs = {run_id for one in owed for run_id in runs_named(one)}
        found = {run_id: why_failed(instance, run_id) for run_id in runs}
        return MessageContext(
            names={d: catalog.dataset(d).label for d in named if catalog is not None and catalog.accepts(d)},
            causes={run_id: cause for run_id, cause in found.items() if cause is not None},
            parked=dict.fromkeys(parked, _PARKED) | dict(_outcomes(inbox, named & parked)),
            dagster_url=watch.dagster_url,
        )

    return look_up


def _outcomes(inbox: Inbox | None, dataset_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Why the newest parked event of each dataset is parked."""
    if inbox is None:
        return
    for dataset_id in dataset_ids:
        for event in inbox.events(state=EventState.PARKED, dataset_id=dataset_id, limit=1):
            yield dataset_id, event.outcome or _PARKED


def _skip_reason(state: AlertState, outcomes: Sequence[SendResult]) -> str:
    open_now = [incident for incident in state.incidents.values() if incident.is_open and not incident.is_notice]
    kinds = Counter(incident.kind.value for incident in open_now)
    listed = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
    words = [f"Open incidents: {listed}." if listed else "No incident is open."]
    if sent := sum(outcome.taken for outcome in outcomes):
        words.append(f"Messages sent: {sent}.")
    words += [
        f"Not told, and tried again: {outcome.address.label}, because {outcome.problem}."
        for outcome in outcomes
        if not outcome.taken
    ]
    return " ".join(words)
