"""Protects an HTTP server on a loopback address against cross-site requests and DNS rebinding.

A browser sends requests of any web page to 127.0.0.1, and a page can make its own host name resolve to that address.
Here: the check for cross-site requests, and ASGI middleware that rejects them.
Not here: authentication; a local program can send any header.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_SAFE_METHODS: Final = ("GET", "HEAD")
_OTHER_SITES: Final = ("cross-site", "same-site")
_GRAPHQL: Final = "/graphql"
# A person follows a link: the linking page cannot read the response.
_NAVIGATION: Final = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def foreign_request(scope: Scope, hosts: Collection[str] = ()) -> str:
    """Why a request may come from another site, as a sentence without parts of the request; empty if it does not.

    The server's names are the loopback names with the port that it listens on, and `hosts`: each a name, with the port
    unless it is the scheme's default.
    """
    headers = Headers(scope=scope)
    port = scope["server"][1] if scope.get("server") else None
    names = {f"{name}:{port}" for name in _LOOPBACK} | {host.lower() for host in hosts}
    # A browser omits the scheme's default port.
    names |= set(_LOOPBACK) if port in (80, 443) else set()
    named = [host.lower() for host in headers.getlist("host")]
    if len(named) != 1 or named[0] not in names:
        return "The Host header does not name this server."
    for origin in headers.getlist("origin"):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != named[0]:
            return "The request comes from a page of another origin."
    if set(headers.getlist("sec-fetch-site")) & set(_OTHER_SITES):
        return "The request comes from a page of another site."
    return ""


class WebGuard:
    """ASGI middleware that rejects requests of other web pages with 403.

    With `json_only`, every request except GET must have a JSON Content-Type, which a page cannot send to another origin
    without permission, and a GET executes no GraphQL. Links from other sites to pages of this server work.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = (), *, json_only: bool = False) -> None:
        self._app = app
        self._hosts = tuple(hosts)
        self._json_only = json_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward or reject a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        reason = self._rejection(scope)
        if not reason:
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "http":
            await PlainTextResponse(f"{reason}\n", status_code=403)(scope, receive, send)
        else:
            # Before the connection is accepted, the server responds 403 to this.
            await send({"type": "websocket.close", "code": 1008, "reason": reason})

    def _rejection(self, scope: Scope) -> str:
        if scope["type"] == "websocket":
            return foreign_request(scope, self._hosts)
        headers = Headers(scope=scope)
        path: str = scope["path"].rstrip("/")
        is_safe, is_graphql = scope["method"] in _SAFE_METHODS, path.endswith(_GRAPHQL)
        if is_safe and not is_graphql and all(headers.get(name) == value for name, value in _NAVIGATION.items()):
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"sec-fetch-site"]}
        if reason := foreign_request(scope, self._hosts):
            return reason
        if not self._json_only:
            return ""
        if is_safe:
            # Dagster then responds with its query editor page, and executes nothing.
            shows_page = "text/html" in headers.get("accept", "")
            return "" if not is_graphql or shows_page else "GraphQL requires POST."
        if scope["method"] != "POST":
            return "Only GET, HEAD and POST are allowed."
        kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
        return "" if kinds == ["application/json"] else "The Content-Type of a POST must be application/json."


def _unframed(send: Send) -> Send:
    """Prevent clickjacking: pages of other origins cannot show responses in a frame."""

    async def send_unframed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return send_unframed
