"""Clients that post many events over connections that stay open, cheap enough to load a relay beside it."""

import asyncio
import json
from dataclasses import dataclass
from typing import Self, cast

from qt_pipeline_tests.relay.running import TOKEN

PATH = f"/webhooks/quantemplate/{TOKEN}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the relay said."""

    status: int
    body: bytes

    @property
    def sequence(self) -> int:
        return int(json.loads(self.body)["sequence"])


class Client(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport

    @classmethod
    async def connect(cls, port: int) -> Self:
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    async def post(self, body: bytes, path: str = PATH) -> Answer:
        """The answer to an event; ConnectionError if none came."""
        if self._transport.is_closing():
            raise ConnectionResetError
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request(body, path))
        return await self._answer

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError())


def request(body: bytes, path: str = PATH) -> bytes:
    """A whole request, as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def event(event_id: str) -> bytes:
    """The body of an event as Quantemplate sends it."""
    payload = {"datasetId": "d-e4tf3yyxerabcvicidv5oyey", "eventName": "DatasetUpdated"}
    envelope = {"id": event_id, "name": "DatasetUpdated", "created": "2026-07-24T10:00:00Z", "payload": payload}
    return json.dumps(envelope).encode()


def _length(head: bytes) -> int:
    name = b"content-length: "
    begin = head.lower().index(name) + len(name)
    return int(head[begin:].partition(b"\r\n")[0])
