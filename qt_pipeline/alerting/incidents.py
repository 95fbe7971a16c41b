"""Incidents: open problems, when they began, and which addresses were notified.

Here: pure functions that decide what opens an incident, what closes it, and which notifications are pending.
Not here: where the values come from (see defs), texts (see kinds, messages), storage (see store).

An incident is one problem, however many runs fail because of it: of one dataset, or of a resource that all datasets
share. Each address gets one alert and one recovery per incident. An incident that closes before an address was notified
is never sent to that address.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from qt_pipeline.alerting.kinds import KINDS, SHARED, AlertKind
from qt_pipeline.errors import FailureScope

RECOVERY_WINDOW = timedelta(hours=1)
"""How long an incident stays open without new failures, while other datasets load, before it closes."""
DEBOUNCE = timedelta(seconds=45)
"""How long a problem found without a failed run must last before it is notified: a file may be in mid-edit."""
_NOTICE_AGE = timedelta(days=1)

Key = tuple[AlertKind, str]
"""Identifies an incident: its kind and its subject (see `Incident.subject`)."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A finished run and, if it failed, the scope of the failure."""

    run_id: str
    dataset_id: str
    ended_at: datetime
    failed: bool
    scope: FailureScope = FailureScope.DATASET


@dataclass(frozen=True, slots=True)
class Cause:
    """What happened and how to fix it. Contains no secret and no value of a row."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A published load whose file had other columns than the previous one, described in `message`."""

    dataset_id: str
    load_id: int
    run_id: str
    finished_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class AffectedDataset:
    """How an incident affects a dataset.

    Attributes:
        failing: whether the newest run of the dataset failed.
        run_id: the last run that failed because of the incident.
        recovered: whether the dataset loads again: its newest run succeeded, and none of its events is parked.
    """

    failing: bool
    run_id: str | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """A problem that is open or was recently closed.

    Attributes:
        subject: the dataset id; `dataset_id/load_id` for a notice; empty for a shared resource.
        affected: the datasets affected since the incident opened.
        runs: how many runs failed because of it; `run_id` is the newest of them.
        cause: the cause, if it is known without a run.
        self_detected: whether the alert sensor ran into the problem itself.
        recovering_since: when the first run succeeded after the last failure.
        notified: the addresses that got the alert and not yet the recovery.
        forgotten: whether it closed because its datasets no longer exist.
        still_failing: how many datasets still did not load when it closed.
    """

    kind: AlertKind
    subject: str
    opened_at: datetime
    affected: Mapping[str, AffectedDataset] = field(default_factory=dict[str, AffectedDataset])
    runs: int = 0
    run_id: str | None = None
    cause: Cause | None = None
    self_detected: bool = False
    recovering_since: datetime | None = None
    closed_at: datetime | None = None
    notified: frozenset[str] = frozenset()
    forgotten: bool = False
    still_failing: int = 0

    @property
    def key(self) -> Key:
        """The key that identifies the incident."""
        return self.kind, self.subject

    @property
    def is_open(self) -> bool:
        """Whether the incident is open."""
        return self.closed_at is None

    @property
    def is_notice(self) -> bool:
        """Whether it is a one-time notice that has no recovery."""
        return not KINDS[self.kind].recovery

    @property
    def dataset_id(self) -> str:
        """The dataset id; empty for a shared resource."""
        return self.subject.partition("/")[0]

    @property
    def failing(self) -> dict[str, AffectedDataset]:
        """The datasets that do not load because of it now, in the order in which they were affected."""
        return (
            {dataset_id: state for dataset_id, state in self.affected.items() if not state.recovered}
            if self.is_open
            else {}
        )


Incidents = Mapping[Key, Incident]


@dataclass(frozen=True, slots=True)
class Observations:
    """What one tick of the alert sensor has observed.

    Attributes:
        runs: runs that finished since the last tick.
        parked: the datasets with parked events.
        known: all existing datasets; None when they cannot be read now.
        stale: the stale datasets with the cause; None when staleness cannot be determined now.
        changes: loads whose columns changed.
        detected: problems of the tick itself, by the kind of incident.
    """

    runs: Sequence[FinishedRun] = ()
    parked: AbstractSet[str] = frozenset()
    known: AbstractSet[str] | None = None
    stale: Mapping[str, Cause] | None = None
    changes: Sequence[ColumnChange] = ()
    detected: Mapping[AlertKind, Cause] = field(default_factory=dict[AlertKind, Cause])


@dataclass(frozen=True, slots=True)
class PendingNotifications:
    """The alerts and recoveries that an address has not received yet."""

    alerts: tuple[Incident, ...]
    recoveries: tuple[Incident, ...]

    def __bool__(self) -> bool:
        return bool(self.alerts or self.recoveries)


def observe(before: Incidents, observed: Observations, *, now: datetime) -> dict[Key, Incident]:
    """Update incidents with new observations: open, extend and close them.

    Pass each finished run once: runs are counted. All other observations are idempotent.
    """
    incidents = dict(before)
    for run in sorted(observed.runs, key=lambda run: run.ended_at):
        if run.failed:
            _add_failed_run(incidents, run)
        else:
            _add_success(incidents, run)
    failing = {dataset_id for incident in incidents.values() for dataset_id in incident.failing}
    for dataset_id in sorted(observed.parked - failing):
        _put(
            incidents,
            _opened(incidents, AlertKind.NOT_LOADED, dataset_id, now),
            affected={dataset_id: AffectedDataset(failing=False)},
        )
    _record_detected(incidents, observed.detected, now)
    for key in [incident.key for incident in _open(incidents)]:
        _end(incidents, incidents[key], observed, now)  # Read again: closing another incident may have changed it.
    _record_stale(incidents, observed, now)
    for change in observed.changes:
        subject = f"{change.dataset_id}/{change.load_id}"
        cause = Cause(change.message, KINDS[AlertKind.DRIFT].hint)
        notice = Incident(AlertKind.DRIFT, subject, change.finished_at, run_id=change.run_id, cause=cause)
        incidents.setdefault(notice.key, notice)
    return incidents


def pending_notifications(
    incidents: Incidents, address: str, *, now: datetime, debounce: timedelta = DEBOUNCE
) -> PendingNotifications:
    """The alerts and recoveries to send to an address, oldest first."""
    oldest_first = sorted(incidents.values(), key=lambda incident: (incident.opened_at, incident.key))
    return PendingNotifications(
        alerts=tuple(
            incident
            for incident in oldest_first
            if incident.is_open
            and address not in incident.notified
            and (incident.run_id is not None or now - incident.opened_at >= debounce)
        ),
        recoveries=tuple(
            incident for incident in oldest_first if not incident.is_open and address in incident.notified
        ),
    )


def mark_notified(before: Incidents, address: str, sent: PendingNotifications) -> dict[Key, Incident]:
    """Record that an address received these alerts and recoveries."""
    alerts = {i.key: replace(before[i.key], notified=before[i.key].notified | {address}) for i in sent.alerts}
    recoveries = {i.key: replace(before[i.key], notified=before[i.key].notified - {address}) for i in sent.recoveries}
    return {**before, **alerts, **recoveries}


def prune(before: Incidents, addresses: AbstractSet[str], *, now: datetime) -> dict[Key, Incident]:
    """Remove incidents without a pending notification, and addresses that are no longer configured."""
    known = (i if i.notified <= addresses else replace(i, notified=i.notified & addresses) for i in before.values())
    return {incident.key: incident for incident in known if not _can_be_pruned(incident, addresses, now)}


def merged(before: Incidents, others: Iterable[Incident]) -> dict[Key, Incident]:
    """Merge in incidents that were kept elsewhere for a while; the notified addresses of equal incidents are united."""
    incidents = dict(before)
    for other in others:
        known = incidents.get(other.key)
        incidents[other.key] = other if known is None else replace(known, notified=known.notified | other.notified)
    return incidents


def _add_failed_run(incidents: dict[Key, Incident], run: FinishedRun) -> None:
    """A dataset that already fails does not open an incident of a shared resource; it only joins an open one."""
    own, shared = _is_open(incidents, AlertKind.NOT_LOADED, run.dataset_id), SHARED.get(run.scope)
    if shared is not None and (not own or _is_open(incidents, shared, "")):
        _add_failure(incidents, _opened(incidents, shared, "", run.ended_at), run)
    if shared is None or own:
        _add_failure(incidents, _opened(incidents, AlertKind.NOT_LOADED, run.dataset_id, run.ended_at), run)


def _add_failure(incidents: dict[Key, Incident], incident: Incident, run: FinishedRun) -> None:
    affected = {**incident.affected, run.dataset_id: AffectedDataset(failing=True, run_id=run.run_id)}
    _put(incidents, incident, affected=affected, runs=incident.runs + 1, run_id=run.run_id, recovering_since=None)


def _add_success(incidents: dict[Key, Incident], run: FinishedRun) -> None:
    own = (AlertKind.NOT_LOADED, run.dataset_id)
    for key in (own, *((kind, "") for kind in SHARED.values())):
        incident = incidents.get(key)
        if incident is not None and incident.is_open:
            state = incident.affected.get(run.dataset_id)
            changed = {} if state is None else {run.dataset_id: replace(state, failing=False)}
            recovering_since = incident.recovering_since or run.ended_at
            _put(incidents, incident, affected={**incident.affected, **changed}, recovering_since=recovering_since)


def _record_detected(incidents: dict[Key, Incident], detected: Mapping[AlertKind, Cause], now: datetime) -> None:
    for incident in _open(incidents):
        if incident.self_detected and KINDS[incident.kind].is_shared and incident.kind not in detected:
            _put(incidents, incident, self_detected=False)
    for kind, cause in detected.items():
        _put(incidents, _opened(incidents, kind, "", now), self_detected=True, cause=cause)


def _end(incidents: dict[Key, Incident], incident: Incident, observed: Observations, now: datetime) -> None:
    """Close an incident when all its datasets load, or when it only lasts as failures of single datasets."""
    if incident.self_detected or incident.is_notice:
        return
    affected = {
        dataset_id: _affected_after(dataset_id, state, observed) for dataset_id, state in incident.affected.items()
    }
    failing = {dataset_id: state for dataset_id, state in affected.items() if not state.recovered}
    is_past = (
        KINDS[incident.kind].is_shared
        and incident.recovering_since is not None
        and now >= incident.recovering_since + RECOVERY_WINDOW
    )
    if failing and not is_past:
        _put(incidents, incident, affected=affected)
        return
    for dataset_id, state in failing.items():
        own = incidents.get((AlertKind.NOT_LOADED, dataset_id))
        if own is None or not own.is_open:
            own = _opened(incidents, AlertKind.NOT_LOADED, dataset_id, incident.opened_at)
            _put(incidents, own, affected={dataset_id: state}, runs=own.runs + 1, run_id=state.run_id)
        elif state.failing:  # The dataset's own incident may cover parked events only, and would close with them.
            _put(incidents, own, affected={dataset_id: state})
    forgotten = bool(affected) and not any(_dataset_exists(dataset_id, observed) for dataset_id in affected)
    _put(incidents, incident, affected=affected, closed_at=now, forgotten=forgotten, still_failing=len(failing))


def _affected_after(dataset_id: str, state: AffectedDataset, observed: Observations) -> AffectedDataset:
    is_failing = state.failing or dataset_id in observed.parked
    return replace(state, recovered=not (is_failing and _dataset_exists(dataset_id, observed)))


def _dataset_exists(dataset_id: str, observed: Observations) -> bool:
    return observed.known is None or dataset_id in observed.known or dataset_id in observed.parked


def _record_stale(incidents: dict[Key, Incident], observed: Observations, now: datetime) -> None:
    if observed.stale is None:
        return
    for incident in _open(incidents):
        if incident.kind is AlertKind.STALE and incident.subject not in observed.stale:
            forgotten = observed.known is not None and incident.subject not in observed.known
            _put(incidents, incident, closed_at=now, self_detected=False, forgotten=forgotten)
    failing = {dataset_id for incident in incidents.values() for dataset_id in incident.failing}
    for dataset_id, cause in observed.stale.items():
        if dataset_id not in failing or _is_open(incidents, AlertKind.STALE, dataset_id):
            _put(incidents, _opened(incidents, AlertKind.STALE, dataset_id, now), self_detected=True, cause=cause)


def _can_be_pruned(incident: Incident, addresses: AbstractSet[str], now: datetime) -> bool:
    if incident.is_notice:
        return incident.notified >= addresses or now - incident.opened_at > _NOTICE_AGE
    return not incident.is_open and not incident.notified


def _open(incidents: Mapping[Key, Incident]) -> list[Incident]:
    return [incident for incident in incidents.values() if incident.is_open]


def _is_open(incidents: Mapping[Key, Incident], kind: AlertKind, subject: str) -> bool:
    incident = incidents.get((kind, subject))
    return incident is not None and incident.is_open


def _opened(incidents: Mapping[Key, Incident], kind: AlertKind, subject: str, now: datetime) -> Incident:
    """The open incident of this kind; a closed one whose recovery is still pending is reopened."""
    incident = incidents.get((kind, subject))
    if incident is None:
        return Incident(kind, subject, now)
    if incident.is_open:
        return incident
    return replace(incident, closed_at=None, affected={}, forgotten=False, still_failing=0)


def _put(incidents: dict[Key, Incident], incident: Incident, **changes: object) -> None:
    incidents[incident.key] = replace(incident, **changes)
