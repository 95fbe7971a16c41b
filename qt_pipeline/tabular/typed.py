"""Batches of text → batches of the contract's types, in the contract's order.

Here: the conversion, which loses nothing because the contract was held against every value before.
Not here: how a target stores a type (see the warehouse).
"""

from collections.abc import Iterator

import pyarrow as pa

from qt_pipeline.tabular.arrow import Array, batch_of, convert, integers
from qt_pipeline.tabular.contract import Contract
from qt_pipeline.tabular.infer import with_dashes
from qt_pipeline.tabular.inspect import Inspection
from qt_pipeline.tabular.names import ROW_COLUMN
from qt_pipeline.tabular.reader import OpenStream, read_text
from qt_pipeline.tabular.types import COMPACT_DATE, ColumnType, Kind


def typed_schema(contract: Contract) -> pa.Schema:
    """The columns of the typed batches: the contract's, then `_qt_row`."""
    fields = [pa.field(column.name, column.type.arrow) for column in contract.columns]
    return pa.schema([*fields, pa.field(ROW_COLUMN, pa.int64(), nullable=False)])


def read_typed(open_stream: OpenStream, inspection: Inspection, contract: Contract) -> Iterator[pa.RecordBatch]:
    """Read an inspected file again, as the types of a contract that it was found to follow."""
    positions = contract.positions(inspection.header.names)
    schema = typed_schema(contract)
    for batch in read_text(open_stream, inspection.header, block_size=inspection.block_size, checked=True):
        arrays = [
            _convert(batch.columns[position], column.type)
            for column, position in zip(contract.columns, positions, strict=True)
        ]
        yield batch_of([*arrays, integers(batch.lines)], schema)


def _convert(values: pa.StringArray, type_: ColumnType) -> Array:
    match type_.kind:
        case Kind.TEXT:
            return values
        case Kind.DATE if type_.format == COMPACT_DATE:
            return convert(with_dashes(values), type_.arrow)
        case _:
            return convert(values, type_.arrow)
