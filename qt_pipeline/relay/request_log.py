"""One log line for each request, without the token.

Here: what is written of a request, and of an error that nobody expected.
Not here: answers to expected errors (see app).
"""

import logging
import time
import traceback

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("qt_pipeline.relay")


class RequestLog:
    """ASGI middleware that takes the place of the server's access log, which would show the path and so the token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and write its line when it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:  # noqa: BLE001  # the server would log its words, which may repeat the path
            frames = "".join(traceback.format_tb(error.__traceback__))
            _log.error("Unexpected %s in the relay, its words withheld:\n%s", type(error).__name__, frames)
            if status is None:
                await JSONResponse({"error": "The relay failed."}, 500)(scope, receive, send_and_note)
        _log.info(
            "%s %s %s sequence=%s from=%s ms=%.1f",
            scope["method"],
            _route(scope),
            status,
            scope.get("state", {}).get("sequence", "-"),
            scope["client"][0] if scope["client"] else "-",
            (time.perf_counter() - started) * 1000,
        )


def _route(scope: Scope) -> str:
    """The pattern that matched. A path that matched none may still hold a token, and is not shown."""
    return scope["route"].path if "route" in scope else "-"
