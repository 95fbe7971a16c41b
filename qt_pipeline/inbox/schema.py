"""The tables of the inbox.

Here: `_qt_events` and `_qt_inbox`.
Not here: statements on them (see store).
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Enum,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Unicode,
    UnicodeText,
)

from qt_pipeline.database import Number, UtcDateTime
from qt_pipeline.inbox.events import EventState


def _stored_words(states: type[EventState]) -> list[str]:
    return [state.value for state in states]


metadata = MetaData()

# As words: SQLAlchemy would store the names of the members, and a native type cannot easily learn a new state.
_State = Enum(EventState, native_enum=False, length=20, values_callable=_stored_words)

events = Table(
    "_qt_events",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("event_id", UnicodeText, nullable=False),
    Column("name", UnicodeText, nullable=False),
    Column("dataset_id", Unicode(100)),
    Column("created", UnicodeText),
    Column("received_at", UtcDateTime, nullable=False),
    Column("source_address", UnicodeText),
    Column("body", LargeBinary, nullable=False),
    Column("state", _State, nullable=False, default=EventState.PENDING),
    Column("outcome", UnicodeText),
    Column("attempts", Integer, nullable=False, default=0),
    Column("attempts_before_replay", Integer, nullable=False, default=0),
    Column("delivery", UnicodeText),
    Column("not_before", UtcDateTime),
    Column("settled_at", UtcDateTime),
    Index("_qt_events_state", "state", "seq"),
    Index("_qt_events_dataset", "dataset_id", "seq"),
    # Without it SQLite gives the number of a deleted last row to the next event.
    sqlite_autoincrement=True,
)

inbox = Table(
    "_qt_inbox",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("inbox_id", Unicode(36), nullable=False),
    Column("checked_at", UtcDateTime),
)
