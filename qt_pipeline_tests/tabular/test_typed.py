from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from qt_pipeline.tabular import Contract, first_contract, inspect, read_typed, typed_schema
from qt_pipeline_tests.tabular.files import as_it_stands, csv_bytes, stream_of, tables


def founded_by(data: bytes) -> Contract:
    inspection = inspect(stream_of(data))
    return first_contract(inspection.header.names, inspection.seen, max_name_bytes=128)


def typed_rows(data: bytes, contract: Contract) -> list[tuple[object, ...]]:
    batches = list(read_typed(stream_of(data), inspect(stream_of(data)), contract))
    assert all(batch.schema == typed_schema(contract) for batch in batches)
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(["\n", "\r\n"]))
def test_every_value_is_kept_as_it_stands_in_the_file(table: tuple[list[str], list[list[str]]], line_end: str) -> None:
    headers, rows = table
    data = csv_bytes(headers, rows, line_end=line_end)
    contract = founded_by(data)
    typed = typed_rows(data, contract)
    assert len(typed) == len(rows)
    for row, (*values, _) in zip(rows, typed, strict=True):
        for text, column, value in zip(row, contract.columns, values, strict=True):
            assert as_it_stands(text, column.type, value), (text, column.type, value)


def test_the_columns_come_in_the_order_of_the_contract_and_the_line_last() -> None:
    contract = founded_by(b"a,b,b\n1,x,1.5\n")
    assert typed_rows(b'b,a,b\n"y\nz",2,3\n,,\n', contract) == [(2, "y\nz", Decimal("3.0"), 2), (None, None, None, 4)]


def test_a_file_without_rows_gives_no_rows() -> None:
    assert typed_rows(b"a,b\n", founded_by(b"a,b\n1,2\n")) == []
