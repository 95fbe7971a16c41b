"""Who is told of failures, parked events, stale datasets and changed columns: once each, and once when it is over.

Here: incidents and where they are kept, messages, and how they are sent.
Not here: Dagster, where runs and parked events are looked up (see defs).
"""

from qt_pipeline.alerting.incidents import (
    Cause,
    Change,
    FinishedRun,
    Incident,
    Key,
    Owed,
    Seen,
    merged,
    observe,
)
from qt_pipeline.alerting.kinds import KINDS, SHARED, Explained, Kind
from qt_pipeline.alerting.messages import TEST, Background, Message, Tone, datasets_named, runs_named
from qt_pipeline.alerting.send import Address, Courier, Outcome, addresses_of
from qt_pipeline.alerting.store import AlertStore, Memory, State, as_text, from_text, open_store
from qt_pipeline.alerting.tell import Post, tell

__all__ = [
    "KINDS",
    "SHARED",
    "TEST",
    "Address",
    "AlertStore",
    "Background",
    "Cause",
    "Change",
    "Courier",
    "Explained",
    "FinishedRun",
    "Incident",
    "Key",
    "Kind",
    "Memory",
    "Message",
    "Outcome",
    "Owed",
    "Post",
    "Seen",
    "State",
    "Tone",
    "addresses_of",
    "as_text",
    "datasets_named",
    "from_text",
    "merged",
    "observe",
    "open_store",
    "runs_named",
    "tell",
]
