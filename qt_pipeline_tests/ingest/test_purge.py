"""What is old and needed by nobody goes; nothing else does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qt_pipeline.catalog import load_catalog
from qt_pipeline.ingest import Purge, execute, find_purgeable, restore
from qt_pipeline.values import utc_now
from qt_pipeline_tests.archive import DATASET, INBOX, Archive

AHEAD = timedelta(days=1)


def file(number: int) -> bytes:
    return f"Ref,Paid\n007,{number}.25\n".encode()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.rules()
    return made


def found(archive: Archive, *, keep: int = 1, before: datetime | None = None) -> list[Purge]:
    return find_purgeable(archive.warehouse, archive.landing, before=before or utc_now() + AHEAD, keep=keep)


def purge(archive: Archive, *, keep: int = 1, before: datetime | None = None) -> None:
    for one in found(archive, keep=keep, before=before):
        execute(archive.warehouse, archive.landing, one)


def numbers(archive: Archive, dataset_id: str = DATASET) -> list[int]:
    """Of the landings that are there, the newest first."""
    return [landed.manifest.number for landed in archive.landing.complete(dataset_id)]


def lines(archive: Archive) -> list[int]:
    return [load.load_id for load in archive.warehouse.loads(dataset_id=DATASET)]


def test_old_files_go_with_their_lines_and_the_newest_stay(archive: Archive) -> None:
    for number in range(1, 8):
        archive.bring(file(number))
    purge(archive, keep=3)
    assert numbers(archive) == [7, 6, 5]
    # The contract's columns are of the first load.
    assert lines(archive) == [7, 6, 5, 1]
    assert found(archive, keep=3) == []


def test_what_is_not_old_stays(archive: Archive) -> None:
    for number in range(1, 5):
        archive.bring(file(number))
    between = utc_now()
    for number in range(5, 8):
        archive.bring(file(number))
    purge(archive, before=between)
    assert numbers(archive) == [7, 6, 5]
    assert found(archive, before=datetime(2020, 1, 1, tzinfo=UTC)) == []


def test_the_file_that_the_table_shows_stays_although_newer_ones_failed(archive: Archive) -> None:
    archive.bring(file(1))
    archive.bring(file(2))
    for _ in range(4):
        archive.bring(b"Ref,Paid\n007,much\n", fails=True)
    purge(archive)
    assert numbers(archive) == [6, 2]
    assert lines(archive)[-2:] == [2, 1]


def test_the_file_that_a_restore_brought_back_stays(archive: Archive) -> None:
    for number in range(1, 6):
        archive.bring(file(number))
    dataset = load_catalog(archive.folder / "datasets.yaml").dataset(DATASET)
    restore(archive.warehouse, archive.landing, dataset, 3, run_id="restore-1")
    purge(archive)
    assert 3 in numbers(archive)
    assert archive.warehouse.newest_loads()[DATASET].restores_load_id == 3


def test_of_a_table_that_keeps_rows_everything_stays_that_its_rows_name(archive: Archive) -> None:
    archive.rules(mode="append")
    for number in range(1, 5):
        archive.bring(file(number))
    archive.bring(b"Ref,Paid\n007,much\n", fails=True)
    archive.bring(file(6))
    purge(archive)
    assert set(lines(archive)) == {6, 4, 3, 2, 1}
    assert set(numbers(archive)) == {6, 4, 3, 2, 1}


def test_events_are_settled_as_before(archive: Archive) -> None:
    for seq in (3, 5, 9):
        archive.bring(file(seq), through_seq=seq)
    before = archive.warehouse.reached(INBOX, [DATASET])
    for number in range(10, 14):
        archive.load(archive.land(file(number), through_seq=9), force=True)
    purge(archive)
    assert archive.warehouse.reached(INBOX, [DATASET]) == before


def test_files_that_were_never_loaded_go_too(archive: Archive) -> None:
    for number in range(4):
        archive.land(file(number), dataset_id="d-never")
    [one] = found(archive, keep=2)
    assert (one.dataset_id, len(one.landed), one.loads) == ("d-never", 2, ())
    assert one.stored_bytes == sum(landed.manifest.stored_bytes for landed in one.landed)
    purge(archive, keep=2)
    assert numbers(archive, "d-never") == [4, 3]


def test_the_newest_file_stays_even_if_none_is_to_be_kept(archive: Archive) -> None:
    archive.land(file(1), dataset_id="d-never")
    assert found(archive, keep=0) == []


def test_a_load_goes_on_as_before_after_a_purge(archive: Archive) -> None:
    for number in range(1, 6):
        archive.bring(file(number))
    purge(archive)
    unchanged = archive.bring(file(5))
    assert unchanged.status == "unchanged"
    assert archive.bring(file(6)).replaced_load_id == 5
