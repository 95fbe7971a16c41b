"""Incidents: what is wrong now, since when, and who was told of it.

Here: the decision as functions of values: what opens an incident, what ends one, what is owed to whom.
Not here: where the values come from (see defs), the words (see kinds, messages), where incidents are kept (see store).

An incident is one row of what a person has to know, however many runs fail of it: of one dataset, or of something that
all datasets share. Each address is told of an incident once, and once that it is over. What ended before an address was
told of it is never told there.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from qt_pipeline.alerting.kinds import KINDS, SHARED, AlertKind
from qt_pipeline.errors import FailureScope

RECOVERY_WINDOW = timedelta(hours=1)
"""How long nothing may have failed of an incident, while others loaded, until it ends without some of its datasets."""
DEBOUNCE = timedelta(seconds=45)
"""How long what no run has told must last until it is told: a file that is being edited, events about to be settled."""
_NOTICE_AGE = timedelta(days=1)

Key = tuple[AlertKind, str]
"""What tells incidents apart: the kind and the dataset, for a notice with its load, or nothing where all share it."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is over, and whose fault it was if it failed."""

    run_id: str
    dataset_id: str
    ended_at: datetime
    failed: bool
    scope: FailureScope = FailureScope.DATASET


@dataclass(frozen=True, slots=True)
class Cause:
    """What happened and what to do, in sentences without a secret or a value of a row."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A published load whose file had other columns than the one before, in words."""

    dataset_id: str
    load_id: int
    run_id: str
    finished_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class AffectedDataset:
    """What an incident does, or did, to a dataset.

    Attributes:
        failing: whether its newest run failed.
        run_id: the run that failed of it last.
        over: whether the dataset loads again: no run fails, and none of its events is parked.
    """

    failing: bool
    run_id: str | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is, or was, wrong.

    Attributes:
        subject: the dataset, for a notice `dataset/load`; empty for what all datasets share.
        hits: the datasets that it has hit since it began.
        runs: how many runs have failed of it, and `run_id` is the newest.
        cause: what is known without a run.
        met: whether what looks for incidents has met it itself.
        calm_since: when the first run succeeded after the last one that failed of it.
        told: the addresses that know of it and do not know that it is over.
        gone: whether it ended because there is no such dataset any more.
        left: how many datasets still did not load when it ended.
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
        """What tells it from others."""
        return self.kind, self.subject

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.closed_at is None

    @property
    def is_notice(self) -> bool:
        """Whether nothing ends it, so that it is told once and forgotten."""
        return not KINDS[self.kind].recovery

    @property
    def dataset_id(self) -> str:
        """The dataset that it is about; empty where all datasets share it."""
        return self.subject.partition("/")[0]

    @property
    def failing(self) -> dict[str, AffectedDataset]:
        """The datasets that do not load because of it, for now, in the order in which it hit them."""
        return (
            {dataset_id: hit for dataset_id, hit in self.affected.items() if not hit.recovered} if self.is_open else {}
        )


Incidents = Mapping[Key, Incident]


@dataclass(frozen=True, slots=True)
class Observations:
    """What one look has found.

    Attributes:
        runs: those that have ended since the last look.
        parked: the datasets with parked events.
        known: the datasets there are; None when that is not known now.
        stale: the datasets that are stale, and why; None when that is not known now.
        changes: loads with other columns than before.
        met: what the look itself could not do, by the kind of incident that it is.
    """

    runs: Sequence[FinishedRun] = ()
    parked: AbstractSet[str] = frozenset()
    known: AbstractSet[str] | None = None
    stale: Mapping[str, Cause] | None = None
    changes: Sequence[ColumnChange] = ()
    detected: Mapping[AlertKind, Cause] = field(default_factory=dict[AlertKind, Cause])


@dataclass(frozen=True, slots=True)
class PendingNotifications:
    """What an address is still to be told: of incidents, and that others are over."""

    alerts: tuple[Incident, ...]
    recoveries: tuple[Incident, ...]

    def __bool__(self) -> bool:
        return bool(self.alerts or self.recoveries)


def observe(board: Incidents, seen: Observations, *, now: datetime) -> dict[Key, Incident]:
    """The incidents after a look: opened, grown, ended.

    Looking at the same runs twice would count them twice; everything else may be seen again and again.
    """
    incidents = dict(board)
    for run in sorted(seen.runs, key=lambda run: run.ended_at):
        if run.failed:
            _add_failed_run(incidents, run)
        else:
            _add_success(incidents, run)
    hurt = {dataset_id for incident in incidents.values() for dataset_id in incident.failing}
    for dataset_id in sorted(seen.parked - hurt):
        _put(
            incidents,
            _opened(incidents, AlertKind.NOT_LOADED, dataset_id, now),
            hits={dataset_id: AffectedDataset(failing=False)},
        )
    _record_detected(incidents, seen.detected, now)
    for key in [incident.key for incident in _open(incidents)]:
        _end(incidents, incidents[key], seen, now)  # As the end of one before it may have left it.
    _record_stale(incidents, seen, now)
    for change in seen.changes:
        subject = f"{change.dataset_id}/{change.load_id}"
        cause = Cause(change.message, KINDS[AlertKind.DRIFT].hint)
        notice = Incident(AlertKind.DRIFT, subject, change.finished_at, run_id=change.run_id, cause=cause)
        incidents.setdefault(notice.key, notice)
    return incidents


def pending_notifications(
    board: Incidents, address: str, *, now: datetime, sure: timedelta = DEBOUNCE
) -> PendingNotifications:
    """What is to be told to an address, the oldest first."""
    oldest_first = sorted(board.values(), key=lambda incident: (incident.opened_at, incident.key))
    return PendingNotifications(
        alerts=tuple(
            incident
            for incident in oldest_first
            if incident.is_open
            and address not in incident.notified
            and (incident.run_id is not None or now - incident.opened_at >= sure)
        ),
        recoveries=tuple(
            incident for incident in oldest_first if not incident.is_open and address in incident.notified
        ),
    )


def mark_notified(board: Incidents, address: str, what: PendingNotifications) -> dict[Key, Incident]:
    """The incidents after an address was told."""
    alerts = {i.key: replace(board[i.key], told=board[i.key].notified | {address}) for i in what.alerts}
    recoveries = {i.key: replace(board[i.key], told=board[i.key].notified - {address}) for i in what.recoveries}
    return {**board, **alerts, **recoveries}


def prune(board: Incidents, addresses: AbstractSet[str], *, now: datetime) -> dict[Key, Incident]:
    """The incidents without those that nobody waits to hear of. An address that is not used any more hears nothing."""
    known = (i if i.notified <= addresses else replace(i, told=i.notified & addresses) for i in board.values())
    return {incident.key: incident for incident in known if not _can_be_pruned(incident, addresses, now)}


def merged(board: Incidents, others: Iterable[Incident]) -> dict[Key, Incident]:
    """The incidents with others that were kept elsewhere for a while: of the same ones, all that were told know."""
    incidents = dict(board)
    for other in others:
        mine = incidents.get(other.key)
        incidents[other.key] = other if mine is None else replace(mine, told=mine.notified | other.notified)
    return incidents


def _add_failed_run(incidents: dict[Key, Incident], run: FinishedRun) -> None:
    """A dataset that is known not to load tells nothing new of what all share: it only adds to what is open."""
    own, shared = _is_open(incidents, AlertKind.NOT_LOADED, run.dataset_id), SHARED.get(run.scope)
    if shared is not None and (not own or _is_open(incidents, shared, "")):
        _add_failure(incidents, _opened(incidents, shared, "", run.ended_at), run)
    if shared is None or own:
        _add_failure(incidents, _opened(incidents, AlertKind.NOT_LOADED, run.dataset_id, run.ended_at), run)


def _add_failure(incidents: dict[Key, Incident], incident: Incident, run: FinishedRun) -> None:
    hits = {**incident.affected, run.dataset_id: AffectedDataset(failing=True, run_id=run.run_id)}
    _put(incidents, incident, hits=hits, runs=incident.runs + 1, run_id=run.run_id, calm_since=None)


def _add_success(incidents: dict[Key, Incident], run: FinishedRun) -> None:
    own = (AlertKind.NOT_LOADED, run.dataset_id)
    for key in (own, *((kind, "") for kind in SHARED.values())):
        incident = incidents.get(key)
        if incident is not None and incident.is_open:
            hit = incident.affected.get(run.dataset_id)
            hits = {} if hit is None else {run.dataset_id: replace(hit, failing=False)}
            calm_since = incident.recovering_since or run.ended_at
            _put(incidents, incident, hits={**incident.affected, **hits}, calm_since=calm_since)


def _record_detected(incidents: dict[Key, Incident], met: Mapping[AlertKind, Cause], now: datetime) -> None:
    for incident in _open(incidents):
        if incident.self_detected and KINDS[incident.kind].is_shared and incident.kind not in met:
            _put(incidents, incident, met=False)
    for kind, cause in met.items():
        _put(incidents, _opened(incidents, kind, "", now), met=True, cause=cause)


def _end(incidents: dict[Key, Incident], incident: Incident, seen: Observations, now: datetime) -> None:
    """End what is over: all its datasets load, or it is long past and what is left of it is each dataset's own."""
    if incident.self_detected or incident.is_notice:
        return
    hits = {dataset_id: _affected_after(dataset_id, hit, seen) for dataset_id, hit in incident.affected.items()}
    hurt = {dataset_id: hit for dataset_id, hit in hits.items() if not hit.recovered}
    is_past = (
        KINDS[incident.kind].is_shared
        and incident.recovering_since is not None
        and now >= incident.recovering_since + RECOVERY_WINDOW
    )
    if hurt and not is_past:
        _put(incidents, incident, hits=hits)
        return
    for dataset_id, hit in hurt.items():
        own = incidents.get((AlertKind.NOT_LOADED, dataset_id))
        if own is None or not own.is_open:
            own = _opened(incidents, AlertKind.NOT_LOADED, dataset_id, incident.opened_at)
            _put(incidents, own, hits={dataset_id: hit}, runs=own.runs + 1, run_id=hit.run_id)
        elif hit.failing:  # Its own may only know of parked events, and would end without them.
            _put(incidents, own, hits={dataset_id: hit})
    gone = bool(hits) and not any(_dataset_exists(dataset_id, seen) for dataset_id in hits)
    _put(incidents, incident, hits=hits, closed_at=now, gone=gone, left=len(hurt))


def _affected_after(dataset_id: str, hit: AffectedDataset, seen: Observations) -> AffectedDataset:
    hurts = hit.failing or dataset_id in seen.parked
    return replace(hit, over=not (hurts and _dataset_exists(dataset_id, seen)))


def _dataset_exists(dataset_id: str, seen: Observations) -> bool:
    return seen.known is None or dataset_id in seen.known or dataset_id in seen.parked


def _record_stale(incidents: dict[Key, Incident], seen: Observations, now: datetime) -> None:
    if seen.stale is None:
        return
    for incident in _open(incidents):
        if incident.kind is AlertKind.STALE and incident.subject not in seen.stale:
            gone = seen.known is not None and incident.subject not in seen.known
            _put(incidents, incident, closed_at=now, met=False, gone=gone)
    hurt = {dataset_id for incident in incidents.values() for dataset_id in incident.failing}
    for dataset_id, cause in seen.stale.items():
        if dataset_id not in hurt or _is_open(incidents, AlertKind.STALE, dataset_id):
            _put(incidents, _opened(incidents, AlertKind.STALE, dataset_id, now), met=True, cause=cause)


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
    """The open incident of this kind; one that ended and whose end somebody was not told goes on."""
    incident = incidents.get((kind, subject))
    if incident is None:
        return Incident(kind, subject, now)
    return incident if incident.is_open else replace(incident, closed_at=None, hits={}, gone=False, left=0)


def _put(incidents: dict[Key, Incident], incident: Incident, **changes: object) -> None:
    incidents[incident.key] = replace(incident, **changes)
