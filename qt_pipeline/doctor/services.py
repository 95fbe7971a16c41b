"""Checks of the relay and Dagster.

Here: whether they respond correctly. Not here: starting them.
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
_UNGUARDED = "Any web page in a browser that reaches it can start and delete runs: it accepts cross-origin requests."
_GUARD_IT = "Start it with `qt-pipeline dev`; for a server, see docs/production.md."
_START_DAEMON = "Start it: `dagster-daemon run -w workspace.yaml`, or `make dev`."


def relay(case: CheckContext) -> Iterator[Finding]:
    """Check that the relay can store events, and whether other machines may send them."""
    settings = case.settings
    yield _relay(settings.relay_url, is_polling=settings.poll_minutes is not None)
    if "QT_RELAY_TOKENS" not in case.report.faults:
        if settings.relay_tokens:
            count = len(settings.relay_tokens)
            yield Finding(
                Area.RELAY, "QT_RELAY_TOKENS", FindingState.OK, f"{count} token{' is' if count == 1 else 's are'} set."
            )
        else:
            hint = "Run `qt-pipeline init`, which creates one, or set QT_RELAY_TOKENS to a secret."
            found = "Not set: the relay accepts events only from this machine."
            yield Finding(Area.RELAY, "QT_RELAY_TOKENS", FindingState.WARNING, found, hint)


def _relay(url: str, *, is_polling: bool) -> Finding:
    finding: Callable[..., Finding] = partial(Finding, Area.RELAY, redacted_url(url))
    with requests.Session() as session:
        # Do not use a proxy for this machine.
        session.trust_env = not is_loopback_url(url)
        base, session.auth = split_credentials(url)
        try:
            answer = session.get(
                f"{base}/readyz", timeout=(_CONNECT_SECONDS, _READ_SECONDS), allow_redirects=False, stream=True
            )
            status = HTTPStatus(answer.status_code)
        except (requests.RequestException, ValueError) as error:
            # With polling, events are optional.
            state = FindingState.WARNING if is_polling else FindingState.FAILURE
            return finding(state, f"No relay responds there ({type(error).__name__}).", _START_RELAY)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        hint = "See the findings about the inbox, and the relay's log."
        return finding(FindingState.FAILURE, "It is running, but cannot store events now (503).", hint)
    if status is not HTTPStatus.OK:
        return finding(FindingState.FAILURE, f"The server there is not the relay ({status}).", "Correct QT_RELAY_URL.")
    return finding(FindingState.OK, "It can store events.")


def dagster(case: CheckContext) -> Iterator[Finding]:
    """Check Dagster: UI, code location, daemons, and the events sensor."""
    api = dagster_of(case.settings, answer_seconds=_READ_SECONDS)
    finding: Callable[..., Finding] = partial(Finding, Area.DAGSTER)
    url = redacted_url(case.settings.dagster_url)
    try:
        yield finding(url, FindingState.OK, f"Dagster {_message(api.version())} responds.")
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
    hint = "Fix the error, then reload the code location in the UI, under Deployment."
    found = f"It is not loaded: {_message(location.error or 'no reason is given')}"
    return Finding(Area.DAGSTER, "code location qt_pipeline", FindingState.FAILURE, found, hint)


def _daemons(daemons: Sequence[Daemon]) -> Iterator[Finding]:
    finding: Callable[..., Finding] = partial(Finding, Area.DAGSTER)
    required = [daemon for daemon in daemons if daemon.is_required]
    if not any(daemon.is_running for daemon in required):
        yield finding(
            "daemon", FindingState.FAILURE, "It is not running: no runs are requested or started.", _START_DAEMON
        )
        return
    for daemon in required:
        subject = f"daemon {daemon.name}"
        if not daemon.is_running:
            silent = daemon.silent_seconds
            since = "yet" if silent is None else f"for {silent:,.0f} seconds"
            yield finding(subject, FindingState.FAILURE, f"It has sent no heartbeat {since}.", _START_DAEMON)
        elif daemon.error:
            hint = "See the daemon's log, and Deployment > Daemons in the UI."
            yield finding(subject, FindingState.FAILURE, f"It reports errors: {_message(daemon.error)}", hint)
    if all(daemon.is_running and not daemon.error for daemon in required):
        yield finding("daemon", FindingState.OK, f"All {len(required)} daemons are healthy.")


def _sensor(*, is_running: bool) -> Finding:
    if is_running:
        return Finding(Area.DAGSTER, f"sensor {_SENSOR}", FindingState.OK, "It is running.")
    hint = f"Turn it on in the UI: Automation > {_SENSOR}."
    return Finding(
        Area.DAGSTER,
        f"sensor {_SENSOR}",
        FindingState.FAILURE,
        "It is stopped: no runs are requested for events.",
        hint,
    )


def _message(text: str) -> str:
    """Dagster's message, shortened, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} …"
