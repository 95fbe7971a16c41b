import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular import compare, header_key, match_headers, names
from qt_pipeline.tabular.headers import ByHeader
from qt_pipeline.tabular.names import is_identifier, unique_names
from qt_pipeline.values import DriftPolicy
from qt_pipeline_tests.tabular.files import founded_by, rules_of, settled, stream_of

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Prämie") for form in ("NFC", "NFD"))
ALIKE = [
    (COMPOSED, DECOMPOSED),
    ("id", "\ufeffid"),
    ("id", "i\u200bd"),
    ("id", "id\u200d"),
    ("Premium", "Pre\u00admium"),
    ("Prämie", "Pra\u200d\u0308mie"),
    ("Gross Premium", "Gross\u00a0Premium"),
    ("Gross Premium", "Gross\u3000Premium"),
    ("Gross Premium", " Gross  Premium "),
    ("Gross Premium", "Gross\nPremium"),
    ("Gross Premium", "\u202aGross\u202f Premium\u202c"),
    ("Paid", "Paid\ufe0f"),
]
"""Pairs of headers that look the same."""


@pytest.mark.parametrize(("header", "other"), ALIKE)
def test_headers_that_look_the_same_are_one_column(header: str, other: str) -> None:
    assert header_key(header) == header_key(other)
    contract = founded_by(f'"{header}",n\n2,3\n'.encode())
    for policy in DriftPolicy:
        rules = rules_of(policy, **{header: "decimal(5,2)"})
        followed = settled(f'n,"{other}"\n4,5.50\n'.encode(), contract, rules)
        assert [column.header for column in followed.contract.columns] == [header, "n"]
        assert str(followed.contract.columns[0].type) == "decimal(5,2)"
        assert followed.contract.positions(["n", other]) == (1, 0)
        assert followed.contract.new_positions(["n", other]) == ()
    before, after = f'"{header}",n\n1,2\n', f'n,"{other}"\n2,1\n'
    assert compare(stream_of(before.encode()), stream_of(after.encode()), limit=1).is_none


@pytest.mark.parametrize(
    ("header", "other"), [("Paid", "paid"), ("Paid", "Pald"), ("a b", "ab"), ("fi", "ﬁ"), ("1", "¹")]
)
def test_headers_that_a_reader_can_tell_apart_are_two_columns(header: str, other: str) -> None:
    assert header_key(header) != header_key(other)
    assert match_headers([header], [other]) == (None,)


@pytest.mark.parametrize(
    ("wanted", "headers", "matched"),
    [
        (["a", "b"], ["b", "a"], (1, 0)),
        (["a", "a"], ["a", "a", "a"], (0, 1)),
        (["a ", "a"], ["a", "a "], (1, 0)),
        (["a ", "a"], ["a"], (None, 0)),
        (["a", "a "], [" a", "a\u00a0"], (0, 1)),
        (["a", "a", "a"], ["\ufeffa", "a"], (1, 0, None)),
        (["", " "], [" ", ""], (1, 0)),
        ([], ["a"], ()),
    ],
)
def test_equal_headers_come_before_those_that_look_the_same(
    wanted: list[str], headers: list[str], matched: tuple[int | None, ...]
) -> None:
    assert match_headers(wanted, headers) == matched


HEADERS = st.lists(st.sampled_from(["a", " a", "a ", "\ufeffa", "b", "b\u00a0", "B", ""]), max_size=8)


@given(HEADERS, HEADERS)
def test_each_header_has_one_partner_that_looks_the_same_while_there_are_any(one: list[str], two: list[str]) -> None:
    matched = match_headers(one, two)
    pairs = [(header, two[place]) for header, place in zip(one, matched, strict=True) if place is not None]
    assert all(header_key(header) == header_key(other) for header, other in pairs)
    assert len({place for place in matched if place is not None}) == len(pairs)
    for key in map(header_key, one):
        assert sum(header_key(header) == key for header, _ in pairs) == min(
            sum(header_key(header) == key for header in one), sum(header_key(header) == key for header in two)
        )
    for header in one:
        assert sum(pair == (header, header) for pair in pairs) == min(one.count(header), two.count(header))


def test_what_is_said_of_an_equal_header_comes_before_what_is_said_of_one_that_looks_the_same() -> None:
    said = ByHeader({"Paid": 1, "Paid ": 2, "Open\u00a0": 3})
    assert [said.get(header) for header in ("Paid", "Paid ", "\ufeffPaid", "Open", "open")] == [1, 2, 1, 3, None]


def test_invisible_characters_are_no_part_of_a_name() -> None:
    assert unique_names(["\ufeffid", "Pre\u00admium", "a\u200bb", "\u200b"], max_bytes=128) == (
        *("id", "Premium", "ab", "column_4"),
    )
    assert is_identifier("Num\u00adber")


MANY_ALIKE = [["x"] * 5_000, ["x" * 300] * 5_000, ["aA" * 60 + c for c in "xX"] * 2_500, ["column_1"] * 5_000]


@pytest.mark.parametrize("headers", MANY_ALIKE)
def test_thousands_of_equal_headers_are_named_without_trying_each_number_for_each(
    headers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def counted(name: str) -> str:
        nonlocal tries
        tries += 1
        return folded(name)

    folded = names._folded  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(names, "_folded", counted)
    assert len(set(unique_names(headers, max_bytes=128))) == len(headers)
    assert tries < 6 * len(headers)
