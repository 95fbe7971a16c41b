"""Restore: publish an earlier load's file again, because a person requests it.

Here: which load can be restored, and how the ledger marks a restore. Not here: how a file is loaded (see loader).

A restore is a load like any other except for its position in the order: it counts as the load that it replaces. So
older data stay older, a restore settles no event, and the next download replaces it.
"""

import json
from dataclasses import dataclass, replace

from qt_pipeline.catalog import Dataset, DeclaredColumn
from qt_pipeline.errors import PermanentError, about
from qt_pipeline.ingest.files import CsvFile, landed_file
from qt_pipeline.ingest.loader import FileOutcome, load_file, load_job_for, table_spec_for
from qt_pipeline.landing import Landed, Landing
from qt_pipeline.tabular import TEXT, ByHeader, Contract, header_key, header_keys, parse_type
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import LoadRecord, Warehouse


class UnknownLoadError(PermanentError):
    """The ledger has no such load of this dataset."""


class FileGoneError(PermanentError):
    """The file of a load is not in the landing."""


class RestoreRefusedError(PermanentError):
    """This load cannot be restored."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore. `outcome` is None if the table already shows the file; then `current` is that load."""

    landed: Landed
    current: LoadRecord
    outcome: FileOutcome | None


def restore(
    warehouse: Warehouse,
    landing: Landing,
    dataset: Dataset,
    load_id: int,
    *,
    run_id: str,
    max_rows: int | None = None,
) -> Restored:
    """Publish the landed file of an earlier load again.

    The file is read in the formats declared at the time of that load; a column whose format was declared later is read
    as text. Columns that the table gained since are NULL.

    Raises:
        UnknownLoadError: the dataset has no such load.
        RestoreRefusedError: its file was never in the table, the table keeps rows of many files, or the formats in
            which it was read are unknown.
        FileGoneError: the file is missing.
        LandedFileChangedError: the file is not the one that was loaded.
        PipelineError: as for `load_file`; the table keeps its rows.
    """
    with about(dataset.id):
        record = find_load(warehouse, dataset.id, load_id)
        landed = check_restorable(landing, dataset, record)
        landed.verify()
        dataset = _as_of(dataset, record, warehouse.contract(dataset.id))
        shown = warehouse.newest_loads()[dataset.id]
        file = _file(landed, record, shown, run_id)
        already = warehouse.current_load(load_job_for(dataset, file), table_spec_for(dataset))
        if already is not None:
            return Restored(landed, already, None)
        return Restored(landed, shown, load_file(warehouse, dataset, file, force=True, max_rows=max_rows))


def find_load(warehouse: Warehouse, dataset_id: str, load_id: int) -> LoadRecord:
    """The ledger's record of a load of a dataset.

    Raises:
        UnknownLoadError: the dataset has no such load.
    """
    record = warehouse.load(load_id) if warehouse.has_ledger() else None
    if record is None or record.dataset_id != dataset_id:
        whose = "" if record is None else f": it is one of {record.dataset_id}"
        raise UnknownLoadError(
            f"The dataset has no load {load_id}{whose}.",
            hint=f"`qt-pipeline history {dataset_id}` lists its loads.",
            dataset_id=dataset_id,
        )
    return record


def find_landed_file(landing: Landing, record: LoadRecord) -> Landed:
    """The landed file of a load.

    Raises:
        FileGoneError: the file is missing: purged, in another landing, or never landed.
    """
    for landed in landing.complete(record.dataset_id, record.landing_run_id):
        if (landed.manifest.run_id, landed.manifest.sha256) == (record.landing_run_id, record.sha256):
            return landed
    raise FileGoneError(
        f"The file of load {record.load_id} is not in the landing: it was purged, or QT_LANDING_URL was different "
        "at the time of the load.",
        hint=f"It was {record.landing_uri}: if you still have it, load it with `qt-pipeline load`.",
        dataset_id=record.dataset_id,
    )


def check_restorable(landing: Landing, dataset: Dataset, record: LoadRecord) -> Landed:
    """The landed file of a load that can be restored.

    Raises:
        RestoreRefusedError: its file was never in the table, or the table keeps rows of many files.
        FileGoneError: the file is missing.
    """
    with about(dataset.id):
        if not record.is_current:
            raise RestoreRefusedError(
                f"The file of load {record.load_id} was never in the table: the load is {record.status.value}.",
                hint=f"`qt-pipeline history {dataset.id}` lists those that were: published or unchanged.",
            )
        if dataset.mode is not WriteMode.REPLACE:
            raise RestoreRefusedError(
                f"The table keeps rows of many files (mode {dataset.mode.value}); one file cannot replace them.",
                hint="Delete the rows that are wrong: the column _qt_load names the load of each row.",
            )
        return find_landed_file(landing, record)


def _as_of(dataset: Dataset, record: LoadRecord, contract: Contract | None) -> Dataset:
    """The dataset with the types that were declared when a load read its file.

    Raises:
        RestoreRefusedError: an older version loaded it, and the formats of columns may have changed since.
    """
    declared = {header: column.type for header, column in dataset.columns.items() if column.type is not None}
    with_format = {column.header for column in (contract.columns if contract else ()) if not column.type.is_canonical}
    with_format |= {header for header, type_ in declared.items() if not type_.is_canonical}
    if record.declared is None:
        if with_format and record.rules != dataset.rules:
            raise RestoreRefusedError(
                f"An older version made load {record.load_id} and did not record the formats in which it read the "
                f"columns {', '.join(map(repr, sorted(with_format)))}, which have a declared format now.",
                hint="Declare the formats of that file in the catalog, and load it with `qt-pipeline load`: "
                f"{record.landing_uri}.",
            )
        return dataset
    types_then = ByHeader({header: parse_type(text) for header, text in json.loads(record.declared).items()})
    columns = dict(dataset.columns)
    for header in {*declared, *with_format, *json.loads(record.declared)}:
        type_ = types_then.get(header) or (TEXT if header_key(header) in header_keys(with_format) else None)
        columns[header] = columns.get(header, DeclaredColumn()).model_copy(update={"type": type_})
    return dataset.model_copy(update={"columns": columns})


def _file(landed: Landed, record: LoadRecord, shown: LoadRecord, run_id: str) -> CsvFile:
    return replace(
        landed_file(landed, run_id),
        inbox_id=shown.inbox_id,
        through_seq=shown.through_seq,
        event_id=None,
        restores_load_id=record.load_id,
    )
