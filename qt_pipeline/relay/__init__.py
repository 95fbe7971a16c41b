"""The webhook: HTTP in, inbox out, in its own process.

Here: who may post, what is accepted, and an answer only when the event is on disk.
Not here: what happens to an event afterwards (see dispatch); how it is stored (see inbox).
"""

from qt_pipeline.relay.metrics import Metrics
from qt_pipeline.relay.server import serve
from qt_pipeline.relay.sinks import EventSink, QueueSink
from qt_pipeline.relay.writer import GroupCommitWriter

__all__ = ["EventSink", "GroupCommitWriter", "Metrics", "QueueSink", "serve"]
