import json
import logging
import re
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import Queue

import pytest

from qt_pipeline.inbox import Inbox
from qt_pipeline_tests.relay.running import OTHER_TOKEN, TOKEN, Relay, StartRelay

EVENT = json.dumps(
    {"id": "e-1", "name": "DatasetUpdated", "created": "now", "payload": {"datasetId": "d-one"}}
).encode()
ROUTE = "/webhooks/quantemplate"
LIMIT = 64 * 1024


@pytest.fixture
def log_lines() -> Iterator[Queue[str]]:
    """What the relay logs. A queue, because a line is written after the answer that the test has seen."""
    lines: Queue[str] = Queue()

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.put(record.getMessage())

    logger, keeper = logging.getLogger("qt_pipeline.relay"), Keeper()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(keeper)
    yield lines
    logger.removeHandler(keeper)
    logger.setLevel(level)


def test_an_event_is_stored_before_it_is_acknowledged(relay: Relay, inbox: Inbox) -> None:
    answer = relay.post(EVENT)
    [stored] = inbox.events()
    assert (answer.status_code, answer.json()) == (202, {"sequence": stored.seq})
    assert (stored.event_id, stored.name, stored.dataset_id, stored.created) == (
        "e-1",
        "DatasetUpdated",
        "d-one",
        "now",
    )
    assert (stored.body, stored.source_address) == (EVENT, "127.0.0.1")


def test_an_unknown_type_is_an_event_too(relay: Relay, inbox: Inbox) -> None:
    assert relay.post(b'{"id": "e-2", "name": "SomethingNew", "payload": {}}').status_code == 202
    assert [stored.name for stored in inbox.events()] == ["SomethingNew"]


def test_every_request_has_its_own_sequence(relay: Relay, inbox: Inbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        sequences = [answer.json()["sequence"] for answer in pool.map(relay.post, [EVENT] * 40)]
    assert sorted(sequences) == sorted(stored.seq for stored in inbox.events())
    assert len(set(sequences)) == 40


@pytest.mark.parametrize("token", [TOKEN, OTHER_TOKEN])
def test_each_token_opens_in_the_path_and_as_a_bearer(relay: Relay, token: str) -> None:
    assert relay.post(EVENT, token).status_code == 202
    assert relay.call("POST", ROUTE, EVENT, Authorization=f"Bearer {token}").status_code == 202
    assert relay.call("POST", ROUTE, EVENT, Authorization=f"bearer  {token}").status_code == 202


def test_a_wrong_token_in_the_path_is_refused(relay: Relay, inbox: Inbox) -> None:
    for token in ("x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%C3%A9", "%FF", f"{TOKEN}%00"):
        answer = relay.post(EVENT, token)
        assert (token, answer.status_code, answer.headers["WWW-Authenticate"]) == (token, 401, "Bearer")
    assert inbox.events() == []


def test_a_wrong_header_is_refused(relay: Relay, inbox: Inbox) -> None:
    assert relay.call("POST", ROUTE, EVENT).status_code == 401
    for header in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe9"):
        assert (header, relay.call("POST", ROUTE, EVENT, Authorization=header).status_code) == (header, 401)
    assert inbox.events() == []


def test_a_wrong_token_in_the_path_is_not_saved_by_the_header(relay: Relay) -> None:
    assert relay.call("POST", f"{ROUTE}/wrong", EVENT, Authorization=f"Bearer {TOKEN}").status_code == 401


def test_without_tokens_any_caller_may_post(start_relay: StartRelay) -> None:
    relay = start_relay([])
    assert relay.call("POST", ROUTE, EVENT).status_code == 202
    assert relay.post(EVENT, "anything").status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
    ids=str,
)
def test_without_tokens_no_web_page_may_post(start_relay: StartRelay, headers: dict[str, str]) -> None:
    relay = start_relay([])
    for path in (ROUTE, f"{ROUTE}/anything"):
        answer = relay.call("POST", path, EVENT, **headers)
        assert (answer.status_code, "QT_RELAY_TOKENS" in answer.json()["error"]) == (403, True)


def test_with_a_token_any_name_and_origin_may_post(relay: Relay) -> None:
    assert (
        relay.call("POST", f"{ROUTE}/{TOKEN}", EVENT, Host="qt.example", Origin="https://qt.example").status_code == 202
    )


def test_the_token_is_checked_before_the_body_is_read(relay: Relay) -> None:
    head = "POST {}/{} HTTP/1.1\nHost: x\nContent-Length: 10\nExpect: 100-continue\n\n"
    with relay.connect(head.format(ROUTE, "wrong")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    with relay.connect(head.format(ROUTE, TOKEN)) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100")


def test_what_is_not_an_event_is_refused_without_an_echo(relay: Relay, inbox: Inbox) -> None:
    for body in (b"", b"secret-words", b"[]", b"\xff\xfe", b'{"secret-words": 1}', b"[" * 60_000):
        answer = relay.post(body)
        assert (body, answer.status_code) == (body, 400)
        assert answer.json()["error"]
        assert "secret-words" not in answer.text
    assert inbox.events() == []


def test_a_body_is_accepted_up_to_the_limit_and_refused_beyond(relay: Relay, inbox: Inbox) -> None:
    assert relay.post(EVENT.ljust(LIMIT)).status_code == 202
    assert relay.call("POST", f"{ROUTE}/{TOKEN}", iter([EVENT.ljust(LIMIT)])).status_code == 202
    assert len(inbox.events()) == 2
    assert relay.post(EVENT.ljust(LIMIT + 1)).status_code == 413
    assert relay.call("POST", f"{ROUTE}/{TOKEN}", iter([EVENT.ljust(LIMIT), b" "])).status_code == 413
    assert len(inbox.events()) == 2


def test_a_body_that_is_declared_too_large_is_not_waited_for(relay: Relay) -> None:
    head = f"POST {ROUTE}/{TOKEN} HTTP/1.1\nHost: x\nContent-Length: {LIMIT + 1}\n\n"
    with relay.connect(head) as connection, connection.makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 413")
        # The end of the file: the server has hung up and reads no more.
        assert answer.read()


def test_an_endless_body_is_cut_off(relay: Relay) -> None:
    head = f"POST {ROUTE}/{TOKEN} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"

    def send_for_ever(connection: socket.socket) -> None:
        while True:
            connection.sendall(chunk)

    with relay.connect(head) as connection, pytest.raises(ConnectionError):
        send_for_ever(connection)


def test_a_body_that_ends_early_is_not_stored(relay: Relay, inbox: Inbox, log_lines: Queue[str]) -> None:
    head = f"POST {ROUTE}/{TOKEN} HTTP/1.1\nHost: x\nContent-Length: {len(EVENT) + 1}\nExpect: 100-continue\n\n"
    with relay.connect(head) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(EVENT)
    assert " 400 ended_early " in log_lines.get(timeout=20)
    assert inbox.events() == []


def test_other_requests_are_refused_in_json(relay: Relay) -> None:
    for method, path, status in (
        ("GET", f"{ROUTE}/{TOKEN}", 405),
        ("GET", ROUTE, 405),
        ("POST", "/healthz", 405),
        ("POST", f"{ROUTE}/{TOKEN}/", 404),
        ("POST", f"/{TOKEN}", 404),
        ("GET", "/", 404),
    ):
        answer = relay.call(method, path)
        assert (method, path, answer.status_code) == (method, path, status)
        assert answer.json()["error"]


def test_an_inbox_that_cannot_commit_is_told_and_recovers(relay: Relay, inbox: Inbox, log_lines: Queue[str]) -> None:
    with closing(sqlite3.connect(relay.inbox_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = relay.post(EVENT)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        assert "inbox.db" not in refused.text
        assert relay.call("GET", "/readyz").status_code == 503
        assert relay.call("GET", "/healthz").status_code == 200
        other.execute("ROLLBACK")
    assert "database is locked" in log_lines.get(timeout=20)
    assert inbox.events() == []
    assert relay.call("GET", "/readyz").status_code == 200
    assert relay.post(EVENT).status_code == 202


def test_no_answer_names_the_server(relay: Relay) -> None:
    assert all("server" not in answer.headers for answer in (relay.post(EVENT), relay.call("GET", "/healthz")))


def test_an_event_and_a_refusal_leave_a_line_each_without_the_token(relay: Relay, log_lines: Queue[str]) -> None:
    relay.post(EVENT)
    relay.call("POST", f"/{TOKEN}")
    assert re.fullmatch(r"Stored 1 events, numbers 1 to 1, in \d+\.\d ms\.", log_lines.get(timeout=20))
    assert log_lines.get(timeout=20) == "POST - 404 path from=127.0.0.1 "
    assert log_lines.empty()
