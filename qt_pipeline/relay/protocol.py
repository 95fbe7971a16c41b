"""One connection of the relay and its limits: the number of connections, the time and size of a request head.

Here: the limits before a request reaches the application, and ignoring an offered upgrade.
Not here: limits of a body (see app); HTTP parsing and writing, which is uvicorn's with the parser httptools. That
parser does not limit a head, so it is done here; the other parser does, but takes twice the time per request.
"""

import asyncio
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from qt_pipeline.relay.connections import Connections
from qt_pipeline.relay.rejections import RETRY_AFTER_SECONDS, Reason, Rejection, Rejections

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
HEAD_SECONDS: Final = 10
# The body's limit counts what a body says; this counts what is sent for it, such as the lines between tiny chunks.
_MAX_REQUEST_BYTES: Final = 1024 * 1024

# Headers that concern an upgrade alone (RFC 9110, 7.8; RFC 7540, 3.2.1).
_OF_UPGRADE: Final = (b"upgrade", b"http2-settings")

_CLOSE: Final = {"Connection": "close"}
_NOT_HTTP: Final = Rejection(Reason.NOT_HTTP, HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1.", _CLOSE)
_HEAD_TOO_LARGE: Final = Rejection(
    Reason.HEAD_TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The head of a request has at most {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers.",
    _CLOSE,
)
_SLOW: Final = Rejection(
    Reason.SLOW,
    HTTPStatus.REQUEST_TIMEOUT,
    f"The head of a request must be there within {HEAD_SECONDS} seconds.",
    _CLOSE,
)
_CONNECTIONS: Final = Rejection(
    Reason.CONNECTIONS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    "There are too many connections. Send the event again.",
    {"Retry-After": str(RETRY_AFTER_SECONDS), **_CLOSE},
)


class _TooManyHeadersError(Exception):
    """Ends the parsing of a head."""


class _NotYetError(Exception):
    """Ends the parsing of a request that comes before the answer to the one before it."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection with limits. `refusals` and `open_connections` are set once, by `bounded`."""

    refusals: Rejections
    open_connections: Connections["BoundedProtocol"]

    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _in_head = True
    _received = 0
    _offers_upgrade = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Accept the connection; when there are too many, an idle one is closed for it, or else this one."""
        super().connection_made(transport)
        surplus = self.open_connections.add(self, self._client_address)
        if surplus is not None:
            surplus.close_over_limit()
        if surplus is not self:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.open_connections.discard(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, within the limits.

        Not uvicorn's own: it logs a line for each bad request, lets any byte extend the life of an idle connection, and
        buffers every request that is sent before the last one was answered.
        """
        if self.transport.is_closing() or self.parser is None:  # pyright: ignore[reportUnnecessaryComparison]  # None at the end
            return
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._abort(_HEAD_TOO_LARGE if isinstance(error.__context__, _TooManyHeadersError) else _NOT_HTTP)
            return
        self._received += len(data)
        if self._in_head and self._received > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._in_head:
            self._await_head()
        elif self._received > _MAX_REQUEST_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._is_answering:
            raise _NotYetError
        self._unset_keepalive_if_required()
        self._in_head, self._received = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the request, or one behind its body."""
        if len(self.headers) >= MAX_HEADERS:
            raise _TooManyHeadersError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the application takes over."""
        # For CONNECT the parser says the same, and there is nothing to ignore.
        self._offers_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._offers_upgrade:
            return
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there as a whole, unless the parser ends it at its head because of an offered upgrade."""
        if not self._offers_upgrade:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """The other side does not read its answers."""
        super().pause_writing()
        self._stalled = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The other side reads on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def close_over_limit(self) -> None:
        """Make room for another connection. To be called only while `is_idle`, or for a new connection."""
        if self._in_head:
            self._refuse(_CONNECTIONS)
        else:
            # Between two requests no answer is expected.
            self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered. One whose head is not complete does not count yet."""
        return not self._is_answering

    @property
    def _client_address(self) -> str:
        return self.client[0] if self.client else "-"

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._offers_upgrade:
                self._ignore_upgrade(data[upgrade.args[0] :])
            else:
                self.cycle.keep_alive = False

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the request as if it offered no upgrade, which a server may do (RFC 9110, 7.8).

        The parser treats everything behind such a head as another protocol, which cannot be turned off. So a new parser
        gets the same head without the offer, and then the `rest`: the body and what follows.
        """
        request_line = b"%s %s HTTP/%s" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode("ascii"),
        )
        lines = [request_line, *(b"%s: %s" % header for header in _without_upgrade(self.headers))]
        self._offers_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn sets its own parser: what follows a request that closes the connection is not looked at.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(b"\r\n".join([*lines, b"", rest]))

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]  # None before the first

    def _await_head(self) -> None:
        # Set once for each head: single bytes that drip in do not prolong it.
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, _SLOW)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self, refusal: Rejection) -> None:
        if not self._is_answering:
            self._refuse(refusal)
        elif self.cycle.more_body:
            # The application waits for the body: it hears of the end, and counts it.
            self.transport.close()
        else:
            # A whole request is being answered, and gets its answer. What came behind it is not looked at.
            self.cycle.keep_alive = False
            self.transport.pause_reading()

    def _refuse(self, refusal: Rejection) -> None:
        self.refusals.note(refusal, client=self._client_address)
        self.transport.write(refusal.raw)
        self.transport.close()


def _without_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"connection":
            options = (option.strip() for option in value.split(b","))
            if kept := [option for option in options if option.lower() not in _OF_UPGRADE]:
                yield name, b", ".join(kept)
        elif name not in _OF_UPGRADE:
            yield name, value


def bounded(refusals: Rejections) -> type[BoundedProtocol]:
    """The class of all connections of one server, which takes only a class."""
    return type("BoundedProtocol", (BoundedProtocol,), {"refusals": refusals, "open_connections": Connections()})
