import functools
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qt_pipeline.tabular import ColumnProfile, ColumnType, Kind, resolve_contract
from qt_pipeline.tabular.infer import infer_kind, measure
from qt_pipeline_tests.tabular.files import COLUMNS, NASTY, RULES, TEXTS

INTEGER = ColumnType(Kind.INTEGER)
BOOLEAN = ColumnType(Kind.BOOLEAN)
ISO_DATE = ColumnType(Kind.DATE, format="%Y-%m-%d")
COMPACT_DATE = ColumnType(Kind.DATE, format="%Y%m%d")

Values = Sequence[str | None]

VALUES = st.lists(NASTY | st.none(), max_size=6) | COLUMNS.flatmap(
    lambda column: st.lists(column[1].map(lambda text: text or None) | NASTY, max_size=8)
)


def decimal(precision: int, scale: int) -> ColumnType:
    return ColumnType(Kind.DECIMAL, precision, scale)


def seen_in(values: Values, *, dates: bool = False) -> ColumnProfile:
    return infer_kind(pa.array(values, pa.string()), compact_dates=dates)


def type_of(*values: str | None, dates: bool = False) -> ColumnType:
    [column] = resolve_contract(None, ["Anything"], [seen_in(values, dates=dates)], RULES).contract.columns
    return column.type


def is_text(*values: str | None, dates: bool = False) -> bool:
    return type_of(*values, dates=dates).kind is Kind.TEXT


@given(VALUES, st.booleans(), st.lists(st.integers(0, 8), max_size=3), st.randoms(use_true_random=False))
@example(["20200131", None, "20200230"], True, [1], Random(1))
@example(["20200131", "0.5"], True, [1], Random(1))
@example(["-0", "1.5"], False, [1], Random(1))
@example(["2020-01-31", "5"], False, [1], Random(1))
@example(["0", "0.5"], False, [1], Random(1))
def test_what_is_seen_does_not_depend_on_where_the_batches_are_cut_nor_on_their_order(
    values: list[str | None], dates: bool, cuts: list[int], random: Random
) -> None:
    edges = [0, *sorted(cuts), len(values)]
    parts = [seen_in(values[start:end], dates=dates) for start, end in pairwise(edges)]
    random.shuffle(parts)
    assert functools.reduce(ColumnProfile.join, parts, ColumnProfile()) == seen_in(values, dates=dates)


@given(VALUES, st.booleans(), st.integers(0, 8), st.integers(0, 8))
def test_a_slice_of_a_batch_is_seen_as_what_it_is(values: list[str | None], dates: bool, start: int, end: int) -> None:
    sliced = pa.array(values, pa.string())[start:end]
    assert infer_kind(sliced, compact_dates=dates) == seen_in(values[start:end], dates=dates)


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_a_column_without_values_is_open(values: Values) -> None:
    assert seen_in(values) == measure(pa.array(values, pa.string())) == ColumnProfile()
    assert type_of(*values) == ColumnType(Kind.UNKNOWN)


@given(
    st.lists(
        TEXTS.filter(bool)
        | st.sampled_from(["é", "€", "\U0001d4b3", "👍🏽", "e\u0301", "\U0010ffff", "x" * 60])
        | st.none(),
        max_size=8,
    )
)
@example([None])
def test_a_text_is_as_long_as_its_code_units_in_utf_16(values: list[str | None]) -> None:
    expected = max((len(value.encode("utf-16-le")) // 2 for value in values if value is not None), default=0)
    for start in range(len(values) + 1):
        # Of a slice, too, whose bytes lie within those of others.
        column = pa.array(["👍", *values[:start], *values[start:], "👍👍"], pa.string())[1:-1]
        assert measure(column).length == expected
        assert infer_kind(column, compact_dates=True).length == expected


def test_values_of_every_kind_are_measured_by_their_text() -> None:
    assert seen_in(["-1.50", None, "22"]).length == 5
    assert seen_in(["20200131"], dates=True).length == 8
    assert seen_in(["20200131", "0.5"], dates=True).length == 8
    assert seen_in(["FALSE"]).length == 5
    assert seen_in(["2020-01-31 10:00:00.123"]).length == 23


@pytest.mark.parametrize(
    ("values", "whole_digits", "scale"),
    [
        (["0.25", "-0.5", ".125"], 0, 3),
        (["0", "0.5"], 0, 1),
        (["0", "-0"], 0, 0),
        (["10", "0.5"], 2, 1),
        (["5.", "-12.50"], 2, 2),
    ],
)
def test_a_lone_zero_before_the_point_is_no_digit(values: Values, whole_digits: int, scale: int) -> None:
    seen = seen_in(values)
    assert (seen.whole_digits, seen.scale) == (whole_digits, scale)


@pytest.mark.parametrize(
    "values",
    [
        *(["007"], ["7", "007"], ["00"], ["-01"], ["00.5"], ["0123.50", "1.50"]),
        *(["-0"], ["-0", "1.5"], ["-0.0"], ["-0.00", "2.25"], ["-.0"], ["-0."], ["5", None, "-0.0"]),
        *(["+5"], ["1e5"], [" 5"], ["5 "], ["--5"], ["1-2"], ["1,000"], ["."], ["-"], ["1.2.3"], ["٣"]),
        *(["NA"], ["NULL"], ["nan"], ["inf"], ["5", "NA"], ["1.5", "N/A"]),
        *(["9223372036854775808"], ["-9223372036854775809"], ["1" * 39 + ".5"], ["0." + "0" * 38 + "1"]),
        # Neither is too wide alone; no decimal holds both.
        ["1" * 30, "0." + "1" * 9],
    ],
)
def test_what_is_not_plainly_a_number_stays_text(values: Values) -> None:
    assert is_text(*values)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["0", "7", "-3", None], INTEGER),
        (["9223372036854775807", "-9223372036854775808"], INTEGER),
        (["0.1"], decimal(15, 1)),
        (["5", "1.25"], decimal(15, 2)),
        (["-0.01", "-0.5", "0.0"], decimal(15, 2)),
        ([".5", "-5."], decimal(15, 1)),
        (["0.00000000000001"], decimal(15, 14)),
        (["1234567890123.45"], decimal(15, 2)),
        (["12345678901234.56"], decimal(38, 2)),
        (["9223372036854775808", "0.5"], decimal(38, 1)),
        (["12345678901234567890.12"], decimal(38, 2)),
        (["0." + "0" * 36 + "1"], decimal(38, 37)),
        (["0", "0.5"], decimal(15, 1)),
    ],
)
def test_numbers_take_the_narrowest_type_that_loses_nothing(values: Values, type_: ColumnType) -> None:
    assert type_of(*values) == type_


@pytest.mark.parametrize("values", [["true"], ["TRUE", "false", None], ["True", "fAlSe"]])
def test_true_and_false_are_booleans_in_either_case(values: Values) -> None:
    assert type_of(*values) == BOOLEAN


@pytest.mark.parametrize("values", [["tru"], ["true", "yes"], ["T", "F"], ["true", "1"], ["1", "0", "true"], ["tr ue"]])
def test_other_words_and_mixtures_are_no_booleans(values: Values) -> None:
    assert is_text(*values)


@pytest.mark.parametrize("values", [["2020-01-31"], ["0001-01-01", "9999-12-31", None], ["2020-02-29"]])
def test_iso_days_are_dates(values: Values) -> None:
    assert type_of(*values) == ISO_DATE


@pytest.mark.parametrize(
    "values",
    [
        *(
            ["2020-02-30"],
            ["2021-02-29"],
            ["0000-01-01"],
            ["2020-1-31"],
            ["31-01-2020"],
            ["2020/01/31"],
            ["2020-13-01"],
        ),
        *(["2020-01-31", "20200131"], ["2020-01-31", "5"], ["2020-01-31", "2020-01-31 10:00:00"], ["-020-01-31"]),
    ],
)
def test_what_is_no_day_or_a_mixture_of_forms_stays_text(values: Values) -> None:
    assert is_text(*values, dates=True)


def test_eight_digits_are_days_only_where_the_header_says_so_and_every_value_is_one() -> None:
    assert type_of("20200131", "19991231", dates=True) == COMPACT_DATE
    assert type_of("20200131", "19991231") == INTEGER
    assert type_of("20200131", "20200230", dates=True) == INTEGER
    assert type_of("20200131", "0", dates=True) == INTEGER
    assert type_of("20200131", "-20200131", dates=True) == INTEGER
    assert type_of("20200131", "0.5", dates=True) == decimal(15, 1)
    assert is_text("20200131", "00010101", dates=True)


@pytest.mark.parametrize(
    ("values", "format_"),
    [
        (["2020-01-31 10:00:00", None], "%Y-%m-%d %H:%M:%S"),
        (["2020-01-31T10:00:00"], "%Y-%m-%dT%H:%M:%S"),
        (["2020-01-31 10:00:00.5"], "%Y-%m-%d %H:%M:%S.%1f"),
        (["2020-01-31T10:00:00.123", "2020-01-31T10:00:00.000"], "%Y-%m-%dT%H:%M:%S.%3f"),
        (["0001-01-01 00:00:00.123456"], "%Y-%m-%d %H:%M:%S.%6f"),
    ],
)
def test_timestamps_of_one_form_keep_it(values: Values, format_: str) -> None:
    assert type_of(*values) == ColumnType(Kind.TIMESTAMP, format=format_)


@pytest.mark.parametrize(
    "values",
    [
        *(["2020-01-31 10:00"], ["2020-01-31T10:00:00Z"], ["2020-01-31T10:00:00+01:00"], ["10:00:00"]),
        *(["2020-02-30 10:00:00"], ["0000-01-01 10:00:00"], ["2020-01-31 24:00:00"], ["2016-12-31 23:59:60"]),
        *(["2020-01-31 10:00:00.1234567"], ["2020-01-31 10:00:00", "2020-01-31T10:00:00"]),
    ],
)
def test_timestamps_that_no_one_form_gives_back_stay_text(values: Values) -> None:
    assert is_text(*values)
