"""Whether a table holds what a CSV file says, cell by cell.

The file is read by Python's own csv, the table by a reader of its own: neither trusts a reader of the project.
"""

import csv
import io
from decimal import Context, Decimal
from typing import Any

from qt_pipeline.tabular import ColumnType, Contract, Kind, format_value
from qt_pipeline_tests.warehouse.engines import Engine

_EXACT = Context(prec=100)


def assert_holds(engine: Engine, data: bytes, contract: Contract, table: str = "paid") -> None:
    """Each cell, formatted by the contract, is the text of the file; rows are in its order and know their lines."""
    headers, *records = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    stored = engine.stored(contract, table)
    assert len(stored) == len(records)
    for column, position, values in zip(
        contract.columns, contract.positions(headers), zip(*stored, strict=True), strict=False
    ):
        assert position is not None
        # Python gives no value at all for a blank line, which is a blank where there is one column.
        texts = (record[position] if record else "" for record in records)
        # Columns of real files repeat themselves: equal pairs are looked at once.
        for text, _, value in set(zip(texts, map(type, values), values, strict=True)):
            assert as_it_stands(text, column.type, engine.value(value, column.type)), (column, text, value)


def as_it_stands(text: str, type_: ColumnType, value: Any) -> bool:
    """A blank is NULL, a plain decimal equal as a number, a boolean in either case, all else equal as text."""
    if text == "" or value is None:
        return text == "" and value is None
    if type_.kind is Kind.DECIMAL and type_.is_canonical:
        return isinstance(value, Decimal) and value == Decimal(text)
    if type_.kind is Kind.DECIMAL:
        value = value.quantize(Decimal(1).scaleb(-type_.scale), context=_EXACT)
    found = format_value(value, type_)
    assert found is not None
    return found.casefold() == text.casefold() if type_.kind is Kind.BOOLEAN else found == text
