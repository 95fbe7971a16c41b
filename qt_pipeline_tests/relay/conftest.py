import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from qt_pipeline.inbox import Inbox, database, open_inbox
from qt_pipeline.relay import GroupCommitWriter, Metrics
from qt_pipeline.relay.app import RelayApp
from qt_pipeline.relay.rejections import Rejections
from qt_pipeline.relay.server import build_server
from qt_pipeline.relay.sinks import EventSink
from qt_pipeline_tests.relay.running import (
    OTHER_TOKEN,
    TOKEN,
    RelayProcess,
    RelayThread,
    SpawnRelay,
    StartRelay,
    port_in,
)


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    # Long enough for the threads of one test, short enough to wait for a refusal.
    monkeypatch.setattr(database, "_WAIT_SECONDS", 1)
    opened = open_inbox(f"sqlite:///{tmp_path}/inbox.db")
    yield opened
    opened.close()


@pytest.fixture
def start_relay(inbox: Inbox, tmp_path: Path) -> Iterator[StartRelay]:
    """Start a relay with some tokens, in a thread, with the limits of the real process."""
    stops: list[Callable[[], None]] = []

    def start(tokens: Sequence[str], *, intake: EventSink | None = None, events_per_second: float = 0) -> RelayThread:
        metrics = Metrics()
        app = RelayApp(
            intake or GroupCommitWriter(inbox, metrics),
            [SecretStr(token) for token in tokens],
            Rejections(metrics),
            events_per_second=events_per_second,
        )
        server = build_server(app)
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(20)

        stops.append(stop)
        return RelayThread(listener.getsockname()[1], tmp_path / "inbox.db", metrics)

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def relay(start_relay: StartRelay) -> RelayThread:
    return start_relay([TOKEN, OTHER_TOKEN])


@pytest.fixture
def spawn_relay(tmp_path: Path) -> Iterator[SpawnRelay]:
    """Start a script that serves on port 0; its argument is the URL of the inbox."""
    processes: list[subprocess.Popen[bytes]] = []

    def spawn(script: str) -> RelayProcess:
        log = tmp_path / "relay.log"
        inbox_file = tmp_path / "inbox.db"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-X", "dev", "-c", script, f"sqlite:///{inbox_file}", "0"],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        return RelayProcess(port_in(log, process), inbox_file, process, log)

    yield spawn
    for process in processes:
        process.kill()
        process.wait()
