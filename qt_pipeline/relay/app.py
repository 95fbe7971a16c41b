"""The routes of the relay.

Here: the check of the caller, the limit of the body, and each answer.
Not here: the process and its port (see server), the log of requests (see request_log), what an event is (see
quantemplate).
"""

import hmac
import logging
from collections.abc import Mapping, Sequence

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from qt_pipeline.inbox import Inbox, InboxUnavailableError, NewEvent
from qt_pipeline.quantemplate import NotAnEventError, parse_event
from qt_pipeline.relay.request_log import RequestLog

MAX_BODY_BYTES = 64 * 1024

_RETRY_AFTER_SECONDS = 10

_log = logging.getLogger("qt_pipeline.relay")


def create_app(inbox: Inbox, tokens: Sequence[SecretStr]) -> Starlette:
    """The relay as an ASGI application. Any of `tokens` opens it; without tokens it is open to every caller.

    Routes: `POST /webhooks/quantemplate/{token}`, or without the token in the path and with it as a bearer;
    `GET /healthz` (the process is up) and `GET /readyz` (the inbox can commit).
    """
    relay = _Relay(inbox, tokens)
    app = Starlette(
        routes=[
            Route("/webhooks/quantemplate", relay.receive, methods=["POST"]),
            Route("/webhooks/quantemplate/{token}", relay.receive, methods=["POST"]),
            Route("/healthz", _alive),
            Route("/readyz", relay.ready),
        ],
        middleware=[Middleware(RequestLog)],
        exception_handlers=dict.fromkeys((HTTPException, NotAnEventError, InboxUnavailableError), _explain),
    )
    # A redirect would repeat the token in its Location.
    app.router.redirect_slashes = False
    return app


class _Relay:
    def __init__(self, inbox: Inbox, tokens: Sequence[SecretStr]) -> None:
        self._inbox = inbox
        self._tokens = [token.get_secret_value().encode() for token in tokens]

    async def receive(self, request: Request) -> JSONResponse:
        """Accept one event: 202 with its sequence number, after the commit."""
        if not self._knows(_offered_token(request)):
            raise HTTPException(401, "The token is missing or wrong.", {"WWW-Authenticate": "Bearer"})
        body = await _read_body(request)
        event = parse_event(body)
        [sequence] = await run_in_threadpool(
            self._inbox.append,
            [
                NewEvent(
                    event_id=event.event_id,
                    name=event.name,
                    dataset_id=event.dataset_id,
                    created=event.created,
                    body=body,
                    source_address=request.client.host if request.client else None,
                )
            ],
        )
        request.state.sequence = sequence
        return JSONResponse({"sequence": sequence}, 202)

    async def ready(self, _request: Request) -> JSONResponse:
        """Whether an event sent now could be accepted."""
        await run_in_threadpool(self._inbox.check)
        return JSONResponse({"status": "ready"})

    def _knows(self, offered: str) -> bool:
        # Every token is compared, and each in constant time: the time of the answer tells nothing.
        matches = sum(hmac.compare_digest(offered.encode(), token) for token in self._tokens)
        return matches > 0 or not self._tokens


async def _alive(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


def _offered_token(request: Request) -> str:
    in_path: str | None = request.path_params.get("token")
    if in_path is not None:
        return in_path
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


async def _read_body(request: Request) -> bytes:
    # Closed afterwards, or the server would go on reading what is of no use.
    too_large = HTTPException(413, f"An event has at most {MAX_BODY_BYTES} bytes.", {"Connection": "close"})
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise too_large
    except ClientDisconnect:
        raise HTTPException(400, "The body ended early.") from None
    return bytes(body)


async def _explain(_request: Request, error: Exception) -> JSONResponse:
    match error:
        case HTTPException():
            return _refusal(error.status_code, error.detail, error.headers)
        case InboxUnavailableError():
            # Its words name the inbox's address: they are for the log alone.
            _log.error("%s", error)
            again = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
            return _refusal(503, "The inbox cannot commit now. Send the event again.", again)
        case _:
            return _refusal(400, str(error))


def _refusal(status: int, words: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": words}, status, headers)
