"""Stores incidents in two tables of the inbox's database.

Here: the tables and every statement on them. Not here: what an incident is (see incidents), connections (see inbox).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Unicode,
    UnicodeText,
    bindparam,
    delete,
    insert,
    select,
)

from qt_pipeline.alerting.contacts import Contact
from qt_pipeline.alerting.incidents import Incident, Key
from qt_pipeline.database import UtcDateTime, case_sensitive
from qt_pipeline.inbox.database import connect_database, creating, is_prepared, reading, writing
from qt_pipeline.inbox.schema import prepare

metadata = MetaData()

incidents = Table(
    "_qt_incidents",
    metadata,
    Column("kind", Unicode(40), primary_key=True),
    # Dataset ids are case-sensitive.
    Column("subject", case_sensitive(Unicode(200), 200), primary_key=True),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("incident", UnicodeText, nullable=False),
)

checkpoints = Table(
    "_qt_alerting",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("memory", UnicodeText, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one tick of the alert sensor passes to the next, beside the incidents.

    Attributes:
        runs_until: finished runs were read up to this update time.
        runs_seen: update times, by id, of runs shortly before `runs_until`, so that no run is counted twice.
        unread: published runs whose column changes are still to be read, with their dataset ids.
        ledger_asked_at: when the ledger was queried last; `ledger_answered`: whether that succeeded.
        contacts: recent messages of each address, by its key.
    """

    runs_until: datetime | None = None
    runs_seen: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
    ledger_asked_at: datetime | None = None
    ledger_answered: bool = True
    contacts: Mapping[str, Contact] = field(default_factory=dict[str, Contact])


@dataclass(frozen=True, slots=True)
class AlertState:
    """The state that is kept between two ticks."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    incidents: Mapping[Key, Incident] = field(default_factory=dict[Key, Incident])


_delete = delete(incidents).where(
    incidents.c.kind == bindparam("row_kind"), incidents.c.subject == bindparam("row_subject")
)
_incident = TypeAdapter(Incident)
_incidents = TypeAdapter(list[Incident])
_checkpoint = TypeAdapter(Checkpoint)


def as_text(state: AlertState) -> str:
    """The incidents of a state as JSON, to keep them when the database is unavailable."""
    return _incidents.dump_json(list(state.incidents.values())).decode()


def from_text(text: str | None) -> list[Incident]:
    """Parse the incidents that `as_text` wrote; an empty text has none."""
    return _incidents.validate_json(text) if text else []


def open_store(url: str, *, keep_connections: bool = True) -> "AlertStore":
    """Open the store in the inbox's database at `url`; missing tables are created.

    Without `keep_connections`, each connection to a server is closed after use.

    Raises:
        ConfigurationError: the URL is not valid for an inbox.
        InboxUnavailableError: the database cannot be opened or written.
    """
    engine = connect_database(url, keep_connections=keep_connections)
    if not is_prepared(engine, metadata):
        with creating(engine) as connection:
            prepare(connection, metadata)
    return AlertStore(engine)


class AlertStore:
    """The stored incidents and checkpoint. Open with `open_store`.

    Every method raises InboxUnavailableError when the database cannot be read or written.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> AlertState:
        """Read the last written state."""
        with reading(self._engine) as connection:
            stored_checkpoint = connection.scalar(select(checkpoints.c.memory))
            stored = [_incident.validate_json(text) for text in connection.scalars(select(incidents.c.incident))]
        return AlertState(
            _checkpoint.validate_json(stored_checkpoint) if stored_checkpoint else Checkpoint(),
            {incident.key: incident for incident in stored},
        )

    def write(self, before: AlertState, after: AlertState) -> None:
        """Write the changes since `before`, the last read or written state, in one transaction."""
        removed = [key for key, incident in before.incidents.items() if after.incidents.get(key) != incident]
        changed = [incident for key, incident in after.incidents.items() if before.incidents.get(key) != incident]
        if not removed and not changed and before.checkpoint == after.checkpoint:
            return
        with writing(self._engine) as connection:
            if removed:
                connection.execute(
                    _delete, [{"row_kind": kind.value, "row_subject": subject} for kind, subject in removed]
                )
            for incident in changed:
                # One by one: in a batch, SQL Server's driver queries the type of a column that is NULL in all rows.
                connection.execute(insert(incidents).values(_row(incident)))
            _write_checkpoint(connection, after.checkpoint)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _row(incident: Incident) -> dict[str, object]:
    return {
        "kind": incident.kind.value,
        "subject": incident.subject,
        "opened_at": incident.opened_at,
        "closed_at": incident.closed_at,
        "incident": _incident.dump_json(incident).decode(),
    }


def _write_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    connection.execute(delete(checkpoints))
    connection.execute(insert(checkpoints).values(id=1, memory=_checkpoint.dump_json(checkpoint).decode()))
