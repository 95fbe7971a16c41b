"""What a client makes of answers that are none, or are not what it hoped for. What it asks is tested end to end."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qt_pipeline.dagster_api import DagsterApi, DagsterRefusedError, DagsterUnavailableError, RunEvents, Stage
from qt_pipeline.demo import Ports, free_ports
from qt_pipeline_tests.fake_dagster import FakeDagster


@contextmanager
def answering(status: int, body: bytes) -> Iterator[DagsterApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield DagsterApi(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()


def data(**answer: object) -> bytes:
    return json.dumps({"data": answer}).encode()


def test_nobody_who_answers_is_unavailable_and_the_next_step_is_named() -> None:
    port = free_ports(Ports(0, 0, 0), lambda _: None).dagster
    with pytest.raises(DagsterUnavailableError, match="cannot be reached") as refusal:
        DagsterApi(f"http://127.0.0.1:{port}").version()
    assert "make dev" in refusal.value.hint
    assert "QT_DAGSTER_URL" in refusal.value.hint


def test_a_proxy_of_the_environment_is_not_asked_for_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(200, data(version="1.0")) as api:
        assert api.version() == "1.0"


def test_an_error_of_the_server_may_pass() -> None:
    with answering(503, b"") as api, pytest.raises(DagsterUnavailableError, match="503"):
        api.version()


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (401, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"data": null}')],
)
def test_what_is_no_dagster_is_refused(status: int, body: bytes) -> None:
    with answering(status, body) as api, pytest.raises(DagsterRefusedError):
        api.version()


def test_the_words_of_a_refusal_are_told() -> None:
    body = json.dumps({"errors": [{"message": "Cannot query field\nmore"}]}).encode()
    with (
        answering(200, body) as api,
        pytest.raises(DagsterRefusedError, match=r"answer: Cannot query field\."),
    ):
        api.version()
    launched = {"__typename": "UnauthorizedError", "message": "Read only."}
    with answering(200, data(launchRun=launched)) as api, pytest.raises(DagsterRefusedError, match="Read only"):
        api.launch("d-one", {})
    run = {"__typename": "RunNotFoundError", "message": "Not found."}
    with answering(200, data(runOrError=run)) as api, pytest.raises(DagsterRefusedError, match="Not found"):
        api.events("run-1")
    with answering(200, data(runsOrError={"results": []})) as api, pytest.raises(DagsterRefusedError, match="no run"):
        api.run("run-1")


@pytest.mark.parametrize(
    ("entries", "loaded", "words"),
    [
        ([], False, "loaded: none"),
        ([{"name": "other", "locationOrLoadError": None}], False, "loaded: other"),
        ([{"name": "qt_pipeline", "locationOrLoadError": None}], False, "still loading"),
        (
            [{"name": "qt_pipeline", "locationOrLoadError": {"__typename": "PythonError", "message": "No module"}}],
            *(False, "No module"),
        ),
        ([{"name": "qt_pipeline", "locationOrLoadError": {"__typename": "RepositoryLocation"}}], True, None),
    ],
)
def test_whether_the_code_location_is_loaded(entries: list[object], loaded: bool, words: str | None) -> None:
    with answering(200, data(workspaceOrError={"locationEntries": entries})) as api:
        location = api.code_location()
    assert location.is_loaded is loaded
    assert words in location.error if words and location.error else location.error is words


@pytest.mark.parametrize(("silent", "runs"), [(5, True), (100, True), (500, False), (None, False)])
def test_a_daemon_that_gave_no_sign_for_long_does_not_run_whatever_dagster_says(
    silent: float | None,
    runs: bool,
) -> None:
    with FakeDagster(daemon_silent_for=silent) as fake:
        daemon = DagsterApi(fake.url).daemons()[0]
    assert daemon.is_running is runs
    assert (daemon.silent_seconds is None) == (silent is None)


def event(kind: str, **more: object) -> dict[str, object]:
    return {"__typename": kind, "message": "a message", "stepKey": "quantemplate__dataset", **more}


def told(*events: dict[str, object]) -> RunEvents:
    connection = {"cursor": "c", "hasMore": False, "events": list(events)}
    with answering(200, data(runOrError={"__typename": "Run", "eventConnection": connection})) as api:
        return api.events("run-1")


def test_the_first_failure_explains_a_run_in_its_own_words() -> None:
    entries = [
        {"label": "error", "text": "It broke."},
        {"label": "how to fix", "text": "Mend it."},
        {"label": "rows", "intValue": 3},
    ]
    failure = event("ExecutionStepFailureEvent", failureMetadata={"metadataEntries": entries}, error=None)
    found = told(failure, event("RunFailureEvent", message="Execution of run failed. Steps failed: ['x']."))
    assert found.failure is not None
    assert (found.failure.message, found.failure.hint) == ("It broke.", "Mend it.")


def test_a_failure_without_our_words_is_told_by_its_innermost_error() -> None:
    error = {
        "message": "dagster._core.errors.DagsterResourceFunctionError: Error executing resource_fn\n",
        "causes": [{"message": "qt_pipeline.errors.ConfigurationError: Not set: QT_CLIENT_ID.\n"}],
    }
    found = told(event("ExecutionStepFailureEvent", failureMetadata=None, error=error))
    assert found.failure is not None
    assert (found.failure.message, found.failure.hint) == ("Not set: QT_CLIENT_ID.", "")
    gone = told(event("RunFailureEvent", message="The process is gone.", error=None))
    assert gone.failure is not None
    assert gone.failure.message == "The process is gone."


def test_what_was_said_of_one_step_says_nothing_of_the_next() -> None:
    found = told(
        event("ExecutionStepStartEvent"),
        event("LogMessageEvent", message="1 MB\nof 3"),
    )
    assert (found.stage, found.message) == (Stage.DOWNLOAD, "1 MB")
    later = told(event("ExecutionStepStartEvent", stepKey="warehouse__table"))
    assert (found.then(later).stage, found.then(later).message) == (Stage.LOAD, None)
