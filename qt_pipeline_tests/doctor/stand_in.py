"""A Dagster that is not there: the few answers of its GraphQL that the doctor asks for, as a test wants them."""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "BACKFILL")


@dataclass
class DagsterStandIn:
    """What it answers. `silent` are the seconds since the last heartbeat, by daemon."""

    silent: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(DAEMONS, 3.0))
    errors: dict[str, str] = field(default_factory=dict)
    load_error: str | None = None
    sensor: str = "RUNNING"
    url: str = ""

    def answer(self, query: str) -> dict[str, Any]:
        if "sensorOrError" in query:
            return {"sensorOrError": {"__typename": "Sensor", "sensorState": {"status": self.sensor}}}
        location: dict[str, Any] = {"__typename": "RepositoryLocation"}
        if self.load_error is not None:
            location = {"__typename": "PythonError", "message": self.load_error}
        return {
            "version": "1.13.27",
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

    @contextmanager
    def running(self) -> Generator[None]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                content = json.dumps({"data": stand_in.answer(asked["query"])}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Silence."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            yield
            server.shutdown()
