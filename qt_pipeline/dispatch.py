"""Planning: open events and known runs → event updates and runs to request.

Here: pure functions, so that a tick can be repeated, interrupted and tested.
Not here: any I/O. The sensor reads the inputs and executes the plan.

A delivery is one attempt to load a dataset for all its pending events. Its key is written to these events before the
run is requested, and the run has it as a tag: so the next tick detects and repairs a crash between any two steps. A
delivery without a known run was never submitted, and is requested again under the same key.
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
_PUBLISHED = "The table shows data downloaded after this event."
_UNCHANGED = "The file was unchanged at all {checks} checks after this event; the table shows it."


class RunState(StrEnum):
    """The state of a run. `REFUSED`: it failed, and a retry would fail too. `CANCELED`: a person stopped it."""

    IN_FLIGHT = "in flight"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run of a dataset, whoever requested it. `delivery` is None if no event requested it."""

    run_id: str
    dataset_id: str
    state: RunState
    delivery: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Retry limits and delays of events, and how many runs one tick may request.

    `rechecks` are the delays before further checks after a load found the file unchanged: an event can arrive before
    its data.
    """

    attempts: int = 5
    delay: timedelta = timedelta(seconds=30)
    requests: int = 50
    rechecks: tuple[timedelta, ...] = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run to request. `key` is unique; `first` and `last` are the lowest and highest number of its events."""

    key: str
    dataset_id: str
    attempt: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The updates that a tick writes to the inbox, and the runs that it requests afterwards."""

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

    `events` are ordered by their first numbers. `runs` are all runs in flight and all runs with the delivery of a
    pending event, newest first. `reached` is the load progress of each dataset; None when the target database is
    unavailable. `refused` are datasets that the catalog rejects, with the reason.
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
    # The dataset with the longest waiting event comes first, so that the limit of a tick starves none.
    for dataset_id, groups in groups_of.items():
        through = None if reached is None else reached.get(dataset_id, LoadProgress())
        dataset_plan = _plan_dataset(groups, runs_of.get(dataset_id, []), through, now=now, policy=policy)
        if dataset_plan.deliveries and len(deliveries) == policy.requests:
            continue
        updates += dataset_plan.updates
        deliveries += dataset_plan.deliveries
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
            updates.append(_settled(group.up_to(through), EventState.DONE, _PUBLISHED))
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
        decision = _next_action(group, run, reached, now=now, policy=policy)
        updates += decision.updates
        if decision.is_due:
            due.append(group)
        held = held or decision.holds
    return Plan(tuple(updates)) if held or not due else _deliver(due, updates)


@dataclass(frozen=True, slots=True)
class _Decision:
    """The next action for events whose delivery has ended. `holds`: newer events of the dataset wait with them."""

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
                group, f"Run {run.run_id} failed, and a retry would fail too. Fix the cause, then replay the event."
            )
        case RunState.SUCCEEDED if reached is None:
            # Whether it was published is unknown now.
            return _Decision(holds=True)
        case RunState.SUCCEEDED if reached is not None and reached.checked_through >= group.last_seq:
            return _recheck(group, now=now, policy=policy)
        case _:
            return _retry(group, run, now=now, policy=policy)


def _recheck(group: OpenEvents, *, now: datetime, policy: Policy) -> _Decision:
    """Decide after a load that found the file unchanged."""
    if group.not_before is not None:
        return _Decision(is_due=now >= group.not_before)
    if group.unchanged_checks < len(policy.rechecks):
        later = now + policy.rechecks[group.unchanged_checks]
        return _Decision((_postponed(group, later, unchanged_checks=group.unchanged_checks + 1),))
    return _Decision((_settled(group, EventState.DONE, _UNCHANGED.format(checks=group.unchanged_checks + 1)),))


def _retry(group: OpenEvents, run: KnownRun, *, now: datetime, policy: Policy) -> _Decision:
    """Decide after a failure that may be transient."""
    # Deliveries that only rechecked an unchanged file did not fail.
    tries = max(1, group.attempts - group.attempts_before_replay - group.unchanged_checks)
    if tries >= policy.attempts:
        reason = f"Tried {tries} times; run {run.run_id} failed last. Fix the cause, then replay the event."
        return _parked(group, reason)
    not_before = group.not_before or now + min(policy.delay * 2 ** (tries - 1), _MAX_DELAY)
    if now >= not_before:
        return _Decision(is_due=True)
    postponed = () if group.not_before else (_postponed(group, not_before, unchanged_checks=group.unchanged_checks),)
    return _Decision(postponed, holds=True)


def _loaded_through(group: OpenEvents, reached: LoadProgress, newest_run: Mapping[str, KnownRun]) -> int:
    """The sequence number up to which the table shows data downloaded after the events of this group arrived."""
    if not group.attempts_before_replay:
        return reached.published_through
    # A replay requests one more load, whatever was loaded before: only its own delivery settles it.
    run = newest_run.get(group.delivery) if group.delivery is not None else None
    return reached.checked_through if run is not None and run.state is RunState.SUCCEEDED else 0


def _resubmit(groups: Sequence[OpenEvents]) -> Delivery:
    """The newest delivery whose run is unknown."""
    newest = max(groups, key=lambda group: group.last_seq)
    same_delivery = [group for group in groups if group.delivery == newest.delivery]
    first = min(group.first_seq for group in same_delivery)
    return Delivery(newest.delivery or "", newest.dataset_id or "", newest.attempts, first, newest.last_seq)


def _deliver(groups: Sequence[OpenEvents], updates: Sequence[EventUpdate]) -> Plan:
    """A plan with one delivery for all these events, after `updates`."""
    newest = max(groups, key=lambda group: group.last_seq)
    attempt = newest.attempts + 1
    key = f"{newest.dataset_id}:{newest.last_seq}:{attempt}"
    counted = (
        EventUpdate(group, attempts=group.attempts + 1, delivery=key, unchanged_checks=group.unchanged_checks)
        for group in groups
    )
    first = min(group.first_seq for group in groups)
    return Plan((*updates, *counted), (Delivery(key, newest.dataset_id or "", attempt, first, newest.last_seq),))


def _postponed(group: OpenEvents, not_before: datetime, *, unchanged_checks: int) -> EventUpdate:
    return EventUpdate(
        group,
        attempts=group.attempts,
        delivery=group.delivery,
        unchanged_checks=unchanged_checks,
        not_before=not_before,
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
    """The datasets to load in a refresh of all datasets: those without a run in flight.

    Datasets that a person has `restored` are skipped: a load would bring back the replaced data. An event, or a run
    that somebody requests, ends that.
    """
    skipped = {run.dataset_id for run in runs if run.state is RunState.IN_FLIGHT}.union(restored)
    return [dataset_id for dataset_id in known if dataset_id not in skipped]


def over_limit(wanted: Iterable[str], known: Collection[str], limit: int) -> set[str]:
    """The datasets named by events that would exceed `limit` datasets in total.

    Events are unsigned: without a limit, anybody who can post events could add any number of partitions.
    """
    new = [dataset_id for dataset_id in dict.fromkeys(wanted) if dataset_id not in known]
    return set(new[max(0, limit - len(known)) :])


def is_orphaned(process: Process, unseen_for: timedelta, *, grace: timedelta = timedelta(seconds=60)) -> bool:
    """Whether a started run has lost its process, so that it would never end.

    `unseen_for` is the time since the run started. A worker takes some seconds to acquire its lock.
    """
    return process is Process.DEAD or (process is Process.UNKNOWN and unseen_for > grace)
