"""The routes of the relay.

Here: authentication, the limits of the body, and each response. Plain ASGI: a framework's router and middleware would
cost more than everything else that is done for an event.
Not here: connections (see protocol), where events go (see sinks), the log (see rejections).
"""

import asyncio
import hmac
import math
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from qt_pipeline.inbox import EventTooLargeError, InboxUnavailableError, NewEvent
from qt_pipeline.quantemplate import InvalidEventError, parse_event
from qt_pipeline.relay.rate import RateLimit
from qt_pipeline.relay.rejections import RETRY_AFTER_SECONDS, Reason, Rejection, Rejections, RequestRejectedError
from qt_pipeline.relay.sinks import BacklogFullError, EventSink
from qt_pipeline.telemetry import Span, is_recording, of_event, record
from qt_pipeline.web_guard import foreign_request

MAX_BODY_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 15

_WEBHOOK: Final = "/webhooks/quantemplate"
_WEBHOOK_WITH_TOKEN: Final = f"{_WEBHOOK}/{{token}}"
_HEALTH: Final = "/healthz"
_READY: Final = "/readyz"
_NO_ROUTE: Final = "-"
_SET_TOKENS: Final = "Set QT_RELAY_TOKENS for callers beyond this machine."
_METHODS: Final = {
    _WEBHOOK: ("POST",),
    _WEBHOOK_WITH_TOKEN: ("POST",),
    _HEALTH: ("GET", "HEAD"),
    _READY: ("GET", "HEAD"),
}
_GOOD_SECONDS: Final = 1

# Where a body may still come, the connection is closed: the server would go on reading what is of no use.
_CLOSE: Final = {"Connection": "close"}
_AGAIN: Final = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_PATH = Rejection(Reason.PATH, HTTPStatus.NOT_FOUND, "There is nothing here.", _CLOSE)
_TOKEN = Rejection(
    Reason.TOKEN,
    HTTPStatus.UNAUTHORIZED,
    "The token is missing or wrong.",
    {"WWW-Authenticate": "Bearer", **_CLOSE},
)
_TOO_LARGE = Rejection(
    Reason.TOO_LARGE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    f"An event has at most {MAX_BODY_BYTES} bytes.",
    _CLOSE,
)
_SLOW = Rejection(
    Reason.SLOW, HTTPStatus.REQUEST_TIMEOUT, f"The body must be there within {BODY_SECONDS} seconds.", _CLOSE
)
_ENDED_EARLY = Rejection(Reason.ENDED_EARLY, HTTPStatus.BAD_REQUEST, "The body ended early.", _CLOSE)
_FULL = Rejection(
    Reason.FULL, HTTPStatus.SERVICE_UNAVAILABLE, "Too many events wait to be stored. Send the event again.", _AGAIN
)
_INBOX = Rejection(
    Reason.INBOX, HTTPStatus.SERVICE_UNAVAILABLE, "The inbox cannot commit now. Send the event again.", _AGAIN
)
_FAILURE = Rejection(Reason.FAILURE, HTTPStatus.INTERNAL_SERVER_ERROR, "The relay failed.", _CLOSE)


class RelayApp:
    """The relay as an ASGI application. Any of `tokens` opens it; without tokens it is open to every caller.

    Routes: `POST /webhooks/quantemplate/{token}`, or without the token in the path and with it as a bearer;
    `GET /healthz` (the process is up) and `GET /readyz` (an event could be stored).
    """

    def __init__(
        self, intake: EventSink, tokens: Sequence[SecretStr], refusals: Rejections, *, events_per_second: float = 0
    ) -> None:
        self.refusals = refusals
        self._intake = intake
        self._tokens = [token.get_secret_value().encode() for token in tokens]
        self._rate = RateLimit(events_per_second)
        self._check_ready = _SharedCheck(intake.check)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route = _route_of(scope["path"])
        try:
            response = await self._answer(route, scope, receive)
        except Exception as error:  # noqa: BLE001  # the server would log its words, which may repeat the path
            refusal, cause = _refusal_of(error)
            self.refusals.note(refusal, route=f"{scope['method']} {route}", client=_client_of(scope), cause=cause)
            response = refusal.response
        await response(scope, receive, send)

    async def _answer(self, route: str, scope: Scope, receive: Receive) -> JSONResponse:
        methods = _METHODS.get(route)
        if methods is None:
            raise RequestRejectedError(_PATH)
        if scope["method"] not in methods:
            raise RequestRejectedError(_not_allowed(methods))
        if route == _HEALTH:
            return JSONResponse({"status": "alive"})
        if route == _READY:
            await self._check_ready()
            return JSONResponse({"status": "ready"})
        return await self._accept(route, scope, receive)

    async def _accept(self, route: str, scope: Scope, receive: Receive) -> JSONResponse:
        """Accept one event: 202 once it is durable, with its sequence number if it has one already."""
        began = time.time_ns()
        client, headers = _client_of(scope), Headers(scope=scope)
        if not self._tokens and (why := foreign_request(scope)):
            raise RequestRejectedError(Rejection(Reason.FOREIGN, HTTPStatus.FORBIDDEN, f"{why} {_SET_TOKENS}", _CLOSE))
        if wait := self._rate.take(client):
            raise RequestRejectedError(_too_often(wait))
        if not self._knows(_token_in_path(scope) if route == _WEBHOOK_WITH_TOKEN else _bearer(headers)):
            raise RequestRejectedError(_TOKEN)
        body = await _read_body(headers, receive)
        event = parse_event(body)
        accepted = NewEvent(
            event_id=event.event_id,
            name=event.name,
            dataset_id=event.dataset_id,
            created=event.created,
            body=body,
            source_address=client,
        )
        sequence = await self._intake.accept(accepted)
        if is_recording():
            record(_span_of(accepted, sequence, began))
        return JSONResponse({} if sequence is None else {"sequence": sequence}, HTTPStatus.ACCEPTED)

    def _knows(self, offered: str) -> bool:
        # Every token is compared in constant time, so that the response time reveals nothing.
        matches = sum(hmac.compare_digest(offered.encode(), token) for token in self._tokens)
        return matches > 0 or not self._tokens


class _SharedCheck:
    """Runs one check at a time and shares its result: the check writes, and anybody may request it."""

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check
        self._checking: asyncio.Task[None] | None = None
        self._good_until = 0.0

    async def __call__(self) -> None:
        if asyncio.get_running_loop().time() < self._good_until:
            return
        if self._checking is None:
            self._checking = asyncio.create_task(self._run_check())
        await asyncio.shield(self._checking)

    async def _run_check(self) -> None:
        try:
            await self._check()
            self._good_until = asyncio.get_running_loop().time() + _GOOD_SECONDS
        finally:
            self._checking = None


def _route_of(path: str) -> str:
    """The route that a path matches. An unmatched path may still hold a token, and is not shown."""
    if path in _METHODS and path != _WEBHOOK_WITH_TOKEN:
        return path
    folder, _, token = path.rpartition("/")
    return _WEBHOOK_WITH_TOKEN if folder == _WEBHOOK and token else _NO_ROUTE


def _client_of(scope: Scope) -> str:
    return scope["client"][0] if scope["client"] else "-"


def _token_in_path(scope: Scope) -> str:
    return scope["path"].rpartition("/")[2]


def _bearer(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    if int(headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise RequestRejectedError(_TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestRejectedError(_ENDED_EARLY)
                body += message["body"]
                if len(body) > MAX_BODY_BYTES:
                    raise RequestRejectedError(_TOO_LARGE)
                if not message["more_body"]:
                    return bytes(body)
    except TimeoutError:
        raise RequestRejectedError(_SLOW) from None


def _span_of(event: NewEvent, sequence: int | None, began: int) -> Span:
    span = Span("accept event", of_event(event.event_id), kind="SERVER", began=began)
    span.set_attributes(event_id=event.event_id, event=event.name, dataset_id=event.dataset_id, sequence=sequence)
    return span


def _not_allowed(methods: Sequence[str]) -> Rejection:
    words = f"Only {' and '.join(methods)} can be used here."
    return Rejection(Reason.METHOD, HTTPStatus.METHOD_NOT_ALLOWED, words, {"Allow": ", ".join(methods), **_CLOSE})


def _too_often(wait: float) -> Rejection:
    headers = {"Retry-After": str(math.ceil(wait)), **_CLOSE}
    return Rejection(Reason.RATE, HTTPStatus.TOO_MANY_REQUESTS, "Too many requests. Send the event again.", headers)


def _refusal_of(error: Exception) -> tuple[Rejection, str]:
    """The response to an error, and its cause for the log."""
    match error:
        case RequestRejectedError():
            return error.refusal, ""
        case InvalidEventError():
            return Rejection(Reason.NOT_AN_EVENT, HTTPStatus.BAD_REQUEST, str(error)), ""
        case EventTooLargeError():
            return Rejection(Reason.TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)), ""
        case BacklogFullError():
            return _FULL, ""
        case InboxUnavailableError():
            # Its message names the inbox's address: for the log only.
            return _INBOX, str(error)
        case _:
            frames = "".join(traceback.format_tb(error.__traceback__))
            return _FAILURE, f"Unexpected {type(error).__name__} in the relay, its words withheld:\n{frames}"
