"""Spans → OpenTelemetry's SDK → a collector, over OTLP/HTTP.

Here: the only imports of OpenTelemetry, a fifth of a second of a process's start (see traces, which imports this file).
Not here: what a span is (see spans).

A collector that is down, slow or full costs nobody anything: spans wait in a bounded queue, in a thread of its own, and
are dropped when it is full.
"""

import logging
import threading
import time

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from qt_pipeline.telemetry.spans import Span, TraceContext
from qt_pipeline.urls import split_credentials
from qt_pipeline.values import is_loopback_url

_PATH = "/v1/traces"
_EXPORT_SECONDS = 2
_END_SECONDS = 2
_MAX_QUEUED = 2048
_BATCH_SIZE = 512
_DELAY_MILLISECONDS = 1000
_QUIET_SECONDS = 300

_log = logging.getLogger(__name__)
_their_log = logging.getLogger("opentelemetry")


class OtlpExporter:
    """Sends the spans of one service to `endpoint`, the base address of a collector."""

    def __init__(self, endpoint: str, service: str) -> None:
        self._ids = _GivenIds()
        session = requests.Session()
        session.trust_env = not is_loopback_url(endpoint)
        base, session.auth = split_credentials(endpoint.rstrip("/"))
        exporter = OTLPSpanExporter(endpoint=base + _PATH, timeout=_EXPORT_SECONDS, session=session)
        # It stays: what is being sent at the end of a process may still complain.
        _their_log.addHandler(_complaints)
        _their_log.propagate = False
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: service}), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=_MAX_QUEUED,
                schedule_delay_millis=_DELAY_MILLISECONDS,
                max_export_batch_size=_BATCH_SIZE,
            )
        )
        self._tracer = self._provider.get_tracer("qt_pipeline")

    def record(self, span: Span) -> None:
        """Queue a finished span."""
        self._ids.give(span.context)
        made = self._tracer.start_span(
            span.name,
            context=_below(span.parent),
            kind=SpanKind[span.kind],
            attributes=span.attributes,
            start_time=span.began,
        )
        if span.error:
            made.set_status(StatusCode.ERROR, span.error)
        made.end(span.ended)

    def close(self) -> None:
        """Send queued spans, for at most two seconds."""
        # The SDK's shutdown would wait for each of several batches.
        ending = threading.Thread(target=self._provider.shutdown, name="telemetry-end", daemon=True)
        ending.start()
        ending.join(_END_SECONDS)


class _GivenIds(IdGenerator):
    """Keeps the existing ids of a span instead of new ones."""

    def __init__(self) -> None:
        self._given = threading.local()

    def give(self, context: TraceContext) -> None:
        self._given.context = context

    def generate_trace_id(self) -> int:
        return int(self._given.context.trace_id, 16)

    def generate_span_id(self) -> int:
        return int(self._given.context.span_id, 16)


class _ThrottledHandler(logging.Handler):
    """One occasional line instead of the SDK's messages: they may contain the address, and a token in it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002  # its message is omitted
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            _log.warning(
                "Traces are late or lost: the collector at OTEL_EXPORTER_OTLP_ENDPOINT does not take them. "
                "Nothing else depends on it."
            )


_complaints = _ThrottledHandler()


def _below(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED)
    place = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(place), Context())
