"""CSV bytes → text rows → typed Arrow batches, and the contract that fixes their names and types.

Here: everything that is known about a file's form and its values.
Not here: where a file comes from, where its rows go.
"""

from qt_pipeline.tabular.arrow import Array, convert
from qt_pipeline.tabular.contract import SHORT_DIGITS, Column, Contract, DriftError, Misfit, first_contract
from qt_pipeline.tabular.guard import BadCsvError
from qt_pipeline.tabular.inspect import Inspection, find_misfits, inspect
from qt_pipeline.tabular.names import LOAD_COLUMN, ROW_COLUMN
from qt_pipeline.tabular.reader import EmptyFileError, OpenStream, RowTooLongError, read_text
from qt_pipeline.tabular.typed import read_typed, typed_schema
from qt_pipeline.tabular.types import TEXT, ColumnType, Kind

__all__ = [
    "LOAD_COLUMN",
    "ROW_COLUMN",
    "SHORT_DIGITS",
    "TEXT",
    "Array",
    "BadCsvError",
    "Column",
    "ColumnType",
    "Contract",
    "DriftError",
    "EmptyFileError",
    "Inspection",
    "Kind",
    "Misfit",
    "OpenStream",
    "RowTooLongError",
    "convert",
    "find_misfits",
    "first_contract",
    "inspect",
    "read_text",
    "read_typed",
    "typed_schema",
]
