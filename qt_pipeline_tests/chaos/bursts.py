"""Many events at once, through a real relay, sensor and runs: each dataset is loaded after its last, and twice at most.

Here: the burst, and what is looked at afterwards. Not here: kills (see relay_kills).
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from qt_pipeline.inbox import EventState
from qt_pipeline.sandbox.webhook import dataset_updated
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, until
from qt_pipeline_tests.relay.posting import Client

_CLIENTS = 16
_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a burst. `runs_at_most` is the number of runs of the dataset that had the most."""

    events: int
    datasets: int
    seconds_to_accept: float
    seconds_to_settle: float
    runs: int
    runs_at_most: int


def burst(stack: LiveStack, datasets: Sequence[str], *, events: int, patience_seconds: float) -> Figures:
    """Post `events` in turn for these datasets, wait until all are settled, and hold that none was missed.

    Until all are posted no load can be published: so it is a burst, however slow the machine.
    """
    for dataset_id in datasets:
        stack.serve(dataset_id, SMALL_CSV)
    began = time.monotonic()
    with stack.warehouse_locked():
        newest = asyncio.run(_post_all(stack, datasets, events))
    accepted = time.monotonic()

    def settled() -> bool:
        stack.check_alive()
        return not any(group.dataset_id in newest for group in stack.inbox.open_events())

    until(settled, f"{events} events settled", seconds=patience_seconds)
    seconds_to_settle = time.monotonic() - began
    stack.await_tick()
    runs = Counter({dataset_id: len(stack.runs_of(dataset_id)) for dataset_id in datasets})
    for dataset_id in datasets:
        assert 1 <= runs[dataset_id] <= 2, f"{runs[dataset_id]} runs of {dataset_id}"
        assert stack.published(dataset_id)[-1].through_seq >= newest[dataset_id]
        assert stack.inbox.events(state=EventState.PARKED, dataset_id=dataset_id) == []
    return Figures(events, len(datasets), accepted - began, seconds_to_settle, runs.total(), max(runs.values()))


async def _post_all(stack: LiveStack, datasets: Sequence[str], events: int) -> dict[str, int]:
    """The number of the newest event of each dataset."""
    webhook = urlsplit(stack.webhook_url)
    waiting = iter(range(events))
    newest: dict[str, int] = {}

    async def client() -> None:
        connection = await Client.connect(webhook.port or 0)
        for number in waiting:
            dataset_id = datasets[number % len(datasets)]
            answer = await connection.post(json.dumps(dataset_updated(dataset_id)).encode(), webhook.path)
            assert answer.status == _ACCEPTED, answer
            newest[dataset_id] = max(newest.get(dataset_id, 0), answer.sequence)
        connection.close()

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return newest


def run(*, events: int, datasets: int) -> Figures:
    """The large form, on a stack of its own; prints the figures."""
    with TemporaryDirectory() as folder, LiveStack(Path(folder) / "state") as stack:
        names = [f"d-burst-{number:05d}" for number in range(datasets)]
        figures = burst(stack, names, events=events, patience_seconds=60 + 20 * datasets)
        print(figures)  # noqa: T201  # what the large form is for
        return figures
