"""A relay that listens, and how the tests talk to it."""

import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

TOKEN = "first-token-of-the-relay"
OTHER_TOKEN = "other-token-of-the-relay"


@dataclass(frozen=True)
class Relay:
    """A relay that listens on `port`, whatever runs it."""

    port: int
    inbox_file: Path

    def call(self, method: str, path: str, body: bytes | Iterator[bytes] = b"", **headers: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers, timeout=30
            )

    def post(self, body: bytes, token: str = TOKEN) -> requests.Response:
        return self.call("POST", f"/webhooks/quantemplate/{token}", body)

    def connect(self, request: str) -> socket.socket:
        """A connection on which `request` has been sent, for what no well-behaved client would do."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(request.replace("\n", "\r\n").encode())
        return connection


@dataclass(frozen=True)
class RelayProcess(Relay):
    """A relay in a process of its own; all its output is in `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    def end(self, with_signal: signal.Signals) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(20)


def port_in(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that a starting relay has been given, as soon as its log tells."""
    patience = threading.Event()
    for _ in range(600):
        if found := re.search(r"listens on \S+ port (\d+)", log.read_text()):
            return int(found[1])
        assert process.poll() is None, log.read_text()
        patience.wait(0.05)
    raise AssertionError(log.read_text())
