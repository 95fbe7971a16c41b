"""The values that go into and come out of the inbox.

Here: an event before it has a number, while it waits, and with its whole fate.
Not here: how they are stored (see schema).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventState(StrEnum):
    """What became of an event. Only a pending one still waits for something."""

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
    """

    event_id: str
    name: str
    dataset_id: str | None
    created: str | None
    body: bytes
    source_address: str | None = None


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """What planning needs to know of an event that waits.

    Attributes:
        seq: its number in this inbox: later events have higher ones, and none is used twice.
        attempts: deliveries begun so far. It only ever grows, so that a delivery key is never used twice.
        attempts_before_replay: the value of `attempts` at its last replay, 0 if it was never replayed. The difference
            is the number of tries that count now.
        delivery: the key of the newest delivery that covers it; None before the first one and after a replay.
        not_before: the moment before which it must not be delivered again.
    """

    seq: int
    name: str
    dataset_id: str | None
    attempts: int
    attempts_before_replay: int
    delivery: str | None
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Everything the inbox knows of an event, for people. See `NewEvent` and `PendingEvent` for the rest.

    Attributes:
        received_at: when it was appended.
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
    not_before: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventUpdate:
    """The whole new changeable state of one pending event: a field that is left out is reset, not kept."""

    seq: int
    state: EventState = EventState.PENDING
    outcome: str | None = None
    attempts: int = 0
    delivery: str | None = None
    not_before: datetime | None = None
