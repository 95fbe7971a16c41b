from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qt_pipeline.tabular import (
    Column,
    ColumnType,
    Contract,
    DeclarationError,
    DriftError,
    Kind,
    Naming,
    ResolvedContract,
    SchemaChange,
    SchemaRules,
    align_headers,
    parse_type,
)
from qt_pipeline.tabular.drift import holds
from qt_pipeline.values import DriftPolicy
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import csv_bytes, founded_by, inspection_of, rules_of, settled, two_files

ADDITIVE, EVOLVE, FREEZE = DriftPolicy.ADDITIVE, DriftPolicy.EVOLVE, DriftPolicy.FREEZE

FIRST = (
    b"Policy Number,Paid,Vehicles,Loss date,Seen at,Open,Name,Later\r\n"
    b"0012,1.50,3,20200131,2020-01-31 10:00:00,true,Ann,\r\n"
    b",,,,,,,\r\n"
)

Named = ColumnType | str
"""A type, or what declares it."""


def type_of(named: Named) -> ColumnType:
    return parse_type(named) if isinstance(named, str) else named


OPEN = ColumnType(Kind.UNKNOWN)
NINE_DIGITS = ColumnType(Kind.INTEGER, 9)
"""The type of an INT in a table that was taken over."""
MILLISECONDS = ColumnType(Kind.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S.%3f")

HEADER = "Value"


def one_column(named: Named) -> Contract:
    return Contract((Column(HEADER, HEADER, type_of(named)),))


def file_of(*values: str) -> bytes:
    return csv_bytes([HEADER], [[value] for value in values])


def becomes(
    before: Named, values: Sequence[str], policy: DriftPolicy, *, declared: str | None = None, keeps_rows: bool = False
) -> ColumnType | None:
    """The type of the column after a file with these values; None where that is refused."""
    rules = rules_of(policy, keeps_rows=keeps_rows, **({HEADER: declared} if declared else {}))
    data = file_of(*values)
    after = settled_or_refused(data, one_column(before), rules)
    if isinstance(after, DriftError):
        assert f"columns with values of another type: '{HEADER} (" in str(after)
        return None
    [column] = after.contract.columns
    changed = (SchemaChange(HEADER, type_of(before), column.type),) if column.type != type_of(before) else ()
    assert after.changes == changed
    assert settled(data, after.contract, rules) == ResolvedContract(after.contract), "a second time it is no change"
    return column.type


def settled_or_refused(data: bytes, contract: Contract, rules: SchemaRules) -> ResolvedContract | DriftError:
    try:
        return settled(data, contract, rules)
    except DriftError as drift:
        return drift


def types_of(contract: Contract) -> dict[str, str]:
    return {column.name: str(column.type) for column in contract.columns}


# --- the first contract


def test_a_first_file_founds_the_contract_with_room_to_grow() -> None:
    assert types_of(founded_by(FIRST)) == {
        "Policy Number": "text(50)",
        "Paid": "decimal(15,2)",
        "Vehicles": "integer",
        "Loss date": "date %Y%m%d",
        "Seen at": "timestamp",
        "Open": "boolean",
        "Name": "text(50)",
        "Later": "open",
    }
    assert settled(FIRST).changes == ()


@pytest.mark.parametrize(
    ("length", "bound"),
    [(1, 50), (25, 50), (26, 100), (500, 1000), (1001, 4000), (2000, 4000), (2001, 4000), (4000, 4000), (4001, 0)],
)
def test_a_text_gets_room_for_twice_its_longest_value_and_no_bound_beyond_what_sql_server_can_bound(
    length: int, bound: int
) -> None:
    [column] = founded_by(file_of("x", "y" * length)).columns
    assert column.type == ColumnType(Kind.TEXT, length=bound)


def test_a_column_of_references_stays_text_whatever_it_holds() -> None:
    assert types_of(founded_by(b"ClaimNo,GRCODE,Paid\r\n1,1,1\r\n,2,\r\n")) == {
        "ClaimNo": "text(50)",
        "GRCODE": "text(50)",
        "Paid": "integer",
    }
    assert types_of(founded_by(b"ClaimNo,Paid\r\n")) == {"ClaimNo": "text(50)", "Paid": "open"}


def test_references_of_a_table_that_was_taken_over_stay_what_they_are_there() -> None:
    contract = Contract((Column("ClaimNo", "ClaimNo", ColumnType(Kind.INTEGER)),))
    assert settled(b"ClaimNo\n17\n", contract).contract == contract
    with pytest.raises(DriftError):
        settled(b"ClaimNo\n017\n", contract)


@pytest.mark.parametrize("policy", DriftPolicy)
def test_declared_types_found_the_contract_or_refuse_its_first_file(policy: DriftPolicy) -> None:
    rules = rules_of(policy, Paid="decimal(18,2) 1,234.56", Day="date %d/%m/%Y", Note="text(5)", Any="text")
    contract = founded_by(b'Paid,Day,Note,Any\n"1,000.5",31/01/2020,12345,1\n', rules)
    assert types_of(contract) == {
        "Paid": "decimal(18,2) 1,234.56",
        "Day": "date %d/%m/%Y",
        "Note": "text(5)",
        "Any": "text(50)",
    }
    assert founded_by(b"Paid,Day,Note,Any\n", rules) == contract
    with pytest.raises(DriftError, match=r"'Paid \(decimal\(18,2\) 1,234\.56\)', 'Note \(text\(5\)\)'"):
        founded_by(b'Paid,Day,Note,Any\n"1,000.555",31/01/2020,123456,1\n', rules)


def test_a_zero_before_the_point_takes_no_digit_of_a_declared_type() -> None:
    rules = rules_of(ADDITIVE, Share="decimal(2,2)")
    assert types_of(founded_by(b"Share\n0.25\n-.5\n0\n", rules)) == {"Share": "decimal(2,2)"}
    with pytest.raises(DriftError):
        founded_by(b"Share\n1.25\n", rules)


# --- which columns a file has


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a\n1\n", ["columns that are missing: 'b'."]),
        (b"a,b,c\n1,2,3\n", ["columns that are new: 'c'."]),
        (b"a,b,b\n1,2,3\n", ["columns that are new: 'b'."]),
        (b"a,B\n1,2\n", ["columns that are missing: 'b';", "columns that are new: 'B'."]),
        (b"a,b\nx,2\n", ["columns with values of another type: 'a (integer)'."]),
        (b"a,b\nx,1.5\n", ["'a (integer)', 'b (integer)'"]),
        (
            b"c,a\n1,x\n",
            ["missing: 'b'; columns that are new: 'c'; columns with values of another type: 'a (integer)'."],
        ),
    ],
)
def test_frozen_columns_accept_no_difference_and_name_each(data: bytes, words: list[str]) -> None:
    with pytest.raises(DriftError) as caught:
        settled(data, founded_by(b"a,b\n1,2\n"), rules_of(FREEZE))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("policy", DriftPolicy)
def test_a_file_like_the_first_and_one_without_values_keep_the_contract(policy: DriftPolicy) -> None:
    contract = founded_by(FIRST)
    header, _, _ = FIRST.partition(b"\r\n")
    for data in (FIRST, header, header + b"\r\n,,,,,,,\r\n"):
        assert settled(data, contract, rules_of(policy)) == ResolvedContract(contract)


@pytest.mark.parametrize("policy", DriftPolicy)
def test_columns_may_change_their_order_under_every_policy(policy: DriftPolicy) -> None:
    contract = founded_by(b"a,b\n1,2.5\n")
    assert settled(b"b,a\n2.5,1\n", contract, rules_of(policy)) == ResolvedContract(contract)


@pytest.mark.parametrize("policy", [ADDITIVE, EVOLVE])
def test_a_new_column_is_added_at_the_end_under_a_name_of_its_own(policy: DriftPolicy) -> None:
    contract = founded_by(b"a,b\n1,2\n")
    after = settled(b"A,a,b,b\nx,1,2,2.5\n", contract, rules_of(policy))
    assert after.contract.columns[:2] == contract.columns
    assert [(c.header, c.name, str(c.type)) for c in after.contract.columns[2:]] == [
        ("A", "A_2", "text(50)"),
        ("b", "b_2", "decimal(15,1)"),
    ]
    assert [str(change) for change in after.changes] == [
        "new column 'A_2' (text(50))",
        "new column 'b_2' (decimal(15,1))",
    ]
    assert after.contract.positions(["A", "a", "b", "b"]) == (1, 2, 0, 3)


@pytest.mark.parametrize("policy", [ADDITIVE, EVOLVE])
def test_a_new_column_gets_its_declared_type_or_is_refused(policy: DriftPolicy) -> None:
    contract, rules = founded_by(b"a\n1\n"), rules_of(policy, b="decimal(9,2) 1.234,56")
    after = settled(b'a,b\n1,"1.000,50"\n', contract, rules)
    assert types_of(after.contract) == {"a": "integer", "b": "decimal(9,2) 1.234,56"}
    with pytest.raises(DriftError, match=r"another type: 'b \(decimal\(9,2\) 1\.234,56\)'"):
        settled(b"a,b\n1,1.000.50\n", contract, rules)


def test_a_missing_column_fails_an_additive_load() -> None:
    with pytest.raises(DriftError, match=r"columns that are missing: 'b'\."):
        settled(b"a\n1\n", founded_by(b"a,b\n1,2\n"), rules_of(ADDITIVE))


def test_a_missing_column_evolves_to_null_and_is_told_each_time() -> None:
    contract = founded_by(b"a,b\n1,2\n")
    for _ in range(2):
        after = settled(b"a\n1\n", contract, rules_of(EVOLVE))
        assert after == ResolvedContract(contract, (SchemaChange("b", contract.columns[1].type, None),))
        assert str(after.changes[0]) == "column 'b' is missing in the file and NULL in the table"
    assert settled(b"a,b\n1,2\n", contract, rules_of(EVOLVE)) == ResolvedContract(contract)


def test_changes_name_the_columns_of_the_table_in_words() -> None:
    contract = founded_by(b"Gross Paid,b\n1.5,2\n", rules := replace(rules_of(EVOLVE), naming=Naming.SNAKE_CASE))
    after = settled(b"Gross Paid,More\n1.125,x\n", contract, rules)
    assert [str(change) for change in after.changes] == [
        "column 'gross_paid' was decimal(15,1) and is decimal(15,3) now",
        "column 'b' is missing in the file and NULL in the table",
        "new column 'more' (text(50))",
    ]


# --- which values a column has: what it becomes under `additive`, `evolve` and `freeze`; None is refused

LONG_DECIMAL = "0." + "1" * 26

Cell = tuple[Named, Sequence[str], tuple[Named | None, ...]]
"""A type, the values of the next file, and what the type is then under one policy after the other."""

CELLS: dict[str, Cell] = {
    "a text that fits": ("text(50)", ["x" * 50], ("text(50)", "text(50)", "text(50)")),
    "a longer text": ("text(50)", ["x" * 51], ("text(200)", "text(200)", None)),
    "a text longer in UTF-16 alone": ("text(50)", ["👍" * 26], ("text(200)", "text(200)", None)),
    "a text beyond the longest bound": ("text(50)", ["x" * 4001], ("text", "text", None)),
    "any text where there is no bound": ("text", ["x" * 5000], ("text", "text", "text")),
    "numbers in a column of text": ("text(50)", ["5", "1.5", ""], ("text(50)", "text(50)", "text(50)")),
    "fewer digits": ("decimal(15,2)", ["5", ".5", "-0"], ("decimal(15,2)", "decimal(15,2)", "decimal(15,2)")),
    "more digits within the headroom": (
        "decimal(15,2)",
        ["1234567890123.45"],
        ("decimal(15,2)", "decimal(15,2)", "decimal(15,2)"),
    ),
    "more digits after the point": ("decimal(15,2)", ["0.125"], ("decimal(15,3)", "decimal(15,3)", None)),
    "more digits before the point": ("decimal(15,2)", ["12345678901234"], ("decimal(38,2)", "decimal(38,2)", None)),
    "more digits on both sides": ("decimal(15,2)", ["1234567890123.125"], ("decimal(38,3)", "decimal(38,3)", None)),
    "a long whole number among decimals": ("decimal(15,2)", ["9" * 36], ("decimal(38,2)", "decimal(38,2)", None)),
    "a decimal beyond 38 digits": ("decimal(38,2)", ["1" * 37], (None, "text(100)", None)),
    "a decimal beyond 38 digits after the point": ("decimal(38,2)", ["0." + "1" * 39], (None, "text(100)", None)),
    "decimals beyond 38 digits together": ("decimal(38,2)", ["1" * 36, "0.125"], (None, "text(100)", None)),
    "a whole number of 64 bits": ("integer", ["-9223372036854775808"], ("integer", "integer", "integer")),
    "a whole number beyond 64 bits": ("integer", ["9223372036854775808"], (None, "decimal(38,0)", None)),
    "a whole number beyond 38 digits": ("integer", ["9" * 39], (None, "text(100)", None)),
    "minus zero": ("integer", ["-0"], (None, "text(50)", None)),
    "minus zero with a fraction": ("integer", ["-0.0", "1.5"], (None, "text(50)", None)),
    "minus zero among decimals": ("decimal(15,2)", ["-0.0"], ("decimal(15,2)", "decimal(15,2)", "decimal(15,2)")),
    "minus zero as the first value of an open column": (OPEN, ["-0.00"], ("text(50)", "text(50)", "text(50)")),
    "sections as the first values of an open column": (OPEN, ["3.1", "3.10"], ("text(50)", "text(50)", "text(50)")),
    "whole numbers that fit what was taken over": (NINE_DIGITS, ["999999999"], (NINE_DIGITS, NINE_DIGITS, NINE_DIGITS)),
    "whole numbers beyond what was taken over": (NINE_DIGITS, ["1000000000"], ("integer", "integer", None)),
    "a decimal in what was taken over as whole numbers": (NINE_DIGITS, ["1.5"], (None, "decimal(15,1)", None)),
    "a decimal among whole numbers": ("integer", ["1.25", "7"], (None, "decimal(38,2)", None)),
    "decimals too fine for a column of whole numbers": ("integer", ["0." + "1" * 20], (None, "text(50)", None)),
    "a number with a leading zero": ("integer", ["007"], (None, "text(50)", None)),
    "a word among whole numbers": ("integer", ["5", "x"], (None, "text(50)", None)),
    "a long word among whole numbers": ("integer", ["x" * 30], (None, "text(100)", None)),
    "a word among decimals": ("decimal(15,2)", ["1.5", "x"], (None, "text(100)", None)),
    "a day among decimals": ("decimal(15,2)", ["2020-01-31"], (None, "text(100)", None)),
    "a word among truth values": ("boolean", ["true", "yes"], (None, "text(50)", None)),
    "numbers in a column of truth values": ("boolean", ["1", "0"], (None, "text(50)", None)),
    "truth values in another case": ("boolean", ["TRUE", "fAlse"], ("boolean", "boolean", "boolean")),
    "a day that does not exist": ("date", ["2020-02-30"], (None, "text(50)", None)),
    "a number among days": ("date %Y%m%d", ["20200131", "5"], (None, "text(50)", None)),
    "a moment among days": ("date", ["2020-01-31 10:00:00"], (None, "text(50)", None)),
    "a day among moments": ("timestamp", ["2020-01-31"], (None, "text(100)", None)),
    "moments of several forms": (
        "timestamp",
        ["2020-01-31 10:00:00", "2020-01-31T10:00:00"],
        (None, "text(100)", None),
    ),
    "days in another plain form": ("date %Y%m%d", ["2020-01-31"], ("date", "date", None)),
    "moments in another plain form": ("timestamp", ["2020-01-31T10:00:00.125"], (MILLISECONDS, MILLISECONDS, None)),
    "the first value of an open column": (OPEN, ["", "5"], ("integer", "integer", "integer")),
    "the first text of an open column": (OPEN, ["x" * 26], ("text(100)", "text(100)", "text(100)")),
    "the first day of an open column": (OPEN, ["2020-01-31"], ("date", "date", "date")),
    "still no value of an open column": (OPEN, ["", ""], (OPEN, OPEN, OPEN)),
}


def each_policy(cells: Mapping[str, Cell]) -> list[object]:
    return [
        pytest.param(before, values, policy, outcome, id=f"{words}-{policy}")
        for words, (before, values, outcomes) in cells.items()
        for policy, outcome in zip(DriftPolicy, outcomes, strict=False)
    ]


@pytest.mark.parametrize(("before", "values", "policy", "after"), each_policy(CELLS))
def test_what_becomes_of_a_column_when_its_file_has(
    before: Named, values: Sequence[str], policy: DriftPolicy, after: Named | None
) -> None:
    assert becomes(before, values, policy) == (after if after is None else type_of(after))


@pytest.mark.parametrize("policy", DriftPolicy)
@pytest.mark.parametrize("keeps_rows", [False, True])
@pytest.mark.parametrize(
    "before",
    [
        OPEN,
        NINE_DIGITS,
        MILLISECONDS,
        "text",
        "text(50)",
        "integer",
        "decimal(15,2)",
        "boolean",
        "date %Y%m%d",
        "date %d/%m/%Y",
    ],
    ids=str,
)
def test_a_file_of_a_header_alone_changes_no_type(policy: DriftPolicy, keeps_rows: bool, before: Named) -> None:
    assert becomes(before, [], policy, keeps_rows=keeps_rows) == type_of(before)


def test_eight_digits_below_a_date_stay_numbers_where_they_were_numbers() -> None:
    numbers = founded_by(b"Loss date\n20200131\n5\n")
    assert types_of(numbers) == {"Loss date": "integer"}
    assert settled(b"Loss date\n20200131\n", numbers, rules_of(FREEZE)) == ResolvedContract(numbers)
    decimals = founded_by(b"Loss date\n0.5\n")
    assert settled(b"Loss date\n20200131\n", decimals, rules_of(FREEZE)) == ResolvedContract(decimals)


# --- where rows of earlier loads stay, types go on holding them: `additive` and `evolve`

KEPT: dict[str, Cell] = {
    "a longer text": ("text(50)", ["x" * 51], ("text(200)", "text(200)")),
    "more digits after the point": ("decimal(15,2)", ["0.125"], ("decimal(16,3)", "decimal(16,3)")),
    "more digits after the point, once more": ("decimal(16,3)", ["0.1625"], ("decimal(17,4)", "decimal(17,4)")),
    "more digits after the point than there is room": ("decimal(15,2)", [LONG_DECIMAL], (None, "text(100)")),
    "more digits before the point": ("decimal(15,2)", ["12345678901234"], ("decimal(16,2)", "decimal(16,2)")),
    "more digits in a short column": ("decimal(4,2)", ["0.125"], ("decimal(15,3)", "decimal(15,3)")),
    "whole numbers beyond what was taken over": (NINE_DIGITS, ["1000000000"], ("integer", "integer")),
    "a decimal among whole numbers": ("integer", ["1.25"], (None, "decimal(21,2)")),
    "a decimal in what was taken over as whole numbers": (NINE_DIGITS, ["1.5"], (None, "decimal(15,1)")),
    "decimals too fine for a column of whole numbers": ("integer", ["0." + "1" * 20], (None, "text(50)")),
    "a word among whole numbers": ("integer", ["x"], (None, "text(50)")),
    "a word among decimals": ("decimal(15,2)", ["x"], (None, "text(100)")),
    "a word among truth values": ("boolean", ["x"], (None, None)),
    "a word among days": ("date", ["x"], (None, None)),
    "a word among moments": ("timestamp", ["x"], (None, None)),
    "days in another plain form": ("date %Y%m%d", ["2020-01-31"], ("date", "date")),
    "moments in another plain form": ("timestamp", ["2020-01-31T10:00:00.125"], (MILLISECONDS, MILLISECONDS)),
    "the first value of an open column": (OPEN, ["5"], ("integer", "integer")),
}


@pytest.mark.parametrize(("before", "values", "policy", "after"), each_policy(KEPT))
def test_what_becomes_of_a_column_with_older_rows_when_its_file_has(
    before: Named, values: Sequence[str], policy: DriftPolicy, after: Named | None
) -> None:
    assert becomes(before, values, policy, keeps_rows=True) == (after if after is None else type_of(after))


def test_the_room_of_a_first_long_decimal_is_kept_for_digits_after_the_point_where_rows_stay() -> None:
    contract = founded_by(b"Share\n0.3333333333333333\n", rules_of(ADDITIVE, keeps_rows=True))
    assert types_of(contract) == {"Share": "decimal(17,16)"}
    after = settled(b"Share\n12.33333333333333331\n", contract, rules_of(ADDITIVE, keeps_rows=True))
    assert types_of(after.contract) == {"Share": "decimal(19,17)"}
    assert types_of(founded_by(b"Share\n0.3333333333333333\n")) == {"Share": "decimal(38,16)"}


def test_rows_that_are_replaced_need_no_room() -> None:
    assert becomes("decimal(15,2)", [LONG_DECIMAL], ADDITIVE) == type_of("decimal(38,26)")


# --- declared types hold under every policy

DECLARED: dict[str, tuple[Named, str, Sequence[str], Named | None]] = {
    "fits": ("decimal(18,2)", "decimal(18,2)", ["1.25"], "decimal(18,2)"),
    "has too few places for a value": ("decimal(18,2)", "decimal(18,2)", ["1.255"], None),
    "has too few digits for a value": ("decimal(18,2)", "decimal(18,2)", ["1" * 17], None),
    "has too few characters for a value": ("text(17)", "text(17)", ["x" * 18], None),
    "is of another kind than a value": ("integer", "integer", ["x"], None),
    "is of another form than a value": ("date", "date", ["20200131"], None),
    "is new and fits": ("integer", "decimal(18,2)", ["5"], "decimal(18,2)"),
    "is new and does not fit": ("text(50)", "decimal(18,2)", ["x"], None),
    "is new and narrower": ("decimal(38,4)", "decimal(4,2)", ["1.25"], "decimal(4,2)"),
    "is new, with a form of its own": ("text(50)", "date %d/%m/%Y", ["31/01/2020"], "date %d/%m/%Y"),
    "is another form than before": ("date %d/%m/%Y", "date %d.%m.%Y", ["31.01.2020"], "date %d.%m.%Y"),
    "is text, for numbers": ("integer", "text", ["5"], "text(50)"),
    "is text, for decimals": ("decimal(15,2)", "text", ["5"], "text(100)"),
    "is text, for numbers in a form": ("integer 1,234", "text", ["1,234"], "text(50)"),
    "is text, for days": ("date", "text", ["2020-01-31"], "text(50)"),
    "is text, for nothing yet": (OPEN, "text", [""], "text(50)"),
    "is text, for text": ("text(100)", "text", ["5"], "text(100)"),
    "is a short text, for numbers": ("integer", "text(10)", ["5"], "text(10)"),
    "is for a column that was open": (OPEN, "decimal(18,2)", ["5"], "decimal(18,2)"),
}


@pytest.mark.parametrize("policy", DriftPolicy)
@pytest.mark.parametrize(("before", "declared", "values", "after"), DECLARED.values(), ids=DECLARED)
def test_what_becomes_of_a_column_whose_declared_type(
    before: Named, declared: str, values: Sequence[str], after: Named | None, policy: DriftPolicy
) -> None:
    assert becomes(before, values, policy, declared=declared) == (after if after is None else type_of(after))


@pytest.mark.parametrize(("policy", "after"), [(ADDITIVE, "text(200)"), (EVOLVE, "text(200)"), (FREEZE, None)])
def test_a_declared_text_without_a_length_has_a_bound_that_grows(policy: DriftPolicy, after: str | None) -> None:
    assert becomes("text(50)", ["x" * 51], policy, declared="text") == (after and type_of(after))


@pytest.mark.parametrize("keeps_rows", [False, True])
@pytest.mark.parametrize("policy", DriftPolicy)
@pytest.mark.parametrize(
    ("before", "fits", "breaks"),
    [
        ("integer 1,234", ["1,234", "7"], ["1,23"]),
        ("integer 1,234", ["1,234"], ["9,223,372,036,854,775,808"]),
        ("date %d/%m/%Y", ["31/01/2020"], ["31/01/2020", "2020-01-31"]),
        ("boolean Y/N", ["y", "N"], ["Y", "true"]),
    ],
)
def test_a_form_stays_when_its_declaration_is_taken_away_until_another_type_is_declared(
    before: str, fits: list[str], breaks: list[str], policy: DriftPolicy, keeps_rows: bool
) -> None:
    assert becomes(before, fits, policy, keeps_rows=keeps_rows) == type_of(before)
    # To text, too: what was looked at is no longer the text of the file.
    assert becomes(before, breaks, policy, keeps_rows=keeps_rows) is None
    assert becomes(before, breaks, policy, declared="text") == type_of("text(50)")


def test_a_plain_type_whose_declaration_is_taken_away_follows_the_policy_again() -> None:
    assert becomes("decimal(18,2)", ["1.255"], ADDITIVE) == type_of("decimal(18,3)")
    assert becomes("text(17)", ["x" * 18], ADDITIVE) == type_of("text(50)")
    assert becomes("integer", ["x"], EVOLVE) == type_of("text(50)")


TAKES_IN: dict[str, tuple[Named, str, bool]] = {
    "whole numbers as decimals with room": ("integer", "decimal(21,2)", True),
    "whole numbers as decimals without room": ("integer", "decimal(18,2)", False),
    "few digits as decimals with room": (NINE_DIGITS, "decimal(18,2)", True),
    "whole numbers in a form as plain ones": ("integer 1,234", "integer", True),
    "whole numbers as text": ("integer", "text", True),
    "whole numbers as a short text": ("integer", "text(10)", False),
    "numbers in a form as text": ("integer 1,234", "text", False),
    "decimals as wider ones": ("decimal(15,2)", "decimal(38,4)", True),
    "decimals as ones with fewer places": ("decimal(15,4)", "decimal(38,2)", False),
    "decimals as ones with fewer digits": ("decimal(15,2)", "decimal(14,2)", False),
    "decimals as whole numbers": ("decimal(15,2)", "integer", False),
    "decimals in another form": ("decimal(15,2)", "decimal(15,2) 1.234,56", True),
    "text as numbers": ("text(50)", "integer", False),
    "text as a longer one": ("text(50)", "text(200)", True),
    "text as a shorter one": ("text(50)", "text(17)", False),
    "text without a bound as one with": ("text", "text(4000)", False),
    "text as text": ("text(50)", "text", True),
    "days in another form": ("date", "date %d/%m/%Y", True),
    "days as text": ("date", "text", False),
    "days as moments": ("date", "timestamp", False),
    "truth values in other words": ("boolean", "boolean Y/N", True),
    "truth values as text": ("boolean", "text", False),
    "nothing yet as anything": (OPEN, "integer", True),
}


@pytest.mark.parametrize("policy", DriftPolicy)
@pytest.mark.parametrize(("before", "declared", "accepted"), TAKES_IN.values(), ids=TAKES_IN)
def test_where_older_rows_stay_a_declared_type_must_hold_them_too(
    before: Named, declared: str, accepted: bool, policy: DriftPolicy
) -> None:
    assert becomes(before, [""], policy, declared=declared) is not None
    if accepted:
        assert becomes(before, [""], policy, declared=declared, keeps_rows=True) is not None
        return
    with pytest.raises(DeclarationError) as refused:
        settled(file_of(""), one_column(before), rules_of(policy, keeps_rows=True, **{HEADER: declared}))
    assert f"column {HEADER!r} is {type_of(before)}, declared as {type_of(declared)}." in str(refused.value)


@pytest.mark.parametrize("policy", DriftPolicy)
def test_declarations_that_older_rows_forbid_are_told_together_and_before_what_the_file_breaks(
    policy: DriftPolicy,
) -> None:
    contract = founded_by(b"Paid,Day,Count,Gone\n1.50,2026-01-31,1,1\n")
    rules = rules_of(policy, keeps_rows=True, Paid="integer", Day="text", Gone="boolean")
    with pytest.raises(DeclarationError) as refused:
        settled(b"Count,Day,Paid,New\nsecret,2026-02-01,x,1\n", contract, rules)
    assert str(refused.value).startswith(
        "Rows of earlier loads stay in the table, and the types that the catalog declares cannot hold them: column "
        "'Paid' is decimal(15,2), declared as integer; column 'Day' is date, declared as text. Nothing was"
    )
    if policy is EVOLVE:
        # Of a column that the file does not have nothing is asked: it stays what it is.
        assert settled(b"Count\n1\n", contract, rules).contract == contract


# --- a table that was there before its first file


@pytest.mark.parametrize(
    ("naming", "headers", "known"),
    [
        (Naming.VERBATIM, ["GROSS premium", "Day"], ["GROSS premium", "Day"]),
        (Naming.VERBATIM, ["Gross Premium", "Day"], ["Gross Premium", "Day"]),
        (Naming.SNAKE_CASE, ["Gross Premium", "DAY"], ["gross premium", "DAY"]),
        (Naming.VERBATIM, ["Day"], ["gross premium", "Day"]),
    ],
)
def test_a_table_that_was_there_is_found_by_the_names_of_its_columns(
    naming: Naming, headers: list[str], known: list[str]
) -> None:
    columns = (Column("gross premium", "gross premium", OPEN), Column("day", "day", OPEN))
    found = align_headers(Contract(columns), headers, SchemaRules(max_name_bytes=128, naming=naming))
    assert [column.header for column in found.columns] == known
    assert [column.name for column in found.columns] == ["gross premium", "day"]


def test_a_table_in_snake_case_is_found_by_headers_that_make_its_names() -> None:
    contract = Contract((Column("gross_premium", "gross_premium", OPEN), Column("id", "id", OPEN)))
    rules = SchemaRules(max_name_bytes=128, naming=Naming.SNAKE_CASE)
    found = align_headers(contract, ["ID", "Gross Premium"], rules)
    assert [column.header for column in found.columns] == ["Gross Premium", "ID"]


# --- any two files


def names_a_column(drift: DriftError) -> bool:
    names = [column.name for column in drift.columns_of_another_type.values()]
    return bool(names) and all(f"'{name} (" in str(drift) for name in names)


def held(contract: Contract, data: bytes, rules: SchemaRules) -> bool:
    """Whether the contract's types hold all values of a file, days and moments also in another plain form."""
    inspection = inspection_of(data, contract, rules)
    return all(
        holds(
            replace(column.type, format=seen.format) if seen.kind is column.type.kind and seen.format else column.type,
            seen,
        )
        for column, seen in zip(contract.columns, inspection.seen, strict=True)
    )


@given(two_files(), st.sampled_from(DriftPolicy), st.booleans())
@example((b"Paid\r\n1\r\n", b"Paid\r\n-0\r\n"), EVOLVE, False)
@example((b"Paid\r\n0.1\r\n", b"Paid\r\n" + b"9" * 37 + b"\r\n"), EVOLVE, True)
@example((b"Loss date\r\n20200131\r\n", b"Loss date\r\n5\r\n"), EVOLVE, False)
def test_a_contract_holds_the_file_it_was_settled_for_or_refuses_it_by_column(
    files: tuple[bytes, bytes], policy: DriftPolicy, keeps_rows: bool
) -> None:
    first, second = files
    rules = rules_of(policy, keeps_rows=keeps_rows)
    founded = founded_by(first, rules)
    after = settled_or_refused(second, founded, rules)
    if isinstance(after, DriftError):
        assert policy is not EVOLVE or keeps_rows
        assert names_a_column(after)
        return
    inspection = inspection_of(second, founded, rules)
    types = [column.type for column in after.contract.columns]
    assert all(holds(type_, seen) for type_, seen in zip(types, inspection.seen, strict=True))
    assert settled(second, after.contract, rules) == ResolvedContract(after.contract)
    assert [change.after for change in after.changes] == [
        b.type for a, b in zip(founded.columns, after.contract.columns, strict=True) if a != b
    ]
    if keeps_rows:
        assert held(after.contract, first, rules)


@few_examples()
@given(two_files())
def test_what_an_additive_load_accepts_becomes_the_same_when_it_evolves(files: tuple[bytes, bytes]) -> None:
    founded = founded_by(files[0])
    after = settled_or_refused(files[1], founded, rules_of(ADDITIVE))
    if isinstance(after, ResolvedContract):
        assert settled(files[1], founded, rules_of(EVOLVE)) == after
