"""Requests that offer an upgrade, as clients send them by default: the offer is ignored (RFC 9110, 7.8)."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from qt_pipeline.inbox import Inbox
from qt_pipeline_tests.relay.posting import PATH, event
from qt_pipeline_tests.relay.running import Relay

# As java.net.http.HttpClient (17) and curl (8) write them.
JAVA = (
    "POST {path} HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {length}\r\n"
    "Host: 127.0.0.1:8642\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
    "User-Agent: Java-http-client/17.0.17\r\nContent-Type: application/json\r\n\r\n"
)
CURL = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:8642\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n"
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    "Content-Length: {length}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
)
WEBSOCKET = (
    "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n"
    "Sec-WebSocket-Version: 13\r\nContent-Length: {length}\r\n\r\n"
)
TLS = (
    "POST {path} HTTP/1.1\r\nHost: x\r\nUPGRADE: TLS/1.0, h2c\r\nconnection: Upgrade\r\n"
    "Content-Length: {length}\r\n\r\n"
)
HEADS = {"java": JAVA, "curl": CURL, "websocket": WEBSOCKET, "tls": TLS}


def post(head: str, body: bytes) -> bytes:
    return head.format(path=PATH, length=len(body)).encode() + body


def answer(connection: socket.socket) -> bytes:
    """One answer, whole."""
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"}"):
        part = connection.recv(1000)
        assert part, received
        received += part
    return received


def ids(inbox: Inbox) -> list[str]:
    return [stored.event_id for stored in reversed(inbox.events())]


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("piece_bytes", [1, 100, 100_000])
def test_five_events_over_one_connection_are_stored(relay: Relay, inbox: Inbox, head: str, piece_bytes: int) -> None:
    with relay.connect("") as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(5):
            whole = post(head, event(f"e-{number}"))
            for begin in range(0, len(whole), piece_bytes):
                connection.sendall(whole[begin : begin + piece_bytes])
            assert answer(connection).startswith(b"HTTP/1.1 202 ")
    assert ids(inbox) == [f"e-{number}" for number in range(5)]
    assert inbox.events()[-1].body == event("e-0")


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_chunked_body_is_read(relay: Relay, inbox: Inbox, head: str) -> None:
    body = event("e-1")
    head = head.replace("Content-Length: {length}", "Transfer-Encoding: chunked")
    chunks = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    with relay.connect("") as connection:
        connection.sendall(head.format(path=PATH).encode() + chunks)
        assert answer(connection).startswith(b"HTTP/1.1 202 ")
        connection.sendall(post(head.replace("Transfer-Encoding: chunked", "Content-Length: {length}"), event("e-2")))
        assert answer(connection).startswith(b"HTTP/1.1 202 ")
    assert ids(inbox) == ["e-1", "e-2"]


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_body_that_waits_for_100_is_asked_for(relay: Relay, inbox: Inbox, head: str) -> None:
    whole = post(head.replace("Content-Length", "Expect: 100-continue\r\nContent-Length"), event("e-1"))
    begin, _, body = whole.partition(b"\r\n\r\n")
    with relay.connect("") as connection:
        connection.sendall(begin + b"\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert answer(connection).startswith(b"HTTP/1.1 202 ")
    assert ids(inbox) == ["e-1"]


def test_of_several_that_do_not_wait_for_an_answer_the_first_is_stored(relay: Relay, inbox: Inbox) -> None:
    with relay.connect("") as connection:
        connection.sendall(b"".join(post(JAVA, event(f"e-{number}")) for number in range(3)))
        with connection.makefile("rb") as stream:
            answered = stream.read()
    assert answered.count(b"HTTP/1.1 ") == answered.count(b"HTTP/1.1 202 ") == 1
    assert ids(inbox) == ["e-0"]


def test_one_without_a_body_is_answered_as_ever(relay: Relay) -> None:
    with relay.connect("") as connection:
        for path, status in (("/healthz", 200), ("/readyz", 200), (PATH, 405)):
            head = JAVA.replace("POST", "GET").replace("Content-Length: {length}\r\n", "")
            connection.sendall(head.format(path=path).encode())
            assert answer(connection).startswith(f"HTTP/1.1 {status} ".encode())


def test_an_offered_upgrade_passes_no_limit(relay: Relay, inbox: Inbox) -> None:
    with relay.connect("") as connection:
        connection.sendall(post(JAVA, b" " * 70_000)[:60_000])
        assert answer(connection).startswith(b"HTTP/1.1 413 ")
    many = "".join(f"a{number}: b\r\n" for number in range(200))
    with relay.connect("") as connection:
        connection.sendall(post(JAVA.replace("Host:", f"{many}Host:"), event("e-1")))
        assert answer(connection).startswith(b"HTTP/1.1 431 ")
    assert ids(inbox) == []


def test_connect_is_no_offer(relay: Relay) -> None:
    with relay.connect("CONNECT x:80 HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: h2c\n\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_curl_posts_over_http2_by_default_and_loses_nothing(relay: Relay, inbox: Inbox) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url = f"http://127.0.0.1:{relay.port}{PATH}"
    command = ["curl", "--http2", "-s", "-S", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code} "]
    posts = [["--data-binary", event(f"e-{number}").decode(), url, "--next"] for number in range(5)]
    first, *others = (part for part in posts)
    arguments = [*command, *first, *(part for other in others for part in [*command[1:], *other])][:-1]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["202"] * 5
    assert ids(inbox) == [f"e-{number}" for number in range(5)]


POSTING_IN_JAVA = """
import java.net.URI;
import java.net.http.*;

class Post {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 1; number < arguments.length; number++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .POST(HttpRequest.BodyPublishers.ofString(arguments[number])).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


def test_java_posts_and_loses_nothing(relay: Relay, inbox: Inbox, tmp_path: Path) -> None:
    if shutil.which("javac") is None:
        pytest.skip("no Java compiler is installed")
    source = tmp_path / "Post.java"
    source.write_text(POSTING_IN_JAVA)
    url = f"http://127.0.0.1:{relay.port}{PATH}"
    events = [event(f"e-{number}").decode() for number in range(5)]
    done = subprocess.run(["java", source, url, *events], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["202"] * 5, done.stderr
    assert ids(inbox) == [f"e-{number}" for number in range(5)]
