"""Records of a file as they stand there, held against Python's own csv module."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular import NoRecordError, record_at
from qt_pipeline_tests.tabular.files import stream_of

FILE = b'Ref,Note\n001,"one\ntwo, ""three"""\r\n002,four\r"003\n004",\n'


def test_a_record_is_its_text_and_its_lines() -> None:
    header, record = record_at(stream_of(FILE), 2)
    assert (header.first_line, header.lines) == (1, ("Ref,Note",))
    assert (record.first_line, record.last_line) == (2, 3)
    assert record.lines == ('001,"one', 'two, ""three"""')
    assert record_at(stream_of(FILE), 4)[1].lines == ("002,four",)
    assert record_at(stream_of(FILE), 5)[1].lines == ('"003', '004",')


def test_a_line_within_a_record_names_the_record_around_it() -> None:
    with pytest.raises(NoRecordError, match="within the record of lines 2 to 3") as refusal:
        record_at(stream_of(FILE), 3)
    assert refusal.value.hint == "Use line 2."


@pytest.mark.parametrize(("data", "end"), [(FILE, "6 lines"), (b"A\n1", "2 lines"), (b"", "empty")])
def test_a_line_beyond_the_end_names_the_end(data: bytes, end: str) -> None:
    with pytest.raises(NoRecordError, match=end):
        record_at(stream_of(data), 99)


def test_the_mark_at_the_beginning_of_a_file_is_no_part_of_its_header() -> None:
    assert record_at(stream_of(b"\xef\xbb\xbfRef\n1\n"), 2)[0].lines == ("Ref",)


@given(
    st.lists(st.lists(st.text(alphabet='ab,"\r\n', max_size=6), min_size=2, max_size=2), min_size=1, max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_each_record_is_found_by_the_line_on_which_it_begins(rows: list[list[str]], end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["A", "B"], *rows])
    data = text.getvalue()
    reader = csv.reader(io.StringIO(data, newline=""), strict=True)
    begins = [reader.line_num + 1 for _ in reader]
    for line, row in zip(begins, rows, strict=False):
        _, record = record_at(stream_of(data.encode()), line)
        assert record.first_line == line
        bare = ["".join(value.split("\r\n")).replace("\r", "").replace("\n", "") for value in row]
        assert "".join(record.lines) == ",".join('"' + value.replace('"', '""') + '"' for value in bare)
