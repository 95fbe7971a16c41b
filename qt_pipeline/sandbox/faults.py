"""Faults that the sandbox injects, one for each download.

Here: the kinds of faults and their queue. Not here: how a fault looks on the wire (see downloads).
"""

from collections import deque
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

AnswerKind = Literal["status", "not_ready", "html", "json", "empty", "expire_token"]
BrokenKind = Literal["cut", "reset", "gzip_cut", "short_length", "long_body"]
PaceKind = Literal["slow", "drip", "endless", "bomb"]
FaultKind = AnswerKind | BrokenKind | PaceKind


class Fault(BaseModel):
    """One way in which a download goes wrong, as JSON gives it to the control routes.

    Another answer: `status` (any status, such as 429 with a Retry-After header, and no body), `not_ready` (204), `html`
    (a login page with 200), `json` (a JSON document with 200), `empty` (200 without a byte), `expire_token` (the token
    ends just before this request, which gets a 401).
    A broken body: `cut` (the connection drops before the last chunk), `reset` (it is reset; at 0 before any answer),
    `gzip_cut` (a gzip stream ends too early, in chunks that are complete), `short_length` (the body is shorter than its
    Content-Length), `long_body` (it goes on beyond its Content-Length).
    Another pace: `slow` (the body takes `seconds`), `drip` (a byte every `seconds`), `endless` (the rows come again and
    again, for ever), `bomb` (so they do, packed a thousandfold).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    times: int | None = Field(1, ge=1, description="How many downloads it spoils; null: all, until changed.")
    status: int = Field(503, ge=200, le=599, description="For `status`: the HTTP status.")
    headers: dict[str, str] = Field(default_factory=dict, description="For `status`: headers of the answer.")
    fraction: float = Field(
        0.5, ge=0, lt=1, description="For bodies that are cut: the part sent; for `long_body`: the part announced."
    )
    seconds: float = Field(1, gt=0, le=600, description="For `slow` and `drip`: how long the body, or a byte, takes.")
    expires_token: bool = Field(default=False, description="Whether the token ends while the answer is under way.")


class FaultQueue:
    """The pending faults of one dataset, consumed by its downloads in order."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._ahead: deque[tuple[Fault, int | None]] = deque((fault, fault.times) for fault in faults)

    def next(self) -> Fault | None:
        """The fault of the next download, or None."""
        if not self._ahead:
            return None
        fault, left = self._ahead.popleft()
        if left is None:
            self._ahead.appendleft((fault, None))
        elif left > 1:
            self._ahead.appendleft((fault, left - 1))
        return fault
