"""Planning: open events and known runs → which events are settled, and which runs are asked for.

Here: rules as functions of values, so that a tick can be repeated, interrupted and tested.
Not here: any I/O. The sensor brings the values and carries the plan out.

A delivery is one try to bring a dataset up to date for all events that wait for it. Its key is written to these events
before the run is requested, and the run carries it: so a crash between any two steps is seen and repaired by the next
tick. A delivery whose run is unknown was never submitted, and is requested again under the same key.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from qt_pipeline.inbox import EventState, EventUpdate, OpenEvents
from qt_pipeline.liveness import Process
from qt_pipeline.quantemplate import DATASET_UPDATED
from qt_pipeline.warehouse import LoadProgress

_MAX_DELAY = timedelta(hours=1)
_SHOWN = "The table shows data downloaded after this event."
_SAME_FILE = "The file was the same at every look after this event, {looks} times; the table shows it."


class RunState(StrEnum):
    """What became of a run. `REFUSED`: it failed, and a repeat would too. `CANCELED`: a person stopped it."""

    IN_FLIGHT = "in flight"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
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
    """How often an event is tried, how long after a failure, and how many runs one tick may ask for.

    `looks` are the waits before one more look each, after a load found the file unchanged: nobody promises that the
    new data is there when its event is.
    """

    attempts: int = 5
    delay: timedelta = timedelta(seconds=30)
    requests: int = 50
    rechecks: tuple[timedelta, ...] = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run to be asked for. `key` is unique for ever; the events it serves are numbered from `first` to `last`."""

    key: str
    dataset_id: str
    attempt: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tick has to write into the inbox, and then which runs to ask for."""

    updates: tuple[EventUpdate, ...] = ()
    deliveries: tuple[Delivery, ...] = ()


def plan(
    events: Iterable[OpenEvents],
    runs: Iterable[KnownRun],
    reached: Mapping[str, LoadProgress] | None,
    *,
    now: datetime,
    policy: Policy,
    refused: Mapping[str, str] | None = None,
) -> Plan:
    """Decide about every open event.

    `events` come in the order of their first numbers; `runs` are all runs in flight and all that carry the delivery of
    a pending event, newest first. `reached` says for each dataset how far it was loaded; None when the target could
    not be asked. `refused` are datasets that are kept out, and why.
    """
    updates: list[EventUpdate] = []
    groups_of: dict[str, list[OpenEvents]] = {}
    for group in events:
        if group.name != DATASET_UPDATED or group.dataset_id is None:
            updates.append(_settled(group, EventState.IGNORED, f"Not supported event: {group.name}"))
        elif refused and group.dataset_id in refused and group.state is EventState.PENDING:
            updates.append(_settled(group, EventState.PARKED, refused[group.dataset_id]))
        else:
            groups_of.setdefault(group.dataset_id, []).append(group)
    runs_of: dict[str, list[KnownRun]] = {}
    for run in runs:
        runs_of.setdefault(run.dataset_id, []).append(run)
    deliveries: list[Delivery] = []
    # The dataset whose event has waited longest comes first, so that none is starved by the limit of a tick.
    for dataset_id, groups in groups_of.items():
        through = None if reached is None else reached.get(dataset_id, LoadProgress())
        its_plan = _plan_dataset(groups, runs_of.get(dataset_id, []), through, now=now, policy=policy)
        if its_plan.deliveries and len(deliveries) == policy.requests:
            continue
        updates += its_plan.updates
        deliveries += its_plan.deliveries
    return Plan(tuple(updates), tuple(deliveries))


def _plan_dataset(
    groups: Sequence[OpenEvents],
    runs: Sequence[KnownRun],
    reached: LoadProgress | None,
    *,
    now: datetime,
    policy: Policy,
) -> Plan:
    newest_run: dict[str, KnownRun] = {}
    for run in runs:
        if run.delivery is not None:
            newest_run.setdefault(run.delivery, run)
    updates: list[EventUpdate] = []
    waiting: list[OpenEvents] = []
    for group in groups:
        through = 0 if reached is None else _loaded_through(group, reached, newest_run)
        if through >= group.first_seq:
            updates.append(_settled(group.up_to(through), EventState.DONE, _SHOWN))
        if through < group.last_seq and group.state is EventState.PENDING:
            waiting.append(group.beyond(through))
    if any(run.state is RunState.IN_FLIGHT for run in runs):
        return Plan(tuple(updates))
    unsubmitted = [group for group in waiting if group.delivery is not None and group.delivery not in newest_run]
    if unsubmitted:
        return Plan(tuple(updates), (_resubmit(unsubmitted),))

    due: list[OpenEvents] = []
    held = False
    for group in waiting:
        run = newest_run.get(group.delivery) if group.delivery is not None else None
        verdict = _next_action(group, run, reached, now=now, policy=policy)
        updates += verdict.updates
        if verdict.is_due:
            due.append(group)
        held = held or verdict.holds
    return Plan(tuple(updates)) if held or not due else _deliver(due, updates)


@dataclass(frozen=True, slots=True)
class _Decision:
    """What comes next for events whose delivery has ended. `holds`: newer events of their dataset wait with them."""

    updates: tuple[EventUpdate, ...] = ()
    is_due: bool = False
    holds: bool = False


def _next_action(
    group: OpenEvents, run: KnownRun | None, reached: LoadProgress | None, *, now: datetime, policy: Policy
) -> _Decision:
    if run is None:
        return _Decision(is_due=True)
    match run.state:
        case RunState.CANCELED:
            return _parked(group, f"Run {run.run_id} was canceled. Replay the event to load the dataset.")
        case RunState.REFUSED:
            return _parked(
                group, f"Run {run.run_id} failed, and a repeat would too. Mend the cause, then replay the event."
            )
        case RunState.SUCCEEDED if reached is None:
            # Whether it was published cannot be told now.
            return _Decision(holds=True)
        case RunState.SUCCEEDED if reached is not None and reached.checked_through >= group.last_seq:
            return _recheck(group, now=now, policy=policy)
        case _:
            return _retry(group, run, now=now, policy=policy)


def _recheck(group: OpenEvents, *, now: datetime, policy: Policy) -> _Decision:
    """After a load that found the file unchanged."""
    if group.not_before is not None:
        return _Decision(is_due=now >= group.not_before)
    if group.unchanged_checks < len(policy.rechecks):
        later = now + policy.rechecks[group.unchanged_checks]
        return _Decision((_postponed(group, later, looks=group.unchanged_checks + 1),))
    return _Decision((_settled(group, EventState.DONE, _SAME_FILE.format(looks=group.unchanged_checks + 1)),))


def _retry(group: OpenEvents, run: KnownRun, *, now: datetime, policy: Policy) -> _Decision:
    """After a failure that may pass."""
    # Deliveries that were only to look once more are none of those that failed.
    tries = max(1, group.attempts - group.attempts_before_replay - group.unchanged_checks)
    if tries >= policy.attempts:
        words = f"Tried {tries} times; run {run.run_id} failed last. Mend the cause, then replay the event."
        return _parked(group, words)
    not_before = group.not_before or now + min(policy.delay * 2 ** (tries - 1), _MAX_DELAY)
    if now >= not_before:
        return _Decision(is_due=True)
    postponed = () if group.not_before else (_postponed(group, not_before, looks=group.unchanged_checks),)
    return _Decision(postponed, holds=True)


def _loaded_through(group: OpenEvents, reached: LoadProgress, newest_run: Mapping[str, KnownRun]) -> int:
    """Up to which number the table shows data whose download began after the events of this group arrived."""
    if not group.attempts_before_replay:
        return reached.published_through
    # A replay asks for one more load, whatever was loaded before: only its own delivery settles it.
    run = newest_run.get(group.delivery) if group.delivery is not None else None
    return reached.checked_through if run is not None and run.state is RunState.SUCCEEDED else 0


def _resubmit(groups: Sequence[OpenEvents]) -> Delivery:
    """The newest delivery whose run is unknown."""
    newest = max(groups, key=lambda group: group.last_seq)
    its_events = [group for group in groups if group.delivery == newest.delivery]
    first = min(group.first_seq for group in its_events)
    return Delivery(newest.delivery or "", newest.dataset_id or "", newest.attempts, first, newest.last_seq)


def _deliver(groups: Sequence[OpenEvents], updates: Sequence[EventUpdate]) -> Plan:
    """One delivery for all of these events, after what is to be written anyway."""
    newest = max(groups, key=lambda group: group.last_seq)
    attempt = newest.attempts + 1
    key = f"{newest.dataset_id}:{newest.last_seq}:{attempt}"
    counted = (
        EventUpdate(group, attempts=group.attempts + 1, delivery=key, unchanged_checks=group.unchanged_checks)
        for group in groups
    )
    first = min(group.first_seq for group in groups)
    return Plan((*updates, *counted), (Delivery(key, newest.dataset_id or "", attempt, first, newest.last_seq),))


def _postponed(group: OpenEvents, not_before: datetime, *, looks: int) -> EventUpdate:
    return EventUpdate(
        group, attempts=group.attempts, delivery=group.delivery, unchanged_checks=looks, not_before=not_before
    )


def _parked(group: OpenEvents, outcome: str) -> _Decision:
    return _Decision((_settled(group, EventState.PARKED, outcome),))


def _settled(group: OpenEvents, state: EventState, outcome: str) -> EventUpdate:
    return EventUpdate(
        group,
        state=state,
        outcome=outcome,
        attempts=group.attempts,
        delivery=group.delivery,
        unchanged_checks=group.unchanged_checks,
    )


def due_for_refresh(known: Iterable[str], runs: Iterable[KnownRun], restored: Collection[str] = ()) -> list[str]:
    """Which datasets to ask for when all are to be looked at: a run in flight will look at its own anyway.

    Those that a person has `restored` are left alone: a look would bring back what was to go. An event, or a run that
    somebody asks for, ends that.
    """
    left_out = {run.dataset_id for run in runs if run.state is RunState.IN_FLIGHT}.union(restored)
    return [dataset_id for dataset_id in known if dataset_id not in left_out]


def over_limit(wanted: Iterable[str], known: Collection[str], most: int) -> set[str]:
    """Which of the datasets that events name would be too many, because `most` are the most there may be.

    Events are unsigned: without a bound, anybody who can post them could add partitions without end.
    """
    new = [dataset_id for dataset_id in dict.fromkeys(wanted) if dataset_id not in known]
    return set(new[max(0, most - len(known)) :])


def is_orphaned(process: Process, unseen_for: timedelta, *, grace: timedelta = timedelta(seconds=60)) -> bool:
    """Whether a run that counts as started has no process any more, so that nothing will ever end it.

    `unseen_for` is how long ago the run was started. A worker takes some seconds until it holds its lock.
    """
    return process is Process.DEAD or (process is Process.UNKNOWN and unseen_for > grace)
