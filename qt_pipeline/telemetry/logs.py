"""Log lines: text in a terminal, otherwise one JSON object per line.

Here: their form, and where they go. Not here: what is written into them.
"""

import json
import logging
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast

from qt_pipeline.safe_text import printable, printable_lines
from qt_pipeline.telemetry.context import current_context
from qt_pipeline.telemetry.spans import trace_ids

LogFormat = Literal["auto", "json", "text"]

Work: TypeAlias = Callable[[], Mapping[str, object]]
"""What a single line is about, as its `extra={"work": ...}`: asked for only where it is written."""

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PACKAGE = "qt_pipeline"


class JsonLines(logging.Formatter):
    """One JSON object: time (RFC 3339, UTC, milliseconds), level, logger, message, context fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **current_context(),
            **trace_ids(),
        }
        if (work := cast("Work | None", getattr(record, "work", None))) is not None:
            line |= work()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _TextLines(logging.Formatter):
    """A line for a terminal, with escaped control characters; the lines of a traceback follow it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the standard library's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802  # as the standard library has it
        return printable_lines(super().formatException(ei))


class _ToStderr(logging.Handler):
    """Writes to what is the standard error at that moment: a display of progress, or Dagster, may put itself there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  # as every handler of the standard library does
            self.handleError(record)


def log_to_stderr(log_format: LogFormat) -> None:
    """Set up the log of a process that is ours alone. Where somebody has set one up before, it stays."""
    handler = _ToStderr()
    handler.setFormatter(JsonLines() if _is_json(log_format) else _TextLines(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@contextmanager
def json_lines(log_format: LogFormat) -> Generator[None]:
    """Write our own lines as JSON within a process that has a log of its own for people, as a run of Dagster has.

    At a terminal, and with the format `text`, nothing is added to that log.
    """
    ours = logging.getLogger(_PACKAGE)
    if not _is_json(log_format):
        yield
        return
    handler = _ToStderr()
    handler.setFormatter(JsonLines())
    level = ours.level
    ours.setLevel(level or logging.INFO)
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(level)


def _is_json(log_format: LogFormat) -> bool:
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
