"""Events at rest: a durable, numbered inbox in a SQL database.

Here: append, what is pending, what became of an event, replay.
Not here: HTTP (see relay), the meaning of an event, what a run is and when one is due (see dispatch).
"""

from qt_pipeline.inbox.database import InboxUnavailableError
from qt_pipeline.inbox.events import EventState, EventUpdate, NewEvent, PendingEvent, StoredEvent
from qt_pipeline.inbox.store import Inbox, open_inbox

__all__ = [
    "EventState",
    "EventUpdate",
    "Inbox",
    "InboxUnavailableError",
    "NewEvent",
    "PendingEvent",
    "StoredEvent",
    "open_inbox",
]
