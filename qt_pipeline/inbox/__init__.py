"""The event inbox: durable, numbered events in a SQL database, and the Azure queue in front of it (see azure_queue).

Here: appending events, pending events, their outcome, replay.
Not here: HTTP (see relay), the meaning of an event, planning of runs (see dispatch).
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
