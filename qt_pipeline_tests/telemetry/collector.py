"""A collector of traces on loopback: real OTLP over real HTTP, and what came of it."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_PATIENCE = 30


@dataclass(frozen=True)
class Received:
    """A span, as a collector has it."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    failed: bool
    words: str
    began: int
    ended: int


class Collector:
    """Takes spans at `url` while its `with` block lasts."""

    def __init__(self, *, prefix: str = "") -> None:
        self.spans: list[Received] = []
        self._came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                known = self.path == f"{prefix}/v1/traces"
                if known:
                    collector._take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the signature of its base
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}{prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def named(self, *names: str) -> list[Received]:
        """Spans of these names, as soon as there is one of each, by their beginning."""
        with self._came:
            assert self._came.wait_for(lambda: set(names) <= {span.name for span in self.spans}, _PATIENCE), self.spans
            found = [span for span in self.spans if span.name in names]
        return sorted(found, key=lambda span: span.began)

    def _take(self, request: ExportTraceServiceRequest) -> None:
        with self._came:
            for resource in request.resource_spans:
                service = _plain(resource.resource.attributes)["service.name"]
                for scope in resource.scope_spans:
                    self.spans += [_received(service, span) for span in scope.spans]
            self._came.notify_all()


def _received(service: str, span: Any) -> Received:
    return Received(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        attributes=_plain(span.attributes),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        words=span.status.message,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
    )


def _plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}
