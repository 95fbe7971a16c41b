"""Planning: pending events and known runs → which events are settled, and which runs are asked for.

Here: rules as functions of values, so that a tick can be repeated, interrupted and tested.
Not here: any I/O. The sensor brings the values and carries the plan out.

A delivery is one try to bring a dataset up to date for all events that wait for it. Its key is written to these events
before the run is requested, and the run carries it: so a crash between any two steps is seen and repaired by the next
tick. A delivery whose run is unknown was never submitted, and is requested again under the same key.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from qt_pipeline.inbox import EventState, EventUpdate, PendingEvent
from qt_pipeline.liveness import Process
from qt_pipeline.quantemplate import DATASET_UPDATED

_LONGEST_DELAY = timedelta(hours=1)
_NOT_LISTED = "The catalog refuses datasets that it does not list. List this one, then replay the event."


class RunState(StrEnum):
    """What became of a run. `CANCELED`: a person stopped it."""

    IN_FLIGHT = "in flight"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run of a dataset, whoever asked for it. `delivery` is None for one that no event asked for."""

    run_id: str
    dataset_id: str
    state: RunState
    delivery: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How often an event is tried, how long after a failure, and how many runs one tick may ask for."""

    attempts: int = 5
    delay: timedelta = timedelta(seconds=30)
    requests: int = 50


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run to be asked for. `key` is unique for ever; `events` are the numbers of those it serves, in order."""

    key: str
    dataset_id: str
    attempt: int
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tick has to write into the inbox, and then which runs to ask for."""

    updates: tuple[EventUpdate, ...] = ()
    deliveries: tuple[Delivery, ...] = ()


def plan(
    events: Sequence[PendingEvent],
    runs: Sequence[KnownRun],
    published: Mapping[str, int] | None,
    *,
    now: datetime,
    policy: Policy,
    refused: Collection[str] = (),
) -> Plan:
    """Decide about every pending event.

    `events` come in the order of their numbers; `runs` are all runs in flight and all that carry the delivery of an
    event, newest first. `published` says for each dataset up to which event a published load shows the data that its
    own run downloaded; None when the target could not be asked. `refused` are datasets that the catalog keeps out.
    """
    updates: list[EventUpdate] = []
    waiting: dict[str, list[PendingEvent]] = {}
    for event in events:
        if event.name != DATASET_UPDATED or event.dataset_id is None:
            updates.append(_settled(event, EventState.IGNORED, f"Not supported event: {event.name}"))
        elif event.dataset_id in refused:
            updates.append(_settled(event, EventState.PARKED, _NOT_LISTED))
        else:
            waiting.setdefault(event.dataset_id, []).append(event)
    runs_of: dict[str, list[KnownRun]] = {}
    for run in runs:
        runs_of.setdefault(run.dataset_id, []).append(run)
    deliveries: list[Delivery] = []
    # The dataset whose event has waited longest comes first, so that none is starved by the limit of a tick.
    for dataset_id, its_events in waiting.items():
        through = None if published is None else published.get(dataset_id, 0)
        its_plan = _plan_dataset(its_events, runs_of.get(dataset_id, []), through, now=now, policy=policy)
        if its_plan.deliveries and len(deliveries) == policy.requests:
            continue
        updates += its_plan.updates
        deliveries += its_plan.deliveries
    return Plan(tuple(updates), tuple(deliveries))


def _plan_dataset(
    events: Sequence[PendingEvent], runs: Sequence[KnownRun], through: int | None, *, now: datetime, policy: Policy
) -> Plan:
    newest_run: dict[str | None, KnownRun] = {}
    for run in runs:
        newest_run.setdefault(run.delivery, run)
    done = [event for event in events if through is not None and _is_shown(event, through, newest_run)]
    updates = [_settled(event, EventState.DONE, "The table shows data downloaded after this event.") for event in done]
    waiting = [event for event in events if event not in done]
    if not waiting or any(run.state is RunState.IN_FLIGHT for run in runs):
        return Plan(tuple(updates))

    key = next((event.delivery for event in reversed(waiting) if event.delivery is not None), None)
    if key is None:
        return _deliver(waiting, updates)
    tried = [event for event in waiting if event.delivery is not None]
    run = newest_run.get(key)
    if run is None:
        again = Delivery(key, tried[-1].dataset_id or "", tried[-1].attempts, tuple(event.seq for event in tried))
        return Plan(tuple(updates), (again,))
    if run.state is RunState.SUCCEEDED and through is None:
        # Whether it was published cannot be told now.
        return Plan(tuple(updates))
    fresh = [event for event in waiting if event.delivery is None]
    return _plan_after_failure(run, tried, fresh, updates, now=now, policy=policy)


def _plan_after_failure(
    run: KnownRun,
    tried: Sequence[PendingEvent],
    fresh: Sequence[PendingEvent],
    updates: Sequence[EventUpdate],
    *,
    now: datetime,
    policy: Policy,
) -> Plan:
    if run.state is RunState.CANCELED:
        spent = list(tried)
        outcome = f"Run {run.run_id} was canceled. Replay the event to load the dataset."
    else:
        spent = [event for event in tried if _tries(event) >= policy.attempts]
        outcome = f"Tried {policy.attempts} times; run {run.run_id} failed last. Mend the cause, then replay the event."
    updates = [*updates, *(_settled(event, EventState.PARKED, outcome) for event in spent)]
    left = [event for event in tried if event not in spent]
    if not left:
        return _deliver(fresh, updates)
    tries = max(_tries(event) for event in left)
    later = now + min(policy.delay * 2 ** (tries - 1), _LONGEST_DELAY)
    not_before = max((event.not_before for event in left if event.not_before is not None), default=later)
    if now >= not_before:
        return _deliver([*left, *fresh], updates)
    postponed = (
        EventUpdate(event.seq, attempts=event.attempts, delivery=event.delivery, not_before=not_before)
        for event in left
        if event.not_before is None
    )
    return Plan((*updates, *postponed))


def _is_shown(event: PendingEvent, through: int, newest_run: Mapping[str | None, KnownRun]) -> bool:
    """Whether the table shows data whose download began after the event arrived."""
    if event.attempts_before_replay:
        # A replay asks for one more load, whatever was published before: only its own delivery settles it.
        run = newest_run.get(event.delivery) if event.delivery is not None else None
        return run is not None and run.state is RunState.SUCCEEDED and through >= event.seq
    return through >= event.seq


def _deliver(events: Sequence[PendingEvent], updates: Sequence[EventUpdate]) -> Plan:
    """One delivery for all of these events, after what is to be written anyway."""
    if not events:
        return Plan(tuple(updates))
    newest = max(events, key=lambda event: event.seq)
    attempt = newest.attempts + 1
    key = f"{newest.dataset_id}:{newest.seq}:{attempt}"
    seqs = tuple(sorted(event.seq for event in events))
    counted = [EventUpdate(event.seq, attempts=event.attempts + 1, delivery=key) for event in events]
    return Plan((*updates, *counted), (Delivery(key, newest.dataset_id or "", attempt, seqs),))


def _tries(event: PendingEvent) -> int:
    return event.attempts - event.attempts_before_replay


def _settled(event: PendingEvent, state: EventState, outcome: str) -> EventUpdate:
    return EventUpdate(event.seq, state=state, outcome=outcome, attempts=event.attempts, delivery=event.delivery)


def is_lost(process: Process, unseen_for: timedelta, *, grace: timedelta = timedelta(seconds=60)) -> bool:
    """Whether a run that counts as started has no process any more, so that nothing will ever end it.

    `unseen_for` is how long ago the run was started. A worker takes some seconds until it holds its lock.
    """
    return process is Process.GONE or (process is Process.UNSEEN and unseen_for > grace)
