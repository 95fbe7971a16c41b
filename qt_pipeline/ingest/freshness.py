"""Which datasets are stale: their newest loaded or unchanged download is older than the catalog allows.

Here: the rule. Not here: alerts (see defs, alerting).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from qt_pipeline.catalog import Dataset
from qt_pipeline.warehouse import LoadRecord


@dataclass(frozen=True, slots=True)
class Stale:
    """A dataset whose newest download is older than the catalog allows."""

    dataset: Dataset
    load: LoadRecord
    age: timedelta

    def __str__(self) -> str:
        hours = self.age / timedelta(hours=1)
        return (
            f"The newest download of {self.dataset.label} is {hours:,.1f} hours old (load {self.load.load_id}); the "
            f"catalog wants one within {self.dataset.fresh_within_hours:g} hours."
        )


def stale(datasets: Iterable[Dataset], newest: Mapping[str, LoadRecord], now: datetime) -> Iterator[Stale]:
    """The stale datasets. `newest` has, by dataset, the newest load that its table shows.

    A dataset that was never loaded is not stale: when it was due is unknown.
    """
    for dataset in datasets:
        load = newest.get(dataset.id)
        if dataset.fresh_within_hours is None or load is None:
            continue
        age = now - load.landed_at
        if age > timedelta(hours=dataset.fresh_within_hours):
            yield Stale(dataset, load, age)
