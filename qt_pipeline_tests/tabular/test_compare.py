"""Two files as multisets of rows, held against Python's own csv module and Counter."""

import csv
import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.tabular import NothingInCommonError, compare, rows_at
from qt_pipeline.tabular.reader import BadCsvError
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.tabular.files import stream_of

Row = tuple[str, ...]

# Few values, so that rows repeat themselves; some need quotes, some span lines.
VALUES = st.sampled_from(["", "a", "b", "a,b", 'say "a"', "a\nb", "a\r\nb", "é", "0", "00", " "])


def as_csv(header: Row, rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([header, *rows])
    return text.getvalue().encode()


def lines_of(data: bytes) -> dict[int, Row]:
    """Each row by the line on which it begins."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    next(reader)
    found: dict[int, Row] = {}
    line = reader.line_num + 1
    for row in reader:
        found[line] = tuple(row)
        line = reader.line_num + 1
    return found


rows = st.lists(st.tuples(VALUES, VALUES), max_size=30)


@given(rows, rows)
def test_what_is_added_and_removed_is_the_difference_of_the_multisets(before: list[Row], after: list[Row]) -> None:
    files = [as_csv(("A", "B"), its) for its in (before, after)]
    found = compare(*map(stream_of, files), limit=1000)
    removed, added = Counter(before) - Counter(after), Counter(after) - Counter(before)
    assert (found.before.extra_rows, found.after.extra_rows) == (removed.total(), added.total())
    assert Counter(map(lines_of(files[0]).__getitem__, found.before.lines)) == removed
    assert Counter(map(lines_of(files[1]).__getitem__, found.after.lines)) == added
    assert (found.before.rows, found.after.rows) == (len(before), len(after))
    assert found.is_none == (Counter(before) == Counter(after))


@few_examples()
@given(rows, rows)
def test_the_order_of_rows_and_columns_does_not_matter(before: list[Row], after: list[Row]) -> None:
    straight = compare(stream_of(as_csv(("A", "B"), before)), stream_of(as_csv(("A", "B"), after)), limit=0)
    turned = compare(
        stream_of(as_csv(("A", "B"), before)),
        stream_of(as_csv(("B", "A"), [(b, a) for a, b in reversed(after)])),
        limit=0,
    )
    assert turned == straight


def test_of_a_row_twice_before_and_three_times_after_one_was_added_and_it_is_the_last() -> None:
    before = b"A,B\n1,x\n2,y\n1,x\n"
    after = b"A,B\n1,x\n1,x\n2,y\n1,x\n"
    found = compare(stream_of(before), stream_of(after), limit=10)
    assert (found.before.extra_rows, found.after.extra_rows) == (0, 1)
    assert found.after.lines == (5,)


def test_a_blank_is_a_blank_quoted_or_not_and_zeros_are_not_alike() -> None:
    found = compare(stream_of(b'A,B\n"",0\n'), stream_of(b"A,B\n,00\n"), limit=10)
    assert (found.before.extra_rows, found.after.extra_rows) == (1, 1)
    assert compare(stream_of(b'A,B\n"",0\n'), stream_of(b"A,B\n,0\n"), limit=10).is_none


def test_values_do_not_run_into_each_other() -> None:
    found = compare(stream_of(b"A,B\nab,c\n"), stream_of(b"A,B\na,bc\n"), limit=10)
    assert (found.before.extra_rows, found.after.extra_rows) == (1, 1)


def test_columns_that_came_and_went_are_told_and_rows_compare_over_the_others() -> None:
    found = compare(stream_of(b"A,Old,B\n1,x,2\n3,y,4\n"), stream_of(b"B,New,A\n2,n,1\n5,n,3\n"), limit=10)
    assert found.columns == ("A", "B")
    assert (found.before.columns, found.after.columns) == (("Old",), ("New",))
    assert (found.before.lines, found.after.lines) == ((3,), (3,))
    assert not compare(stream_of(b"A\n1\n"), stream_of(b"A,B\n1,2\n"), limit=10).is_none


def test_equal_headers_are_paired_in_turn() -> None:
    found = compare(stream_of(b"unnamed,unnamed,A\n1,2,3\n"), stream_of(b"A,unnamed,unnamed\n3,1,2\n"), limit=10)
    assert found.is_none
    swapped = compare(stream_of(b"unnamed,unnamed,A\n1,2,3\n"), stream_of(b"A,unnamed,unnamed\n3,2,1\n"), limit=10)
    assert swapped.after.extra_rows == 1


def test_at_most_so_many_lines_are_named_the_first_of_them() -> None:
    before = b"A\n" + b"".join(b"%d\n" % n for n in range(500))
    found = compare(stream_of(before), stream_of(b"A\n"), limit=3)
    assert (found.before.extra_rows, found.before.lines) == (500, (2, 3, 4))


def test_files_without_a_common_column_cannot_be_compared() -> None:
    with pytest.raises(NothingInCommonError):
        compare(stream_of(b"A\n1\n"), stream_of(b"B\n1\n"), limit=1)


def test_a_file_that_is_no_csv_is_refused_with_its_place() -> None:
    with pytest.raises(BadCsvError, match="line 3"):
        compare(stream_of(b"A,B\n1,2\n"), stream_of(b"A,B\n1,2\n3\n"), limit=1)


def test_a_row_larger_than_a_small_block_is_compared_too() -> None:
    long = b"A,B\n1,2\n" + b"x" * (3 << 20) + b",2\n"
    found = compare(stream_of(long), stream_of(b"A,B\n1,2\n"), limit=5)
    assert (found.before.rows, found.before.lines) == (2, (3,))


def test_rows_are_found_again_by_their_lines() -> None:
    data = b'A,B\n1,"x\ny"\n2,\n3,z\n'
    assert list(rows_at(stream_of(data), (2, 5))) == [(2, ("1", "x\ny")), (5, ("3", "z"))]
    assert list(rows_at(stream_of(data), ())) == []


def test_a_line_end_where_two_blocks_meet_is_no_difference() -> None:
    # The one file has the value where a block of rows ends between CR and LF, the other has it at its beginning.
    value = b'"y\r\nz",1\n'
    filler = b"x" * ((1 << 20) - len(b'"y\r') - len(b",1\n")) + b",1\n"
    before, after = b"k,v\n" + filler + value, b"k,v\n" + value + filler
    assert compare(stream_of(before), stream_of(after), limit=5).is_none
    assert list(rows_at(stream_of(before), [3])) == [(3, ("y\r\nz", "1"))]
