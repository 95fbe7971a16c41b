"""An alert service on real HTTP, which a test can let accept, reject or hang."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

SECRET = "canary-of-a-token"  # part of every URL


@dataclass
class Service:
    """An Apprise `json://` service: its received messages, and the status with which it responds."""

    port: int
    status: int = 200
    requests: int = 0
    received: list[dict[str, Any]] = field(default_factory=list)
    answer: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"json://127.0.0.1:{self.port}/{SECRET}")

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.received]

    def hang(self) -> None:
        """Accept requests, and respond to none until `answer` is set."""
        self.answer.clear()


@contextmanager
def running_service() -> Iterator[Service]:
    """A service on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.requests += 1
            service.answer.wait()
            if service.status == 200:
                service.received.append(json.loads(body))
            self.send_response(service.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service = Service(server.server_address[1])
    service.answer.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.answer.set()
        server.shutdown()
        server.server_close()
        thread.join()
