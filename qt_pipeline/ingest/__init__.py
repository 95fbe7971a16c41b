"""The two steps of a dataset's way, in order: `land` its file, `load` a file into its table.

Here: which room does what, when, and what each step can tell about itself.
Not here: Dagster (see defs), the rules of any one room.
"""

from qt_pipeline.ingest.files import CsvFile, land_by_hand, local_file
from qt_pipeline.ingest.freshness import Stale, stale
from qt_pipeline.ingest.guards import NoRowsError, RequiredValueError, TooFewRowsError, TooManyRowsError
from qt_pipeline.ingest.ingest import Ingest, LandOutcome, LoadOutcome, OpenWarehouse, missing
from qt_pipeline.ingest.load import FileOutcome, Preview, load_file, load_landed, table_of
from qt_pipeline.ingest.purge import Purge, carry_out, find_purgeable, purgeable
from qt_pipeline.ingest.restore import (
    FileGoneError,
    Restored,
    RestoreRefusedError,
    UnknownLoadError,
    check_restorable,
    landed_by,
    loaded_by,
    restore,
)
from qt_pipeline.ingest.trial import Trial, try_file

__all__ = [
    "CsvFile",
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
    "Trial",
    "UnknownLoadError",
    "carry_out",
    "check_restorable",
    "find_purgeable",
    "land_by_hand",
    "landed_by",
    "load_file",
    "load_landed",
    "loaded_by",
    "local_file",
    "missing",
    "purgeable",
    "restore",
    "stale",
    "table_of",
    "try_file",
]
