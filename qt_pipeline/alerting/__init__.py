"""Alerts about failures, parked events, stale datasets and changed columns: one message each, and one on recovery.

Here: incidents and their store, messages, and sending.
Not here: Dagster; `defs` reads finished runs and parked events.
"""

from qt_pipeline.alerting.incidents import (
    Cause,
    ColumnChange,
    FinishedRun,
    Incident,
    Key,
    Observations,
    PendingNotifications,
    merged,
    observe,
)
from qt_pipeline.alerting.kinds import KINDS, SHARED, AlertKind, AlertSpec
from qt_pipeline.alerting.messages import TEST, Message, MessageContext, Severity, datasets_named, runs_named
from qt_pipeline.alerting.notify import AlertRouting, notify
from qt_pipeline.alerting.send import Address, Sender, SendResult, addresses_of
from qt_pipeline.alerting.store import AlertState, AlertStore, Checkpoint, as_text, from_text, open_store

__all__ = [
    "KINDS",
    "SHARED",
    "TEST",
    "Address",
    "AlertKind",
    "AlertRouting",
    "AlertSpec",
    "AlertState",
    "AlertStore",
    "Cause",
    "Checkpoint",
    "ColumnChange",
    "FinishedRun",
    "Incident",
    "Key",
    "Message",
    "MessageContext",
    "Observations",
    "PendingNotifications",
    "SendResult",
    "Sender",
    "Severity",
    "addresses_of",
    "as_text",
    "datasets_named",
    "from_text",
    "merged",
    "notify",
    "observe",
    "open_store",
    "runs_named",
]
