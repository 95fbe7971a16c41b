"""Relay → queue → inbox, as processes, each killed in the middle: what was acknowledged arrives."""

import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests

from qt_pipeline.inbox import open_inbox
from qt_pipeline_tests.relay.posting import event
from qt_pipeline_tests.relay.running import TOKEN

_log = logging.getLogger(__name__)

EVENTS = 200
SENDERS = 4
KILLS = 2
LIVES_SECONDS = (0.05, 0.8)
PATIENCE_SECONDS = 120

RELAY = [sys.executable, "-m", "qt_pipeline", "relay", "--metrics-port", "0"]
# Ticks without end, as those of the sensor. What a killed one had received is seen again soon.
MOVER = """
import sys, time
from qt_pipeline.inbox import azure_queue, open_inbox
azure_queue._VISIBILITY_SECONDS = 2
queue, inbox = azure_queue.open_queue(sys.argv[1]), open_inbox(sys.argv[2])
while True:
    moved = queue.drain_into(inbox, limit=1000, seconds=5)
    print(moved, flush=True)
    time.sleep(0.05)
"""


class Killable:
    """A process that can be killed and started again."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def killed_at_the_end(*processes: Killable) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"Not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.05)


@pytest.mark.e2e
def test_no_acknowledged_event_is_lost_between_relay_queue_and_inbox(queue_url: str, tmp_path: Path) -> None:
    port = free_port()
    inbox_url = f"sqlite:///{tmp_path}/inbox.db"
    own = {"QT_ENV_FILE": "", "QT_RELAY_QUEUE_URL": queue_url, "QT_RELAY_TOKENS": TOKEN, "QT_STATE_DIR": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QT_")} | own
    relay = Killable([*RELAY, "--port", str(port)], environment, tmp_path / "relay.log")
    mover = Killable([sys.executable, "-c", MOVER, queue_url, inbox_url], environment, tmp_path / "mover.log")
    acknowledged: list[str] = []

    def send(names: Sequence[str]) -> None:
        """Each until it is acknowledged: what a sender does that wants its event to arrive."""
        with requests.Session() as http:
            http.trust_env = False
            for name in names:
                until(lambda name=name: accepted(http, name), f"{name} acknowledged")
                acknowledged.append(name)

    def accepted(http: requests.Session, name: str) -> bool:
        try:
            answer = http.post(f"http://127.0.0.1:{port}/webhooks/quantemplate/{TOKEN}", data=event(name), timeout=30)
        except requests.ConnectionError:
            return False
        assert answer.status_code in {202, 503}, answer.text
        return answer.status_code == 202

    names = [f"e-{number}" for number in range(EVENTS)]
    with killed_at_the_end(relay, mover), ThreadPoolExecutor(SENDERS) as senders:
        sending = [senders.submit(send, names[number::SENDERS]) for number in range(SENDERS)]
        kills = 0
        while kills < KILLS:
            # Each at a moment that nobody knows, but not before there was something to lose since the last.
            some_more = len(acknowledged) + EVENTS // KILLS // 2
            until(lambda more=some_more: len(acknowledged) >= min(more, EVENTS), "some more acknowledged")
            time.sleep(random.uniform(*LIVES_SECONDS))
            for process in (mover, relay):
                process.kill()
                process.start()
            kills += 1
        for sent in sending:
            sent.result()
        with closing(open_inbox(inbox_url)) as inbox:
            arrived: Counter[str] = Counter()

            def all_arrived() -> bool:
                arrived.clear()
                arrived.update(one.event_id for one in inbox.events(limit=100 * EVENTS))
                return set(names) <= set(arrived)

            until(all_arrived, f"{set(names) - set(arrived)} in the inbox")
            assert {one.body for one in inbox.events(limit=100 * EVENTS)} == {event(name) for name in names}
    doubled = sum(arrived.values()) - EVENTS
    _log.info("%d events acknowledged, relay and mover killed %d times: 0 lost, %d doubled", EVENTS, kills, doubled)
    assert sorted(acknowledged) == sorted(names)
    assert set(arrived) == set(names)
