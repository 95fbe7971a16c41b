"""A server on loopback that answers as Dagster does, for what a real one cannot be made to do quickly.

It may be out for a while, and its daemon may be silent; a run goes on by one step each time it is looked at. Earlier
runs may have failed, or not.
"""

import json
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

RUN_ID = "00000000-0000-0000-0000-000000000001"
DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "BACKFILL")


class FakeDagster:
    """Knows one dataset and one run, and those that have `ended`.

    `silent` are the seconds since the last sign of life, `errors` what was met, by daemon; `load_error` is why the code
    location is not loaded; `sensor` is whether the sensor is on, `guarded` whether other origins are refused. `why` is
    said by each run that failed.
    """

    def __init__(self, *statuses: str, dataset_id: str = "d-one", daemon_silent_for: float | None = 0) -> None:
        self.statuses = list(statuses) or ["SUCCESS"]
        self.dataset_id = dataset_id
        self.silent: dict[str, float | None] = dict.fromkeys(DAEMONS, daemon_silent_for)
        self.errors: dict[str, str] = {}
        self.load_error: str | None = None
        self.sensor = "RUNNING"
        self.guarded = True
        self.ended: list[dict[str, Any]] = []
        self.why = {"error": "It was refused.", "how to fix": "Ask for it."}
        self.asked: list[str] = []
        self.variables: dict[str, Any] = {}
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._out_after: tuple[int, float] | None = None
        self._looks = 0
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def out_after(self, looks: int, *, seconds: float) -> None:
        """After so many looks at the run, nothing answers for a while."""
        self._out_after = looks, seconds

    def run_ended(self, status: str, dataset_id: str, ended_at: datetime, *, run_id: str = RUN_ID) -> None:
        """Let a run of a dataset have ended so, as the newest."""
        run = _as_run(run_id, status, dataset_id, ended_at.timestamp())
        self.ended.insert(0, run)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._stop()

    def _start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.variables = content.get("variables", {})
                answer = json.dumps({"data": outer.answer(content["query"])}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                # Dagster executes what a GET asks, whichever page sends it; a guard before it does not.
                self.send_response(403 if outer.guarded and self.headers["Origin"] != outer.url else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    def _be_out(self, seconds: float) -> None:
        self._stop()
        if not self._ended.wait(seconds):
            self._start()

    def answer(self, query: str) -> dict[str, Any]:
        """What Dagster would answer to a question, as far as it is one of ours."""
        asked = next(name for name in _ANSWERS if name in query)
        self.asked.append(asked)
        return _ANSWERS[asked](self)

    def _run(self) -> dict[str, Any]:
        self._looks += 1
        if self._out_after and self._looks == self._out_after[0]:
            threading.Thread(target=self._be_out, args=(self._out_after[1],), daemon=True).start()
        status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
        return _as_run(RUN_ID, status, self.dataset_id, time.time())

    def _last_ended(self) -> dict[str, Any]:
        """What is asked for of the runs that have ended, as Dagster's filters do it."""

        def chosen(filter_: dict[str, Any]) -> list[dict[str, Any]]:
            tags, statuses = filter_.get("tags", []), filter_["statuses"]
            found = [run for run in self.ended if run["status"] in statuses and all(tag in run["tags"] for tag in tags)]
            return found[: self.variables["limit"]]

        return {
            name: {"__typename": "Runs", "results": chosen(self.variables[name])} for name in ("failed", "succeeded")
        }

    def _events(self) -> dict[str, Any]:
        failed = any(run["runId"] == self.variables["id"] for run in self.ended)
        entries = [{"label": label, "text": text} for label, text in self.why.items()]
        failure = {
            "__typename": "ExecutionStepFailureEvent",
            "message": "It failed.",
            "failureMetadata": {"metadataEntries": entries},
        }
        connection = {"cursor": "1", "hasMore": False, "events": [failure] if failed else []}
        return {"runOrError": {"__typename": "Run", "eventConnection": connection}}

    def _state(self) -> dict[str, Any]:
        location: dict[str, Any] = {"__typename": "RepositoryLocation"}
        if self.load_error is not None:
            location = {"__typename": "PythonError", "message": self.load_error}
        return {
            "version": "1.0",
            "instance": {"daemonHealth": {"allDaemonStatuses": [self._daemon(name) for name in DAEMONS]}},
            "workspaceOrError": {"locationEntries": [{"name": "qt_pipeline", "locationOrLoadError": location}]},
        }

    def _daemon(self, name: str) -> dict[str, Any]:
        silent = self.silent[name]
        return {
            "daemonType": name,
            "required": True,
            "healthy": True,
            "lastHeartbeatTime": None if silent is None else time.time() - silent,
            "lastHeartbeatErrors": [{"message": self.errors[name]}] if name in self.errors else [],
        }


def _as_run(run_id: str, status: str, dataset_id: str, now: float) -> dict[str, Any]:
    tags = [{"key": "dagster/partition", "value": dataset_id}]
    moments = dict.fromkeys(("creationTime", "startTime", "endTime"), now)
    return {"runId": run_id, "status": status, "tags": tags, **moments}


_ANSWERS: dict[str, Any] = {
    "daemonHealth": FakeDagster._state,
    "sensorOrError": lambda self: {"sensorOrError": {"__typename": "Sensor", "sensorState": {"status": self.sensor}}},
    "succeeded: runsOrError": FakeDagster._last_ended,
    "assetNodeOrError": lambda self: {"assetNodeOrError": {"partitionKeys": [self.dataset_id]}},
    "addDynamicPartition": lambda _: {"addDynamicPartition": {"__typename": "AddDynamicPartitionSuccess"}},
    "launchRun": lambda _: {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": RUN_ID}}},
    "runsOrError": lambda self: {"runsOrError": {"__typename": "Runs", "results": [self._run()]}},
    "eventConnection": FakeDagster._events,
    "query { version }": lambda _: {"version": "1.0"},
}
