"""What people and machines are told while work goes on: log lines, progress, traces.

Here: the form of a line, what belongs together (event, dataset, run, load, trace), how far a stage has come, and the
way to a collector of traces, which is imported only where one is named.
Not here: what is worth telling; the other rooms know that.
"""

from qt_pipeline.telemetry.logs import LogFormat, json_lines, log_to_stderr
from qt_pipeline.telemetry.progress import Meter, Observer, Progress, Stage, Ticker
from qt_pipeline.telemetry.spans import Span, TraceContext, attempt, follow, is_recording, of_event, record, run, span
from qt_pipeline.telemetry.traces import RELAY_SERVICE, RUN_SERVICE, end_traces, traces_to
from qt_pipeline.telemetry.work import about_work

__all__ = [
    "RELAY_SERVICE",
    "RUN_SERVICE",
    "LogFormat",
    "Meter",
    "Observer",
    "Progress",
    "Span",
    "Stage",
    "Ticker",
    "TraceContext",
    "about_work",
    "attempt",
    "end_traces",
    "follow",
    "is_recording",
    "json_lines",
    "log_to_stderr",
    "of_event",
    "record",
    "run",
    "span",
    "traces_to",
]
