"""Keeps other web pages, and other names of this machine, from an HTTP server on a loopback address.

A browser sends what any page asks it to send to 127.0.0.1, and a page may give its own host name that address.
Here: which requests a page of another origin could have sent, and an ASGI layer that refuses them.
Not here: who may use a server otherwise; a program of this machine can send any header.
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
# A link that a person follows: the page that holds it reads nothing of the answer.
_NAVIGATION: Final = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def foreign_request(scope: Scope, hosts: Collection[str] = ()) -> str:
    """Why a request may come from another site: a sentence that repeats nothing of it; empty where it does not.

    The server's names are those of the loopback address with the port it listens on, and `hosts`: each a name, with
    its port where that is not the scheme's own.
    """
    headers = Headers(scope=scope)
    port = scope["server"][1] if scope.get("server") else None
    names = {f"{name}:{port}" for name in _LOOPBACK} | {host.lower() for host in hosts}
    # A browser leaves the scheme's own port out.
    names |= set(_LOOPBACK) if port in (80, 443) else set()
    named = [host.lower() for host in headers.getlist("host")]
    if len(named) != 1 or named[0] not in names:
        return "The request names another host than this server's own."
    for origin in headers.getlist("origin"):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != named[0]:
            return "The request comes from a page of another origin."
    if set(headers.getlist("sec-fetch-site")) & set(_OTHER_SITES):
        return "The request comes from a page of another site."
    return ""


class WebGuard:
    """Refuses, with 403, what another web page may have sent to the ASGI application below.

    With `json_only`, all but GET must be JSON by its Content-Type, which no page may send to another origin unasked,
    and a GET executes no GraphQL. A person may follow a link of another site to a page of this server.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = (), *, json_only: bool = False) -> None:
        self._app = app
        self._hosts = tuple(hosts)
        self._json_only = json_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        why = self._refusal(scope)
        if not why:
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "http":
            await PlainTextResponse(f"{why}\n", status_code=403)(scope, receive, send)
        else:
            # Before it is accepted, a server answers 403 to this.
            await send({"type": "websocket.close", "code": 1008, "reason": why})

    def _refusal(self, scope: Scope) -> str:
        if scope["type"] == "websocket":
            return foreign_request(scope, self._hosts)
        headers = Headers(scope=scope)
        path: str = scope["path"].rstrip("/")
        is_safe, is_graphql = scope["method"] in _SAFE_METHODS, path.endswith(_GRAPHQL)
        if is_safe and not is_graphql and all(headers.get(name) == value for name, value in _NAVIGATION.items()):
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"sec-fetch-site"]}
        if why := foreign_request(scope, self._hosts):
            return why
        if not self._json_only:
            return ""
        if is_safe:
            # With this, Dagster answers with the page on which people write queries, and executes none.
            shows_page = "text/html" in headers.get("accept", "")
            return "" if not is_graphql or shows_page else "GraphQL is asked by POST alone."
        if scope["method"] != "POST":
            return "Only GET, HEAD and POST can be used here."
        kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
        return "" if kinds == ["application/json"] else "What is posted must be of the type application/json."


def _unframed(send: Send) -> Send:
    """Let no page of another origin show an answer in a frame, where a person may click on it unknowingly."""

    async def send_unframed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return send_unframed
