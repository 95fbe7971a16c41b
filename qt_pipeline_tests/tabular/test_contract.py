import pytest

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular import Column, ColumnType, Contract, DriftError, InvalidValue, Kind
from qt_pipeline_tests.tabular.files import founded_by

PAID = Column("Paid", "paid", ColumnType(Kind.DECIMAL, 15, 2))


def contract_of(*headers: str) -> Contract:
    return Contract(tuple(Column(header, header, ColumnType(Kind.INTEGER)) for header in headers))


def test_columns_may_change_their_order() -> None:
    contract = contract_of("a", "b")
    assert contract.positions(["b", "a"]) == (1, 0)
    assert contract.new_positions(["b", "a"]) == ()


def test_equal_headers_go_in_turn() -> None:
    contract = founded_by(b"a,b,a\n1,2,x\n")
    assert [column.name for column in contract.columns] == ["a", "b", "a_2"]
    assert contract.positions(["b", "a", "a"]) == (1, 0, 2)
    assert contract.positions(["a", "b"]) == (0, 1, None)
    assert contract.new_positions(["a", "a", "a", "b"]) == (2,)


def test_a_column_is_found_by_its_header_as_the_file_has_it() -> None:
    contract = contract_of("a", "b")
    assert contract.positions(["A", "b"]) == (None, 1)
    assert contract.new_positions(["A", "b"]) == (0,)


def test_drift_names_all_that_differs_and_what_to_do() -> None:
    drift = DriftError(columns_missing=["a"], columns_new=["b", "c"], columns_of_another_type={3: PAID})
    assert str(drift) == (
        "The file does not fit the columns of its table: columns that are missing: 'a'; columns that are new: 'b', "
        "'c'; columns with values of another type: 'paid (decimal(15,2))'. Nothing was loaded; the table keeps its "
        "rows. Correct the dataset at its source, or declare in the catalog what these columns are or which changes "
        "are allowed."
    )
    assert isinstance(drift, PermanentError)


@pytest.mark.parametrize(
    ("value", "length", "words"),
    [
        (None, None, "line 4, column 'paid': a value that is not decimal(15,2)"),
        ("x", None, "line 4, column 'paid': 'x' is not decimal(15,2)"),
        (None, 18, "line 4, column 'paid': a text of 18 characters is too long for decimal(15,2)"),
        ("x", 18, "line 4, column 'paid': 'x' of 18 characters is too long for decimal(15,2)"),
    ],
)
def test_drift_names_the_first_places_and_keeps_all(value: str | None, length: int | None, words: str) -> None:
    misfits = [InvalidValue(line, "paid", "decimal(15,2)", value, length) for line in (4, 5, 6, 7)]
    drift = DriftError(columns_new=["b"], columns_of_another_type={3: PAID}).at(misfits)
    assert f"First of them: {words}; " in str(drift)
    assert "line 6" in str(drift)
    assert "line 7" not in str(drift)
    assert (drift.invalid_values, drift.columns_new, drift.columns_of_another_type) == (
        tuple(misfits),
        ("b",),
        {3: PAID},
    )
