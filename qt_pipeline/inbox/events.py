"""Events of the inbox as values.

Here: a new event, open events, and a stored event with its outcome.
Not here: how they are stored (see schema).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from qt_pipeline.errors import PermanentError
from qt_pipeline.values import utc_now


class EventTooLargeError(PermanentError):
    """The event is too large for the queue."""


class EventState(StrEnum):
    """The state of an event. A pending one waits for a load, a parked one for a person or a later load."""

    PENDING = "pending"
    DONE = "done"
    IGNORED = "ignored"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as it arrived.

    Attributes:
        event_id: the sender's id of the event; the same event may arrive twice.
        name: its type, such as `DatasetUpdated`.
        dataset_id: the dataset it is about, if it names one.
        created: the sender's own time, as text, because its format is not specified.
        body: the raw bytes that were sent.
        source_address: the network address it came from.
        received_at: when it arrived, which may be earlier than when it was stored.
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
    """Open events of one dataset in the same state of delivery, grouped: ten thousand of them are one value.

    Attributes:
        state: pending or parked.
        name: their type, such as `DatasetUpdated`.
        dataset_id: the dataset they are about, if they name one.
        first_seq: the lowest of their sequence numbers. Later events have higher ones, and none is reused.
        last_seq: the highest of their sequence numbers; those in between may belong to other events.
        attempts: deliveries begun so far. It never decreases, so that a delivery key is never reused.
        attempts_before_replay: the value of `attempts` at their last replay, 0 if they were never replayed.
        delivery: the key of the newest delivery that covers them; None before the first one and after a replay.
        unchanged_checks: how often another check was scheduled because a load found the file unchanged.
        not_before: the earliest time of the next delivery.
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
        """The events whose number is at most `seq`, which must not be below the first."""
        return replace(self, last_seq=min(self.last_seq, seq))

    def beyond(self, seq: int) -> Self:
        """The events whose number is above `seq`, which must be below the last."""
        return replace(self, first_seq=max(self.first_seq, seq + 1))


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Everything that the inbox stores about an event. See `NewEvent` and `OpenEvents` for the other attributes.

    Attributes:
        outcome: why it is in this state, as text.
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
    """The complete new delivery state of open events: a field that is left out is reset, not kept."""

    events: OpenEvents
    state: EventState = EventState.PENDING
    outcome: str | None = None
    attempts: int = 0
    delivery: str | None = None
    unchanged_checks: int = 0
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class DrainResult:
    """How many messages of a queue became events of the inbox, and how many were moved to the poison queue."""

    moved: int
    poisoned: int
