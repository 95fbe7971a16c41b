import csv
import io
import re

import pytest

from qt_pipeline.sandbox import SANDBOX_DATASETS, SandboxDataset
from qt_pipeline.sandbox.change import changed_csv
from qt_pipeline.sandbox.datasets import first_version

AMOUNT = re.compile(r"-?\d+\.\d+")


def parse(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_a_change_edits_some_amounts_adds_some_rows_and_leaves_all_else(dataset: SandboxDataset) -> None:
    before = first_version(dataset).csv
    old, new = parse(before), parse(changed_csv(before, 2))
    kept, added = new[: len(old)], new[len(old) :]

    edits = [
        (was, now)
        for old_row, new_row in zip(old, kept, strict=True)
        if old_row != new_row
        for was, now in zip(old_row, new_row, strict=True)
        if was != now
    ]
    assert 50 <= len(edits) <= 150
    for was, now in edits:
        assert AMOUNT.fullmatch(was)
        assert AMOUNT.fullmatch(now)
        assert was[:-1] == now[:-1]
    assert len(added) == 10
    assert all(row in kept[1:] for row in added)


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_a_change_is_decided_by_the_version_number(dataset: SandboxDataset) -> None:
    before = first_version(dataset).csv

    assert changed_csv(before, 2) == changed_csv(before, 2)
    assert changed_csv(before, 2) != changed_csv(before, 3)


def test_a_change_keeps_quotes_line_breaks_and_both_blanks() -> None:
    before = b'Ref,"Na,me",Amount\n007,"a ""b""\r\nc, d",1.25\n008,,"9.50"\n009,"",-0.9\n'

    assert changed_csv(before, 2) == (
        b'Ref,"Na,me",Amount\n007,"a ""b""\r\nc, d",1.26\n008,,"9.50"\n009,"",-0.8\n'
        b'007,"a ""b""\r\nc, d",1.26\n008,,"9.50"\n009,"",-0.8\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"a,b\r\n1,2", b"a,b\r\n1,2\r\n1,2\r\n"), (b"a,b\n1,2", b"a,b\n1,2\n1,2\n")],
    ids=["CRLF", "LF"],
)
def test_a_row_after_an_unfinished_last_line_begins_on_a_line_of_its_own(before: bytes, after: bytes) -> None:
    assert changed_csv(before, 2) == after


@pytest.mark.parametrize("before", [b"", b"a,b\n", b"a,b"])
def test_a_file_without_rows_stays_as_it_is(before: bytes) -> None:
    assert changed_csv(before, 2) == before
