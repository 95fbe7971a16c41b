"""The one writer: events that wait together are committed together.

Here: who waits, and who is answered when. Not here: HTTP (see app), the commit itself (see inbox).
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial

from qt_pipeline.inbox import Inbox, NewEvent
from qt_pipeline.relay.metrics import Metrics
from qt_pipeline.relay.sinks import MAX_BACKLOG, BacklogFullError
from qt_pipeline.telemetry import of_event

_log = logging.getLogger("qt_pipeline.relay")

_Waiting = tuple[NewEvent, asyncio.Future[int]]


class GroupCommitWriter:
    """Stores events in an inbox. While one group is being committed, the next one gathers: no timer delays anybody.

    The writing task lives only while events wait, and each of them belongs to a request: a server that finishes its
    requests before it ends leaves nothing behind.
    """

    def __init__(self, inbox: Inbox, metrics: Metrics) -> None:
        self._inbox = inbox
        self._metrics = metrics
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        metrics.waiting.set_function(lambda: len(self._waiting))

    async def accept(self, event: NewEvent) -> int:
        """Return the event's sequence number, after its commit."""
        if len(self._waiting) >= MAX_BACKLOG:
            raise BacklogFullError
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await stored

    async def check(self) -> None:
        """Return if the inbox can commit right now."""
        await asyncio.to_thread(self._inbox.check)

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._commit(group)
        finally:
            self._writing = None

    async def _commit(self, group: list[_Waiting]) -> None:
        began = time.perf_counter()
        try:
            seqs = await asyncio.to_thread(self._inbox.append, [event for event, _ in group])
        except Exception as error:  # noqa: BLE001  # whatever it is, everybody who waits must hear of it
            for _, stored in group:
                if not stored.done():
                    stored.set_exception(error)
            return
        for (_, stored), seq in zip(group, seqs, strict=True):
            # Done already: its request was broken off.
            if not stored.done():
                stored.set_result(seq)
        seconds = time.perf_counter() - began
        self._metrics.commit_seconds.observe(seconds)
        self._metrics.stored(len(group))
        _log.info(
            "Stored %d events, numbers %d to %d, in %.1f ms.",
            len(group),
            seqs[0],
            seqs[-1],
            seconds * 1000,
            extra={"work": partial(_work, [event for event, _ in group], seqs)},
        )


def _work(events: Sequence[NewEvent], seqs: Sequence[int]) -> dict[str, object]:
    """What the line of a group is about: its one event, or the list of them."""
    fields = [
        {
            "event_id": event.event_id,
            "sequence": seq,
            "dataset_id": event.dataset_id,
            "trace_id": of_event(event.event_id).trace_id,
        }
        for event, seq in zip(events, seqs, strict=True)
    ]
    return {**fields[0]} if len(fields) == 1 else {"events": fields}
