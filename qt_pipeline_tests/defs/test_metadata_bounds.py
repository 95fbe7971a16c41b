"""What a run leaves in Dagster's database is bounded, however wide a file is and however long an error."""

import dagster as dg
import pytest

from qt_pipeline.defs import metadata
from qt_pipeline.errors import PermanentError


def test_a_list_is_cut_and_says_how_much_more_there_is() -> None:
    table = metadata.of_lines("warning", [f"column {number}" for number in range(400_000)])
    records = table.records
    assert len(records) == metadata._MAX_ROWS + 1
    assert records[-1].data["warning"] == "… and 399,800 more"


def test_a_preview_is_cut_in_both_directions() -> None:
    head = [f"c{number}" for number in range(3000)]
    table = metadata._table(head, [tuple("x" * len(head))] * 300)
    assert len(table.records) == metadata._MAX_ROWS + 1
    assert len(table.schema.columns) == metadata._MAX_TABLE_COLUMNS + 1
    assert table.schema.columns[-1].name == "… and 2,800 more"


def test_the_columns_of_a_wide_file_are_cut() -> None:
    shown = [dg.TableColumn("a", "text")] * metadata._MAX_COLUMNS
    assert len(metadata._columns(shown, 400_000)) == metadata._MAX_COLUMNS + 1
    assert metadata._columns(shown, len(shown)) == shown


@pytest.mark.parametrize("length", [10, 45_000_000])
def test_an_error_is_cut_wherever_it_goes(length: int) -> None:
    error = PermanentError("x" * length, hint="y" * length, dataset_id="d-one")
    failure = metadata.failure(error)
    text = f"{error} {error!r} {error.message} {error.hint} {failure.description} {failure.metadata}"
    assert len(text) < 100_000
    assert ("more characters" in str(error)) is (length > 10)
