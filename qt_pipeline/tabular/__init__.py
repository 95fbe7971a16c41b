"""CSV bytes → text → rows of typed columns, and the contract that fixes their names and types.

Here: everything that is known about a file's form and its values.
Not here: where a file comes from, where its rows go.
"""

from qt_pipeline.tabular.arrow import Array, Ints, convert, floating_numbers, integers, named_batch, whole_numbers
from qt_pipeline.tabular.compare import Difference, NothingInCommonError, Side, compare, rows_at
from qt_pipeline.tabular.contract import Column, Contract, DeclarationError, DriftError, Misfit
from qt_pipeline.tabular.declared import parse_type, written
from qt_pipeline.tabular.drift import LONGEST_BOUND, SHORT_DIGITS, Change, Rules, Settled, known_as, settle
from qt_pipeline.tabular.guard import BadCsvError
from qt_pipeline.tabular.header_check import NotAHeaderError, check_first_line, read_first_line
from qt_pipeline.tabular.headers import ByHeader, header_key, header_keys, match_headers
from qt_pipeline.tabular.inspect import Inspection, find_misfits, glance, inspect
from qt_pipeline.tabular.names import LOAD_COLUMN, LOADED_AT_COLUMN, ROW_COLUMN, Naming
from qt_pipeline.tabular.reader import (
    EmptyFileError,
    Header,
    OpenStream,
    RowTooLongError,
    TooManyColumnsError,
    check_width,
    read_header,
    read_text,
)
from qt_pipeline.tabular.records import NoRecordError, RawRecord, record_at
from qt_pipeline.tabular.rows import AssumptionBrokenError, Passage, Rows, read_rows
from qt_pipeline.tabular.types import ISO_DATE, ISO_TIMESTAMP, MAX_DIGITS, MAX_FORMAT, TEXT, ColumnType, Kind, Seen

__all__ = [
    "ISO_DATE",
    "ISO_TIMESTAMP",
    "LOADED_AT_COLUMN",
    "LOAD_COLUMN",
    "LONGEST_BOUND",
    "MAX_DIGITS",
    "MAX_FORMAT",
    "ROW_COLUMN",
    "SHORT_DIGITS",
    "TEXT",
    "Array",
    "AssumptionBrokenError",
    "BadCsvError",
    "ByHeader",
    "Change",
    "Column",
    "ColumnType",
    "Contract",
    "DeclarationError",
    "Difference",
    "DriftError",
    "EmptyFileError",
    "Header",
    "Inspection",
    "Ints",
    "Kind",
    "Misfit",
    "Naming",
    "NoRecordError",
    "NotAHeaderError",
    "NothingInCommonError",
    "OpenStream",
    "Passage",
    "RawRecord",
    "RowTooLongError",
    "Rows",
    "Rules",
    "Seen",
    "Settled",
    "Side",
    "TooManyColumnsError",
    "check_first_line",
    "check_width",
    "compare",
    "convert",
    "find_misfits",
    "floating_numbers",
    "glance",
    "header_key",
    "header_keys",
    "inspect",
    "integers",
    "known_as",
    "match_headers",
    "named_batch",
    "parse_type",
    "read_first_line",
    "read_header",
    "read_rows",
    "read_text",
    "record_at",
    "rows_at",
    "settle",
    "whole_numbers",
    "written",
]
