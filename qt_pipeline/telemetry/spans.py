"""Spans of traces, as plain values: what was done, from when to when, as part of what.

Here: how ids come about, which span is the present one, and where finished ones are handed to.
Not here: OpenTelemetry (see otlp). Without a collector, spans cost next to nothing, and their ids still mark the log.

The trace of an event follows from its id alone, so that the relay's process and that of a run are in one trace although
nothing but the event passes between them.
"""

import hashlib
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from qt_pipeline.errors import PipelineError
from qt_pipeline.telemetry.context import current_context, log_context

SpanKind = Literal["INTERNAL", "SERVER", "CLIENT"]
_TRACE_BYTES = 16
_SPAN_BYTES = 8
_PREFIX = "qt."


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span's place: the ids of its trace (32 hexadecimal digits) and of itself (16), as in W3C Trace Context."""

    trace_id: str
    span_id: str


@dataclass(slots=True)
class Span:
    """A span. Times are nanoseconds since 1970; `error` is the error message, without secrets."""

    name: str
    context: TraceContext
    parent: TraceContext | None = None
    kind: SpanKind = "INTERNAL"
    attributes: dict[str, str | int | float] = field(default_factory=dict[str, str | int | float])
    error: str = ""
    began: int = field(default_factory=time.time_ns)
    ended: int = 0

    def set_attributes(self, **attributes: object) -> None:
        """Add attributes; None values are skipped."""
        for name, value in attributes.items():
            if value is not None:
                self.attributes[_PREFIX + name] = value if isinstance(value, int | float) else _text(value)


class _Exporter:
    """The exporter of finished spans of this process."""

    record: Callable[[Span], None] | None = None


exporter = _Exporter()
_current: ContextVar[Span | None] = ContextVar("qt_pipeline_span", default=None)


def of_event(event_id: str) -> TraceContext:
    """The span in which the relay accepts an event, in the trace of this event."""
    digest = hashlib.sha256(event_id.encode(errors="surrogatepass")).digest()
    span_id = digest[_TRACE_BYTES : _TRACE_BYTES + _SPAN_BYTES]
    return TraceContext(digest[:_TRACE_BYTES].hex(), span_id.hex())


def of_run(run_id: str) -> TraceContext:
    """The span of a run for no event, in a trace that has the run's own id where that is a UUID."""
    hashed = of_event(run_id)
    try:
        return TraceContext(UUID(run_id).hex, hashed.span_id)
    except ValueError:
        return hashed


def is_recording() -> bool:
    """Whether spans are exported."""
    return exporter.record is not None


def record(finished: Span) -> None:
    """Export a finished span; its end is now, unless given."""
    if exporter.record is not None:
        finished.ended = finished.ended or time.time_ns()
        exporter.record(finished)


@contextmanager
def span(name: str, *, kind: SpanKind = "INTERNAL", unless: tuple[type[Exception], ...] = ()) -> Generator[Span]:
    """A piece of the present span, or the beginning of a trace. An error that leaves the block fails it.

    Errors of the types `unless` are part of the plan and do not.
    """
    around = _current.get()
    trace_id = around.context.trace_id if around else os.urandom(_TRACE_BYTES).hex()
    context = TraceContext(trace_id, os.urandom(_SPAN_BYTES).hex())
    made = Span(name, context, around.context if around else None, kind)
    made.set_attributes(**current_context())
    with _present(made):
        try:
            yield made
        except unless:
            raise
        except BaseException as error:
            made.error = _describe_error(error)
            raise


@contextmanager
def run(run_id: str, *, dataset_id: str | None = None) -> Generator[None]:
    """A whole run, in a trace of its own until it is said to `follow` an event."""
    with log_context(run_id=run_id, dataset_id=dataset_id):
        made = Span("run", of_run(run_id))
        made.set_attributes(**current_context())
        with _present(made):
            yield


def link_event(event_id: str | None, *, through_seq: int) -> None:
    """The present run is there for this event, and for those before it up to the number `through_seq`."""
    present = _current.get()
    if present is None:
        return
    present.set_attributes(event_id=event_id, through_seq=through_seq)
    if event_id is not None:
        present.parent = of_event(event_id)
        present.context = TraceContext(present.parent.trace_id, present.context.span_id)


@contextmanager
def attempt() -> Generator[None]:
    """One attempt of the current run, whose span ends like its last attempt."""
    present = _current.get()
    if present is None:
        yield
        return
    present.set_attributes(**current_context())
    present.error = ""
    try:
        yield
    except BaseException as error:
        present.error = _describe_error(error)
        raise


def trace_ids() -> dict[str, str]:
    """The ids of the current span, as log fields."""
    present = _current.get()
    return {} if present is None else {"trace_id": present.context.trace_id, "span_id": present.context.span_id}


@contextmanager
def _present(made: Span) -> Generator[None]:
    before = _current.get()
    _current.set(made)
    try:
        yield
    finally:
        # Not by a token, see about_work.
        _current.set(before)
        record(made)


def _text(value: object) -> str:
    # A lone surrogate, which an event may contain, would lose a whole batch of spans.
    return str(value).encode(errors="replace").decode()


def _describe_error(error: BaseException) -> str:
    # Only a PipelineError is known to contain no value of a row and no secret.
    return error.message if isinstance(error, PipelineError) else type(error).__name__
