import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qt_pipeline.tabular.declared import format_value, normalize, parse_type
from qt_pipeline.tabular.infer import infer_kind
from qt_pipeline.tabular.types import TEXT, ColumnType, Kind

DIGITS = 38

NUMBER_FORMS = ["1,234.56", "1.234,56", "1 234,56", "1'234.56", "1\u2019234.56", "1\u00a0234,56", "1234,56"]
DAY_FORMS = ["%d/%m/%Y", "%d-%b-%Y", "%b %d, %Y", "%Y.%m.%d", "day %d of %m in %Y"]
TIME_FORMS = ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f", "%H:%M on %d-%b-%Y"]
BOOLEAN_FORMS = ["Y/N", "ja/nein", "1/0", "да/нет", "(+)/(-)"]
DECLARED = [
    *(f"decimal({DIGITS},4) {form}" for form in NUMBER_FORMS),
    *("integer 1,234", "integer 1.234", "integer 1 234", "decimal(9,0) 1'234"),
    *(f"date {form}" for form in DAY_FORMS),
    *(f"timestamp {form}" for form in TIME_FORMS),
    *(f"boolean {form}" for form in BOOLEAN_FORMS),
]


@st.composite
def time_types(draw: st.DrawFn) -> str:
    """Any declaration of a day or a moment, also with nothing between its parts."""
    moment = draw(st.booleans())
    directives = ["%Y", draw(st.sampled_from(["%m", "%b"])), "%d"]
    directives += ["%H", "%M"] if moment else []
    directives += draw(st.sampled_from([[], ["%S"], ["%S", "%f"], ["%S", "%6f"]])) if moment else []
    between = st.sampled_from(["", "", "/", "-", ".", " ", "T", " o'clock ", "\\", "é", "0"])
    format_ = "".join(f"{directive}{draw(between)}" for directive in draw(st.permutations(directives)))
    return f"{'timestamp' if moment else 'date'} {format_}"


PLAIN_TYPES = ["text", "text(200)", "integer", f"decimal({DIGITS},4)", "boolean", "date", "date %Y%m%d", "timestamp"]
# Beside other digits nothing tells where a fraction of any length ends.
TOUCHES = re.compile("(%[^b]|[0-9])%f|%f(%[^b]|[0-9])")
TYPES = st.sampled_from([*DECLARED, *PLAIN_TYPES]) | time_types().filter(lambda text: not TOUCHES.search(text))


def value_of(type_: ColumnType) -> st.SearchStrategy[Any]:
    match type_.kind:
        case Kind.INTEGER:
            return st.integers(-(2**63), 2**63 - 1)
        case Kind.DECIMAL:
            most = 10 ** (type_.precision - type_.scale) - 1
            return st.integers(-most, most) | st.decimals(-most, most, places=type_.scale)
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.DATE:
            # Eight digits with a leading zero are no number, and so no day in compact form.
            return st.dates(min_value=date(1000, 1, 1) if type_.format == "%Y%m%d" else date.min)
        case Kind.TIMESTAMP:
            return st.datetimes().map(lambda at: at.replace(**_left_out(type_)))
        case _:
            return st.text(min_size=1)


def _left_out(type_: ColumnType) -> dict[str, Any]:
    """What a moment cannot have under the type's form."""
    second = {} if "%S" in type_.format else {"second": 0}
    return second if "f" in type_.format else {**second, "microsecond": 0}


def texts(*values: str | None) -> pa.StringArray:
    return pa.array(values, pa.string())


def plain_text(text: str, type_: ColumnType) -> str | None:
    [found] = normalize(texts(text), type_).to_pylist()
    return found


PARSED = {
    Kind.INTEGER: int,
    Kind.DECIMAL: Decimal,
    Kind.BOOLEAN: lambda text: text == "true",
    Kind.DATE: lambda text: date.fromisoformat(text if "-" in text else f"{text[:4]}-{text[4:6]}-{text[6:]}"),
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.TEXT: str,
}


def read(text: str, type_: ColumnType) -> Any:
    """The value of a text under a type, as the reader finds it; None where it finds none of that kind."""
    found = normalize(texts(text), type_)
    seen = infer_kind(found, compact_dates=type_.format == "%Y%m%d")
    is_whole_decimal = (type_.kind, seen.kind) == (Kind.DECIMAL, Kind.INTEGER)
    fits = seen.kind is type_.kind and (seen.canonical or type_.kind is not Kind.INTEGER)
    return PARSED[type_.kind](found[0].as_py()) if fits or is_whole_decimal or type_.kind is Kind.TEXT else None


@given(TYPES)
def test_a_type_is_written_as_it_is_declared(text: str) -> None:
    type_ = parse_type(text)
    assert parse_type(str(type_)) == type_


@given(st.data(), TYPES)
def test_what_is_written_in_a_form_is_read_as_the_same_value(data: st.DataObject, text: str) -> None:
    type_ = parse_type(text)
    value = data.draw(value_of(type_))
    as_written = format_value(value, type_)
    assert as_written is not None
    assert read(as_written, type_) == value


@given(st.data(), st.sampled_from(DECLARED))
def test_what_is_written_becomes_the_plain_text_of_the_value(data: st.DataObject, text: str) -> None:
    type_ = parse_type(text)
    value = data.draw(value_of(type_))
    bare = ColumnType(type_.kind, format="%Y-%m-%d %H:%M:%S.%6f" if "%f" in type_.format else "")
    assert plain_text(format_value(value, type_) or "", type_) == format_value(value, bare)


def number_in(text: str, form: str) -> Decimal | None:
    """What a number in the form 1234.56 is, told without patterns."""
    marks = [character for character in form if not character.isdigit()]
    point = marks.pop() if form.endswith("56") else ""
    grouping = marks.pop() if marks else ""
    whole, found_point, places = text.removeprefix("-").partition(point) if point else (text.removeprefix("-"), "", "")
    groups = whole.split(grouping) if grouping else [whole]
    digits = "".join(groups)
    if not all(character in "0123456789" for character in digits + places) or not digits + places:
        return None
    if len(groups) > 1 and not (1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])):
        return None
    if (len(digits) > 1 and digits.startswith("0")) or (not digits and not found_point):
        return None
    return Decimal(f"{'-' if text.startswith('-') else ''}{digits or '0'}.{places or '0'}")


WIDTHS = {"Y": (4, 4), "b": (3, 3), "d": (1, 2), "m": (1, 2), "H": (1, 2), "M": (2, 2), "S": (2, 2), "f": (1, 6)}


def moment_in(text: str, form: str) -> datetime | None:
    """What `strptime` finds, held to widths and to what stands between; it is lenient about both, and about digits."""
    pieces = re.split("%(.)", form)
    pattern = "".join(re.escape(p) if n % 2 == 0 else r"([0-9]+|[A-Za-z]+)" for n, p in enumerate(pieces))
    found = re.fullmatch(pattern, text)
    if found is None:
        return None
    for directive, part in zip(pieces[1::2], found.groups(), strict=True):
        least, most = WIDTHS[directive]
        if not least <= len(part) <= most:
            return None
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None


def reference(text: str, type_: ColumnType) -> Any:
    match type_.kind:
        case Kind.BOOLEAN:
            true, false = type_.format.lower().split("/")
            return {true: True, false: False}.get(text.lower())
        case Kind.INTEGER:
            number = number_in(text, type_.format)
            fits = number is not None and -(2**63) <= number < 2**63 and not text.startswith("-0")
            return int(number) if number is not None and fits else None
        case Kind.DECIMAL:
            return number_in(text, type_.format)
        case _:
            found = moment_in(text, type_.format)
            if found is None:
                return None
            return found.date() if type_.kind is Kind.DATE else found.replace(tzinfo=None)


@st.composite
def spoilt(draw: st.DrawFn, type_: ColumnType) -> str:
    """A written value with a piece of it replaced, left out or doubled, or anything made of such characters."""
    characters = st.text(st.sampled_from("0123456789 -+,.'\u2019\u00a0/:JanFebmayYNjein?\n\0٣\u017fé"), max_size=4)
    text = format_value(draw(value_of(type_)), type_) or ""
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 3)))
    return text[:start] + draw(characters | st.just(text[start:end] * 2)) + text[end:]


@given(st.data(), st.sampled_from(DECLARED))
def test_any_text_is_its_value_or_a_misfit(data: st.DataObject, text: str) -> None:
    type_ = parse_type(text)
    value = data.draw(spoilt(type_) | st.text(max_size=6))
    assume(value)  # a blank is null before it comes here
    assert read(value, type_) == reference(value, type_)


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("decimal(18,2) 1,234.56", "-1,234,567.89", "-1234567.89"),
        ("decimal(18,2) 1,234.56", "1234.56", "1234.56"),
        ("decimal(18,2) 1,234.56", "0.50", "0.50"),
        ("decimal(18,2) 1.234,56", "1.234", "1234"),
        ("decimal(18,2) 1 234,56", "1 234 568,91", "1234568.91"),
        ("decimal(18,2) 1234,56", "1234,56", "1234.56"),
        ("integer 1,234", "12,345", "12345"),
        ("date %d/%m/%Y", "1/2/2024", "2024-02-01"),
        ("date %d/%m/%Y", "01/02/0024", "0024-02-01"),
        ("date %Y/%m/%d", "2024/2/1", "2024-02-01"),
        ("date %d-%b-%Y", "31-JAN-2024", "2024-01-31"),
        ("date %d%b%Y", "1Sep2024", "2024-09-01"),
        ("date %d%m%Y", "01022024", "2024-02-01"),
        ("date %Y-%m-%dT00:00:00", "2024-02-01T00:00:00", "2024-02-01"),
        ("timestamp %d/%m/%Y %H:%M", "1/2/2024 9:05", "2024-02-01 09:05:00"),
        ("timestamp %Y%m%d%H%M%S", "20240201090510", "2024-02-01 09:05:10"),
        ("timestamp %d/%m/%Y %H:%M:%S.%f", "01/02/2024 09:05:10.5", "2024-02-01 09:05:10.500000"),
        ("timestamp %d/%m/%Y %H:%M:%S.%3f", "01/02/2024 09:05:10.500", "2024-02-01 09:05:10.500000"),
        ("boolean Y/N", "y", "true"),
        ("boolean ja/nein", "NEIN", "false"),
    ],
)
def test_a_declared_form_becomes_plain(type_: str, text: str, expected: str) -> None:
    assert plain_text(text, parse_type(type_)) == expected


@pytest.mark.parametrize(
    ("type_", "invalid_values"),
    [
        (
            "decimal(18,2) 1,234.56",
            ["12,34.5", "1,2345", "0,012.00", "007", "+1", " 1", "1 ", "1-", "--1", "1,,234", "?"],
        ),
        ("decimal(18,2) 1,234.56", ["1,234,56", ",123", "1.234,56", "1.2.3", ".", "-", "1e5", "٣", "1\n", "NA", "(1)"]),
        ("decimal(18,2) 1.234,56", ["1234.56", "1.2345", "12.34"]),
        ("decimal(18,2) 1234,56", ["1234.56", "1.234,56"]),
        ("integer 1,234", ["1,234.00", "1234.", "1.0"]),
        ("date %d/%m/%Y", ["2024-02-01", "1/2/24", "001/02/2024", "1/2/02024", "1/2/2024 ", "1-2-2024", "01/Feb/2024"]),
        ("date %d%m%Y", ["1022024", "1/2/2024", "010220240"]),
        ("date %Y-%m-%d0", ["2024-02-10"]),
        ("date %Y-%m-0%d", ["2024-02-01"]),
        ("date %d-%b-%Y", ["1-Januar-2024", "1-01-2024", "1-xxx-2024", "1-\u017fep-2024"]),
        ("timestamp %d/%m/%Y %H:%M", ["1/2/2024", "1/2/2024 10:5", "1/2/2024 10:05:00"]),
        ("timestamp %Y%m%d%H%M%S", ["2024020109051", "202402010905100"]),
        (
            "timestamp %d/%m/%Y %H:%M:%S.%f",
            ["01/02/2024 09:05:10", "01/02/2024 09:05:10.", "01/02/2024 09:05:10.1234567"],
        ),
        ("boolean Y/N", ["true", "Yes", "YN", "Y/N", " Y"]),
    ],
)
def test_what_is_not_in_the_declared_form_is_invalid(type_: str, invalid_values: Sequence[str]) -> None:
    assert normalize(texts(*invalid_values), parse_type(type_)).to_pylist() == ["?"] * len(invalid_values)
    assert infer_kind(texts("?"), compact_dates=False).kind is Kind.TEXT


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        *(("date %d/%m/%Y", day) for day in ("31/02/2024", "29/02/2023", "00/01/2024", "1/13/2024", "01/01/0000")),
        *(("timestamp %d/%m/%Y %H:%M", f"01/02/2024 {at}") for at in ("24:00", "12:60")),
        ("timestamp %d/%m/%Y %H:%M", "31/02/2024 10:00"),
        ("timestamp %d/%m/%Y %H:%M:%S", "31/12/2016 23:59:60"),
    ],
)
def test_a_day_or_a_moment_that_does_not_exist_is_none_in_plain_text_either(type_: str, text: str) -> None:
    assert infer_kind(normalize(texts(text), parse_type(type_)), compact_dates=False).kind is Kind.TEXT


@pytest.mark.parametrize("text", DECLARED)
def test_nulls_stay_and_a_slice_is_read_as_what_it_is(text: str) -> None:
    type_ = parse_type(text)
    day = date(2024, 2, 1)
    others = {Kind.BOOLEAN: True, Kind.DATE: day, Kind.TIMESTAMP: datetime.combine(day, time(9, 5))}
    value = others.get(type_.kind, Decimal(1234))
    as_written = format_value(value, type_)
    values = texts("x", None, as_written, "?", None)
    whole = normalize(values, type_).to_pylist()
    assert [one is None for one in whole] == [False, True, False, False, True]
    assert (whole[0], whole[3]) == ("?", "?")
    assert normalize(values.slice(1, 2), type_).to_pylist() == whole[1:3]
    assert normalize(texts(), type_).to_pylist() == []
    assert normalize(texts(None), type_).to_pylist() == [None]


@pytest.mark.parametrize("text", PLAIN_TYPES)
def test_values_of_a_plain_type_come_back_as_they_are(text: str) -> None:
    values = texts("1,234", None, "2024-01-31")
    assert normalize(values, parse_type(text)) is values


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("text", TEXT),
        ("text(200)", ColumnType(Kind.TEXT, length=200)),
        ("integer 1234", ColumnType(Kind.INTEGER)),
        (" decimal( 18 , 2 ) ", ColumnType(Kind.DECIMAL, 18, 2)),
        ("decimal(38,38)", ColumnType(Kind.DECIMAL, 38, 38)),
        ("decimal(18,2) 1234.56", ColumnType(Kind.DECIMAL, 18, 2)),
        ("decimal(18,0) 1,234", ColumnType(Kind.DECIMAL, 18, 0, format="1,234")),
        ("boolean TRUE/False", ColumnType(Kind.BOOLEAN)),
        ("boolean  Yes / No", ColumnType(Kind.BOOLEAN, format="Yes/No")),
        ("date", ColumnType(Kind.DATE, format="%Y-%m-%d")),
        ("date %Y%m%d", ColumnType(Kind.DATE, format="%Y%m%d")),
        ("timestamp", ColumnType(Kind.TIMESTAMP, format="%Y-%m-%d %H:%M:%S")),
        ("timestamp %Y-%m-%dT%H:%M:%S.%3f", ColumnType(Kind.TIMESTAMP, format="%Y-%m-%dT%H:%M:%S.%3f")),
    ],
)
def test_the_grammar_of_declared_types(text: str, type_: ColumnType) -> None:
    assert parse_type(text) == type_


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the types are text, integer, decimal"),
        ("money", "'money' is not a type"),
        ("open", "not a type"),
        ("decimal(18", "between { and } quote it"),
        ("decimal", "such as decimal(18,2)"),
        ("integer(9)", "too many or too few parameters"),
        ("text short", "too many or too few parameters"),
        ("text(0)", "from 1 to 4000"),
        ("text(4001)", "from 1 to 4000"),
        ("decimal(0,0)", "from 1 to 38"),
        ("decimal(39,2)", "from 1 to 38"),
        ("decimal(5,6)", "from 0 to 5"),
        ("decimal(18,2) 9,999.99", "the format of a number is 1234.56"),
        ("decimal(18,2) 1,234,56", "cannot separate both thousands and decimals"),
        ("decimal(18,2) 1,234", "does not show the decimal separator"),
        ("integer 1,234.56", "no decimals"),
        ("boolean Y", "two different words"),
        ("boolean Y/y", "two different words"),
        ("boolean Y/", "two different words"),
        ("boolean a/b/c", "two different words"),
        ("date %d/%m/%y", "ambiguous"),
        ("date %d/%m", "the year is missing"),
        ("date %d/%m/%Y %m", "the month occurs twice"),
        ("date %d/%b/%m/%Y", "the month occurs twice"),
        ("date %d/%m/%Y %H:%M", "a timestamp has"),
        ("date %A %d/%m/%Y", "%A is not supported"),
        ("date %d/%m/%Y %", "% is not supported"),
        ("timestamp %d/%m/%Y", "the hour is missing"),
        ("timestamp %d/%m/%Y %H", "the minute is missing"),
        ("timestamp %d/%m/%Y %H:%M.%f", "a fraction but no second"),
        ("timestamp %Y%m%d%H%M%S%f", "such as %3f"),
    ],
)
def test_what_declares_no_type_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_type(text)


@given(st.text(max_size=200) | st.builds(str.__add__, st.sampled_from(DECLARED), st.text(max_size=5)))
@example("date " + "x" * 1000)
def test_any_text_is_a_type_that_is_written_so_or_is_refused_in_a_few_words(text: str) -> None:
    refusal = ""
    try:
        assert parse_type(str(parse_type(text))) == parse_type(text)
    except ValueError as error:
        refusal = str(error)
    assert len(refusal) < 400


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        (None, "integer", None),
        ("as it is", "text", "as it is"),
        (True, "boolean", "true"),
        (-1234567, "integer", "-1234567"),
        (Decimal("1E+3"), "decimal(18,2)", "1000"),
        (Decimal("-0.00"), "decimal(18,2) 1.234,56", "-0,00"),
        (Decimal("1.5"), "decimal(18,0) 1,234", "1.5"),
        (date(24, 1, 2), "date", "0024-01-02"),
        (date(2024, 1, 2), "date %Y%m%d", "20240102"),
        (date(2024, 1, 2), "date %d-%b-%Y", "02-Jan-2024"),
        (datetime.combine(date(2024, 1, 2), time(3, 4, 5)), "timestamp", "2024-01-02 03:04:05"),
        (
            datetime.combine(date(2024, 1, 2), time(3, 4, 5, 6000)),
            "timestamp %Y-%m-%dT%H:%M:%S.%3f",
            "2024-01-02T03:04:05.006",
        ),
    ],
)
def test_a_value_is_written_as_in_the_file(value: Any, type_: str, expected: str | None) -> None:
    assert format_value(value, parse_type(type_)) == expected


def test_nothing_of_it_imports_pandas() -> None:
    values = "pa.StringArray.from_buffers(1, pa.py_buffer(b'\\0\\0\\0\\0\\1\\0\\0\\0'), pa.py_buffer(b'x'))"
    source = f"""
import sys
import pyarrow as pa
from qt_pipeline.tabular.declared import parse_type, normalize
for text in {DECLARED!r}:
    normalize({values}, parse_type(text))
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
