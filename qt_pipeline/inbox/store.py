"""The inbox itself: every statement on its tables.

Here: append, what is open, update, replay, purge, and what people ask about events.
Not here: connections and durability (see database), tables (see schema).
"""

import time
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    Column,
    Engine,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from qt_pipeline.inbox import schema
from qt_pipeline.inbox.database import connect_database, creating, is_prepared, reading, writing
from qt_pipeline.inbox.events import EventState, EventUpdate, NewEvent, OpenEvents, StoredEvent
from qt_pipeline.values import utc_now

_events = schema.events

# What is known of an event when it comes.
_ARRIVED = tuple(field.name for field in fields(NewEvent))

# What events of one group have in common.
_GROUP_BY = ("state", "name", "dataset_id", "attempts", "attempts_before_replay", "delivery", "unchanged_checks")
_GROUP = (*_GROUP_BY, "first_seq", "last_seq")

# A look into a file costs some tenths of a millisecond; a server has others to serve.
_POLL_SECONDS = 0.1
_SERVER_POLL_SECONDS = 0.5

_PURGE_BATCH_SIZE = 1000

# Numbers are drawn by one transaction at a time, from here to its commit. SQLite has one writer anyway.
_serialize_appends = select(schema.inbox.c.id).with_for_update().with_hint(schema.inbox, "WITH (UPDLOCK)", "mssql")


def open_inbox(url: str, *, keep_connections: bool = True) -> "Inbox":
    """Open the inbox at `url`, a SQLAlchemy URL: a SQLite file, PostgreSQL, SQL Server or Azure SQL.

    Folder, file and tables are created when missing, and so is what the tables of an older version lack.

    Several processes may open the same inbox, also at the same moment. Without `keep_connections` each connection to
    a server is closed after its use.

    Raises:
        ConfigurationError: no inbox can live at this URL.
        InboxUnavailableError: the database cannot be opened or written.
    """
    engine = connect_database(url, keep_connections=keep_connections)
    inbox_id = _known_id(engine)
    if inbox_id is None:
        with creating(engine) as connection:
            schema.prepare(connection)
            inbox_id = connection.scalar(select(schema.inbox.c.inbox_id))
            if inbox_id is None:
                inbox_id = str(uuid4())
                connection.execute(insert(schema.inbox).values(id=1, inbox_id=inbox_id))
    return Inbox(engine, inbox_id)


def _known_id(engine: Engine) -> str | None:
    """The identity of an inbox on a server from which nothing is missing, found without any lock."""
    if not is_prepared(engine, schema.metadata):
        return None
    with reading(engine) as connection:
        return connection.scalar(select(schema.inbox.c.inbox_id))


class Inbox:
    """Events in the order of their commits. Open with `open_inbox`; safe to share between threads.

    Every method raises InboxUnavailableError when the database refuses.
    """

    def __init__(self, engine: Engine, inbox_id: str) -> None:
        self._engine = engine
        self._inbox_id = inbox_id
        self._look_seconds = _POLL_SECONDS if engine.dialect.name == "sqlite" else _SERVER_POLL_SECONDS

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
        statement = insert(_events).returning(_events.c.seq, sort_by_parameter_order=True)
        # Not `asdict`, which copies each value: the relay spends a good part of its time here.
        rows = [{name: getattr(event, name) for name in _ARRIVED} for event in new_events]
        with writing(self._engine) as connection:
            connection.execute(_serialize_appends).all()
            return list(connection.scalars(statement, rows))

    def open_events(self, state: EventState = EventState.PENDING, limit: int = 20_000) -> list[OpenEvents]:
        """The events in a state, pending or parked, in groups of those that have come equally far.

        Those with the oldest first event come first, at most `limit` groups.
        """
        first, last = func.min(_events.c.seq).label("first_seq"), func.max(_events.c.seq).label("last_seq")
        latest = func.max(_events.c.not_before).label("not_before")
        alike = [_events.c[name] for name in _GROUP_BY]
        statement = (
            select(*alike, first, last, latest)
            .where(_events.c.state == state)
            .group_by(*alike)
            .order_by(first)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [OpenEvents(**row) for row in connection.execute(statement).mappings()]

    def oldest_pending_at(self, *, dataset_id: str | None = None) -> datetime | None:
        """When the oldest event was received that still waits, of all or of a dataset; None if none does."""
        statement = (
            select(_events.c.received_at).where(_events.c.state == EventState.PENDING).order_by(_events.c.seq).limit(1)
        )
        if dataset_id is not None:
            statement = statement.where(_events.c.dataset_id == dataset_id)
        with reading(self._engine) as connection:
            return connection.scalar(statement)

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
            time.sleep(self._look_seconds)
        return True

    def update(self, updates: Sequence[EventUpdate]) -> None:
        """Change events in one transaction. Those that have gone on since they were read stay as they are."""
        if not updates:
            return
        with writing(self._engine) as connection:
            for change in updates:
                group = {f"its_{name}": getattr(change.events, name) for name in _GROUP}
                unknown = frozenset(name for name in _GROUP_BY if group[f"its_{name}"] is None)
                connection.execute(_update_among(unknown), group | _new_state(change))

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
                unchanged_checks=0,
                not_before=None,
                settled_at=None,
            )
        )
        with writing(self._engine) as connection:
            return sum(connection.execute(statement, {"event_seq": seq}).rowcount for seq in seqs)

    def purge(self, settled_before: datetime, *, limit: int) -> int:
        """Delete events that were done or ignored before a moment, at most `limit`, and return how many there were.

        The newest event of a dataset stays: what `highest_seq` says must never run backwards, or later loads would
        count as older. Each transaction is small, so that nobody waits for long.
        """
        old, later = _events.alias("old"), _events.alias("later")
        is_followed = exists().where(later.c.dataset_id == old.c.dataset_id, later.c.seq > old.c.seq)
        deletable = select(old.c.seq).where(
            old.c.state.in_([EventState.DONE, EventState.IGNORED]),
            old.c.settled_at < settled_before,
            or_(old.c.dataset_id.is_(None), is_followed),
        )
        purged = 0
        while purged < limit:
            at_once = min(_PURGE_BATCH_SIZE, limit - purged)
            with writing(self._engine) as connection:
                some = delete(_events).where(_events.c.seq.in_(deletable.limit(at_once)))
                deleted = connection.execute(some).rowcount
            purged += deleted
            if deleted < at_once:
                break
        return purged

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

    def event(self, seq: int) -> StoredEvent | None:
        """The event of a number, with everything that is known of it."""
        statement = select(*_columns(StoredEvent)).where(_events.c.seq == seq)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return StoredEvent(*row) if row else None

    def open_counts(self) -> dict[str, dict[EventState, int]]:
        """For each dataset that has any, how many events are pending and how many are parked."""
        states = (EventState.PENDING, EventState.PARKED)
        statement = (
            select(_events.c.dataset_id, _events.c.state, func.count())
            .where(_events.c.state.in_(states), _events.c.dataset_id.is_not(None))
            .group_by(_events.c.dataset_id, _events.c.state)
        )
        counts: dict[str, dict[EventState, int]] = {}
        with reading(self._engine) as connection:
            for dataset_id, state, count in connection.execute(statement):
                counts.setdefault(dataset_id, dict.fromkeys(states, 0))[state] = count
        return counts

    def check(self) -> None:
        """Return if the inbox can commit a write right now."""
        # A new value each time: SQLite does not write a page that would not change.
        with writing(self._engine) as connection:
            connection.execute(update(schema.inbox).values(checked_at=utc_now()))

    def close(self) -> None:
        """Give the connection back to the system."""
        self._engine.dispose()


def _columns(value: type[StoredEvent]) -> list[Column[Any]]:
    return [_events.c[field.name] for field in fields(value)]


@cache
def _update_among(unknown: frozenset[str]) -> Update:
    """Change the events that a group stands for. Those that came later are not among them: their numbers are higher.

    `unknown` are the columns that are NULL in all of them. Made once: hundreds of groups are changed in one tick.
    """
    alike = (
        _events.c[name].is_(None) if name in unknown else _events.c[name] == bindparam(f"its_{name}")
        for name in _GROUP_BY
    )
    between = _events.c.seq.between(bindparam("its_first_seq"), bindparam("its_last_seq"))
    return update(_events).where(between, *alike)


def _new_state(change: EventUpdate) -> dict[str, object]:
    values: dict[str, object] = {field.name: getattr(change, field.name) for field in fields(change)}
    del values["events"]
    return values | {"settled_at": None if change.state is EventState.PENDING else utc_now()}
