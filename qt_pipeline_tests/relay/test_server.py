import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import Inbox, open_inbox
from qt_pipeline.relay import GroupCommitWriter, Metrics, serve
from qt_pipeline_tests.relay.running import SERVE, TOKEN, SpawnRelay, scraped

ROUTE = "/webhooks/quantemplate"


def event(event_id: str, name: str = "DatasetUpdated") -> bytes:
    return json.dumps({"id": event_id, "name": name, "payload": {"datasetId": "d-one"}}).encode()


def serve_inbox(inbox: Inbox, tokens: list[SecretStr], **where: Any) -> None:
    metrics = Metrics()
    serve(GroupCommitWriter(inbox, metrics), tokens, metrics, **{"metrics_port": 0, **where})


def test_beyond_this_machine_a_token_is_needed(inbox: Inbox) -> None:
    with pytest.raises(ConfigurationError, match="QT_RELAY_TOKENS"):
        serve_inbox(inbox, [], host="0.0.0.0", port=0)


def test_a_taken_port_is_said(inbox: Inbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"):
            serve_inbox(inbox, [SecretStr(TOKEN)], port=port)


def test_a_relay_without_tokens_says_so(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE.replace(f"SecretStr({TOKEN!r})", ""))
    assert relay.call("POST", ROUTE, event("e-1")).status_code == 202
    assert "No token is set" in relay.log.read_text()


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_a_request_in_progress_is_answered_before_the_end(
    spawn_relay: SpawnRelay, stop: signal.Signals, code: int
) -> None:
    relay = spawn_relay(SERVE)
    body = event("e-1").decode()
    head = f"POST {ROUTE}/{TOKEN} HTTP/1.1\nHost: x\nContent-Length: {len(body)}\nExpect: 100-continue\n\n"
    with relay.connect(head) as connection:
        # The relay now waits for the body.
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        relay.process.send_signal(stop)
        connection.sendall(body.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 202")
    assert relay.process.wait(20) == code
    assert [stored.event_id for stored in open_inbox(f"sqlite:///{relay.inbox_file}").events()] == ["e-1"]


def test_a_sender_that_stalls_does_not_hold_up_the_end(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE)
    head = f"POST {ROUTE}/{TOKEN} HTTP/1.1\nHost: x\nContent-Length: 10\nExpect: 100-continue\n\n"
    with relay.connect(head) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        assert relay.end(signal.SIGTERM) == -signal.SIGTERM
    # The server logs how it broke the request off.
    assert "graceful shutdown exceeded" in relay.log.read_text()
    assert TOKEN not in relay.log.read_text()


# Nothing is committed until a file is there.
SERVE_HELD = SERVE.replace(
    "metrics = Metrics()",
    """metrics = Metrics()
import os, time
from qt_pipeline.inbox import Inbox
append = Inbox.append

def wait_and_append(inbox, events):
    open(url.removeprefix("sqlite:///") + ".held", "w").close()
    while not os.path.exists(url.removeprefix("sqlite:///") + ".go"):
        time.sleep(0.01)
    return append(inbox, events)

Inbox.append = wait_and_append""",
)


def test_what_waits_to_be_stored_is_stored_and_answered_before_the_end(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE_HELD)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(relay.post, event("0"))]
        # The first is a group of its own: the others wait for its end.
        while not relay.inbox_file.with_name("inbox.db.held").exists():
            assert not answers[0].done()
        answers += [pool.submit(relay.post, event(str(number))) for number in range(1, 20)]
        while scraped(relay.log)["qt_relay_events_waiting"] < 19:
            assert not any(answer.done() for answer in answers)
        relay.process.send_signal(signal.SIGTERM)
        relay.inbox_file.with_name("inbox.db.go").touch()
        assert relay.process.wait(20) == -signal.SIGTERM
        sequences = {answer.result().json()["sequence"] for answer in answers}
    assert {stored.seq for stored in open_inbox(f"sqlite:///{relay.inbox_file}").events()} == sequences
    assert len(sequences) == 20


def test_every_acknowledged_event_outlives_kill_9(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE)
    acknowledged: dict[int, str] = {}
    enough = threading.Event()

    def post_until_the_end(sender: int) -> None:
        for number in range(1_000_000):
            event_id = f"{sender}-{number}"
            try:
                answer = relay.post(event(event_id))
            except requests.RequestException:
                return
            assert answer.status_code == 202
            acknowledged[answer.json()["sequence"]] = event_id
            if len(acknowledged) >= 200:
                enough.set()

    with ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(post_until_the_end, sender) for sender in range(8)]
        assert enough.wait(60)
        relay.end(signal.SIGKILL)
    for sender in senders:
        sender.result()
    stored = {one.seq: one.event_id for one in open_inbox(f"sqlite:///{relay.inbox_file}").events(limit=1_000_000)}
    assert len(acknowledged) >= 200
    assert acknowledged.items() <= stored.items()


CANARY = "canary-7d1f0c4e-of-the-relay"

# Everything that a careless operator can switch on, and an inbox whose unexpected errors repeat the request.
SERVE_CARELESSLY = f"""
import asyncio, logging, sys
from pydantic import SecretStr
from qt_pipeline.inbox import open_inbox
from qt_pipeline.relay import GroupCommitWriter, Metrics, serve

logging.basicConfig(level=1)
for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio", "sqlalchemy", "qt_pipeline"):
    logging.getLogger(name).setLevel(1)

inbox = open_inbox(sys.argv[1])
append = inbox.append

def fail_sometimes(events):
    if events[0].name == "Explode":
        raise RuntimeError("cannot handle /webhooks/quantemplate/{CANARY}")
    return append(events)

inbox.append = fail_sometimes
metrics = Metrics()
serve(GroupCommitWriter(inbox, metrics), [SecretStr("{CANARY}")], metrics, port=0, metrics_port=0)
"""


def test_the_token_never_reaches_a_log(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE_CARELESSLY)
    bearer = f"Bearer {CANARY}"

    def status(method: str, path: str, body: bytes = b"", **headers: str) -> int:
        return relay.call(method, path, body, **headers).status_code

    def status_of_raw(request: str) -> bytes:
        with relay.connect(request) as connection:
            return connection.recv(12)

    assert status("POST", f"{ROUTE}/{CANARY}", event("e-1")) == 202
    assert status("POST", f"{ROUTE}?token={CANARY}", event("e-2"), Authorization=bearer) == 202
    assert status("POST", f"{ROUTE}/{CANARY}", b"no event") == 400
    assert status("POST", f"{ROUTE}/{CANARY}", b" " * 70_000) == 413
    assert status("POST", f"{ROUTE}/{CANARY}x", event("e-3")) == 401
    assert status("GET", f"{ROUTE}/{CANARY}") == 405
    assert status("POST", f"{ROUTE}/{CANARY}/", event("e-4")) == 404
    assert status("POST", f"/{CANARY}", event("e-5")) == 404
    assert status("POST", f"{ROUTE}/{CANARY}", event("e-6", "Explode")) == 500
    assert status("POST", ROUTE, event("e-7", "Explode"), Authorization=bearer) == 500
    upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: MTIzNDU2Nzg5MA=="
    assert status_of_raw(f"GET {ROUTE}/{CANARY} HTTP/1.1\nHost: x\n{upgrade}\n\n") == b"HTTP/1.1 405"
    assert status_of_raw(f"POST {ROUTE}/{CANARY} HTTP/9.9\nno header {CANARY}\n\n") == b"HTTP/1.1 400"
    relay.end(signal.SIGTERM)
    log = relay.log.read_text()
    assert "POST /webhooks/quantemplate/{token} 401 token" in log
    assert log.count("Unexpected RuntimeError") == 2
    assert "- 400 not_http" in log
    assert CANARY not in log
