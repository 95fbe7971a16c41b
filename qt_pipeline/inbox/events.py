"""The values that go into and come out of the inbox.

Here: an event before it has a number, while it waits, and with its whole fate; one that is too large.
Not here: how they are stored (see schema).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from qt_pipeline.errors import PermanentError
from qt_pipeline.values import utc_now


class EventTooLargeError(PermanentError):
    """An event is too large for where it would have to go."""


class EventState(StrEnum):
    """What became of an event. A pending one waits for a load, a parked one for a person or for a later load."""

    PENDING = "pending"
    DONE = "done"
    IGNORED = "ignored"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as it arrived.

    Attributes:
        event_id: the sender's identity of the event; the same one may arrive twice.
        name: its type, such as `DatasetUpdated`.
        dataset_id: the dataset it is about, if it names one.
        created: the sender's own time, as text, because its format is not specified.
        body: the raw bytes that were sent.
        source_address: the network address it came from.
        received_at: when it came, which may be earlier than when it was stored.
    """

    event_id: str
    name: str
    dataset_id: str | None
    created: str | None
    body: bytes
    source_address: str | None = None
    received_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class OpenEvents:
    """Events of one dataset that have come equally far, as planning sees them: ten thousand of them are one value.

    Attributes:
        state: pending or parked.
        name: their type, such as `DatasetUpdated`.
        dataset_id: the dataset they are about, if they name one.
        first_seq: the lowest of their numbers. Later events have higher ones, and none is used twice.
        last_seq: the highest of their numbers; those in between may belong to other events.
        attempts: deliveries begun so far. It only ever grows, so that a delivery key is never used twice.
        attempts_before_replay: the value of `attempts` at their last replay, 0 if they were never replayed.
        delivery: the key of the newest delivery that covers them; None before the first one and after a replay.
        unchanged_checks: how often one more check was decided on, because a load had found the file unchanged.
        not_before: the moment before which they must not be delivered again.
    """

    state: EventState
    name: str
    dataset_id: str | None
    first_seq: int
    last_seq: int
    attempts: int
    attempts_before_replay: int
    delivery: str | None
    unchanged_checks: int
    not_before: datetime | None

    def up_to(self, seq: int) -> Self:
        """Those whose number is at most `seq`, which reaches the first."""
        return replace(self, last_seq=min(self.last_seq, seq))

    def beyond(self, seq: int) -> Self:
        """Those whose number is above `seq`, which does not reach the last."""
        return replace(self, first_seq=max(self.first_seq, seq + 1))


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Everything the inbox knows of an event, for people. See `NewEvent` and `OpenEvents` for the rest.

    Attributes:
        outcome: why it is in this state, in words.
        settled_at: when it left the pending state.
    """

    seq: int
    event_id: str
    name: str
    dataset_id: str | None
    created: str | None
    received_at: datetime
    source_address: str | None
    body: bytes
    state: EventState
    outcome: str | None
    attempts: int
    attempts_before_replay: int
    delivery: str | None
    unchanged_checks: int
    not_before: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventUpdate:
    """The whole new changeable state of open events: a field that is left out is reset, not kept."""

    events: OpenEvents
    state: EventState = EventState.PENDING
    outcome: str | None = None
    attempts: int = 0
    delivery: str | None = None
    unchanged_checks: int = 0
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class DrainResult:
    """How many messages of a queue have become events of the inbox, and how many were set aside as poison."""

    moved: int
    poisoned: int
