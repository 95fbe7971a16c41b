"""Prometheus metrics of the relay, on a port that only this machine can reach.

Here: the metrics, their names and their port.
Not here: when something is counted (see writer, rejections).
"""

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import EventState, Inbox, InboxUnavailableError
from qt_pipeline.values import utc_now

_COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_GROUP_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_FRESH_SECONDS: Final = 5


class Metrics:
    """The relay's metrics, in their own registry."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.accepted = Counter("qt_relay_events_accepted", "Events answered with 202.", registry=own)
        self.refused = Counter("qt_relay_requests_refused", "Requests refused, by reason.", ["reason"], registry=own)
        self.commit_seconds = Histogram(
            "qt_relay_commit_seconds", "Time until a group was on disk.", buckets=_COMMIT_SECONDS, registry=own
        )
        self.group_events = Histogram(
            "qt_relay_group_events", "Events that were stored together.", buckets=_GROUP_SIZES, registry=own
        )
        self.waiting = Gauge("qt_relay_events_waiting", "Events that are not stored yet.", registry=own)

    def stored(self, events: int) -> None:
        """Count events that were stored together, and so accepted."""
        self.accepted.inc(events)
        self.group_events.observe(events)

    def watch(self, inbox: Inbox) -> None:
        """Add the open events of an inbox, which is queried on scrapes, at most once in some seconds.

        Give it a separate connection: counting many events must not hold up the writer.
        """
        self.registry.register(_InboxFigures(inbox))

    @contextmanager
    def listening(self, port: int) -> Generator[int]:
        """Serve `/metrics` on 127.0.0.1, in threads of its own; port 0 takes a free one. Yields the port.

        Raises:
            ConfigurationError: the port is not available.
        """
        try:
            server, thread = start_http_server(port, "127.0.0.1", self.registry)
        except OSError as error:
            raise ConfigurationError(
                f"The relay's metrics cannot listen on 127.0.0.1 port {port}: {error.strerror}.",
                hint="End the program that holds the port, or choose another with --metrics-port (0 takes a free one).",
            ) from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _InboxFigures(Collector):
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._lock = threading.Lock()
        self._figures: list[Metric] = []
        self._stale_at = 0.0

    def collect(self) -> Iterable[Metric]:
        """The metrics, at most some seconds old; none while the inbox cannot be read."""
        with self._lock:
            if time.monotonic() >= self._stale_at:
                try:
                    self._figures = self._refresh()
                except InboxUnavailableError:
                    self._figures = []
                self._stale_at = time.monotonic() + _FRESH_SECONDS
            return self._figures

    def _refresh(self) -> list[Metric]:
        oldest, counts = self._inbox.oldest_pending_at(), self._inbox.counts()
        age = 0.0 if oldest is None else max(0.0, (utc_now() - oldest).total_seconds())
        events = GaugeMetricFamily("qt_inbox_events", "Events in the inbox that wait.", labels=["state"])
        for state in (EventState.PENDING, EventState.PARKED):
            events.add_metric([state.value], counts[state])
        pending_age = GaugeMetricFamily("qt_inbox_oldest_pending_age_seconds", "Age of the oldest pending event.", age)
        return [events, pending_age]
