"""Where incidents are kept: two tables beside the events of the inbox.

Here: the tables and every statement on them. Not here: what an incident is (see incidents), how the database is reached
(see inbox).
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
    # Ids of datasets that differ in case are two datasets.
    Column("subject", case_sensitive(Unicode(200), 200), primary_key=True),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("incident", UnicodeText, nullable=False),
)

memory = Table(
    "_qt_alerting",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("memory", UnicodeText, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one look for incidents tells the next, beside the incidents.

    Attributes:
        runs_until: up to when runs were looked at, by the time of their last change.
        runs_seen: those shortly before that moment, by id, so that none is looked at twice.
        unread: published loads whose changes of columns are still to be read, run by run, with their datasets.
        ledger_asked_at: when the ledger was asked last; `ledger_answered` is whether it did.
        contacts: how each address was written to.
    """

    runs_until: datetime | None = None
    runs_seen: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
    ledger_asked_at: datetime | None = None
    ledger_answered: bool = True
    contacts: Mapping[str, Contact] = field(default_factory=dict[str, Contact])


@dataclass(frozen=True, slots=True)
class AlertState:
    """All that is kept from one look to the next."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    incidents: Mapping[Key, Incident] = field(default_factory=dict[Key, Incident])


_delete = delete(incidents).where(
    incidents.c.kind == bindparam("its_kind"), incidents.c.subject == bindparam("its_subject")
)
_incident = TypeAdapter(Incident)
_incidents = TypeAdapter(list[Incident])
_memory = TypeAdapter(Checkpoint)


def as_text(state: AlertState) -> str:
    """The incidents of a state as text, for where there is no database."""
    return _incidents.dump_json(list(state.incidents.values())).decode()


def from_text(text: str | None) -> list[Incident]:
    """The incidents of such a text; none of an empty one."""
    return _incidents.validate_json(text) if text else []


def open_store(url: str, *, keep_connections: bool = True) -> "AlertStore":
    """Open the store in the inbox's database at `url`; tables are made when missing.

    Without `keep_connections` each connection to a server is closed after its use.

    Raises:
        ConfigurationError: no inbox can live at this URL.
        InboxUnavailableError: the database cannot be opened or written.
    """
    engine = connect_database(url, keep_connections=keep_connections)
    if not is_prepared(engine, metadata):
        with creating(engine) as connection:
            prepare(connection, metadata)
    return AlertStore(engine)


class AlertStore:
    """The incidents that somebody is to hear of. Open with `open_store`.

    Every method raises InboxUnavailableError when the database refuses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> AlertState:
        """What was written last."""
        with reading(self._engine) as connection:
            kept = connection.scalar(select(memory.c.memory))
            found = [_incident.validate_json(text) for text in connection.scalars(select(incidents.c.incident))]
        return AlertState(
            _memory.validate_json(kept) if kept else Checkpoint(), {incident.key: incident for incident in found}
        )

    def write(self, before: AlertState, after: AlertState) -> None:
        """Write in one transaction what became different since `before`, which is what was read or written last."""
        gone = [key for key, incident in before.incidents.items() if after.incidents.get(key) != incident]
        new = [incident for key, incident in after.incidents.items() if before.incidents.get(key) != incident]
        if not gone and not new and before.checkpoint == after.checkpoint:
            return
        with writing(self._engine) as connection:
            if gone:
                connection.execute(
                    _delete, [{"its_kind": kind.value, "its_subject": subject} for kind, subject in gone]
                )
            for incident in new:
                # One by one: SQL Server's driver would ask for the type of what none of many has.
                connection.execute(insert(incidents).values(_row(incident)))
            _write_checkpoint(connection, after.checkpoint)

    def close(self) -> None:
        """Give the connection back to the system."""
        self._engine.dispose()


def _row(incident: Incident) -> dict[str, object]:
    return {
        "kind": incident.kind.value,
        "subject": incident.subject,
        "opened_at": incident.opened_at,
        "closed_at": incident.closed_at,
        "incident": _incident.dump_json(incident).decode(),
    }


def _write_checkpoint(connection: Connection, kept: Checkpoint) -> None:
    connection.execute(delete(memory))
    connection.execute(insert(memory).values(id=1, memory=_memory.dump_json(kept).decode()))
