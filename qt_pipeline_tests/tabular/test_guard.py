import csv
import io
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular.guard import BadCsvError, CsvGuard
from qt_pipeline.tabular.lines import count_lines
from qt_pipeline_tests.tabular.files import TEXTS, csv_bytes

_VALUE = rb'(?:"(?:[^"\0]|"")*"|[^",\r\n\0]*)'
_ROW = rb"%b(?:,%b)*" % (_VALUE, _VALUE)
ROWS = re.compile(rb"(?:%b(?:\r\n|\n|\r))*(?:%b)?" % (_ROW, _ROW))
"""The grammar of RFC 4180, with any line end."""
ROWS_THAT_ARE_NOT_BLANK = re.compile(rb"(?:(?![\r\n])%b(?:\r\n|\n|\r))*(?:%b)?" % (_ROW, rb"(?![\r\n])" + _ROW))
LINE_END = re.compile(rb"\r\n|\n|\r")

PIECES = st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", "é".encode()])
TABLES = st.lists(st.tuples(TEXTS | st.sampled_from(['"', "\n", "a\r"]), TEXTS), min_size=1, max_size=4)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """The rows of a file: well formed, with a fault in one place, or fragments without sense."""
    if draw(st.booleans()):
        return b"".join(draw(st.lists(PIECES, max_size=12)))
    body = csv_bytes(["h"], draw(TABLES)).removeprefix(b"h\r\n")
    place = draw(st.integers(0, len(body)))
    return body[:place] + draw(st.just(b"") | PIECES) + body[place:]


def verdict(*chunks: bytes, columns: int = 2) -> tuple[str, int, int] | None:
    guard = CsvGuard(first_line=1, first_byte=0, columns=columns)
    try:
        for chunk in chunks:
            guard.feed(chunk)
        guard.finish()
    except BadCsvError as error:
        return error.reason, error.line, error.byte
    return None


@given(bodies(), st.sampled_from([1, 2]))
def test_what_the_guard_lets_pass_is_the_grammar_of_csv(body: bytes, columns: int) -> None:
    grammar = ROWS if columns == 1 else ROWS_THAT_ARE_NOT_BLANK
    assert (verdict(body, columns=columns) is None) == (grammar.fullmatch(body) is not None)


@given(bodies())
def test_what_the_guard_lets_pass_a_strict_reader_reads_without_a_blank_row(body: bytes) -> None:
    if verdict(body) is None:
        assert [] not in list(csv.reader(io.StringIO(body.decode(errors="replace"), newline=""), strict=True))


@given(bodies(), st.lists(st.integers(0, 60), max_size=6))
def test_the_verdict_does_not_depend_on_how_the_bytes_arrive(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in pairwise(edges)]
    assert verdict(*chunks) == verdict(body)
    assert verdict(*(body[place : place + 1] for place in range(len(body)))) == verdict(body)


@given(bodies())
def test_the_line_of_a_fault_is_that_of_its_byte(body: bytes) -> None:
    if found := verdict(body):
        _, line, byte = found
        assert line == 1 + len(LINE_END.findall(body[:byte]))


@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_a_line_ends_at_any_of_three_line_ends(data: bytes) -> None:
    assert count_lines(data) == len(LINE_END.findall(data))


STRAY = "a quote inside a value that is not quoted, or more text after a closing quote"
OPEN = "the quote that opens here is never closed"


@pytest.mark.parametrize(
    ("body", "reason", "line", "byte"),
    [
        (b'1,a"b\n', STRAY, 1, 3),
        (b'1,2\n3, "b"\n', STRAY, 2, 7),
        (b'1,"a"b\n', STRAY, 1, 4),
        (b'1,"a" \n', STRAY, 1, 4),
        (b'1,2\n3,4"', STRAY, 2, 7),
        (b'1,2\n"3\n\n,4\n', OPEN, 2, 4),
        (b'1,"', OPEN, 1, 2),
        (b"1,2\n3,\0\n", "a NUL character", 2, 6),
        (b'1,"\0"\n', "a NUL character", 1, 3),
        (b"\n1,2\n", "a blank line", 1, 0),
        (b"1,2\n\n3,4\n", "a blank line", 2, 4),
        (b"1,2\r\n\r\n3,4\r\n", "a blank line", 2, 5),
        (b"1,2\r\r3,4\r", "a blank line", 2, 4),
        (b"1,2\n\n", "a blank line", 2, 4),
        (b"1,2\r\n\r\n", "a blank line", 2, 5),
        (b"1,2\r\r", "a blank line", 2, 4),
        (b'1,"2\n"\n\n', "a blank line", 3, 7),
        (b'1,2\n\n3,a"b\n\0', "a blank line", 2, 4),
        (b'1,a"b\n\n\0', STRAY, 1, 3),
    ],
)
def test_the_first_fault_is_named_with_its_place_wherever_the_bytes_are_cut(
    body: bytes, reason: str, line: int, byte: int
) -> None:
    for cut in range(len(body) + 1):
        assert verdict(body[:cut], body[cut:]) == (reason, line, byte)


@pytest.mark.parametrize("body", [b"", b'1,"a\n\nb"\n', b'1,"\r\r"\r\n', b'"","a""b"\n', b'"""",\n', b"1,\xff"])
def test_quotes_and_blank_lines_within_quotes_pass(body: bytes) -> None:
    assert verdict(body) is None
