"""Purge: landed files and ledger rows that are old and no longer needed.

Here: which may be deleted, as a function of values, and the deletion. Not here: which ledger rows a load needs (see
warehouse).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from qt_pipeline.landing import Landed, Landing
from qt_pipeline.warehouse import LoadRecord, RetainedLoads, Warehouse

_ALL = 10_000_000


@dataclass(frozen=True, slots=True)
class Purge:
    """What may be deleted of a dataset."""

    dataset_id: str
    landed: tuple[Landed, ...]
    loads: tuple[LoadRecord, ...]

    @property
    def stored_bytes(self) -> int:
        """The bytes that the files take in the landing."""
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
    """What is older than `before` and no longer needed. `landed` are the dataset's files, the newest first.

    The `keep` newest files stay, and every file whose rows the table may hold. A file's loads stay as long as the file,
    so that it can be shown, compared and restored. The newest download also stays, however many files were landed
    manually since: a run of the table alone loads it. A manually landed file is as old as its landing, not its data.
    """
    needed_files = {_file(load) for load in loads if load.load_id in needed.in_table}
    files = list(landed)
    newest_download = next((file for file in files if not file.is_manual), None)
    going = tuple(
        file
        for file in files[max(1, keep) :]
        if file is not newest_download
        and file.manifest.landed_at < before
        and (file.manifest.run_id, file.manifest.sha256) not in needed_files
    )
    staying = {(file.manifest.run_id, file.manifest.sha256) for file in files if file not in going}
    old = (
        load for load in loads if load.load_id not in needed.lines and (load.finished_at or load.started_at) < before
    )
    return Purge(dataset_id, going, tuple(load for load in old if _file(load) not in staying))


def find_purgeable(warehouse: Warehouse, landing: Landing, *, before: datetime, keep: int) -> list[Purge]:
    """The purge of every dataset that has anything to delete."""
    has_ledger = warehouse.has_ledger()
    known = set(warehouse.last_loads()) if has_ledger else set[str]()
    purges = [
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
    return [purge for purge in purges if purge.landed or purge.loads]


def execute(warehouse: Warehouse, landing: Landing, purge: Purge) -> None:
    """Delete it. Files first: a row without its file still says what existed, a file without a row says nothing."""
    for landed in purge.landed:
        landing.remove(landed)
    if purge.loads:
        warehouse.delete_loads(load.load_id for load in purge.loads)


def _file(load: LoadRecord) -> tuple[str, str]:
    return load.landing_run_id, load.sha256
