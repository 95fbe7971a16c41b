"""What the sandbox can be told to do wrong, one fault for each download.

Here: the kinds of faults and how they queue. Not here: how a fault looks on the wire (see downloads).
"""

from collections import deque
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal["status", "not_ready", "html", "json", "empty", "cut", "short_length", "slow", "expire_token"]


class Fault(BaseModel):
    """One way in which a download goes wrong, as JSON gives it to the control routes.

    Kinds: `status` (any status, such as 429 with a Retry-After header, and no body), `not_ready` (204), `html` (a login
    page with 200), `json` (a JSON document with 200), `empty` (200 without a byte), `cut` (the connection drops before
    the last chunk), `short_length` (the body is shorter than its Content-Length), `slow` (the body takes `seconds`),
    `expire_token` (the token ends just before this request, which gets a 401).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    times: int | None = Field(1, ge=1, description="How many downloads it spoils; null: all, until changed.")
    status: int = Field(503, ge=200, le=599, description="For `status`: the HTTP status.")
    headers: dict[str, str] = Field(default_factory=dict, description="For `status`: headers of the answer.")
    fraction: float = Field(0.5, ge=0, lt=1, description="For `cut` and `short_length`: the part of the body sent.")
    seconds: float = Field(1, gt=0, le=600, description="For `slow`: how long the body takes.")


class FaultQueue:
    """The faults ahead of one dataset, consumed by its downloads in order."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._ahead: deque[tuple[Fault, int | None]] = deque((fault, fault.times) for fault in faults)

    def next(self) -> Fault | None:
        """The fault of the download that begins now, or None when all is well."""
        if not self._ahead:
            return None
        fault, left = self._ahead.popleft()
        if left is None:
            self._ahead.appendleft((fault, None))
        elif left > 1:
            self._ahead.appendleft((fault, left - 1))
        return fault
