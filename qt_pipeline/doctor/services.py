"""The processes that must run: the relay and Dagster.

Here: whether they answer as they should. Not here: starting them.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http import HTTPStatus

import requests

from qt_pipeline.composition import dagster_of
from qt_pipeline.dagster_api import CodeLocation, Daemon
from qt_pipeline.doctor.check import CheckContext
from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.errors import PipelineError
from qt_pipeline.urls import redacted_url, split_credentials
from qt_pipeline.values import is_loopback_url

_CONNECT_SECONDS = 3
_READ_SECONDS = 10
_MAX_MESSAGE = 300
_SENSOR = "quantemplate_events"
_START_RELAY = "Start it: `qt-pipeline relay`. If it runs elsewhere, set QT_RELAY_URL."
_START_DAGSTER = "Start it: `make dev`. If it runs elsewhere, set QT_DAGSTER_URL."
_UNGUARDED = (
    "Any web page in a browser that reaches it can start and delete runs: it answers requests of other origins."
)
_GUARD_IT = "Start it by `qt-pipeline dev`, or see docs/production.md for a server."
_START_DAEMON = "Start it: `dagster-daemon run -w workspace.yaml`, or `make dev`, which does."


def relay(case: CheckContext) -> Iterator[Finding]:
    """Whether the relay could store an event now, and whether anybody but this machine may send one."""
    settings = case.settings
    yield _relay(settings.relay_url, is_polling=settings.poll_minutes is not None)
    if "QT_RELAY_TOKENS" not in case.report.faults:
        if settings.relay_tokens:
            count = len(settings.relay_tokens)
            yield Finding(
                Area.RELAY, "QT_RELAY_TOKENS", FindingState.OK, f"{count} token{' is' if count == 1 else 's are'} set."
            )
        else:
            hint = "Run `qt-pipeline init`, which makes one, or set QT_RELAY_TOKENS to a secret of your own."
            found = "It is not set: the relay takes events from this machine alone."
            yield Finding(Area.RELAY, "QT_RELAY_TOKENS", FindingState.WARNING, found, hint)


def _relay(url: str, *, is_polling: bool) -> Finding:
    finding: Callable[..., Finding] = partial(Finding, Area.RELAY, redacted_url(url))
    with requests.Session() as session:
        # A proxy must not be asked for what is on this machine.
        session.trust_env = not is_loopback_url(url)
        base, session.auth = split_credentials(url)
        try:
            answer = session.get(
                f"{base}/readyz", timeout=(_CONNECT_SECONDS, _READ_SECONDS), allow_redirects=False, stream=True
            )
            status = HTTPStatus(answer.status_code)
        except (requests.RequestException, ValueError) as error:
            # Where every dataset is looked at every few minutes, events are a help and no more.
            state = FindingState.WARNING if is_polling else FindingState.FAILURE
            return finding(state, f"No relay answers there ({type(error).__name__}).", _START_RELAY)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        hint = "Look at the findings about the inbox, and at the relay's log."
        return finding(FindingState.FAILURE, "It runs, and cannot store an event now (503).", hint)
    if status is not HTTPStatus.OK:
        return finding(
            FindingState.FAILURE, f"What answers there is not the relay ({status}).", "Correct QT_RELAY_URL."
        )
    return finding(FindingState.OK, "It could store an event now.")


def dagster(case: CheckContext) -> Iterator[Finding]:
    """Whether Dagster answers, has loaded this project, and its daemon lives; whether the sensor of events is on."""
    api = dagster_of(case.settings, answer_seconds=_READ_SECONDS)
    finding: Callable[..., Finding] = partial(Finding, Area.DAGSTER)
    url = redacted_url(case.settings.dagster_url)
    try:
        yield finding(url, FindingState.OK, f"Dagster {_message(api.version())} answers.")
        if api.answers_other_pages():
            yield finding(url, FindingState.WARNING, _UNGUARDED, _GUARD_IT)
        location = api.code_location()
        yield _location(location)
        yield from _daemons(api.daemons())
        if location.is_loaded:
            yield _sensor(is_running=api.is_sensor_running(_SENSOR))
    except PipelineError as error:
        yield finding(url, FindingState.FAILURE, error.message, error.hint or _START_DAGSTER)


def _location(location: CodeLocation) -> Finding:
    if location.is_loaded:
        return Finding(Area.DAGSTER, "code location qt_pipeline", FindingState.OK, "It is loaded.")
    hint = "Correct what it says, then reload the code location in the UI, under Deployment."
    found = f"It is not loaded: {_message(location.error or 'no reason is given')}"
    return Finding(Area.DAGSTER, "code location qt_pipeline", FindingState.FAILURE, found, hint)


def _daemons(daemons: Sequence[Daemon]) -> Iterator[Finding]:
    finding: Callable[..., Finding] = partial(Finding, Area.DAGSTER)
    required = [daemon for daemon in daemons if daemon.is_required]
    if not any(daemon.is_running for daemon in required):
        yield finding(
            "daemon", FindingState.FAILURE, "It does not run: no event becomes a run, and no run begins.", _START_DAEMON
        )
        return
    for daemon in required:
        subject = f"daemon {daemon.name}"
        if not daemon.is_running:
            silent = daemon.silent_seconds
            since = "ever" if silent is None else f"for {silent:,.0f} seconds"
            yield finding(subject, FindingState.FAILURE, f"It has given no sign {since}.", _START_DAEMON)
        elif daemon.error:
            hint = "Look at the daemon's log, and at Deployment > Daemons in the UI."
            yield finding(subject, FindingState.FAILURE, f"It meets errors: {_message(daemon.error)}", hint)
    if all(daemon.is_running and not daemon.error for daemon in required):
        yield finding("daemon", FindingState.OK, f"All {len(required)} parts of it give signs of life.")


def _sensor(*, is_running: bool) -> Finding:
    if is_running:
        return Finding(Area.DAGSTER, f"sensor {_SENSOR}", FindingState.OK, "It is on.")
    hint = f"Turn it on in the UI: Automation > {_SENSOR}."
    return Finding(Area.DAGSTER, f"sensor {_SENSOR}", FindingState.FAILURE, "It is off: no event becomes a run.", hint)


def _message(text: str) -> str:
    """The beginning of what Dagster says, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} …"
