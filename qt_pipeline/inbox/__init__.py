"""Events at rest: a durable, numbered inbox in a SQL database, and the queue on the way to it (see azure_queue).

Here: append, what is pending, what became of an event, replay.
Not here: HTTP (see relay), the meaning of an event, what a run is and when one is due (see dispatch).
"""

from qt_pipeline.inbox.database import InboxUnavailableError
from qt_pipeline.inbox.events import (
    DrainResult,
    EventState,
    EventTooLargeError,
    EventUpdate,
    NewEvent,
    OpenEvents,
    StoredEvent,
)
from qt_pipeline.inbox.store import Inbox, open_inbox

__all__ = [
    "DrainResult",
    "EventState",
    "EventTooLargeError",
    "EventUpdate",
    "Inbox",
    "InboxUnavailableError",
    "NewEvent",
    "OpenEvents",
    "StoredEvent",
    "open_inbox",
]
