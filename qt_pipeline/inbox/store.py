"""The inbox itself: every statement on its tables.

Here: append, pending, update, replay, and what people ask about events.
Not here: connections and durability (see database), tables (see schema).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, Engine, bindparam, func, insert, select, update

from qt_pipeline.inbox import schema
from qt_pipeline.inbox.database import connect_database, creating, reading, writing
from qt_pipeline.inbox.events import EventState, EventUpdate, NewEvent, PendingEvent, StoredEvent
from qt_pipeline.values import utc_now

_events = schema.events

# A look costs some tenths of a millisecond.
_LOOK_SECONDS = 0.1


def open_inbox(url: str) -> "Inbox":
    """Open the inbox at `url`, a SQLAlchemy URL of a SQLite file; folder, file and tables are created when missing.

    Several processes may open the same inbox, also at the same moment.

    Raises:
        ConfigurationError: no inbox can live at this URL.
        InboxUnavailableError: the database cannot be opened or written.
    """
    engine = connect_database(url)
    with creating(engine) as connection:
        schema.metadata.create_all(connection)
        inbox_id = connection.scalar(select(schema.inbox.c.inbox_id))
        if inbox_id is None:
            inbox_id = str(uuid4())
            connection.execute(insert(schema.inbox).values(id=1, inbox_id=inbox_id))
    return Inbox(engine, inbox_id)


class Inbox:
    """Events in the order of their commits. Open with `open_inbox`; safe to share between threads.

    Every method raises InboxUnavailableError when the database refuses.
    """

    def __init__(self, engine: Engine, inbox_id: str) -> None:
        self._engine = engine
        self._inbox_id = inbox_id

    @property
    def inbox_id(self) -> str:
        """The identity of this inbox, made at its creation: sequence numbers compare only within one inbox."""
        return self._inbox_id

    def append(self, new_events: Sequence[NewEvent]) -> list[int]:
        """Store events in one transaction, pending, and return their sequence numbers in the same order.

        They are on disk when this returns. Numbers grow in the order of commits, so that an event that is not yet
        visible never has a number below one that `highest_seq` has given out.
        """
        if not new_events:
            return []
        received_at = utc_now()
        statement = insert(_events).returning(_events.c.seq, sort_by_parameter_order=True)
        with writing(self._engine) as connection:
            rows = [asdict(event) | {"received_at": received_at} for event in new_events]
            return list(connection.scalars(statement, rows))

    def pending(self, limit: int = 20_000) -> list[PendingEvent]:
        """The events that wait, oldest first, at most `limit`."""
        statement = (
            select(*_columns(PendingEvent))
            .where(_events.c.state == EventState.PENDING)
            .order_by(_events.c.seq)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [PendingEvent(*row) for row in connection.execute(statement)]

    def highest_seq(self, dataset_id: str) -> int:
        """The number of the newest event for a dataset, whatever its state; 0 if there is none."""
        statement = select(func.max(_events.c.seq)).where(_events.c.dataset_id == dataset_id)
        with reading(self._engine) as connection:
            return connection.scalar(statement) or 0

    def newest_seq(self) -> int:
        """The number of the newest event of all; 0 if there is none."""
        with reading(self._engine) as connection:
            return connection.scalar(select(func.max(_events.c.seq))) or 0

    def wait_for_newer(self, seq: int, *, seconds: float) -> bool:
        """Wait until there is an event with a number above `seq`, at most `seconds`; whether there is one."""
        deadline = time.monotonic() + seconds
        while self.newest_seq() <= seq:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def update(self, updates: Sequence[EventUpdate]) -> None:
        """Change events in one transaction. One that is no longer pending stays as it is."""
        if not updates:
            return
        statement = update(_events).where(
            _events.c.seq == bindparam("event_seq"), _events.c.state == EventState.PENDING
        )
        with writing(self._engine) as connection:
            connection.execute(statement, [_new_state(change) for change in updates])

    def replay(self, seqs: Sequence[int]) -> int:
        """Make settled events pending again, in one transaction, and return how many there were.

        A replayed event has all its tries before it. The replay takes an attempt number of its own: delivery keys that
        follow are new, and `attempts_before_replay` above 0 says that a load from before the replay must not settle it.
        """
        statement = (
            update(_events)
            .where(_events.c.seq == bindparam("event_seq"), _events.c.state != EventState.PENDING)
            .values(
                state=EventState.PENDING,
                outcome=None,
                attempts=_events.c.attempts + 1,
                attempts_before_replay=_events.c.attempts + 1,
                delivery=None,
                not_before=None,
                settled_at=None,
            )
        )
        with writing(self._engine) as connection:
            return sum(connection.execute(statement, {"event_seq": seq}).rowcount for seq in seqs)

    def events(
        self, *, state: EventState | None = None, dataset_id: str | None = None, limit: int = 100
    ) -> list[StoredEvent]:
        """Events with everything that is known of them, newest first, at most `limit`."""
        statement = select(*_columns(StoredEvent)).order_by(_events.c.seq.desc()).limit(limit)
        if state is not None:
            statement = statement.where(_events.c.state == state)
        if dataset_id is not None:
            statement = statement.where(_events.c.dataset_id == dataset_id)
        with reading(self._engine) as connection:
            return [StoredEvent(*row) for row in connection.execute(statement)]

    def counts(self) -> dict[EventState, int]:
        """How many events are in each state; every state is named."""
        statement = select(_events.c.state, func.count()).group_by(_events.c.state)
        counts = dict.fromkeys(EventState, 0)
        with reading(self._engine) as connection:
            for state, count in connection.execute(statement):
                counts[state] = count
        return counts

    def check(self) -> None:
        """Return if the inbox can commit a write right now."""
        # A new value each time: SQLite does not write a page that would not change.
        with writing(self._engine) as connection:
            connection.execute(update(schema.inbox).values(checked_at=utc_now()))

    def close(self) -> None:
        """Give the connection back to the system."""
        self._engine.dispose()


def _columns(value: type[PendingEvent | StoredEvent]) -> list[Column[Any]]:
    return [_events.c[field.name] for field in fields(value)]


def _new_state(change: EventUpdate) -> dict[str, object]:
    new_state: dict[str, object] = asdict(change)
    # SQLAlchemy keeps the name of a column for the value to be set.
    new_state["event_seq"] = new_state.pop("seq")
    new_state["settled_at"] = None if change.state is EventState.PENDING else utc_now()
    return new_state
