"""Values that are equal as numbers or timestamps and different as text."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular import (
    DriftError,
    Kind,
    SpeculationFailedError,
    SpeculativeReader,
    format_value,
    parse_type,
    read_header,
)
from qt_pipeline.tabular.profiler import profile_head
from qt_pipeline.values import DriftPolicy
from qt_pipeline_tests.tabular.files import founded_by, inspection_of, rules_of, settled, stream_of


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["3.1", "3.10"], "text(50)"),
        (["3.10", "", "3.1"], "text(50)"),
        (["3.1", "4.20"], "decimal(15,2)"),
        (["0.10", ".5"], "decimal(15,2)"),
        (["5.0", "5.00"], "decimal(15,2)"),
        ([*(f"{number}.5" for number in range(1000)), "1.50"], "decimal(15,2)"),
        (["1", "3.1", "3.100"], "text(50)"),
        (["12.0", "3.25"], "decimal(15,2)"),
        (["10", "10.50"], "decimal(15,2)"),
        (["10.50", "3.25"], "decimal(15,2)"),
        (["1.5", "2.25", "3.125"], "decimal(15,3)"),
        (["0.0", "1.5"], "decimal(15,1)"),
    ],
)
def test_a_zero_that_tells_two_numbers_apart_makes_a_new_column_text(values: list[str], type_: str) -> None:
    data = "Section,n\n" + "".join(f"{value},1\n" for value in values)
    found = settled(data.encode())
    assert str(found.contract.columns[0].type) == type_
    assert [("'decimal(15," in warning) for warning in found.warnings] == [True] * (type_ == "text(50)")
    declared = rules_of(DriftPolicy.ADDITIVE, Section="decimal(15,3)")
    assert settled(data.encode(), rules=declared).warnings == ()
    assert str(founded_by(data.encode(), declared).columns[0].type) == "decimal(15,3)"


@pytest.mark.parametrize("zero", ["-0", "-0.0", "-0.00", "-.0", "-0."])
@pytest.mark.parametrize("others", [[], ["1.5"], ["7"], ["", "-0.01"]])
def test_a_zero_with_a_minus_sign_makes_a_new_column_text(zero: str, others: list[str]) -> None:
    for values in ([zero, *others], [*others, zero]):
        data = ("Paid,n\n" + "".join(f"{value},1\n" for value in values)).encode()
        blank = founded_by(b"Paid,n\n,1\n")
        for found in (settled(data), settled(data, blank)):
            assert str(found.contract.columns[0].type) == "text(50)"
            [warning] = found.warnings
            assert "'Paid' is text: some of its values are zeros with a minus sign" in warning
            assert "declare the column in the catalog as 'decimal(15," in warning
        declared = rules_of(DriftPolicy.ADDITIVE, Paid="decimal(15,2)")
        assert settled(data, rules=declared).warnings == ()


@pytest.mark.parametrize("early", ["1.50", "7"])
def test_a_zero_with_a_minus_sign_that_comes_late_ends_the_pass_that_took_its_column_for_numbers(early: str) -> None:
    data = f"Paid\n{early}\n-0.0\n".encode()
    header = read_header(stream_of(data))
    assumed = founded_by(b"Paid\n1.50\n")
    with pytest.raises(SpeculationFailedError):
        list(SpeculativeReader(stream_of(data), header, [None], assumed, block_size=16).rows())
    assert founded_by(data).columns[0].type.kind is Kind.TEXT


def test_a_contract_of_decimals_goes_on_comparing_numbers() -> None:
    contract = founded_by(b"Paid\n1.50\n2.25\n")
    followed = settled(b"Paid\n3.1\n3.10\n", contract)
    assert (followed.contract, followed.changes, followed.warnings) == (contract, (), ())


def test_sections_that_come_late_end_the_pass_that_took_them_for_decimals() -> None:
    data = b"Section\n" + b"3.1\n" * 2_000_000 + b"3.10\n"
    header = read_header(stream_of(data))
    first = profile_head(stream_of(data), header, [None])
    assumed = settled(b"Section\n3.1\n").contract
    with pytest.raises(SpeculationFailedError):
        list(SpeculativeReader(stream_of(data), header, [None], assumed, block_size=first.block_size).rows())
    assert str(founded_by(data).columns[0].type) == "text(50)"


def test_sections_are_found_wherever_batches_are_cut() -> None:
    one, two = (inspection_of(f"a\n{value}\n".encode()).seen[0] for value in ("3.1", "3.10"))
    assert not one.may_be_sections
    assert not two.may_be_sections
    assert one.join(two).may_be_sections
    assert two.join(one).may_be_sections


MIXED = "2024-01-01 10:00:00", "2024-01-01 10:00:00.500", "2024-01-01 10:00:00.123456"


def test_timestamps_with_and_without_a_fraction_are_timestamps() -> None:
    data = "At\n" + "".join(f"{value}\n" for value in MIXED)
    type_ = founded_by(data.encode()).columns[0].type
    assert (type_.kind, type_.format) == (Kind.TIMESTAMP, "%Y-%m-%d %H:%M:%S[.%f]")
    assert type_.is_canonical
    assert parse_type(str(type_)) == type_
    header = read_header(stream_of(data.encode()))
    passage = SpeculativeReader(stream_of(data.encode()), header, [None], founded_by(data.encode()), block_size=1 << 20)
    values = [value for rows in passage.rows() for value in rows.values(0).to_pylist()]
    assert values == [datetime.fromisoformat(value) for value in MIXED]
    assert [format_value(value, type_) for value in values] == [MIXED[0], "2024-01-01 10:00:00.500000", MIXED[2]]


@pytest.mark.parametrize("policy", DriftPolicy)
def test_a_column_of_timestamps_of_any_fraction_keeps_its_type(policy: DriftPolicy) -> None:
    contract = founded_by("At\n{}\n{}\n".format(*MIXED[:2]).encode())
    for value in MIXED:
        followed = settled(f"At\n{value}\n".encode(), contract, rules_of(policy))
        assert (followed.contract, followed.changes) == (contract, ())


def test_a_column_of_timestamps_takes_a_fraction_later() -> None:
    contract = founded_by(f"At\n{MIXED[0]}\n".encode())
    followed = settled("At\n{}\n{}\n".format(*MIXED[:2]).encode(), contract)
    assert followed.contract.columns[0].type.format.endswith("[.%f]")
    assert settled(f"At\n{MIXED[0]}\n2024-01-01T10:00:00\n".encode()).contract.columns[0].type.kind is Kind.TEXT


FRACTIONS = st.lists(st.sampled_from(["", ".5", ".50", ".500", ".123456"]), min_size=1, max_size=6)


@given(FRACTIONS, st.integers(0, 6))
def test_the_format_of_timestamps_does_not_depend_on_how_they_are_cut(fractions: list[str], cut: int) -> None:
    lines = [f"2024-01-01 10:00:00{fraction}\n" for fraction in fractions]
    whole, one, two = (
        inspection_of(("At\n" + "".join(part)).encode()).seen[0] for part in (lines, lines[:cut], lines[cut:])
    )
    assert one.join(two) == two.join(one) == whole


def test_a_value_that_a_new_declared_column_cannot_hold_is_found_in_its_own_place() -> None:
    contract = founded_by(b"Ref,Paid\na,1\n")
    with pytest.raises(DriftError) as caught:
        settled(b"Ref,Paid,New\na,1,x\n", contract, rules_of(DriftPolicy.ADDITIVE, New="integer"))
    assert {place: column.name for place, column in caught.value.columns_of_another_type.items()} == {2: "New"}


def test_a_declaration_of_any_length_is_bounded() -> None:
    with pytest.raises(ValueError, match="longer than 200 characters"):
        parse_type("date %Y-%m-%d" + "x" * 200)
