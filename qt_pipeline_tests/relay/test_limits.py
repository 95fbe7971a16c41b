import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest

from qt_pipeline.inbox import Inbox
from qt_pipeline.relay import app, connections, protocol, rate, server
from qt_pipeline.relay.protocol import BoundedProtocol
from qt_pipeline.relay.rate import RateLimit
from qt_pipeline.relay.rejections import Reason
from qt_pipeline_tests.relay.posting import event, request
from qt_pipeline_tests.relay.running import SERVE, TOKEN, Relay, RelayThread, SpawnRelay, StartRelay

ROUTE = "/webhooks/quantemplate"
HEAD = f"POST {ROUTE}/{TOKEN} HTTP/1.1\nHost: x\n"
# More than the buffers of both sides can hold.
UNREAD = 20 * 2**20
LIMIT = protocol.MAX_HEAD_BYTES


def answers(connection: socket.socket) -> bytes:
    """All that the relay says until it hangs up."""
    with connection.makefile("rb") as stream:
        return stream.read()


def drip(connection: socket.socket, what: bytes, pause: float = 0.05) -> float:
    """Send a byte at a time until the relay hangs up; how long that took."""
    began = time.monotonic()
    connection.settimeout(pause)
    while time.monotonic() < began + 20:
        try:
            connection.sendall(what)
            if not connection.recv(1000):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(app, "BODY_SECONDS", 0.5)


@pytest.mark.usefixtures("hasty")
class TestSlowSenders:
    def test_a_connection_without_a_request_is_cut_off(self, relay: RelayThread) -> None:
        with relay.connect("") as connection:
            assert answers(connection).startswith(b"HTTP/1.1 408 ")
        assert relay.refused(Reason.SLOW) == 1

    def test_a_head_that_drips_in_is_cut_off(self, relay: RelayThread) -> None:
        with relay.connect(f"{HEAD}X-Slow: ") as connection:
            assert drip(connection, b"x") < 5
        assert relay.refused(Reason.SLOW) == 1

    def test_a_second_head_that_drips_in_is_cut_off(self, relay: RelayThread) -> None:
        with relay.connect("GET /healthz HTTP/1.1\nHost: x\n\n") as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"G")
            assert answers(connection).startswith(b"HTTP/1.1 408 ")

    @pytest.mark.parametrize("framing", ["Content-Length: 60000", "Transfer-Encoding: chunked"])
    def test_a_body_that_drips_in_is_cut_off(self, relay: RelayThread, framing: str) -> None:
        with relay.connect(f"{HEAD}{framing}\n\n") as connection:
            assert drip(connection, b"1\r\nx\r\n" if "chunked" in framing else b"x") < 5
        assert relay.refused(Reason.SLOW) == 1

    def test_a_body_that_does_not_come_is_answered_with_408(self, relay: RelayThread) -> None:
        with relay.connect(f"{HEAD}Content-Length: 10\n\n") as connection:
            assert answers(connection).startswith(b"HTTP/1.1 408 ")

    def test_a_sender_that_is_slow_within_the_limit_is_served(self, relay: RelayThread) -> None:
        whole = request(event("e-1"))
        with relay.connect("") as connection:
            for part in (whole[:40], whole[40:-20], whole[-20:]):
                connection.sendall(part)
                time.sleep(0.05)
            assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")


def test_empty_lines_do_not_keep_an_idle_connection_alive(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.5)
    with start_relay([TOKEN]).connect("GET /healthz HTTP/1.1\nHost: x\n\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert drip(connection, b"\r\n") < 5


def test_a_request_that_has_begun_is_not_idle(start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.3)
    whole = request(event("e-1"))
    with start_relay([TOKEN]).connect("GET /healthz HTTP/1.1\nHost: x\n\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(whole[:-10])
        time.sleep(0.6)
        connection.sendall(whole[-10:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[BoundedProtocol]:
    """The relay's ends of its connections."""
    ends: list[BoundedProtocol] = []
    connection_made = BoundedProtocol.connection_made

    def take(end: BoundedProtocol, transport: asyncio.Transport) -> None:
        ends.append(end)
        connection_made(end, transport)

    monkeypatch.setattr(BoundedProtocol, "connection_made", take)
    return ends


@pytest.mark.usefixtures("hasty")
def test_a_caller_who_does_not_read_the_answers_is_cut_off(relay: Relay, taken: list[BoundedProtocol]) -> None:
    with relay.connect("GET /healthz HTTP/1.1\nHost: x\n\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        [end] = taken
        # What the transport says when its buffers are full.
        end.loop.call_soon_threadsafe(end.pause_writing)
        connection.settimeout(5)
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


@pytest.mark.usefixtures("hasty")
def test_a_caller_who_reads_on_in_time_is_not(relay: Relay, taken: list[BoundedProtocol]) -> None:
    with relay.connect("GET /healthz HTTP/1.1\nHost: x\n\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        [end] = taken
        end.loop.call_soon_threadsafe(end.pause_writing)
        end.loop.call_soon_threadsafe(end.resume_writing)
        time.sleep(0.8)
        connection.sendall(request(event("e-1")))
        assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")


def test_a_head_is_bounded(relay: RelayThread) -> None:
    with relay.connect(f"{HEAD}X-Long: {'x' * LIMIT}") as connection:
        answer = answers(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"Connection: close" in answer
    with relay.connect(f"POST /{'x' * LIMIT}") as connection:
        assert answers(connection).startswith(b"HTTP/1.1 431 ")
    assert relay.refused(Reason.HEAD_TOO_LARGE) == 2


def test_the_number_of_headers_is_bounded(relay: RelayThread) -> None:
    many = "".join(f"a{number}: b\n" for number in range(protocol.MAX_HEADERS))
    with relay.connect(f"GET /healthz HTTP/1.1\n{many}\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    with relay.connect(f"GET /healthz HTTP/1.1\nHost: x\n{many}\n") as connection:
        assert answers(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"", b"1;" + b"x" * 1000 + b"\r\nx\r\n"), (b"0\r\nX: ", b"x" * 1000)],
    ids=["chunks", "trailer"],
)
def test_what_stands_around_a_body_is_bounded(relay: Relay, inbox: Inbox, begin: bytes, more: bytes) -> None:
    sent = 0
    with relay.connect(f"{HEAD}Transfer-Encoding: chunked\n\n") as connection, suppress(ConnectionError):
        connection.sendall(begin)
        while sent < 2 * UNREAD:
            connection.sendall(more)
            sent += len(more)
    assert sent < UNREAD
    assert inbox.events() == []


def test_connections_are_bounded_and_the_oldest_idle_one_makes_room(
    relay: RelayThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with ExitStack() as stack:
        held = [stack.enter_context(relay.connect("GET /healthz HTTP/1.1\nHost: x\n\n")) for _ in range(3)]
        assert all(connection.recv(1000).startswith(b"HTTP/1.1 200 ") for connection in held)
        last = stack.enter_context(relay.connect(""))
        # Between two requests a connection ends without a word; in a head it is answered.
        assert answers(held[0]) == b""
        held[0] = stack.enter_context(relay.connect("GET /healthz HTTP/1.1\nHost: x\n\n"))
        assert held[0].recv(1000).startswith(b"HTTP/1.1 200 ")
        assert answers(held[1]) == b""
        last.sendall(request(event("e-1")))
        assert last.recv(1000).startswith(b"HTTP/1.1 202 ")
    assert relay.refused(Reason.CONNECTIONS) == 0


def test_a_head_that_is_not_complete_makes_room_and_is_answered(
    relay: RelayThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    with relay.connect("GET /healthz HTT") as begun, relay.connect("GET /healthz HTTP/1.1\nHost: x\n\n") as other:
        refused = answers(begun)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in refused
        assert other.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert relay.refused(Reason.CONNECTIONS) == 1


def test_a_request_in_progress_is_not_closed_for_another_connection(
    relay: RelayThread, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    whole = request(event("e-1")).replace(b"Host:", b"Expect: 100-continue\r\nHost:")
    with relay.connect("") as begun:
        begun.sendall(whole[:-10])
        assert begun.recv(1000).startswith(b"HTTP/1.1 100 ")
        with relay.connect("") as other:
            assert answers(other).startswith(b"HTTP/1.1 503 ")
        begun.sendall(whole[-10:])
        assert begun.recv(1000).startswith(b"HTTP/1.1 202 ")
    assert [stored.event_id for stored in inbox.events()] == ["e-1"]


@pytest.mark.parametrize("other_address", ["127.0.0.1", "127.0.0.2"])
def test_very_many_idle_connections_shut_nobody_out(spawn_relay: SpawnRelay, other_address: str) -> None:
    relay = spawn_relay(SERVE)
    with ExitStack() as stack:
        other = stack.enter_context(socket.create_connection(("127.0.0.1", relay.port), 30, (other_address, 0)))
        other.sendall(request(event("before")))
        assert_accepted(other)
        for _ in range(1500):
            stack.enter_context(relay.connect(""))
        began = time.monotonic()
        # A connection of another address is kept, and a new one is accepted.
        if other_address != "127.0.0.1":
            other.sendall(request(event("during")))
            assert_accepted(other)
        assert relay.post(event("new")).status_code == 202
        # Idle connections end by themselves after ten seconds.
        assert time.monotonic() - began < protocol.HEAD_SECONDS / 2


def assert_accepted(connection: socket.socket) -> None:
    """The next answer on a connection is 202. Its head may come before its body."""
    answer = b""
    while not answer.endswith(b"}"):
        piece = connection.recv(1000)
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 202 ")


class _Open:
    def __init__(self, *, is_idle: bool = True) -> None:
        self.is_idle = is_idle


class TestConnections:
    @pytest.fixture(autouse=True)
    def _three(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)

    def test_the_address_that_has_most_loses_its_oldest_idle_one(self) -> None:
        known = connections.Connections[_Open]()
        own, busy, first, second = _Open(), _Open(is_idle=False), _Open(), _Open()
        assert known.add(own, "192.0.2.1") is None
        assert [known.add(one, f"2001:db8::{number}") for number, one in enumerate([busy, first])] == [None, None]
        # The addresses of one IPv6 site are one.
        assert known.add(second, "2001:db8::9") is first

    def test_where_nothing_is_idle_the_new_one_goes(self) -> None:
        known = connections.Connections[_Open]()
        for number in range(3):
            known.add(_Open(is_idle=False), f"192.0.2.{number}")
        new = _Open(is_idle=False)
        assert known.add(new, "192.0.2.9") is new

    def test_one_that_has_ended_does_not_count(self) -> None:
        known = connections.Connections[_Open]()
        for number in range(10):
            one = _Open()
            assert known.add(one, f"192.0.2.{number}") is None
            known.discard(one)
            known.discard(one)


def test_a_request_that_does_not_wait_for_the_answer_before_it_is_not_taken(relay: RelayThread, inbox: Inbox) -> None:
    with relay.connect("") as connection:
        connection.sendall(request(event("e-1")) + request(event("e-2")) * 100)
        answered = answers(connection)
    assert answered.count(b"HTTP/1.1 ") == answered.count(b"HTTP/1.1 202 ") == 1
    assert b"connection: close" in answered
    assert [stored.event_id for stored in inbox.events()] == ["e-1"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"POST {ROUTE}/wrong HTTP/1.1", 401),
        (f"POST {ROUTE} HTTP/1.1", 401),
        ("POST /elsewhere HTTP/1.1", 404),
        (f"PUT {ROUTE}/{TOKEN} HTTP/1.1", 405),
    ],
)
def test_a_bad_request_is_answered_at_its_head_and_the_connection_closed(relay: Relay, head: str, status: int) -> None:
    with relay.connect(f"{head}\nHost: x\nContent-Length: 60000\n\n") as connection:
        assert answers(connection).startswith(f"HTTP/1.1 {status} ".encode())


def test_an_address_that_sends_too_often_is_told_when_to_come_again(start_relay: StartRelay, inbox: Inbox) -> None:
    relay = start_relay([TOKEN], events_per_second=0.5)
    assert relay.post(event("e-1")).status_code == 202
    refused = relay.post(event("e-2"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert relay.call("GET", "/healthz").status_code == 200
    assert [stored.event_id for stored in inbox.events()] == ["e-1"]


class TestRateLimit:
    now = 0.0

    @pytest.fixture
    def limit(self) -> Iterator[RateLimit]:
        return RateLimit(2, clock=lambda: self.now)

    def test_an_address_may_send_at_its_rate_and_no_faster(self, limit: RateLimit) -> None:
        assert [limit.take("a"), limit.take("a"), limit.take("a"), limit.take("b")] == [0, 0, 0.5, 0]
        self.now = 0.5
        assert [limit.take("a"), limit.take("a")] == [0, 0.5]
        self.now = 100
        assert [limit.take("a") for _ in range(3)] == [0, 0, 0.5]

    def test_no_limit_is_none(self) -> None:
        assert not any(RateLimit(0).take("a") for _ in range(1000))

    def test_the_addresses_of_one_ipv6_site_are_one(self, limit: RateLimit) -> None:
        assert [limit.take("2001:db8::1"), limit.take("2001:db8::2"), limit.take("2001:db8::3")] == [0, 0, 0.5]
        assert limit.take("2001:db8:0:1::1") == 0
        assert limit.take("fe80::1%eth0") == 0

    def test_many_addresses_do_not_fill_the_memory(self, limit: RateLimit) -> None:
        for number in range(3 * rate._MAX_CLIENTS):
            limit.take(f"2001:db8:{number:x}::1")
        assert len(limit._buckets) == rate._MAX_CLIENTS


def test_floods_of_bad_requests_do_not_grow_the_process(spawn_relay: SpawnRelay) -> None:
    relay = spawn_relay(SERVE)
    process = psutil.Process(relay.process.pid)
    floods = [
        b"\x16\x03\x01 not http\r\n\r\n",
        f"POST {ROUTE}/wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n".encode() + b"x" * 50_000,
        f"POST {ROUTE}/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".encode(),
        f"GET /{'x' * 60_000}".encode(),
        request(b"[" * 60_000),
        b"GET / HTTP/1.1\r\n\r\n" * 3000,
    ]

    def flood(times: int) -> None:
        for _ in range(times):
            for what in floods:
                with relay.connect("") as connection, suppress(ConnectionError):
                    connection.sendall(what)
                    connection.recv(1000)

    def flood_from_several(times: int) -> None:
        senders = [threading.Thread(target=flood, args=(times,)) for _ in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    flood_from_several(20)
    before = process.memory_info().rss
    flood_from_several(150)
    grown = process.memory_info().rss - before
    assert grown < 20 * 2**20
    assert relay.post(event("e-1")).status_code == 202
    # Of some thousand refusals, some dozens are written down.
    assert len(relay.log.read_text().splitlines()) < 400
