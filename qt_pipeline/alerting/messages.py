"""Messages: what is owed to an address, as one title and one text.

Here: words, and how much of them. Not here: what is owed (see incidents), who sends it (see send).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from qt_pipeline.alerting.incidents import Cause, Incident, Owed
from qt_pipeline.alerting.kinds import KINDS, Kind
from qt_pipeline.safe_text import chat_text

MOST_TOLD = 10
"""How many incidents of one message, and datasets of one incident, are named; the others are counted."""

_PREFIX = "[qt_pipeline]"
# A message of ten incidents stays below the 4,000 characters that the tightest of the large services take.
_LONGEST_CAUSE = 700
_LONGEST_OF_MANY = 120
_LONGEST_NAME = 80
_MINUTE = 60
_HOURS_IN_MINUTES = 120
_DAYS_IN_HOURS = 48


class Tone(StrEnum):
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
    tone: Tone


@dataclass(frozen=True, slots=True)
class Background:
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
    Tone.INFO,
)


def runs_named(owed: Owed) -> set[str]:
    """The runs whose failure a message explains."""
    return {incident.run_id for incident in owed.alerts[:MOST_TOLD] if incident.run_id is not None}


def datasets_named(owed: Owed) -> set[str]:
    """The datasets that a message calls by their names."""
    named: set[str] = set()
    for incident in (*owed.alerts[:MOST_TOLD], *owed.recoveries[:MOST_TOLD]):
        named |= {incident.dataset_id} if incident.dataset_id else set(list(incident.hurt)[:MOST_TOLD])
    return named


def compose(owed: Owed, background: Background) -> Message:
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
    return Message(_title(owed, background), body, _tone(owed))


def _title(owed: Owed, background: Background) -> str:
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


def _tone(owed: Owed) -> Tone:
    if not owed.alerts:
        return Tone.SUCCESS
    mild = all(alert.kind in (Kind.STALE, Kind.DRIFT) for alert in owed.alerts)
    return Tone.WARNING if mild else Tone.FAILURE


def _alert(incident: Incident, background: Background) -> list[str]:
    """One incident, with all that helps."""
    cause = _cause(incident, background)
    lines = [_cut(cause.what, _LONGEST_CAUSE), f"What to do: {_cut(cause.todo, _LONGEST_CAUSE)}", ""]
    if incident.dataset_id:
        lines.append(f"Dataset: {_name(incident.dataset_id, background)} ({incident.dataset_id})")
    elif hurt := list(incident.hurt):
        lines.append(f"Datasets that do not load: {_listed([_name(d, background) for d in hurt])}")
    lines.append(f"Since: {_moment(incident.opened_at)}")
    if incident.run_id is not None:
        lines.append(f"Run: {_link(incident.run_id, background)}")
    of_one = f" --dataset-id {incident.dataset_id}" if incident.dataset_id else ""
    if parked := _parked(incident, background):
        which = "Its events" if of_one else f"Events of {len(parked)} {_datasets(len(parked))}"
        lines.append(f"{which} are parked: qt-pipeline events --state parked{of_one}")
    if incident.hits:
        # They may be parked only after this was told.
        lines.append(f"Once it is mended, for events that are parked: qt-pipeline replay --parked{of_one}")
    return [*lines, f"Alert: {incident.kind.value}"]


def _alerts(alerts: Sequence[Incident], background: Background) -> list[str]:
    """Several incidents, each in two lines, and how many more there are."""
    lines: list[str] = []
    for incident in alerts[:MOST_TOLD]:
        cause = _cause(incident, background)
        link = f" {_link(incident.run_id, background)}" if incident.run_id is not None else ""
        lines.append(f"- {_headline(incident, background)}: {_cut(cause.what, _LONGEST_OF_MANY)}")
        lines.append(f"  {_cut(cause.todo, _LONGEST_OF_MANY)}{link}")
    if len(alerts) > MOST_TOLD:
        lines.append(f"- and {len(alerts) - MOST_TOLD} more: see {background.dagster_url}/runs")
    lines.append("")
    if any(_parked(incident, background) for incident in alerts):
        lines.append("Events are parked: qt-pipeline events --state parked")
    if any(incident.hits for incident in alerts):
        lines.append("Once it is mended, for events that are parked: qt-pipeline replay --parked")
    kinds = dict.fromkeys(incident.kind.value for incident in alerts)
    return [*lines, f"Alerts: {', '.join(kinds)}"]


def _recoveries(recoveries: Sequence[Incident], background: Background) -> list[str]:
    lines = [f"{_recovery(incident, background)}{_afterwards(incident)}" for incident in recoveries[:MOST_TOLD]]
    more = len(recoveries) - MOST_TOLD
    return [*lines, *([f"And {more} more are over."] if more > 0 else [])]


def _headline(incident: Incident, background: Background) -> str:
    said = KINDS[incident.kind].headline
    if not KINDS[incident.kind].is_shared:
        return f"{_name(incident.dataset_id, background)} {said}"
    number = len(incident.hurt)
    return f"{said}: {number} {_datasets(number)} {'does' if number == 1 else 'do'} not load" if number else said


def _recovery(incident: Incident, background: Background) -> str:
    if incident.gone:
        name = _name(incident.dataset_id, background) if incident.dataset_id else "What was hit"
        return f"{name} is not loaded any more"
    said = KINDS[incident.kind].recovery
    return said if KINDS[incident.kind].is_shared else f"{_name(incident.dataset_id, background)} {said}"


def _afterwards(incident: Incident) -> str:
    """How long it took and what it left."""
    took = _duration((incident.closed_at or incident.opened_at) - incident.opened_at)
    words = f", after {took}"
    if incident.runs:
        of = f" of {len(incident.hits)} datasets" if len(incident.hits) > 1 else ""
        words += f" in which {incident.runs} run{'' if incident.runs == 1 else 's'}{of} failed"
    words += "."
    if incident.left:
        verb = "does" if incident.left == 1 else "do"
        words += f" {incident.left} {_datasets(incident.left)} still {verb} not load, each with an alert of its own."
    return words


def _cause(incident: Incident, background: Background) -> Cause:
    """What the failed run says; else what is known without one; else what can be said of the kind."""
    known = background.causes.get(incident.run_id or "") or incident.cause
    if known is None:
        outcome = background.parked.get(incident.dataset_id, "Events of it are parked.")
        known = Cause("See the run." if incident.run_id is not None else outcome)
    return Cause(known.what, known.todo or KINDS[incident.kind].todo)


def _parked(incident: Incident, background: Background) -> list[str]:
    return [dataset_id for dataset_id in incident.hurt if dataset_id in background.parked]


def _name(dataset_id: str, background: Background) -> str:
    return _cut(background.names.get(dataset_id, dataset_id), _LONGEST_NAME)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_TOLD
    return ", ".join(names[:MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


def _datasets(number: int) -> str:
    return "dataset" if number == 1 else "datasets"


def _link(run_id: str, background: Background) -> str:
    return f"{background.dagster_url}/runs/{run_id}"


def _moment(moment: datetime) -> str:
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


def _cut(text: str, longest: int) -> str:
    """The text in one line, inert in any chat, and not too long."""
    flat = chat_text(" ".join(text.split()))
    return flat if len(flat) <= longest else f"{flat[: longest - 3].rstrip()}..."
