"""A relay that listens, and how the tests talk to it."""

import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import requests

from qt_pipeline.relay import EventSink, Metrics
from qt_pipeline.relay.rejections import Reason

TOKEN = "first-token-of-the-relay"
OTHER_TOKEN = "other-token-of-the-relay"

# Its arguments: the URL of the inbox and the port.
SERVE = f"""
import logging, sys
from pydantic import SecretStr
from qt_pipeline.inbox import open_inbox
from qt_pipeline.relay import GroupCommitWriter, Metrics, serve

logging.basicConfig(level=logging.INFO)
url, port = sys.argv[1], int(sys.argv[2])
metrics = Metrics()
metrics.watch(open_inbox(url))
serve(GroupCommitWriter(open_inbox(url), metrics), [SecretStr({TOKEN!r})], metrics, port=port, metrics_port=0)
"""


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
class RelayThread(Relay):
    """A relay in a thread of the test, with its figures."""

    metrics: Metrics

    def refused(self, reason: Reason) -> float:
        """How many requests it has refused for this reason."""
        return self.metrics.registry.get_sample_value("qt_relay_requests_refused_total", {"reason": reason}) or 0


class StartRelay(Protocol):
    """Starts a relay that the end of the test stops."""

    def __call__(
        self, tokens: Sequence[str], *, intake: EventSink | None = None, events_per_second: float = 0
    ) -> RelayThread: ...


@dataclass(frozen=True)
class RelayProcess(Relay):
    """A relay in a process of its own; all its output is in `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    def end(self, with_signal: signal.Signals) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(20)


class SpawnRelay(Protocol):
    """Runs a script that serves, as a process that the end of the test kills."""

    def __call__(self, script: str) -> RelayProcess: ...


def port_in(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that a starting relay has been given, as soon as its log tells."""
    patience = threading.Event()
    for _ in range(600):
        if found := re.search(r"listens on \S+ port (\d+)", log.read_text()):
            return int(found[1])
        assert process.poll() is None, log.read_text()
        patience.wait(0.05)
    raise AssertionError(log.read_text())


def scraped(log: Path) -> dict[str, float]:
    """The figures of the relay that writes this log, as Prometheus would see them."""
    found = re.search(r"Metrics are at (http://127\.0\.0\.1:\d+/metrics)", log.read_text())
    assert found is not None
    return scraped_at(found[1])


def scraped_at(url: str) -> dict[str, float]:
    """The figures served at `url`."""
    with requests.Session() as session:
        session.trust_env = False
        text = session.get(url, timeout=30).text
    return {name: float(value) for name, value in re.findall(r"^(qt_\S+) (\S+)$", text, re.MULTILINE)}
