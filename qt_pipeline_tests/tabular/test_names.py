import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qt_pipeline.tabular import LOAD_COLUMN, ROW_COLUMN
from qt_pipeline.tabular.names import Naming, is_date, is_identifier, unique_names

HOSTILE = st.sampled_from(
    [
        *(
            "",
            " ",
            "\x00",
            "\n",
            "a",
            "A",
            " a ",
            "a_2",
            "A_2",
            "a_2_2",
            "ﬁ",
            "fi",
            "FI",
            "ß",
            "ss",
            "SS",
            "\u017f",
            "s",
        ),
        *("Å", "Å", "A\u030a", "column_1", "COLUMN_2", "_qt_load", "_QT_ROW", "_qt_row_2", "x" * 200, "é" * 200),
        *('"', '"; DROP TABLE t; --', "select", "%", "%s", ":a", "?", "[a]", "`", "a.b", "a\tb", "a\r\nb", "\ud800"),
    ]
)


def folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


@given(st.lists(HOSTILE | st.text(max_size=300), max_size=40), st.sampled_from([16, 63, 128]), st.sampled_from(Naming))
@example(["x" * 200] * 300, 16, Naming.VERBATIM)
@example(["x" * 200] * 300, 16, Naming.SNAKE_CASE)
@example(["", "\n"] * 200, 128, Naming.VERBATIM)
def test_names_are_whole_unique_and_short_enough(headers: list[str], max_bytes: int, naming: Naming) -> None:
    names = unique_names(headers, max_bytes=max_bytes, naming=naming)
    assert len(names) == len(headers)
    assert len({folded(name) for name in [*names, LOAD_COLUMN, ROW_COLUMN]}) == len(names) + 2
    for name in names:
        assert 0 < len(name.encode()) <= max_bytes
        assert name.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs") for c in name)


PLAIN = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1)
TAKEN = ("_qt_load", "_qt_row", "_qt_loaded_at", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")


@given(st.lists(PLAIN.filter(lambda header: folded(header) not in TAKEN), unique_by=folded))
@example(["CMAXX"])
def test_headers_that_are_good_names_are_kept_verbatim(headers: list[str]) -> None:
    assert unique_names(headers, max_bytes=1000) == tuple(headers)


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        (["Policy Number", "Größe %"], ("Policy Number", "Größe %")),
        (["Paid", "paid", "PAID"], ("Paid", "paid_2", "PAID_3")),
        (["a", "a_2", "a"], ("a", "a_2", "a_3")),
        (["ﬁ", "fi"], ("ﬁ", "fi_2")),
        (["", "b", " "], ("column_1", "b", "column_3")),
        (["column_2", ""], ("column_2", "column_2_2")),
        (["_qt_load", "_QT_ROW"], ("_qt_load_2", "_QT_ROW_2")),
        (["a\nb\x00c ", "\x07"], ("a b c", "column_2")),
        (["x" * 200, "x" * 201], ("x" * 128, "x" * 126 + "_2")),
        (["é" * 65], ("é" * 64,)),
        (["a" + "é" * 64], ("a" + "é" * 63,)),
    ],
)
def test_a_name_is_the_header_verbatim_where_that_is_possible(headers: list[str], names: tuple[str, ...]) -> None:
    assert unique_names(headers, max_bytes=128) == names


@pytest.mark.parametrize(
    "header",
    [
        *("Policy Number", "ClaimNo", "GRCODE", "Pol. #", "Postcode", "PolicyID", "Id", "policy_ref", "Phone No."),
        *("Risk Code", "POLICYNUMBER", "ZIP", "policy-uuid", "Number", "PolicyNo2", "Claim Reference", "VAT NR"),
    ],
)
def test_a_header_that_names_references_is_known(header: str) -> None:
    assert is_identifier(header)


@pytest.mark.parametrize(
    "header",
    [
        "Paid",
        "Number of Vehicles",
        "numberOfVehicles",
        "openCount",
        "Valid",
        "idea",
        "Node",
        "No of claims",
        "",
        "保険料",
        "%",
    ],
)
def test_a_header_that_names_quantities_is_known(header: str) -> None:
    assert not is_identifier(header)


def test_a_header_tells_that_digits_are_days() -> None:
    assert all(is_date(header) for header in ("Loss date", "LossDate", "inception", "EXPIRY_DT", "DOB"))
    assert not any(is_date(header) for header in ("Paid", "update", "Dated", "Day", ""))


def is_snake(name: str) -> bool:
    """Letters, digits and the marks that belong to them, in lower case, joined by `_`; no digit first."""
    categories = [unicodedata.category(character) for character in name.replace("_", "")]
    return (
        name == name.lower()
        and all(category[0] in "LN" or category in ("Mn", "Mc") for category in categories)
        and bool(categories)
        and (name[0].isalpha() or name[0] == "_")
    )


@given(st.lists(HOSTILE | st.text(max_size=100), max_size=20))
@example(["İ", "\u0301", "℃", "1\ufe0f\u20e3", "ΑΣ", "ǅ", "½"])
def test_snake_case_is_snake_case(headers: list[str]) -> None:
    assert all(is_snake(name) for name in unique_names(headers, max_bytes=63, naming=Naming.SNAKE_CASE))


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("GrossPremium (GBP)", "gross_premium_gbp"),
        ("Policy Number", "policy_number"),
        ("already_snake_case", "already_snake_case"),
        ("  __Paid--to.Date  ", "paid_to_date"),
        ("IDNumber", "id_number"),
        ("policyNo2Date", "policy_no2_date"),
        ("LOCNAME", "locname"),
        ("2015:Q1", "_2015_q1"),
        ("%", "column_1"),
        ("", "column_1"),
        ("_qt_load", "qt_load"),
        ("ﬁre", "fire"),
        ("Größe %", "größe"),
        ("E\u0301tat", "état"),
        ("保険料", "保険料"),
        ("प्रीमियम राशि", "प्रीमियम_राशि"),
        ("x" * 200, "x" * 63),
    ],
)
def test_a_header_in_snake_case(header: str, name: str) -> None:
    assert unique_names([header], max_bytes=63, naming=Naming.SNAKE_CASE) == (name,)


def test_names_in_snake_case_are_unique_too() -> None:
    headers = ["Gross Premium", "grossPremium", "GROSS_PREMIUM", "gross-premium 2", "%", "Column 5"]
    assert unique_names(headers, max_bytes=63, naming=Naming.SNAKE_CASE) == (
        *("gross_premium", "gross_premium_2", "gross_premium_3", "gross_premium_2_2"),
        *("column_5", "column_5_2"),
    )
