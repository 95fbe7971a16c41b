"""Where the relay stores events, and the sink for a queue.

Here: the protocol of a sink, and the sink that puts events into a queue. The other sink is the writer.
Not here: HTTP (see app), how events are stored (see inbox).
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from qt_pipeline.errors import TransientError
from qt_pipeline.inbox import NewEvent
from qt_pipeline.relay.metrics import Metrics

MAX_BACKLOG: Final = 500
"""The maximum number of events waiting to be stored: more than a slow disk could store in time."""

_THREADS: Final = 16


class BacklogFullError(TransientError):
    """The maximum number of events is waiting to be stored."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_BACKLOG} events wait to be stored.", hint="Send the event again.")


class EventSink(Protocol):
    """Stores accepted events. All calls are on one event loop."""

    async def accept(self, event: NewEvent) -> int | None:
        """Return once the event is durable: its sequence number, or None if it gets one only later.

        Raises:
            BacklogFullError: too many events are waiting.
            InboxUnavailableError: the event could not be stored.
            EventTooLargeError: it can never be stored there.
        """
        ...

    async def check(self) -> None:
        """Check that an event could be stored now.

        Raises:
            InboxUnavailableError: it could not.
        """
        ...


class QueueClient(Protocol):
    """A queue whose methods block until it has responded, and are safe between threads."""

    def put(self, event: NewEvent) -> None:
        """Return once the queue has stored the event."""
        ...

    def check(self) -> None:
        """Check that the queue accepts events now."""
        ...


class QueueSink:
    """Puts each event into a queue, several at once; they get their sequence numbers in the inbox, later."""

    def __init__(self, queue: QueueClient, metrics: Metrics) -> None:
        self._queue = queue
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(_THREADS, "relay-queue")
        self._waiting = 0
        metrics.waiting.set_function(lambda: self._waiting)

    async def accept(self, event: NewEvent) -> None:
        """Return once the queue has stored the event."""
        if self._waiting >= MAX_BACKLOG:
            raise BacklogFullError
        self._waiting += 1
        try:
            with self._metrics.commit_seconds.time():
                await asyncio.get_running_loop().run_in_executor(self._threads, self._queue.put, event)
        finally:
            self._waiting -= 1
        self._metrics.stored(1)

    async def check(self) -> None:
        """Check that the queue accepts events now."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._queue.check)
