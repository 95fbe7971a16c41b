"""Rejected requests: one response, one count, and a log that no flood can fill.

Here: every reason with its status and message, and the log lines.
Not here: which requests are rejected (see app, protocol).
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse

from qt_pipeline.relay.metrics import Metrics
from qt_pipeline.telemetry import is_recording, span

RETRY_AFTER_SECONDS: Final = 10

_LINES: Final = 20
_PERIOD_SECONDS: Final = 10

_log = logging.getLogger("qt_pipeline.relay")


class Reason(StrEnum):
    """Why a request is refused: the label of the metric."""

    NOT_HTTP = "not_http"
    HEAD_TOO_LARGE = "head_too_large"
    SLOW = "slow"
    CONNECTIONS = "connections"
    PATH = "path"
    METHOD = "method"
    RATE = "rate"
    TOKEN = "token"  # noqa: S105  # not one
    FOREIGN = "foreign"
    TOO_LARGE = "too_large"
    ENDED_EARLY = "ended_early"
    NOT_AN_EVENT = "not_an_event"
    FULL = "full"
    INBOX = "inbox"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An answer other than the wanted one. It never repeats anything of the request."""

    reason: Reason
    status: HTTPStatus
    message: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def response(self) -> JSONResponse:
        """The answer of a request that has been read."""
        return JSONResponse({"error": self.message}, self.status, self.headers)

    @property
    def raw(self) -> bytes:
        """The answer to bytes that never became a request: all of it, as it goes over the wire."""
        body = json.dumps({"error": self.message}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n{head}\r\n".encode() + body


class RequestRejectedError(Exception):
    """Ends the handling of a request with a refusal."""

    def __init__(self, refusal: Rejection) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


def _record(refusal: Rejection, route: str) -> None:
    with span("refuse request", kind="SERVER") as refused:
        refused.set_attributes(reason=refusal.reason.value, status=refusal.status.value, route=route)
        refused.error = refusal.message


class Rejections:
    """Counts every refusal, and writes lines: so many for each reason in a period, then how many more there were."""

    def __init__(self, metrics: Metrics) -> None:
        self._refused = {reason: metrics.refused.labels(reason.value) for reason in Reason}
        self._noted: Counter[Reason] = Counter()

    def note(self, refusal: Rejection, *, client: str, route: str = "-", cause: str = "") -> None:
        """Count a refusal, and log it. To be called on the event loop.

        `route` is the pattern that matched, never the path, and `cause` words for the log alone.
        """
        self._refused[refusal.reason].inc()
        if not self._noted:
            asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self._end_period)
        self._noted[refusal.reason] += 1
        if self._noted[refusal.reason] <= _LINES:
            level = logging.ERROR if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
            _log.log(level, "%s %d %s from=%s %s", route, refusal.status, refusal.reason, client, cause)
            if is_recording():
                _record(refusal, route)

    def _end_period(self) -> None:
        for reason, noted in self._noted.items():
            if noted > _LINES:
                _log.warning("%d more refusals for %s within %d s.", noted - _LINES, reason, _PERIOD_SECONDS)
        self._noted.clear()
