import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular import BadCsvError, EmptyFileError, RowTooLongError
from qt_pipeline.tabular.reader import BLOCK_SIZES, read_header
from qt_pipeline_tests.tabular.files import TEXTS, csv_bytes, inspection_of, read_rows, stream_of

BOM = b"\xef\xbb\xbf"
MISPLACED = "quote"
LINE_END = re.compile("\r\n|\n|\r")
# Line ends, quotes and byte order marks, close together.
_LINE_ENDS = st.text(st.sampled_from('\r\n\ufeff"x'), max_size=6)
HEADER_NAMES = st.lists(TEXTS | _LINE_ENDS, min_size=1, max_size=5).filter(lambda names: names[0][:1] != "\ufeff")


@pytest.mark.parametrize(
    ("data", "reason", "line", "byte"),
    [
        (b"a,b\n1,2\n3\n", "the row has 1 values, the header has 2", 3, 8),
        (b"a,b\n1,2,3\n3,4\n", "the row has 3 values, the header has 2", 2, 4),
        (b'a,b\n1,"x\r\ny"\n2,3,4\n', "the row has 3 values, the header has 2", 4, 13),
        (b"a,b\r1,2\r3\r", "the row has 1 values, the header has 2", 3, 8),
        (b'a,b\n1,"x\ry"\n2,3,4\n', "the row has 3 values, the header has 2", 4, 12),
        (BOM + b"a,b\n1\n", "the row has 1 values, the header has 2", 2, 7),
        (b"a,b\n1,\xff\n", "not UTF-8", 2, 6),
        (b"a,b\n1,2\n3,\xc3", "not UTF-8", 3, 10),
        (b'a,b\n1,"x\n\xc3("\n', "not UTF-8", 3, 9),
        (BOM + b"a,b\xff\n1,2\n", "not UTF-8", 1, 6),
        (b'"a\nb",c\xff\n1,2\n', "not UTF-8", 2, 7),
        (b"a,b\n1,\0\n", "a NUL character", 2, 6),
        (b"a,b\0\n1,2\n", "a NUL character", 1, 3),
        (b'a,b\n1,x"y\n', MISPLACED, 2, 7),
        (b'a,b\n1,"x"y\n', MISPLACED, 2, 8),
        (b'a,b\n1,"x\n3,4\n', "never closed", 2, 6),
        (b'a,b"\n1,2\n', "quote", 1, 3),
        (b"a,b\n\n1,2\n", "a blank line", 2, 4),
        (b"a,b\n1,2\n\n3,4\n", "a blank line", 3, 8),
        (b"a,b\n1,2\n\n", "a blank line", 3, 8),
        (b"a,b\r\n1,2\r\n\r\n", "a blank line", 3, 10),
        (b"\na,b\n1,2\n", "a blank line", 1, 0),
    ],
)
def test_a_bad_file_is_refused_with_line_and_byte(data: bytes, reason: str, line: int, byte: int) -> None:
    with pytest.raises(BadCsvError, match=f"line {line}, byte {byte}") as caught:
        inspection_of(data)
    assert reason in caught.value.reason
    assert (caught.value.line, caught.value.byte) == (line, byte)


@pytest.mark.parametrize(
    ("data", "separator"),
    [
        (b"a;b\n1;2,5\n", "';'"),
        (b"a;b,c;d\n1;2;3\n", "';'"),
        (b'a\tb\n"1"\t2\n', "tabs"),
        (b'"a"|"b"\n1|2\n', "'|'"),
        (b"a;b\n\xff;2\n", "';'"),
        (b"a,b\n1,2,3\n", None),
        (b"a;b,c\n1,2,3\n", None),
    ],
)
def test_a_refused_file_is_told_that_its_header_looks_separated_otherwise(data: bytes, separator: str | None) -> None:
    with pytest.raises(BadCsvError) as caught:
        inspection_of(data)
    hint = f"Its header seems to be separated by {separator}: only commas are read. "
    kept = "Nothing was loaded; the table keeps its rows."
    assert caught.value.hint.startswith(f"{hint if separator else ''}{kept}")


LONG_ROW = b"1," + b"y" * 997 + b"\n"


@pytest.mark.parametrize("offset", [-2, -1, 0, 1])
@pytest.mark.parametrize(
    ("fault", "place", "reason"),
    [
        (b'"\n', 0, MISPLACED),
        (b"\n\n", 1, "a blank line"),
        (b"\0\n", 0, "a NUL character"),
        (b"\xc3(\n", 0, "not UTF-8"),
        (b"\n1,2,3\n", 1, "the row has 3 values"),
    ],
)
def test_a_fault_where_two_reads_meet_is_found(fault: bytes, place: int, reason: str, offset: int) -> None:
    # The rows are first read a MiB at a time.
    start = (1 << 20) + offset
    rows = LONG_ROW * ((start - 2) // len(LONG_ROW))
    rows += b"1," + b"x" * (start - len(rows) - 2)
    with pytest.raises(BadCsvError) as caught:
        inspection_of(b"a,b\n" + rows + fault + b"5,6\n" * 10)
    assert reason in caught.value.reason
    assert (caught.value.line, caught.value.byte) == (2 + rows.count(b"\n") + place, 4 + len(rows) + place)


@pytest.mark.parametrize("offset", range(-5, 3))
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_is_right_where_two_reads_meet_passes(line_end: str, offset: int) -> None:
    end = line_end.encode()
    start = (1 << 20) + offset
    row = LONG_ROW.removesuffix(b"\n") + end
    rows = row * ((start - 2) // len(row))
    rows += b"1," + b"x" * (start - len(rows) - 2) + "é".encode() + end + b'"a""b",""' + end
    read, _ = read_rows(b"a,b" + end + rows)
    assert read[-1] == ('a"b', None)
    assert read[-2][1] is not None
    assert read[-2][1].endswith("é")


def test_the_message_of_a_bad_row_does_not_show_it() -> None:
    for data in (b"a,b\n1,canary,3\n", b'a,b\n1,canary"\n', b"a,b\n1,canary\xff\n", b'a,b\n1,"canary\n'):
        with pytest.raises(BadCsvError) as caught:
            inspection_of(data)
        assert "canary" not in repr(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("data", [b"", BOM])
def test_a_file_without_a_byte_of_text_is_empty(data: bytes) -> None:
    with pytest.raises(EmptyFileError):
        inspection_of(data)


def test_a_row_longer_than_a_block_is_refused_and_the_next_block_size_takes_it() -> None:
    data = b"a,b\n1," + b"x" * (5 << 20) + b"\n"
    with pytest.raises(RowTooLongError, match="1 MiB"):
        read_rows(data)
    assert inspection_of(data).rows == 1


@pytest.mark.parametrize("chunk", [b"x" * (5 << 20), b'"' + (b"x" * 1000 + b"\n") * 5000])
def test_a_header_that_does_not_end_is_refused(chunk: bytes) -> None:
    with pytest.raises(BadCsvError, match="header does not end"):
        read_header(stream_of(chunk))


@pytest.mark.parametrize(
    ("data", "rows", "lines"),
    [
        (b"a,b\n1,2\n3,4\n", [("1", "2"), ("3", "4")], [2, 3]),
        (b"a,b\n1,2\n3,4", [("1", "2"), ("3", "4")], [2, 3]),
        (b"a,b\r\n1,2\r\n", [("1", "2")], [2]),
        (b"a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")], [2, 3]),
        (BOM + b"a,b\n1,2\n", [("1", "2")], [2]),
        (b'"a\nb",c\r\n1,2\n', [("1", "2")], [3]),
        (b'a,b\n,""\n', [(None, None)], [2]),
        (b'a,b\n 1 ," "\n', [(" 1 ", " ")], [2]),
        (b"a,b\nNA,NULL\nnan,null\n", [("NA", "NULL"), ("nan", "null")], [2, 3]),
        (
            b'a,b\n1,"x\ny"\n2,"x\r\ny"\n3,"x\ry"\n4,5\n',
            [("1", "x\ny"), ("2", "x\r\ny"), ("3", "x\ry"), ("4", "5")],
            [2, 4, 6, 8],
        ),
        (b'a,b\n"\n\n","\r\r\n"\n1,2\n', [("\n\n", "\r\r\n"), ("1", "2")], [2, 7]),
        (b'a\n1\n\n""\n2\n', [("1",), (None,), (None,), ("2",)], [2, 3, 4, 5]),
        (b"a\n\n", [(None,)], [2]),
        (b"a,b\n", [], []),
        (b"a,b", [], []),
        (BOM + b"a", [], []),
    ],
)
def test_a_good_file_is_read_as_it_stands(data: bytes, rows: list[tuple[str | None, ...]], lines: list[int]) -> None:
    assert read_rows(data) == (rows, lines)


def test_the_header_is_read_as_it_stands() -> None:
    header = read_header(stream_of(BOM + b'"a\r\nb", Paid ,"c""d",,a\r\n1,2,3,4,5\r\n'))
    assert header.names == ("a\r\nb", " Paid ", 'c"d', "", "a")
    assert (header.rows_line, header.rows_byte) == (3, 28)


@given(HEADER_NAMES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_any_header_is_read_as_it_was_written(names: list[str], line_end: str, ends: bool) -> None:
    line = csv_bytes(names, [], line_end=line_end)
    header = read_header(stream_of(BOM + (line if ends else line.removesuffix(line_end.encode()))))
    assert header.names == tuple(names)


def test_a_value_of_a_header_has_any_length() -> None:
    limit = csv.field_size_limit()
    long = "x" * (limit + 1)
    names = read_header(stream_of(csv_bytes([long, f'{long},"'], [], line_end="\n"))).names
    assert names == (long, f'{long},"')
    with pytest.raises(BadCsvError, match="the row has 1 values"):
        read_rows(f"a,b\n{long}\n".encode())
    assert csv.field_size_limit() == limit


def test_a_file_of_a_header_alone_has_no_rows_and_no_types() -> None:
    inspection = inspection_of(b"a,b\r\n")
    assert inspection.rows == 0
    assert [seen.kind for seen in inspection.seen] == [None, None]


@given(
    st.data(),
    st.integers(1, 4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_any_table_comes_back_with_its_lines_whatever_the_block_size(
    data: st.DataObject, width: int, line_end: str, bom: bool
) -> None:
    rows = data.draw(st.lists(st.lists(TEXTS | _LINE_ENDS, min_size=width, max_size=width), max_size=20))
    headers = [f"c{position}" for position in range(width)]
    longest = max(len(csv_bytes(headers, [row], line_end=line_end)) for row in [headers, *rows])
    block_size = longest + data.draw(st.integers(0, 50))
    file = BOM * bom + csv_bytes(headers, rows, line_end=line_end)
    most, checked = data.draw(st.sampled_from([0, 1, 3, 10])), data.draw(st.booleans())
    read, lines = read_rows(file, block_size=block_size, checked=checked, most=most)
    assert read == [tuple(value or None for value in row) for row in rows]
    heights = [1 + sum(len(LINE_END.findall(value)) for value in row) for row in rows]
    assert lines == [2 + sum(heights[:number]) for number in range(len(rows))]


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("block_size", [16, 17, 24, 31])
@pytest.mark.parametrize("value", ["y\r\nz", "\r\n", "\r\r\n", "\r\n\r\n", "\n\r", "\r"])
def test_line_ends_within_a_value_stay_wherever_a_block_ends(value: str, block_size: int, checked: bool) -> None:
    for before in range(2 * block_size):
        rows = [("x" * (before % 8), "1"), *(("1", "2") for _ in range(before // 8)), ("a", value), ("b", "3")]
        read, lines = read_rows(csv_bytes(["h", "k"], rows, line_end="\n"), block_size=block_size, checked=checked)
        assert read == [tuple(text or None for text in row) for row in rows]
        assert lines[-1] - lines[-2] == 1 + len(LINE_END.findall(value))


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ("k,v\n\ufeffx,1\n", [("\ufeffx", "1")]),
        ("\ufeffk,v\n\ufeff\ufeffx,1\n", [("\ufeff\ufeffx", "1")]),
        ('k,v\n"\ufeff","\ufeff1"\n\ufeff,\n', [("\ufeff", "\ufeff1"), ("\ufeff", None)]),
        ("a\n\ufeff", [("\ufeff",)]),
        ("a\n\ufeff\n", [("\ufeff",)]),
        ("a\n\n\ufeff\n", [(None,), ("\ufeff",)]),
    ],
)
def test_a_byte_order_mark_below_the_header_is_data(data: str, rows: list[tuple[str | None, ...]]) -> None:
    for block_size in (16, BLOCK_SIZES[0]):
        assert read_rows(data.encode(), block_size=block_size)[0] == rows


def test_a_fault_in_a_row_that_begins_with_a_byte_order_mark_is_found() -> None:
    with pytest.raises(BadCsvError) as caught:
        read_rows("k,v\n\ufeffx,1\n\ufeff\n".encode())
    assert (caught.value.line, caught.value.byte) == (3, 11)
