import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular import (
    BadCsvError,
    Column,
    ColumnType,
    Contract,
    DriftError,
    InvalidValue,
    Kind,
    SchemaRules,
    find_invalid_values,
    parse_type,
    profile_head,
    read_header,
)
from qt_pipeline.tabular.drift import resolve_contract
from qt_pipeline.tabular.reader import BLOCK_SIZES
from qt_pipeline.values import DriftPolicy
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import NASTY, RULES, csv_bytes, inspection_of, rules_of, stream_of

TYPES = [
    ColumnType(Kind.INTEGER),
    ColumnType(Kind.DECIMAL, 38, 37),
    ColumnType(Kind.BOOLEAN),
    ColumnType(Kind.DATE, format="%Y-%m-%d"),
    ColumnType(Kind.DATE, format="%Y%m%d"),
    ColumnType(Kind.TIMESTAMP, format="%Y-%m-%d %H:%M:%S"),
]
FILE = b'Name,Paid,Vehicles\n"Ann\nB.",1.50,3\nx,canary,4\ny,2,canary\nz,canary,canary\n'
FREEZE = rules_of(DriftPolicy.FREEZE)


def contract_of(**types: str) -> Contract:
    return Contract(tuple(Column(name, name, parse_type(text)) for name, text in types.items()))


CONTRACT = contract_of(Paid="decimal(15,2)", Vehicles="integer", Name="text")


def misfits_in(
    data: bytes, contract: Contract, *, rules: SchemaRules = RULES, limit: int = 100, show_values: bool = False
) -> list[InvalidValue]:
    inspection = inspection_of(data, contract, rules)
    try:
        resolve_contract(contract, inspection.header.names, inspection.seen, rules)
    except DriftError as drift:
        broken = drift.columns_of_another_type
        return find_invalid_values(stream_of(data), inspection, broken, rules, limit=limit, show_values=show_values)
    return []


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
    hidden = DriftError(invalid_values=misfits_in(FILE, CONTRACT))
    assert "canary" not in f"{hidden} {hidden!r} {hidden.invalid_values}"
    assert "line 4, column 'Paid': a value that is not decimal(15,2)" in str(hidden)
    shown = DriftError(invalid_values=misfits_in(FILE, CONTRACT, show_values=True))
    assert "line 4, column 'Paid': 'canary' is not decimal(15,2)" in str(shown)


def test_a_text_that_is_too_long_is_told_by_its_length_as_the_target_counts_it() -> None:
    data = "Name\nAnn\ncanary\U0001f426\n".encode()
    [misfit] = misfits_in(data, contract_of(Name="text(3)"), rules=FREEZE)
    assert str(misfit) == "line 3, column 'Name': a text of 8 characters is too long for text(3)"


def test_a_file_that_fits_has_no_misfits() -> None:
    assert misfits_in(b"Vehicles,Name,Paid\n,,\n-5,x,.5\n", CONTRACT) == []


@pytest.mark.parametrize("policy", [DriftPolicy.ADDITIVE, DriftPolicy.FREEZE])
@few_examples()
@given(st.lists(st.just("") | NASTY, max_size=20), st.sampled_from(TYPES))
def test_exactly_the_values_that_the_column_cannot_hold_are_found(
    policy: DriftPolicy, values: list[str], type_: ColumnType
) -> None:
    contract, rules = Contract((Column("Loss date", "Loss date", type_),)), rules_of(policy)

    def misfits(*values: str) -> list[int]:
        data = csv_bytes(["Loss date"], [[value] for value in values])
        return [misfit.line for misfit in misfits_in(data, contract, rules=rules)]

    alone = [line for line, value in enumerate(values, start=2) if misfits(value)]
    found = misfits(*values)
    if alone:
        assert found == alone


def test_values_that_do_not_go_together_are_found_by_the_type_of_the_column() -> None:
    contract = contract_of(At="timestamp", Paid="decimal(38,2)")
    ones = "1" * 36
    data = f"At,Paid\n2020-01-31 10:00:00,{ones}\n2020-01-31T10:00:00,1.25\n2020-01-31 10:00:00,0.125\n"
    # One by one all are accepted.
    for line in data.splitlines()[1:]:
        assert misfits_in(f"At,Paid\n{line}\n".encode(), contract) == []
    assert [(misfit.line, misfit.column) for misfit in misfits_in(data.encode(), contract)] == [(3, "At"), (4, "Paid")]


def test_a_value_that_is_too_long_or_too_wide_for_a_frozen_column_is_found() -> None:
    contract = contract_of(Name="text(3)", Paid="decimal(4,2)")
    found = misfits_in(b"Name,Paid\nAnn,1.25\nAnne,-99.99\nA,100\nB,0.125\n", contract, rules=FREEZE)
    assert [(misfit.line, misfit.column, misfit.type) for misfit in found] == [
        (3, "Name", "text(3)"),
        (4, "Paid", "decimal(4,2)"),
        (5, "Paid", "decimal(4,2)"),
    ]


def test_a_value_that_is_not_in_the_declared_form_is_found_and_told_as_it_stands() -> None:
    rules = rules_of(DriftPolicy.EVOLVE, Paid="integer 1,234", Day="date %d/%m/%Y")
    data = b'Paid,Day\n"1,234",31/01/2020\n"1,23",31/02/2020\n7,\n'
    for contract in (contract_of(Paid="integer", Day="date"), contract_of(Paid="text", Day="text")):
        assert [str(misfit) for misfit in misfits_in(data, contract, rules=rules, show_values=True)] == [
            "line 3, column 'Paid': '1,23' is not integer 1,234",
            "line 3, column 'Day': '31/02/2020' is not date %d/%m/%Y",
        ]


LONG = b"x" * (2 * BLOCK_SIZES[0] + 100)
"""Where blocks are cut is not told: a value of this length does not fit into two."""


@pytest.mark.parametrize("late", [b"x", LONG])
def test_a_glance_does_not_see_what_comes_late(late: bytes) -> None:
    data = b"Paid,Note\n" + (b"1," + b"x" * 100 + b"\n") * 160_000 + b"x," + late + b"\n"
    header = read_header(stream_of(data))
    glanced = profile_head(stream_of(data), header, [None, None])
    assert [seen.kind for seen in glanced.seen] == [Kind.INTEGER, Kind.TEXT]
    assert 0 < glanced.rows < data.count(b"\n") - 1
    assert glanced.block_size == BLOCK_SIZES[0]
    inspection = inspection_of(data)
    assert [seen.kind for seen in inspection.seen] == [Kind.TEXT, Kind.TEXT]
    assert inspection.rows == data.count(b"\n") - 1
    assert inspection.block_size == BLOCK_SIZES[len(late) > 1]


def test_a_glance_takes_the_larger_block_for_a_long_row_at_the_beginning() -> None:
    data = b"Note\n" + LONG + b"\n"
    glanced = profile_head(stream_of(data), read_header(stream_of(data)), [None])
    assert (glanced.rows, glanced.block_size, glanced.seen[0].length) == (1, BLOCK_SIZES[1], len(LONG))


def test_a_glance_at_a_short_file_sees_all_of_it_and_its_faults() -> None:
    header = read_header(stream_of(FILE))
    assert profile_head(stream_of(FILE), header, [None] * 3) == inspection_of(FILE)
    with pytest.raises(BadCsvError):
        profile_head(stream_of(FILE + b"1\n"), header, [None] * 3)


def test_what_is_expected_decides_how_values_are_looked_at() -> None:
    data = b"Day,Policy Number,Paid,Note\n20200131,17,5,5\n"
    contract = contract_of(Day="date %Y%m%d", Note="text")

    def kinds(contract: Contract | None) -> list[Kind | None]:
        return [seen.kind for seen in inspection_of(data, contract).seen]

    assert kinds(None) == [Kind.INTEGER, Kind.TEXT, Kind.INTEGER, Kind.INTEGER]
    assert kinds(contract) == [Kind.DATE, Kind.TEXT, Kind.INTEGER, Kind.TEXT]
