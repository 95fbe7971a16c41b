"""CSV bytes → text → typed rows, and the contract that fixes the names and types of the columns.

Here: all rules about the format of a file and its values.
Not here: where a file comes from, where its rows go.
"""

from qt_pipeline.tabular.arrow import Array, Ints, convert, floating_numbers, integers, named_batch, whole_numbers
from qt_pipeline.tabular.compare import Difference, DiffSide, NothingInCommonError, compare, rows_at
from qt_pipeline.tabular.contract import Column, Contract, DeclarationError, DriftError, InvalidValue
from qt_pipeline.tabular.declared import format_value, parse_type
from qt_pipeline.tabular.drift import (
    MAX_BOUND,
    SHORT_DIGITS,
    ResolvedContract,
    SchemaChange,
    SchemaRules,
    align_headers,
    resolve_contract,
)
from qt_pipeline.tabular.guard import BadCsvError
from qt_pipeline.tabular.header_check import NotAHeaderError, check_first_line, read_first_line
from qt_pipeline.tabular.headers import ByHeader, header_key, header_keys, match_headers
from qt_pipeline.tabular.names import LOAD_COLUMN, LOADED_AT_COLUMN, ROW_COLUMN, Naming
from qt_pipeline.tabular.profiler import FileProfile, find_invalid_values, profile, profile_head
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
from qt_pipeline.tabular.rows import Rows, SpeculationFailedError, SpeculativeReader, read_rows
from qt_pipeline.tabular.types import (
    ISO_DATE,
    ISO_TIMESTAMP,
    MAX_DIGITS,
    MAX_FORMAT,
    TEXT,
    ColumnProfile,
    ColumnType,
    Kind,
)

__all__ = [
    "ISO_DATE",
    "ISO_TIMESTAMP",
    "LOADED_AT_COLUMN",
    "LOAD_COLUMN",
    "MAX_BOUND",
    "MAX_DIGITS",
    "MAX_FORMAT",
    "ROW_COLUMN",
    "SHORT_DIGITS",
    "TEXT",
    "Array",
    "BadCsvError",
    "ByHeader",
    "Column",
    "ColumnProfile",
    "ColumnType",
    "Contract",
    "DeclarationError",
    "DiffSide",
    "Difference",
    "DriftError",
    "EmptyFileError",
    "FileProfile",
    "Header",
    "Ints",
    "InvalidValue",
    "Kind",
    "Naming",
    "NoRecordError",
    "NotAHeaderError",
    "NothingInCommonError",
    "OpenStream",
    "RawRecord",
    "ResolvedContract",
    "RowTooLongError",
    "Rows",
    "SchemaChange",
    "SchemaRules",
    "SpeculationFailedError",
    "SpeculativeReader",
    "TooManyColumnsError",
    "align_headers",
    "check_first_line",
    "check_width",
    "compare",
    "convert",
    "find_invalid_values",
    "floating_numbers",
    "format_value",
    "header_key",
    "header_keys",
    "integers",
    "match_headers",
    "named_batch",
    "parse_type",
    "profile",
    "profile_head",
    "read_first_line",
    "read_header",
    "read_rows",
    "read_text",
    "record_at",
    "resolve_contract",
    "rows_at",
    "whole_numbers",
]
