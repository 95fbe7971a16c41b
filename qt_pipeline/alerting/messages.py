"""Messages: what is owed to an address, as one title and one text.

Here: words, and how much of them. Not here: what is owed (see incidents), who sends it (see send).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from qt_pipeline.alerting.incidents import Cause, Incident, PendingNotifications
from qt_pipeline.alerting.kinds import KINDS, AlertKind
from qt_pipeline.safe_text import chat_text

MAX_LISTED = 10
"""How many incidents of one message, and datasets of one incident, are named; the others are counted."""

_PREFIX = "[qt_pipeline]"
# A message of ten incidents stays below the 4,000 characters that the tightest of the large services take.
_MAX_CAUSE = 700
_MAX_CAUSE_OF_MANY = 120
_MAX_NAME = 80
_MINUTE = 60
_HOURS_IN_MINUTES = 120
_DAYS_IN_HOURS = 48


class Severity(StrEnum):
    """How a message is to be taken."""

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
    """What the words need beside the incidents.

    Attributes:
        names: what people call the datasets, by id; one that is missing is called by its id.
        causes: what happened and what to do, by the run that failed of it.
        parked: the datasets with parked events, and why the newest is.
        dagster_url: where runs can be looked at.
    """

    names: Mapping[str, str]
    causes: Mapping[str, Cause]
    parked: Mapping[str, str]
    dagster_url: str


TEST = Message(
    f"{_PREFIX} A test",
    "This address is told of failures, parked events, stale datasets and changed columns, and when they are over.",
    Severity.INFO,
)


def runs_named(owed: PendingNotifications) -> set[str]:
    """The runs whose failure a message explains."""
    return {incident.run_id for incident in owed.alerts[:MAX_LISTED] if incident.run_id is not None}


def datasets_named(owed: PendingNotifications) -> set[str]:
    """The datasets that a message calls by their names."""
    named: set[str] = set()
    for incident in (*owed.alerts[:MAX_LISTED], *owed.recoveries[:MAX_LISTED]):
        named |= {incident.dataset_id} if incident.dataset_id else set(list(incident.failing)[:MAX_LISTED])
    return named


def compose(owed: PendingNotifications, background: MessageContext) -> Message:
    """One message of all that is owed to an address."""
    match owed.alerts:
        case ():
            alerts = []
        case (alert,):
            alerts = _alert(alert, background)
        case several:
            alerts = _alerts(several, background)
    recoveries = _recoveries(owed.recoveries, background)
    body = "\n\n".join("\n".join(lines) for lines in (alerts, recoveries) if lines)
    return Message(_title(owed, background), body, _severity(owed))


def _title(owed: PendingNotifications, background: MessageContext) -> str:
    match owed.alerts, owed.recoveries:
        case (alert,), _:
            headline = _headline(alert, background)
        case (), (recovery,):
            headline = _recovery(recovery, background)
        case (), recoveries:
            headline = f"{len(recoveries)} alerts are over"
        case alerts, _:
            headline = f"{len(alerts)} alerts"
    if owed.alerts and owed.recoveries:
        over = len(owed.recoveries)
        headline += f"; {over} {'is' if over == 1 else 'are'} over"
    return f"{_PREFIX} {headline}"


def _severity(owed: PendingNotifications) -> Severity:
    if not owed.alerts:
        return Severity.SUCCESS
    mild = all(alert.kind in (AlertKind.STALE, AlertKind.DRIFT) for alert in owed.alerts)
    return Severity.WARNING if mild else Severity.FAILURE


def _alert(incident: Incident, background: MessageContext) -> list[str]:
    """One incident, with all that helps."""
    cause = _cause(incident, background)
    lines = [_truncate(cause.message, _MAX_CAUSE), f"What to do: {_truncate(cause.hint, _MAX_CAUSE)}", ""]
    if incident.dataset_id:
        lines.append(f"Dataset: {_name(incident.dataset_id, background)} ({incident.dataset_id})")
    elif hurt := list(incident.failing):
        lines.append(f"Datasets that do not load: {_listed([_name(d, background) for d in hurt])}")
    lines.append(f"Since: {_format_timestamp(incident.opened_at)}")
    if incident.run_id is not None:
        lines.append(f"Run: {_link(incident.run_id, background)}")
    of_one = f" --dataset-id {incident.dataset_id}" if incident.dataset_id else ""
    if parked := _parked(incident, background):
        which = "Its events" if of_one else f"Events of {len(parked)} {_datasets(len(parked))}"
        lines.append(f"{which} are parked: qt-pipeline events --state parked{of_one}")
    if incident.affected:
        # They may be parked only after this was told.
        lines.append(f"Once it is mended, for events that are parked: qt-pipeline replay --parked{of_one}")
    return [*lines, f"Alert: {incident.kind.value}"]


def _alerts(alerts: Sequence[Incident], background: MessageContext) -> list[str]:
    """Several incidents, each in two lines, and how many more there are."""
    lines: list[str] = []
    for incident in alerts[:MAX_LISTED]:
        cause = _cause(incident, background)
        link = f" {_link(incident.run_id, background)}" if incident.run_id is not None else ""
        lines.append(f"- {_headline(incident, background)}: {_truncate(cause.message, _MAX_CAUSE_OF_MANY)}")
        lines.append(f"  {_truncate(cause.hint, _MAX_CAUSE_OF_MANY)}{link}")
    if len(alerts) > MAX_LISTED:
        lines.append(f"- and {len(alerts) - MAX_LISTED} more: see {background.dagster_url}/runs")
    lines.append("")
    if any(_parked(incident, background) for incident in alerts):
        lines.append("Events are parked: qt-pipeline events --state parked")
    if any(incident.affected for incident in alerts):
        lines.append("Once it is mended, for events that are parked: qt-pipeline replay --parked")
    kinds = dict.fromkeys(incident.kind.value for incident in alerts)
    return [*lines, f"Alerts: {', '.join(kinds)}"]


def _recoveries(recoveries: Sequence[Incident], background: MessageContext) -> list[str]:
    lines = [f"{_recovery(incident, background)}{_afterwards(incident)}" for incident in recoveries[:MAX_LISTED]]
    more = len(recoveries) - MAX_LISTED
    return [*lines, *([f"And {more} more are over."] if more > 0 else [])]


def _headline(incident: Incident, background: MessageContext) -> str:
    said = KINDS[incident.kind].headline
    if not KINDS[incident.kind].is_shared:
        return f"{_name(incident.dataset_id, background)} {said}"
    number = len(incident.failing)
    return f"{said}: {number} {_datasets(number)} {'does' if number == 1 else 'do'} not load" if number else said


def _recovery(incident: Incident, background: MessageContext) -> str:
    if incident.forgotten:
        name = _name(incident.dataset_id, background) if incident.dataset_id else "What was hit"
        return f"{name} is not loaded any more"
    said = KINDS[incident.kind].recovery
    return said if KINDS[incident.kind].is_shared else f"{_name(incident.dataset_id, background)} {said}"


def _afterwards(incident: Incident) -> str:
    """How long it took and what it left."""
    took = _duration((incident.closed_at or incident.opened_at) - incident.opened_at)
    words = f", after {took}"
    if incident.runs:
        of = f" of {len(incident.affected)} datasets" if len(incident.affected) > 1 else ""
        words += f" in which {incident.runs} run{'' if incident.runs == 1 else 's'}{of} failed"
    words += "."
    if incident.still_failing:
        number = incident.still_failing
        verb = "does" if number == 1 else "do"
        words += f" {number} {_datasets(number)} still {verb} not load, each with an alert of its own."
    return words


def _cause(incident: Incident, background: MessageContext) -> Cause:
    """What the failed run says; else what is known without one; else what can be said of the kind."""
    known = background.causes.get(incident.run_id or "") or incident.cause
    if known is None:
        outcome = background.parked.get(incident.dataset_id, "Events of it are parked.")
        known = Cause("See the run." if incident.run_id is not None else outcome)
    return Cause(known.message, known.hint or KINDS[incident.kind].hint)


def _parked(incident: Incident, background: MessageContext) -> list[str]:
    return [dataset_id for dataset_id in incident.failing if dataset_id in background.parked]


def _name(dataset_id: str, background: MessageContext) -> str:
    return _truncate(background.names.get(dataset_id, dataset_id), _MAX_NAME)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _datasets(number: int) -> str:
    return "dataset" if number == 1 else "datasets"


def _link(run_id: str, background: MessageContext) -> str:
    return f"{background.dagster_url}/runs/{run_id}"


def _format_timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _duration(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} seconds"
    minutes = round(seconds / _MINUTE)
    if minutes < _HOURS_IN_MINUTES:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    hours = round(minutes / _MINUTE)
    return f"{hours} hours" if hours < _DAYS_IN_HOURS else f"{round(hours / 24)} days"


def _truncate(text: str, longest: int) -> str:
    """The text in one line, inert in any chat, and not too long."""
    flat = chat_text(" ".join(text.split()))
    return flat if len(flat) <= longest else f"{flat[: longest - 3].rstrip()}..."
