"""Telemetry: log lines, progress and traces.

Here: the form of a line, what belongs together (event, dataset, run, load, trace), how far a stage has come, and the
way to a collector of traces, which is imported only where one is named.
Not here: what is worth telling; the other rooms know that.
"""

from qt_pipeline.telemetry.context import log_context
from qt_pipeline.telemetry.logs import LogFormat, json_lines, log_to_stderr
from qt_pipeline.telemetry.progress import LoadStage, Progress, ProgressCallback, ProgressLogger, ProgressTracker
from qt_pipeline.telemetry.spans import (
    Span,
    TraceContext,
    attempt,
    is_recording,
    link_event,
    of_event,
    record,
    run,
    span,
)
from qt_pipeline.telemetry.traces import RELAY_SERVICE, RUN_SERVICE, end_traces, traces_to

__all__ = [
    "RELAY_SERVICE",
    "RUN_SERVICE",
    "LoadStage",
    "LogFormat",
    "Progress",
    "ProgressCallback",
    "ProgressLogger",
    "ProgressTracker",
    "Span",
    "TraceContext",
    "attempt",
    "end_traces",
    "is_recording",
    "json_lines",
    "link_event",
    "log_context",
    "log_to_stderr",
    "of_event",
    "record",
    "run",
    "span",
    "traces_to",
]
