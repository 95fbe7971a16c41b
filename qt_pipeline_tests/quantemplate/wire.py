"""A server whose answers are scripted byte by byte, for everything a well-behaved server would never do.

Here: recording requests, sending exact bytes, cutting, resetting, falling silent.
Not here: what the API means; a test writes its own answers.
"""

import contextlib
import json
import socket
import struct
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.client import parse_headers
from types import TracebackType
from typing import BinaryIO, Self


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send, and how the connection ends: closed, reset, or left open in silence."""

    wire: bytes
    end: str = "close"


@dataclass(slots=True)
class WireServer:
    """Answers each request to a path with the next of that path's answers; the last one stays."""

    seen: list[Seen] = field(default_factory=list)
    _answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str, *answers: Answer) -> None:
        self._answers[path] = list(answers)

    def seen_on(self, path: str) -> list[Seen]:
        return [request for request in self.seen if request.target.partition("?")[0] == path]

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """Read one request from `connection` and answer it as scripted."""
        # A client that hangs up early is what some tests are about.
        with connection, contextlib.suppress(OSError):
            request = _read(connection.makefile("rb"))
            self.seen.append(request)
            script = self._answers[request.target.partition("?")[0]] or [status(599)]
            answer = script.pop(0) if len(script) > 1 else script[0]
            connection.sendall(answer.wire)
            if answer.end == "silence":
                self._over.wait()
            elif answer.end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read(stream: BinaryIO) -> Seen:
    method, target, _ = stream.readline().decode().split(" ", 2)
    headers = {name.lower(): value for name, value in parse_headers(stream).items()}
    return Seen(method, target, headers, stream.read(int(headers.get("content-length", 0))))


def head(code: int, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {code} Words\r\n{lines}\r\n".encode()


def status(code: int, **headers: str) -> Answer:
    return Answer(head(code, Content_Length="0", **headers))


def content(body: bytes, **headers: str) -> Answer:
    """A whole body of known length, CSV unless said otherwise."""
    return Answer(head(200, **{"Content_Type": "text/csv", "Content_Length": str(len(body)), **headers}) + body)


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n", **headers: str) -> Answer:
    return Answer(
        head(200, **{"Content_Type": "text/csv", "Transfer_Encoding": "chunked", **headers}) + chunks(*pieces) + last
    )


def unframed(body: bytes, **headers: str) -> Answer:
    """A body that simply ends with the connection: no length, no chunks."""
    return Answer(head(200, **{"Content_Type": "text/csv", **headers}) + body)


def token(value: str = "token-1", **fields: object) -> Answer:
    answer = {"access_token": value, "token_type": "Bearer", "expires_in": 300, **fields}
    return content(json.dumps(answer).encode(), Content_Type="application/json")
