"""Ingestion of a dataset in two steps: `land` downloads its file, `load` publishes a landed file as its table.

Here: the order of the steps, and the outcome that each reports.
Not here: Dagster (see defs), the rules of the packages that the steps use.
"""

from qt_pipeline.ingest.dry_run import DryRunResult, dry_run
from qt_pipeline.ingest.files import CsvFile, land_manually, local_file
from qt_pipeline.ingest.freshness import Stale, stale
from qt_pipeline.ingest.guards import NoRowsError, RequiredValueError, TooFewRowsError, TooManyRowsError
from qt_pipeline.ingest.ingest import Ingest, LandOutcome, LoadOutcome, OpenWarehouse, missing
from qt_pipeline.ingest.loader import FileOutcome, Preview, load_file, load_landed, table_spec_for
from qt_pipeline.ingest.purge import Purge, execute, find_purgeable, purgeable
from qt_pipeline.ingest.restore import (
    FileGoneError,
    Restored,
    RestoreRefusedError,
    UnknownLoadError,
    check_restorable,
    find_landed_file,
    find_load,
    restore,
)

__all__ = [
    "CsvFile",
    "DryRunResult",
    "FileGoneError",
    "FileOutcome",
    "Ingest",
    "LandOutcome",
    "LoadOutcome",
    "NoRowsError",
    "OpenWarehouse",
    "Preview",
    "Purge",
    "RequiredValueError",
    "RestoreRefusedError",
    "Restored",
    "Stale",
    "TooFewRowsError",
    "TooManyRowsError",
    "UnknownLoadError",
    "check_restorable",
    "dry_run",
    "execute",
    "find_landed_file",
    "find_load",
    "find_purgeable",
    "land_manually",
    "load_file",
    "load_landed",
    "local_file",
    "missing",
    "purgeable",
    "restore",
    "stale",
    "table_spec_for",
]
