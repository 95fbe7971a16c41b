"""A file of more rows than any dataset may have is left before its end."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from qt_pipeline.errors import PermanentError
from qt_pipeline.ingest import TooManyRowsError, load_file
from qt_pipeline.ingest.files import CsvFile
from qt_pipeline.warehouse import LoadStatus
from qt_pipeline_tests.ingest.loading import DATASET, Loading

LINE = b"007," + b"x" * 96 + b"\n"
# Arrow reads some megabytes ahead.
LARGE = b"Reference,Note\n" + LINE * 600_000
OLD = b"Reference,Note\n001,old\n"


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


class Counting:
    """A file that knows how much of it was read."""

    def __init__(self, file: CsvFile) -> None:
        self._stream = file.open()
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.bytes += len(data)
        return data


@pytest.mark.parametrize("rows", [1, 3])
def test_a_file_may_have_as_many_rows_as_the_limit_and_not_one_more(loading: Loading, rows: int) -> None:
    data = b"Reference,Note\n" + b"007,new\n" * rows
    outcome = load_file(loading.warehouse, loading.dataset, loading.file(data), max_rows=rows)
    loading.assert_table_is(data, outcome)
    with pytest.raises(TooManyRowsError) as refusal:
        load_file(loading.warehouse, loading.dataset, loading.file(data + b"008,new\n"), max_rows=rows)
    assert isinstance(refusal.value, PermanentError)
    assert refusal.value.dataset_id == DATASET
    assert f"more than {rows} rows" in refusal.value.message
    assert "QT_MAX_ROWS" in refusal.value.hint
    assert loading.ledger[-1].status is LoadStatus.FAILED
    loading.assert_table_is(data, outcome)
    assert not list(loading.folder.glob("*_qt_stage_*"))


def test_a_file_that_needs_a_second_pass_is_held_to_the_limit_too(loading: Loading) -> None:
    # The second megabytes make text of what began as numbers.
    data = b"Reference,Note\n" + b"1,1\n" * 1_500_000 + b"2,two\n"
    with pytest.raises(TooManyRowsError):
        load_file(loading.warehouse, loading.dataset, loading.file(data), max_rows=1_500_000)


def test_the_rest_of_a_file_with_too_many_rows_is_not_read(loading: Loading) -> None:
    opened: list[Counting] = []

    def open_counting() -> Any:
        opened.append(Counting(file))
        return opened[-1]

    loading.load(OLD)
    file = loading.file(LARGE)
    with pytest.raises(TooManyRowsError):
        load_file(loading.warehouse, loading.dataset, replace(file, open=open_counting), max_rows=5000)
    assert max(one.bytes for one in opened) < len(LARGE) / 2
    assert loading.rows("Note") == [("old",)]
