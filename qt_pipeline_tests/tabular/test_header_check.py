"""What is taken for a header and what is not: never a line that no reader would take for one."""

import csv
import gzip
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qt_pipeline import sandbox
from qt_pipeline.tabular import BadCsvError, NotAHeaderError, check_first_line, read_first_line
from qt_pipeline.tabular.header_check import document_kind
from qt_pipeline_tests.tabular.files import inspection_of, stream_of

DATA = Path(__file__).parents[1] / "data"


def seems(text: str | bytes) -> str | None:
    """What a file seems to be whose first line is no header; None where it is one."""
    data = text if isinstance(text, bytes) else text.encode()
    try:
        header, head = read_first_line(stream_of(data))
        check_first_line(head, header)
    except NotAHeaderError as error:
        return error.seems
    return None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("branch;policies;claims\n10;200;3\n20;150;1\n", "separated by ';'"),
        ("branch\tpolicies\n10\t200\n", "separated by tabs"),
        ("branch|policies\n10|200\n", "separated by '|'"),
        ("branch;policies\n", "separated by ';'"),
        ("a;b,c;d\n1;2,3;4\n", "separated by ';'"),
        ("Name, first;Paid\nSmith, J;5\nMiller, K;6\n", "separated by ';'"),
        ("a^b^c\nx^2^3\ny^5^6\n", "separated by '^'"),
        ("a:b\n1:2\n3:4\n", "separated by ':'"),
        ("a~b\n1~x\n", "separated by '~'"),
        ("at^n\n2026-01-31 10:00^1\n2026-01-31 11:00^2\n", "separated by '^'"),
        ("a\x1fb\n1\x1f2\n", "separated by '\\x1f'"),
        ("\ufeffa¦b\n1¦2\n", "separated by '¦'"),
        ("sep=,\nbranch,paid\nNorth,12.50\n", "'sep='"),
        ("SEP=;\nbranch\n1\n", "'sep='"),
        ('"sep=,"\nbranch\n1\n', "'sep='"),
        ("Bordereau January,,\n,,\nPolicy,Paid,Date\nP1,10.50,2026-01-31\n", "titled"),
        ("Bordereau,\nPolicy,Paid\n", "titled"),
        (",,Bordereau,,\na,b,c,d,e\n", "titled"),
        ("Bordereau,January,,,\na,b,c,d,e\n", "titled"),
        (",,\na,b,c\n", "without a header"),
        ("-----,---\na,b\n", "without a header"),
        ("P1,10.50\nP2,8\n", "without a header"),
        ("P1,10.50,2026-01-31\nP2,8.25,2026-02-28\n", "without a header"),
        ("P1,31/01/2026\nP2,28/02/2026\n", "without a header"),
        ("P1,2026-01-31 10:00:00\nP2,2026-01-31T11:00:00.5\n", "without a header"),
        ("P1,true\nP2,FALSE\n", "without a header"),
        ('P1,"1,234.50"\nP2,12\n', "without a header"),
        ("jane@example.com,1\njoe@example.com,2\n", "without a header"),
        ("1,2,3\n4,5,6\n", "without a header"),
        ("2015\n1\n", "without a header"),
        (",10,20\n,5,6\n", "without a header"),
        ("<!DOCTYPE html>\n<html></html>\n", "HTML"),
        ("\ufeff\n <HTML>\n", "HTML"),
        ("<!-- proxy -->\n<html>\n", "web page"),
        ("<p>Error</p>\n", "web page"),
        ('<?xml version="1.0"?>\n<a/>\n', "XML"),
        ("<rows>\n<row>1</row>\n</rows>\n", "XML"),
        ('<Report xmlns="x">\n', "XML"),
        ('{"error": 1}\n', "JSON"),
        ('[\n {"a": 1}\n]\n', "JSON"),
        ("{\n}\n", "JSON"),
        ("[1, 2]\n", "JSON"),
        ("[]", "JSON"),
        (b"%PDF-1.7\n1 0 obj\n", "PDF"),
    ],
)
def test_a_first_line_that_is_no_header_is_refused_with_what_the_file_seems_to_be(text: str | bytes, kind: str) -> None:
    found = seems(text)
    assert found is not None
    assert kind in found


def workbook() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (workbook(), "an Excel workbook"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook or"),
        (gzip.compress(b"a,b\n", mtime=0), "gzip"),
        ("a,b\n".encode("utf-16"), "UTF-16"),
        ("a,b\n".encode("utf-16-le"), "UTF-16"),
        (b"a,b\n1,2\n", None),
        (b"PKs,b\n", None),
        (b"<5,>5\n", None),
        (b"<none>,a\n", None),
        (b"<htmlish>\n1\n", None),
        (b"[Policy],[Paid]\n", None),
        (b"[2015],[2016]\n", None),
        (b"{id}\n", None),
        (b"BZh,PAR1\n", None),
    ],
)
def test_documents_are_known_by_their_first_bytes(head: bytes, kind: str | None) -> None:
    found = document_kind(head)
    assert found == kind if kind is None else found is not None and kind in found


HEADERS = [
    "Company,2015,2016\nA,1.5,2.5\n",
    ",2015,2016\nA,1.5,2.5\n",
    ",0,1\n0,5,6\n",
    "Line,2015-01-01,2016-01-01\nA,1.5,2\n",
    "2015-01-01,2016-01-01\n1.5,2\n",
    "2015:Q1,2015:Q2\n1.5,2\n",
    "2015:Q1\n1.5\n2\n",
    ",a,b\n0,1,2\n1,3,4\n",
    "unnamed,unnamed (0),Pol. #\n1,2,3\n",
    "Unnamed: 0,Pol. #\n1,2\n",
    "Pol. #\nA1\n",
    "loss.paid,loss.date\n1.5,2026-01-31\n",
    "loss.paid\n1.5\n2.25\n",
    "loss-date\n2026-01-31\n",
    "a_b\nx_y\n",
    "Gross premium\nx y\n",
    "Policy,Paid,,,\nP1,2.5,,,\n",
    "Policy,\nP1,\n",
    "Lat;Lon,Name,Note\n1;2,x,y\n3,z,\n",
    "保険料,дата\n1,2\n",
    "true\nyes\n",
    "Policy\n",
    "[Policy],<paid>\n1,2\n",
    "E-mail\njane@example.com\njoe-x@example-y.com\n",
    "12,Name\n1,2\n",
]
"""Files with headers as vendors and people write them."""


@pytest.mark.parametrize("text", HEADERS)
def test_a_header_is_taken_for_one(text: str) -> None:
    assert seems(text) is None


def test_the_project_s_own_files_have_headers() -> None:
    files = [file.read_bytes() for file in DATA.glob("*.csv")]
    files += [gzip.decompress(file.read_bytes()) for file in Path(sandbox.__file__).parent.rglob("*.csv.gz")]
    assert len(files) >= 3
    assert [seems(data) for data in files] == [None] * len(files)


def test_the_message_shows_no_value_and_names_both_ways_out() -> None:
    header, head = read_first_line(stream_of(b"canary,10.50\ncanary,8.50\n"))
    with pytest.raises(NotAHeaderError) as caught:
        check_first_line(head, header)
    assert "canary" not in str(caught.value)
    assert "10.50" not in str(caught.value)
    assert "--first-line-is-header" in caught.value.hint
    assert "first_line_is_header: true" in caught.value.hint


WORDS = st.sampled_from(
    [
        *("Policy", "Paid", "Gross Premium", "Claim No", "Loss date", "Pol. #", "VAT %", "Größe", "unnamed (0)", "UMR"),
        *("Inception", "Sum insured (GBP)", "2015", "2016", "2015:Q1", "Q1/2015", "E-mail", "Broker & agent", "保険料"),
    ]
)
VALUES = st.sampled_from(["", "x", "North", "O'Neil", "12", "-7", "1.50", "2026-01-31", "31/01/2026", "true", "a-b"])


@given(st.data(), st.lists(WORDS, min_size=2, max_size=8))
def test_plausible_headers_are_never_refused(data: st.DataObject, names: list[str]) -> None:
    assume(not all(name.isdigit() for name in names))
    rows = data.draw(st.lists(st.lists(VALUES, min_size=len(names), max_size=len(names)), max_size=5))
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *rows])
    assert seems(text.getvalue()) is None


# Letters, digits, blanks and `_` separate nothing; a quote, a comma and line ends are CSV itself; NUL is refused.
SEPARATORS = st.sampled_from(";\t|") | st.characters(
    exclude_categories=["L", "M", "N", "Zs", "Zl", "Zp", "Cs", "Cf"], exclude_characters='",\r\n\0_'
)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='",\r\n\0'), min_size=1, max_size=8)


@given(st.data(), SEPARATORS, st.integers(2, 6))
def test_a_file_delimited_by_anything_else_is_never_taken_for_one_column(
    data: st.DataObject, separator: str, width: int
) -> None:
    values = ANYTHING.map(lambda text: text.replace(separator, ""))
    lines = data.draw(st.lists(st.lists(values, min_size=width, max_size=width), min_size=2, max_size=6))
    # Rows that are one number, or one date, with the separator in it: `3.5` below `a.b`, which a reader takes so too.
    assume(separator not in ".'" or any(any(c.isalpha() for c in text) for text in lines[1]))
    text = "\n".join(separator.join(line) for line in lines)
    try:
        found = seems(text)
        inspection_of(text.encode())
    except BadCsvError:
        return
    assert found is not None


@given(st.lists(st.lists(ANYTHING | VALUES, min_size=3, max_size=3), min_size=2, max_size=5), st.integers(1, 4))
def test_a_title_above_the_header_is_never_the_header(lines: list[list[str]], blanks: int) -> None:
    title = [lines[0][0], "", *[""] * blanks]
    text = io.StringIO(newline="")
    rows = [[*line, *["x"] * (len(title) - len(line))][: len(title)] for line in lines[1:]]
    csv.writer(text).writerows([title, *[[value or "x" for value in row] for row in rows]])
    assert seems(text.getvalue()) is not None
