"""Waits for the loads of a round of events.

Here: waiting, and comparing the tables with what the sandbox serves. Not here: posting events (see stack).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from qt_pipeline.demo.errors import NotArrivedError
from qt_pipeline.demo.stack import Stack
from qt_pipeline.inbox import EventState, StoredEvent
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline.warehouse import LoadRecord, Warehouse

_ROUND_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Arrival:
    """A dataset whose event is done: the load of its data, and the seconds from event to commit."""

    dataset: str
    load: LoadRecord
    seconds: float


def await_round(stack: Stack, seqs: Mapping[str, int]) -> list[Arrival]:
    """Wait until all these events are done, and return the loads of their data."""
    inbox, warehouse = stack.open_inbox(), stack.open_warehouse()
    served = {entry["datasetId"]: entry["sha256"] for entry in stack.control("GET", "datasets")}
    names = {dataset.id: dataset.name for dataset in SANDBOX_DATASETS}
    arrivals: dict[str, Arrival] = {}
    deadline = time.monotonic() + _ROUND_SECONDS
    while len(arrivals) < len(seqs):
        if time.monotonic() > deadline:
            raise NotArrivedError(
                f"Not all events were done within {_ROUND_SECONDS} seconds.", hint=f"See {stack.ui_url}."
            )
        stack.check_alive()
        time.sleep(0.2)
        for dataset_id in seqs.keys() - arrivals.keys():
            event = next(e for e in inbox.events(dataset_id=dataset_id) if e.seq == seqs[dataset_id])
            if event.state is EventState.PENDING:
                continue
            load = _load_of(event, warehouse)
            if event.state is not EventState.DONE or load is None or load.finished_at is None:
                name = names[dataset_id]
                raise NotArrivedError(f"The event {event.seq} of {name} ended as {event.state}: {event.outcome}")
            if load.sha256 != served[dataset_id]:
                raise NotArrivedError(f"The table of {names[dataset_id]} does not match what the sandbox serves.")
            seconds = (load.finished_at - event.received_at).total_seconds()
            arrivals[dataset_id] = Arrival(names[dataset_id], load, seconds)
    return [arrivals[dataset_id] for dataset_id in seqs]


def _load_of(event: StoredEvent, warehouse: Warehouse) -> LoadRecord | None:
    """The first published load with the data of an event."""
    loads = [
        load
        for load in warehouse.loads(dataset_id=event.dataset_id)
        if load.is_current and load.through_seq >= event.seq
    ]
    return loads[-1] if loads else None
