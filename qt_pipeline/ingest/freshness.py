"""Whether a dataset is stale: for how long no download of it was loaded, or found unchanged.

Here: the rule. Not here: who is told (see defs, alerting).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from qt_pipeline.catalog import Dataset
from qt_pipeline.warehouse import LoadRecord


@dataclass(frozen=True, slots=True)
class Stale:
    """A dataset whose newest download is older than its catalog lets it be."""

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
    """Those of the datasets that are stale. `newest` has for each the newest load that shows in its table.

    A dataset that was never loaded is not stale: nobody knows since when it is expected.
    """
    for dataset in datasets:
        load = newest.get(dataset.id)
        if dataset.fresh_within_hours is None or load is None:
            continue
        age = now - load.landed_at
        if age > timedelta(hours=dataset.fresh_within_hours):
            yield Stale(dataset, load, age)
