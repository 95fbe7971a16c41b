"""The webhook relay: receives events over HTTP and stores them in the inbox, in its own process.

Here: authentication, limits, and a response only once the event is durable.
Not here: what happens to an event afterwards (see dispatch); how it is stored (see inbox).
"""

from qt_pipeline.relay.metrics import Metrics
from qt_pipeline.relay.server import serve
from qt_pipeline.relay.sinks import EventSink, QueueSink
from qt_pipeline.relay.writer import GroupCommitWriter

__all__ = ["EventSink", "GroupCommitWriter", "Metrics", "QueueSink", "serve"]
