"""Download responses of the sandbox: a chunked stream of CSV, or the injected fault.

Here: bodies and how they break. Not here: who may download what (see app).
"""

import asyncio
import gzip
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from itertools import repeat

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from qt_pipeline.sandbox.faults import Fault, FaultKind

TRANSPORT = "qt.transport"
"""The extension of an ASGI scope under which the server hands over the connection, for faults below HTTP."""

_CSV = {"Content-Type": "text/csv"}
_GZIP = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_LOGIN_PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
_CHUNK_BYTES = 64 * 1024
_MIN_CHUNKS = 20
_FLUSH_SECONDS = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _UnfinishedResponse(StreamingResponse):
    """Never says that the body is complete: the server then drops the connection without the last chunk."""

    async def stream_response(self, send: Send) -> None:
        async def send_all_but_the_end(message: Message) -> None:
            if message.get("more_body", True):
                await send(message)

        await super().stream_response(send_all_but_the_end)


class _ResetResponse(_UnfinishedResponse):
    """Resets the connection where the body breaks off: before the answer, if nothing of the body is to come."""

    def __init__(self, body: AsyncIterator[bytes], *, answers: bool) -> None:
        super().__init__(body, headers=_CSV)
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["extensions"][TRANSPORT]
        if self._answers:
            await super().__call__(scope, receive, send)
            # A reset takes away what was not sent yet.
            await asyncio.sleep(_FLUSH_SECONDS)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()


class _LongResponse(StreamingResponse):
    """Sends bytes beyond the Content-Length, which the server's protocol would not."""

    def __init__(self, body: bytes, length: int) -> None:
        super().__init__(_pieces(body[:length]), headers={**_CSV, "Content-Length": str(length)})
        self._more = body[length:]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["extensions"][TRANSPORT]
        await super().__call__(scope, receive, send)
        transport.write(self._more)
        transport.close()


def csv_response(csv: bytes, fault: Fault | None, *, compress: bool) -> Response:
    """The response to a download of `csv`, with the fault, if any."""
    if fault is not None and fault.kind in _OTHER_ANSWERS:
        return _OTHER_ANSWERS[fault.kind](fault)
    if fault is not None and fault.kind in _OTHER_BODIES:
        return _OTHER_BODIES[fault.kind](csv, fault)
    headers = dict(_CSV)
    if compress:
        csv = _gzipped(csv)
        headers |= _GZIP
    if fault is None:
        return StreamingResponse(_pieces(csv), headers=headers)
    if fault.kind == "slow":
        return StreamingResponse(_pieces(csv, seconds=fault.seconds), headers=headers)
    if fault.kind == "short_length":
        headers["Content-Length"] = str(len(csv))
    return _UnfinishedResponse(_pieces(csv, fraction=fault.fraction), headers=headers)


def _gzipped(csv: bytes) -> bytes:
    return gzip.compress(csv, compresslevel=1, mtime=0)


async def _pieces(body: bytes, *, fraction: float = 1.0, seconds: float = 0.0) -> AsyncIterator[bytes]:
    # Small bodies come in many pieces too: a reader must cope with a break within a row or a letter.
    size = min(_CHUNK_BYTES, max(1, len(body) // _MIN_CHUNKS))
    pause = seconds * size / max(1, len(body))
    for start in range(0, end := int(len(body) * fraction), size):
        yield body[start : min(start + size, end)]
        await asyncio.sleep(pause)


async def _dripped(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    for byte in body:
        yield bytes([byte])
        await asyncio.sleep(seconds)


def _rows_for_ever(csv: bytes) -> Iterator[bytes]:
    header, _, rows = csv.partition(b"\n")
    yield header + b"\n"
    yield from repeat(rows * (1 + _CHUNK_BYTES // max(1, len(rows))))


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return filter(None, map(packer.compress, pieces))


_OTHER_ANSWERS: dict[FaultKind, Callable[[Fault], Response]] = {
    "status": lambda fault: PlainTextResponse(status_code=fault.status, headers=fault.headers),
    "expire_token": lambda _: PlainTextResponse("Unauthorized", HTTPStatus.UNAUTHORIZED),
    "not_ready": lambda _: PlainTextResponse(status_code=HTTPStatus.NO_CONTENT),
    "html": lambda _: HTMLResponse(_LOGIN_PAGE),
    "json": lambda _: JSONResponse({"message": "This is not a dataset."}),
    "empty": lambda _: StreamingResponse(_pieces(b""), headers=_CSV),
}

_OTHER_BODIES: dict[FaultKind, Callable[[bytes, Fault], Response]] = {
    "reset": lambda csv, fault: _ResetResponse(_pieces(csv, fraction=fault.fraction), answers=fault.fraction > 0),
    "gzip_cut": lambda csv, fault: StreamingResponse(
        _pieces((packed := _gzipped(csv))[: int(len(packed) * fault.fraction)]), headers=_CSV | _GZIP
    ),
    "long_body": lambda csv, fault: _LongResponse(csv, int(len(csv) * fault.fraction)),
    "drip": lambda csv, fault: StreamingResponse(_dripped(csv, fault.seconds), headers=_CSV),
    "endless": lambda csv, _: StreamingResponse(_rows_for_ever(csv), headers=_CSV),
    "bomb": lambda csv, _: StreamingResponse(_packed(_rows_for_ever(csv)), headers=_CSV | _GZIP),
}
