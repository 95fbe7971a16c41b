import pytest

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular import TEXT, Column, ColumnType, Contract, DriftError, Kind, first_contract, inspect
from qt_pipeline.tabular.types import Seen
from qt_pipeline_tests.tabular.files import stream_of

FIRST = (
    b"Policy Number,Paid,Vehicles,Loss date,Seen at,Open,Name\r\n"
    b"0012,1.50,3,20200131,2020-01-31 10:00:00,true,Ann\r\n"
    b",,,,,,\r\n"
)
NAMES = ["Policy Number", "Paid", "Vehicles", "Loss date", "Seen at", "Open", "Name"]


def founded_by(data: bytes) -> Contract:
    inspection = inspect(stream_of(data))
    return first_contract(inspection.header.names, inspection.seen, max_name_bytes=128)


def follow(contract: Contract, data: bytes) -> Contract:
    inspection = inspect(stream_of(data))
    return contract.follow(inspection.header.names, inspection.seen)


def types_of(contract: Contract) -> dict[str, str]:
    return {column.name: str(column.type) for column in contract.columns}


def one_column(type_: ColumnType) -> Contract:
    return Contract((Column("Paid", "Paid", type_),))


def test_a_first_file_founds_the_contract() -> None:
    contract = founded_by(FIRST)
    assert types_of(contract) == {
        "Policy Number": "text",
        "Paid": "decimal(15,2)",
        "Vehicles": "integer",
        "Loss date": "date",
        "Seen at": "timestamp",
        "Open": "boolean",
        "Name": "text",
    }


def test_a_column_of_references_stays_text_whatever_it_holds() -> None:
    assert types_of(founded_by(b"ClaimNo,Paid\r\n1,1\r\n")) == {"ClaimNo": "text", "Paid": "integer"}
    whole = Seen(Kind.INTEGER, whole_digits=1)
    assert types_of(first_contract(["GRCODE", "Paid"], [whole, whole], max_name_bytes=128)) == {
        "GRCODE": "text",
        "Paid": "integer",
    }


def test_a_file_like_the_first_and_one_without_values_keep_the_contract() -> None:
    contract = founded_by(FIRST)
    header, _, _ = FIRST.partition(b"\r\n")
    assert follow(contract, FIRST) == contract
    assert follow(contract, header) == contract
    assert follow(contract, header + b"\r\n,,,,,,\r\n") == contract


def test_columns_may_change_their_order() -> None:
    contract = founded_by(b"a,b\n1,2.5\n")
    assert follow(contract, b"b,a\n2.5,1\n") == contract
    assert contract.positions(["b", "a"]) == (1, 0)


def test_equal_headers_go_in_turn() -> None:
    contract = founded_by(b"a,b,a\n1,2,x\n")
    assert [column.name for column in contract.columns] == ["a", "b", "a_2"]
    assert contract.positions(["b", "a", "a"]) == (1, 0, 2)
    with pytest.raises(DriftError, match="missing: 'a'"):
        contract.positions(["a", "b"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a\n1\n", ["columns that are missing: 'b'."]),
        (b"a,b,c\n1,2,3\n", ["columns that are new: 'c'."]),
        (b"a,b,b\n1,2,3\n", ["columns that are new: 'b'."]),
        (b"a,B\n1,2\n", ["columns that are missing: 'b';", "columns that are new: 'B'."]),
        (b"a,b\nx,2\n", ["columns with values of another type: 'a (integer)'."]),
        (b"a,b\nx,1.5\n", ["'a (integer)', 'b (integer)'"]),
    ],
)
def test_drift_names_the_columns(data: bytes, words: list[str]) -> None:
    with pytest.raises(DriftError) as caught:
        follow(founded_by(b"a,b\n1,2\n"), data)
    assert all(word in str(caught.value) for word in words)
    assert isinstance(caught.value, PermanentError)


def test_decimals_gain_places_after_the_point_and_never_lose_one() -> None:
    contract = founded_by(b"Paid\n1.5\n")
    wider = follow(contract, b"Paid\n0.125\n")
    assert types_of(wider) == {"Paid": "decimal(15,3)"}
    assert follow(wider, b"Paid\n1\n") == wider
    assert follow(contract, b"Paid\n-0\n") == contract


@pytest.mark.parametrize(
    ("type_", "fits", "breaks"),
    [
        (ColumnType(Kind.INTEGER), ["5", "-9223372036854775808"], ["-0", "1.5", "9223372036854775808", "true", "x"]),
        (
            ColumnType(Kind.DECIMAL, 15, 2),
            ["5", "1234567890123.25", "-.5"],
            ["12345678901234.25", "1.50x", "2020-01-31"],
        ),
        (ColumnType(Kind.DECIMAL, 38, 2), ["1" * 36 + ".25"], ["1" * 37, "1" * 36 + ".125"]),
        (ColumnType(Kind.BOOLEAN), ["TRUE", "false"], ["1", "yes"]),
        (ColumnType(Kind.DATE, format="%Y-%m-%d"), ["2020-01-31"], ["20200131", "2020-02-30", "2020-01-31 10:00:00"]),
        (
            ColumnType(Kind.TIMESTAMP, format="%Y-%m-%d %H:%M:%S"),
            ["2020-01-31 10:00:00"],
            ["2020-01-31T10:00:00", "2020-01-31 10:00:00.5", "2020-01-31"],
        ),
        (TEXT, ["5", "x", "2020-01-31", "007"], []),
    ],
)
def test_a_later_file_keeps_the_family_of_each_column(type_: ColumnType, fits: list[str], breaks: list[str]) -> None:
    for value in fits:
        follow(one_column(type_), f"Paid\n{value}\n".encode())
    for value in breaks:
        with pytest.raises(DriftError, match="of another type"):
            follow(one_column(type_), f"Paid\n{value}\n".encode())


def test_days_without_dashes_stay_days() -> None:
    contract = founded_by(b"Loss date\n20200131\n")
    assert follow(contract, b"Loss date\n20211231\n") == contract
    with pytest.raises(DriftError):
        follow(contract, b"Loss date\n20211231\n5\n")
    numbers = founded_by(b"Loss date\n20200131\n5\n")
    assert types_of(follow(numbers, b"Loss date\n20200131\n")) == {"Loss date": "integer"}
