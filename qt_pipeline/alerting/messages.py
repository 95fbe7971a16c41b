"""Alert messages: composes the pending alerts and recoveries of an address into one title and one text.

Here: texts and length limits. Not here: which notifications are pending (see incidents), sending (see send).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from qt_pipeline.alerting.incidents import Cause, Incident, PendingNotifications
from qt_pipeline.alerting.kinds import KINDS, AlertKind
from qt_pipeline.safe_text import chat_text

MAX_LISTED = 10
"""How many incidents per message, and datasets per incident, are named; the others are only counted."""

_PREFIX = "[qt_pipeline]"
# Ten incidents fit into 4,000 characters, the smallest limit of the large chat services.
_MAX_CAUSE = 700
_MAX_CAUSE_OF_MANY = 120
_MAX_NAME = 80
_MINUTE = 60
_HOURS_IN_MINUTES = 120
_DAYS_IN_HOURS = 48


class Severity(StrEnum):
    """The severity of a message, as chat services show it."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as plain text. Untrusted text in it is inert in every chat."""

    title: str
    body: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class MessageContext:
    """What a message needs in addition to the incidents.

    Attributes:
        names: display names of datasets, by id; a missing one is shown as its id.
        causes: error and fix, by the id of the failed run.
        parked: datasets with parked events, and the reason of the newest.
        dagster_url: the URL of Dagster's UI.
    """

    names: Mapping[str, str]
    causes: Mapping[str, Cause]
    parked: Mapping[str, str]
    dagster_url: str


TEST = Message(
    f"{_PREFIX} A test",
    "This address receives alerts about failures, parked events, stale datasets and changed columns, and recoveries.",
    Severity.INFO,
)


def runs_named(pending: PendingNotifications) -> set[str]:
    """The ids of the runs whose failure the message explains."""
    return {incident.run_id for incident in pending.alerts[:MAX_LISTED] if incident.run_id is not None}


def datasets_named(pending: PendingNotifications) -> set[str]:
    """The ids of the datasets that the message names."""
    named: set[str] = set()
    for incident in (*pending.alerts[:MAX_LISTED], *pending.recoveries[:MAX_LISTED]):
        named |= {incident.dataset_id} if incident.dataset_id else set(list(incident.failing)[:MAX_LISTED])
    return named


def compose(pending: PendingNotifications, context: MessageContext) -> Message:
    """Compose one message of all pending notifications of an address."""
    match pending.alerts:
        case ():
            alerts = []
        case (alert,):
            alerts = _alert(alert, context)
        case many:
            alerts = _alerts(many, context)
    recoveries = _recoveries(pending.recoveries, context)
    body = "\n\n".join("\n".join(lines) for lines in (alerts, recoveries) if lines)
    return Message(_title(pending, context), body, _severity(pending))


def _title(pending: PendingNotifications, context: MessageContext) -> str:
    match pending.alerts, pending.recoveries:
        case (alert,), _:
            headline = _headline(alert, context)
        case (), (recovery,):
            headline = _recovery(recovery, context)
        case (), recoveries:
            headline = f"{len(recoveries)} alerts recovered"
        case alerts, _:
            headline = f"{len(alerts)} alerts"
    if pending.alerts and pending.recoveries:
        headline += f"; {len(pending.recoveries)} recovered"
    return f"{_PREFIX} {headline}"


def _severity(pending: PendingNotifications) -> Severity:
    if not pending.alerts:
        return Severity.SUCCESS
    mild = all(alert.kind in (AlertKind.STALE, AlertKind.DRIFT) for alert in pending.alerts)
    return Severity.WARNING if mild else Severity.FAILURE


def _alert(incident: Incident, context: MessageContext) -> list[str]:
    """The lines of a message about one incident, in full detail."""
    cause = _cause(incident, context)
    lines = [_truncate(cause.message, _MAX_CAUSE), f"How to fix: {_truncate(cause.hint, _MAX_CAUSE)}", ""]
    if incident.dataset_id:
        lines.append(f"Dataset: {_name(incident.dataset_id, context)} ({incident.dataset_id})")
    elif failing := list(incident.failing):
        lines.append(f"Datasets that do not load: {_listed([_name(d, context) for d in failing])}")
    lines.append(f"Since: {_format_timestamp(incident.opened_at)}")
    if incident.run_id is not None:
        lines.append(f"Run: {_link(incident.run_id, context)}")
    option = f" --dataset-id {incident.dataset_id}" if incident.dataset_id else ""
    if parked := _parked(incident, context):
        subject = "Events of this dataset" if option else f"Events of {len(parked)} {_datasets(len(parked))}"
        lines.append(f"{subject} are parked: qt-pipeline events --state parked{option}")
    if incident.affected:
        # Events may be parked after this message was sent.
        lines.append(f"After the fix, replay parked events: qt-pipeline replay --parked{option}")
    return [*lines, f"Alert: {incident.kind.value}"]


def _alerts(alerts: Sequence[Incident], context: MessageContext) -> list[str]:
    """The lines of a message about several incidents: two lines each, and a count of the rest."""
    lines: list[str] = []
    for incident in alerts[:MAX_LISTED]:
        cause = _cause(incident, context)
        link = f" {_link(incident.run_id, context)}" if incident.run_id is not None else ""
        lines.append(f"- {_headline(incident, context)}: {_truncate(cause.message, _MAX_CAUSE_OF_MANY)}")
        lines.append(f"  {_truncate(cause.hint, _MAX_CAUSE_OF_MANY)}{link}")
    if len(alerts) > MAX_LISTED:
        lines.append(f"- and {len(alerts) - MAX_LISTED} more: see {context.dagster_url}/runs")
    lines.append("")
    if any(_parked(incident, context) for incident in alerts):
        lines.append("Events are parked: qt-pipeline events --state parked")
    if any(incident.affected for incident in alerts):
        lines.append("After the fix, replay parked events: qt-pipeline replay --parked")
    kinds = dict.fromkeys(incident.kind.value for incident in alerts)
    return [*lines, f"Alerts: {', '.join(kinds)}"]


def _recoveries(recoveries: Sequence[Incident], context: MessageContext) -> list[str]:
    lines = [f"{_recovery(incident, context)}{_afterwards(incident)}" for incident in recoveries[:MAX_LISTED]]
    more = len(recoveries) - MAX_LISTED
    return [*lines, *([f"And {more} more recovered."] if more > 0 else [])]


def _headline(incident: Incident, context: MessageContext) -> str:
    headline = KINDS[incident.kind].headline
    if not KINDS[incident.kind].is_shared:
        return f"{_name(incident.dataset_id, context)} {headline}"
    number = len(incident.failing)
    return (
        f"{headline}: {number} {_datasets(number)} {'does' if number == 1 else 'do'} not load" if number else headline
    )


def _recovery(incident: Incident, context: MessageContext) -> str:
    if incident.forgotten:
        name = _name(incident.dataset_id, context) if incident.dataset_id else "The affected dataset"
        return f"{name} is no longer loaded"
    recovery = KINDS[incident.kind].recovery
    return recovery if KINDS[incident.kind].is_shared else f"{_name(incident.dataset_id, context)} {recovery}"


def _afterwards(incident: Incident) -> str:
    """The end of a recovery's line: duration, failed runs, datasets that still fail."""
    duration = _duration((incident.closed_at or incident.opened_at) - incident.opened_at)
    text = f", after {duration}"
    if incident.runs:
        of = f" of {len(incident.affected)} datasets" if len(incident.affected) > 1 else ""
        text += f" with {incident.runs} failed run{'' if incident.runs == 1 else 's'}{of}"
    text += "."
    if incident.still_failing:
        number = incident.still_failing
        verb = "does" if number == 1 else "do"
        text += f" {number} {_datasets(number)} still {verb} not load; each gets a separate alert."
    return text


def _cause(incident: Incident, context: MessageContext) -> Cause:
    """The cause from the failed run, else from the incident, else the hint of its kind."""
    known = context.causes.get(incident.run_id or "") or incident.cause
    if known is None:
        outcome = context.parked.get(incident.dataset_id, "Events of this dataset are parked.")
        known = Cause("See the run." if incident.run_id is not None else outcome)
    return Cause(known.message, known.hint or KINDS[incident.kind].hint)


def _parked(incident: Incident, context: MessageContext) -> list[str]:
    return [dataset_id for dataset_id in incident.failing if dataset_id in context.parked]


def _name(dataset_id: str, context: MessageContext) -> str:
    return _truncate(context.names.get(dataset_id, dataset_id), _MAX_NAME)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _datasets(number: int) -> str:
    return "dataset" if number == 1 else "datasets"


def _link(run_id: str, context: MessageContext) -> str:
    return f"{context.dagster_url}/runs/{run_id}"


def _format_timestamp(timestamp: datetime) -> str:
    return f"{timestamp:%Y-%m-%d %H:%M} UTC"


def _duration(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} seconds"
    minutes = round(seconds / _MINUTE)
    if minutes < _HOURS_IN_MINUTES:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    hours = round(minutes / _MINUTE)
    return f"{hours} hours" if hours < _DAYS_IN_HOURS else f"{round(hours / 24)} days"


def _truncate(text: str, max_length: int) -> str:
    """The text on one line, safe for any chat, and cut to `max_length`."""
    flat = chat_text(" ".join(text.split()))
    return flat if len(flat) <= max_length else f"{flat[: max_length - 3].rstrip()}..."
