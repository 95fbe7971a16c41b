"""A dataset on the wire: a chunked stream of CSV, or the fault that was asked for.

Here: bodies and how they break. Not here: who may download what (see app).
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Send

from qt_pipeline.sandbox.faults import Fault, FaultKind

_CSV = {"Content-Type": "text/csv"}
_LOGIN_PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
_PIECE_BYTES = 64 * 1024
_PIECES_AT_LEAST = 20


class _UnfinishedResponse(StreamingResponse):
    """Never says that the body is complete: the server then drops the connection without the last chunk."""

    async def stream_response(self, send: Send) -> None:
        async def send_all_but_the_end(message: Message) -> None:
            if message.get("more_body", True):
                await send(message)

        await super().stream_response(send_all_but_the_end)


def csv_response(csv: bytes, fault: Fault | None, *, compress: bool) -> Response:
    """The answer to a download of `csv`, gone wrong as `fault` says."""
    if fault is not None and fault.kind in _OTHER_ANSWERS:
        return _OTHER_ANSWERS[fault.kind](fault)
    headers = dict(_CSV)
    if compress:
        csv = gzip.compress(csv, compresslevel=1, mtime=0)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    if fault is None:
        return StreamingResponse(_pieces(csv), headers=headers)
    if fault.kind == "slow":
        return StreamingResponse(_pieces(csv, seconds=fault.seconds), headers=headers)
    if fault.kind == "short_length":
        headers["Content-Length"] = str(len(csv))
    return _UnfinishedResponse(_pieces(csv, fraction=fault.fraction), headers=headers)


async def _pieces(body: bytes, *, fraction: float = 1.0, seconds: float = 0.0) -> AsyncIterator[bytes]:
    # Small bodies come in many pieces too: a reader must cope with a break within a row or a letter.
    size = min(_PIECE_BYTES, max(1, len(body) // _PIECES_AT_LEAST))
    pause = seconds * size / max(1, len(body))
    for start in range(0, end := int(len(body) * fraction), size):
        yield body[start : min(start + size, end)]
        await asyncio.sleep(pause)


_OTHER_ANSWERS: dict[FaultKind, Callable[[Fault], Response]] = {
    "status": lambda fault: PlainTextResponse(status_code=fault.status, headers=fault.headers),
    "expire_token": lambda _: PlainTextResponse("Unauthorized", HTTPStatus.UNAUTHORIZED),
    "not_ready": lambda _: PlainTextResponse(status_code=HTTPStatus.NO_CONTENT),
    "html": lambda _: HTMLResponse(_LOGIN_PAGE),
    "json": lambda _: JSONResponse({"message": "This is not a dataset."}),
    "empty": lambda _: StreamingResponse(_pieces(b""), headers=_CSV),
}
