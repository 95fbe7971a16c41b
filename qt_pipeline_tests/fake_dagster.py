"""A server on loopback that answers as Dagster does, for what a real one cannot be made to do quickly.

It may be out for a while, and its daemon may be silent; a run goes on by one step each time it is looked at.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

RUN_ID = "00000000-0000-0000-0000-000000000001"


class FakeDagster:
    """Knows one dataset and one run."""

    def __init__(self, *statuses: str, dataset_id: str = "d-one", daemon_silent_for: float | None = 0) -> None:
        self.statuses = list(statuses) or ["SUCCESS"]
        self.dataset_id = dataset_id
        self.daemon_silent_for = daemon_silent_for
        self.asked: list[str] = []
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
                answer = json.dumps({"data": outer.answer(content["query"])}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

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
        now = time.time()
        tags = [{"key": "dagster/partition", "value": self.dataset_id}]
        return {
            "runId": RUN_ID,
            "status": status,
            "tags": tags,
            "creationTime": now,
            "startTime": now,
            "endTime": now,
        }

    def _state(self) -> dict[str, Any]:
        last = None if self.daemon_silent_for is None else time.time() - self.daemon_silent_for
        names = ("SENSOR", "QUEUED_RUN_COORDINATOR", "BACKFILL")
        daemons = [
            {
                "daemonType": name,
                "required": True,
                "healthy": True,
                "lastHeartbeatTime": last,
                "lastHeartbeatErrors": [],
            }
            for name in names
        ]
        return {
            "version": "1.0",
            "instance": {"daemonHealth": {"allDaemonStatuses": daemons}},
            "workspaceOrError": {"locationEntries": []},
        }


_ANSWERS: dict[str, Any] = {
    "daemonHealth": FakeDagster._state,
    "assetNodeOrError": lambda self: {"assetNodeOrError": {"partitionKeys": [self.dataset_id]}},
    "addDynamicPartition": lambda _: {"addDynamicPartition": {"__typename": "AddDynamicPartitionSuccess"}},
    "launchRun": lambda _: {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": RUN_ID}}},
    "runsOrError": lambda self: {"runsOrError": {"__typename": "Runs", "results": [self._run()]}},
    "eventConnection": lambda _: {
        "runOrError": {"__typename": "Run", "eventConnection": {"cursor": "1", "hasMore": False, "events": []}}
    },
    "query { version }": lambda _: {"version": "1.0"},
}
