"""The two steps of a dataset's way, in order: `land` its file, `load` a file into its table.

Here: which room does what, when, and what each step can tell about itself.
Not here: Dagster (see defs), the rules of any one room.
"""

from qt_pipeline.ingest.guards import NoRowsError, RequiredValueError, TooFewRowsError, TooManyRowsError
from qt_pipeline.ingest.ingest import Ingest, LandOutcome, LoadOutcome, OpenWarehouse, missing
from qt_pipeline.ingest.load import (
    CsvFile,
    FileOutcome,
    Preview,
    load_file,
    local_file,
    table_of,
)
from qt_pipeline.ingest.trial import Trial, try_file

__all__ = [
    "CsvFile",
    "FileOutcome",
    "Ingest",
    "LandOutcome",
    "LoadOutcome",
    "NoRowsError",
    "OpenWarehouse",
    "Preview",
    "RequiredValueError",
    "TooFewRowsError",
    "TooManyRowsError",
    "Trial",
    "load_file",
    "local_file",
    "missing",
    "table_of",
    "try_file",
]
