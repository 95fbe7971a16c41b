"""What is old: landed files and lines of the ledger that nothing leans on any more.

Here: which may go, as a function of values, and their deletion. Not here: which lines a load leans on (see warehouse).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from qt_pipeline.landing import Landed, Landing
from qt_pipeline.warehouse import LoadRecord, RetainedLoads, Warehouse

_ALL = 10_000_000


@dataclass(frozen=True, slots=True)
class Purge:
    """What may go of a dataset."""

    dataset_id: str
    landed: tuple[Landed, ...]
    loads: tuple[LoadRecord, ...]

    @property
    def stored_bytes(self) -> int:
        """The bytes that its files take in the landing."""
        return sum(landed.manifest.stored_bytes for landed in self.landed)


def purgeable(
    dataset_id: str,
    landed: Iterable[Landed],
    loads: Sequence[LoadRecord],
    needed: RetainedLoads,
    *,
    before: datetime,
    keep: int,
) -> Purge:
    """What is older than a moment and needed by nobody. `landed` are the dataset's files, the newest first.

    The `keep` newest files stay, and every file whose rows the table may hold; a file's loads stay as long as it does,
    so that it can be shown, compared and restored. The newest download stays too, however many files were landed by
    hand since: it is what a run of the table alone takes. A file by hand is as old as its landing, not as its data.
    """
    needed_files = {_file(load) for load in loads if load.load_id in needed.in_table}
    files = list(landed)
    newest_download = next((its for its in files if not its.is_manual), None)
    going = tuple(
        its
        for its in files[max(1, keep) :]
        if its is not newest_download
        and its.manifest.landed_at < before
        and (its.manifest.run_id, its.manifest.sha256) not in needed_files
    )
    staying = {(its.manifest.run_id, its.manifest.sha256) for its in files if its not in going}
    old = (
        load for load in loads if load.load_id not in needed.lines and (load.finished_at or load.started_at) < before
    )
    return Purge(dataset_id, going, tuple(load for load in old if _file(load) not in staying))


def find_purgeable(warehouse: Warehouse, landing: Landing, *, before: datetime, keep: int) -> list[Purge]:
    """What may go of every dataset that has anything to go."""
    has_ledger = warehouse.has_ledger()
    known = set(warehouse.last_loads()) if has_ledger else set[str]()
    found = [
        purgeable(
            dataset_id,
            landing.complete(dataset_id),
            warehouse.loads(dataset_id=dataset_id, limit=_ALL) if dataset_id in known else [],
            warehouse.needed_loads(dataset_id) if dataset_id in known else RetainedLoads(),
            before=before,
            keep=keep,
        )
        for dataset_id in sorted(known.union(landing.datasets()))
    ]
    return [purge for purge in found if purge.landed or purge.loads]


def execute(warehouse: Warehouse, landing: Landing, purge: Purge) -> None:
    """Delete it. Files first: a line without its file says what there was, a file without a line nothing."""
    for landed in purge.landed:
        landing.remove(landed)
    if purge.loads:
        warehouse.delete_loads(load.load_id for load in purge.loads)


def _file(load: LoadRecord) -> tuple[str, str]:
    return load.landing_run_id, load.sha256
