import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from qt_pipeline.tabular import Column, ColumnType, Contract, DriftError, Kind, Misfit, find_misfits, inspect
from qt_pipeline.tabular.contract import holds
from qt_pipeline.tabular.infer import look
from qt_pipeline_tests.tabular.files import NASTY, csv_bytes, stream_of

TYPES = [
    ColumnType(Kind.INTEGER),
    ColumnType(Kind.DECIMAL, 15, 2),
    ColumnType(Kind.BOOLEAN),
    ColumnType(Kind.DATE, format="%Y-%m-%d"),
    ColumnType(Kind.DATE, format="%Y%m%d"),
    ColumnType(Kind.TIMESTAMP, format="%Y-%m-%d %H:%M:%S"),
]
FILE = b'Name,Paid,Vehicles\n"Ann\nB.",1.50,3\nx,canary,4\ny,2,canary\nz,canary,canary\n'


def contract_of(**types: ColumnType) -> Contract:
    return Contract(tuple(Column(name, name, type_) for name, type_ in types.items()))


CONTRACT = contract_of(
    Paid=ColumnType(Kind.DECIMAL, 15, 2), Vehicles=ColumnType(Kind.INTEGER), Name=ColumnType(Kind.TEXT)
)


def misfits_in(data: bytes, contract: Contract, *, limit: int = 100, show_values: bool = False) -> list[Misfit]:
    inspection = inspect(stream_of(data))
    return find_misfits(stream_of(data), inspection, contract, limit=limit, show_values=show_values)


def test_a_misfit_names_line_column_and_type_in_the_order_of_the_file() -> None:
    found = [(misfit.line, misfit.column, misfit.type) for misfit in misfits_in(FILE, CONTRACT)]
    assert found == [
        (4, "Paid", "decimal(15,2)"),
        (5, "Vehicles", "integer"),
        (6, "Paid", "decimal(15,2)"),
        (6, "Vehicles", "integer"),
    ]


def test_no_more_misfits_are_told_than_were_asked_for() -> None:
    assert [misfit.line for misfit in misfits_in(FILE, CONTRACT, limit=2)] == [4, 5]


def test_a_value_is_shown_only_where_that_is_allowed() -> None:
    hidden = DriftError(misfits=misfits_in(FILE, CONTRACT))
    assert "canary" not in f"{hidden} {hidden!r} {hidden.misfits}"
    assert "line 4, column 'Paid': a value that is not decimal(15,2)" in str(hidden)
    shown = DriftError(misfits=misfits_in(FILE, CONTRACT, show_values=True))
    assert "line 4, column 'Paid': 'canary' is not decimal(15,2)" in str(shown)


def test_a_file_that_fits_has_no_misfits() -> None:
    assert misfits_in(b"Vehicles,Name,Paid\n,,\n-5,x,.5\n", CONTRACT) == []


@settings(deadline=None)
@given(st.lists(st.just("") | NASTY, max_size=40), st.sampled_from(TYPES))
def test_exactly_the_values_that_the_type_cannot_hold_are_found(values: list[str], type_: ColumnType) -> None:
    contract = Contract((Column("Loss date", "Loss date", type_),))
    expected = [
        line
        for line, value in enumerate(values, start=2)
        if value and not holds(type_, look(pa.array([value]), compact_dates=True))
    ]
    assert [misfit.line for misfit in misfits_in(csv_bytes(["Loss date"], [[v] for v in values]), contract)] == expected
