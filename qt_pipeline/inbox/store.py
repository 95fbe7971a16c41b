"""The inbox: every statement on its tables.

Here: append, open events, update, replay, purge, and queries for people.
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

# The columns of a new event.
_ARRIVED = tuple(field.name for field in fields(NewEvent))

# The columns that events of one group share.
_GROUP_BY = ("state", "name", "dataset_id", "attempts", "attempts_before_replay", "delivery", "unchanged_checks")
_GROUP = (*_GROUP_BY, "first_seq", "last_seq")

# A query of a file takes some tenths of a millisecond; a server has other clients.
_POLL_SECONDS = 0.1
_SERVER_POLL_SECONDS = 0.5

_PURGE_BATCH_SIZE = 1000

# Only one transaction at a time issues numbers, until its commit. SQLite has one writer anyway.
_serialize_appends = select(schema.inbox.c.id).with_for_update().with_hint(schema.inbox, "WITH (UPDLOCK)", "mssql")


def open_inbox(url: str, *, keep_connections: bool = True) -> "Inbox":
    """Open the inbox at `url`, a SQLAlchemy URL: a SQLite file, PostgreSQL, SQL Server or Azure SQL.

    Folder, file and tables are created if missing, and tables of an older version are upgraded. Several processes may
    open the same inbox at once. Without `keep_connections` each connection to a server is closed after use.

    Raises:
        ConfigurationError: the URL does not name a usable inbox.
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
    """The id of an inbox on a server that needs no upgrade, read without a lock."""
    if not is_prepared(engine, schema.metadata):
        return None
    with reading(engine) as connection:
        return connection.scalar(select(schema.inbox.c.inbox_id))


class Inbox:
    """Events in the order of their commits. Open with `open_inbox`; safe to share between threads.

    Every method raises InboxUnavailableError if the database is unavailable or denies the request.
    """

    def __init__(self, engine: Engine, inbox_id: str) -> None:
        self._engine = engine
        self._inbox_id = inbox_id
        self._poll_seconds = _POLL_SECONDS if engine.dialect.name == "sqlite" else _SERVER_POLL_SECONDS

    @property
    def inbox_id(self) -> str:
        """The identity of this inbox, set at its creation: sequence numbers compare only within one inbox."""
        return self._inbox_id

    def append(self, new_events: Sequence[NewEvent]) -> list[int]:
        """Store events as pending in one transaction, and return their sequence numbers in the same order.

        They are durable when this returns. Numbers increase in the order of commits, so an event that is not yet
        visible never gets a number below one that `highest_seq` has returned.
        """
        if not new_events:
            return []
        statement = insert(_events).returning(_events.c.seq, sort_by_parameter_order=True)
        # Not `asdict`, which copies each value: the relay spends much of its time here.
        rows = [{name: getattr(event, name) for name in _ARRIVED} for event in new_events]
        with writing(self._engine) as connection:
            connection.execute(_serialize_appends).all()
            return list(connection.scalars(statement, rows))

    def open_events(self, state: EventState = EventState.PENDING, limit: int = 20_000) -> list[OpenEvents]:
        """The events in a state, pending or parked, in groups that share their state of delivery.

        Groups are ordered by their first event, at most `limit`.
        """
        first, last = func.min(_events.c.seq).label("first_seq"), func.max(_events.c.seq).label("last_seq")
        latest = func.max(_events.c.not_before).label("not_before")
        shared = [_events.c[name] for name in _GROUP_BY]
        statement = (
            select(*shared, first, last, latest)
            .where(_events.c.state == state)
            .group_by(*shared)
            .order_by(first)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [OpenEvents(**row) for row in connection.execute(statement).mappings()]

    def oldest_pending_at(self, *, dataset_id: str | None = None) -> datetime | None:
        """When the oldest pending event arrived, of all or of one dataset; None if none is pending."""
        statement = (
            select(_events.c.received_at).where(_events.c.state == EventState.PENDING).order_by(_events.c.seq).limit(1)
        )
        if dataset_id is not None:
            statement = statement.where(_events.c.dataset_id == dataset_id)
        with reading(self._engine) as connection:
            return connection.scalar(statement)

    def highest_seq(self, dataset_id: str) -> int:
        """The number of a dataset's newest event, whatever its state; 0 if there is none."""
        statement = select(func.max(_events.c.seq)).where(_events.c.dataset_id == dataset_id)
        with reading(self._engine) as connection:
            return connection.scalar(statement) or 0

    def newest_seq(self) -> int:
        """The number of the newest event; 0 if there is none."""
        with reading(self._engine) as connection:
            return connection.scalar(select(func.max(_events.c.seq))) or 0

    def wait_for_newer(self, seq: int, *, seconds: float) -> bool:
        """Wait up to `seconds` for an event with a number above `seq`; returns whether there is one."""
        deadline = time.monotonic() + seconds
        while self.newest_seq() <= seq:
            if time.monotonic() >= deadline:
                return False
            time.sleep(self._poll_seconds)
        return True

    def update(self, updates: Sequence[EventUpdate]) -> None:
        """Change events in one transaction. Events that have changed since they were read stay unchanged."""
        if not updates:
            return
        with writing(self._engine) as connection:
            for change in updates:
                group = {f"group_{name}": getattr(change.events, name) for name in _GROUP}
                null_columns = frozenset(name for name in _GROUP_BY if group[f"group_{name}"] is None)
                connection.execute(_update_statement(null_columns), group | _new_state(change))

    def replay(self, seqs: Sequence[int]) -> int:
        """Make settled events pending again, in one transaction, and return how many there were.

        A replayed event has all its attempts again. The replay counts as an attempt, so that the next delivery keys are
        new; `attempts_before_replay` above 0 says that a load from before the replay must not settle the event.
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
        """Delete at most `limit` events that were done or ignored before `settled_before`, and return how many.

        The newest event of a dataset stays: if `highest_seq` decreased, later loads would count as older. Each
        transaction is small, so that nobody waits for long.
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
            batch_size = min(_PURGE_BATCH_SIZE, limit - purged)
            with writing(self._engine) as connection:
                statement = delete(_events).where(_events.c.seq.in_(deletable.limit(batch_size)))
                deleted = connection.execute(statement).rowcount
            purged += deleted
            if deleted < batch_size:
                break
        return purged

    def events(
        self, *, state: EventState | None = None, dataset_id: str | None = None, limit: int = 100
    ) -> list[StoredEvent]:
        """Events with all their fields, newest first, at most `limit`."""
        statement = select(*_columns(StoredEvent)).order_by(_events.c.seq.desc()).limit(limit)
        if state is not None:
            statement = statement.where(_events.c.state == state)
        if dataset_id is not None:
            statement = statement.where(_events.c.dataset_id == dataset_id)
        with reading(self._engine) as connection:
            return [StoredEvent(*row) for row in connection.execute(statement)]

    def counts(self) -> dict[EventState, int]:
        """The number of events in each state, including zeros."""
        statement = select(_events.c.state, func.count()).group_by(_events.c.state)
        counts = dict.fromkeys(EventState, 0)
        with reading(self._engine) as connection:
            for state, count in connection.execute(statement):
                counts[state] = count
        return counts

    def event(self, seq: int) -> StoredEvent | None:
        """The event with a number, with all its fields."""
        statement = select(*_columns(StoredEvent)).where(_events.c.seq == seq)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return StoredEvent(*row) if row else None

    def open_counts(self) -> dict[str, dict[EventState, int]]:
        """For each dataset with pending or parked events, how many there are of each."""
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
        """Check that the inbox can commit a write."""
        # A new value each time: SQLite does not write an unchanged page.
        with writing(self._engine) as connection:
            connection.execute(update(schema.inbox).values(checked_at=utc_now()))

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()


def _columns(value: type[StoredEvent]) -> list[Column[Any]]:
    return [_events.c[field.name] for field in fields(value)]


@cache
def _update_statement(null_columns: frozenset[str]) -> Update:
    """Update the events of a group. Later events are excluded: their numbers are higher.

    `null_columns` are NULL in all of them. Cached: one tick may change hundreds of groups.
    """
    same_group = (
        _events.c[name].is_(None) if name in null_columns else _events.c[name] == bindparam(f"group_{name}")
        for name in _GROUP_BY
    )
    between = _events.c.seq.between(bindparam("group_first_seq"), bindparam("group_last_seq"))
    return update(_events).where(between, *same_group)


def _new_state(change: EventUpdate) -> dict[str, object]:
    values: dict[str, object] = {field.name: getattr(change, field.name) for field in fields(change)}
    del values["events"]
    return values | {"settled_at": None if change.state is EventState.PENDING else utc_now()}
