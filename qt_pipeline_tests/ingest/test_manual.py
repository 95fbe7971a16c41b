"""A file of this machine on its way: into the landing, and from there into its table."""

import hashlib
import os
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.ingest import (
    FileGoneError,
    FileOutcome,
    find_landed_file,
    find_purgeable,
    land_manually,
    load_landed,
    restore,
    stale,
)
from qt_pipeline.landing import MANUAL, Landed, Landing, LandingUnavailableError, NothingLandedError
from qt_pipeline.tabular import DriftError
from qt_pipeline.telemetry import LoadStage, Progress
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import LoadRecord, LoadStatus
from qt_pipeline_tests.archive import DATASET, INBOX, TABLE, Archive
from qt_pipeline_tests.ingest.place import DATASET as SERVED
from qt_pipeline_tests.ingest.place import Place, query

FIRST = b"Ref,Paid\n007,1.25\n"
SECOND = b"Ref,Paid\n007,2.50\n008,-3.50\n"
BROKEN = b"Ref,Paid\n007,much\n"
LONG_AGO = datetime(2019, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "archive")
    made.rules()
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written long ago."""
    path = tmp_path / "claims of 2019.csv"
    path.write_bytes(SECOND)
    os.utime(path, (LONG_AGO.timestamp(),) * 2)
    return path


def land(landing: Landing, file: Path, dataset_id: str = DATASET) -> Landed:
    return land_manually(landing, dataset_id, file, run_id=f"{MANUAL}{uuid4()}")


def load(archive: Archive, file: Path, *, force: bool = False) -> FileOutcome:
    landed = land(archive.landing, file)
    return load_landed(archive.warehouse, archive.rules(), landed, run_id=landed.manifest.run_id, force=force)


def newest(archive: Archive) -> LoadRecord:
    return archive.warehouse.loads(dataset_id=DATASET, limit=1)[0]


def content(landed: Landed) -> bytes:
    with landed.open() as stream:
        return stream.read()


# --- into the landing


def test_it_is_landed_unchanged_and_tells_where_it_was(archive: Archive, file: Path, tmp_path: Path) -> None:
    before = utc_now()
    landed = land(archive.landing, file)
    manifest = landed.manifest
    assert content(landed) == SECOND
    assert (manifest.bytes, manifest.sha256) == (len(SECOND), hashlib.sha256(SECOND).hexdigest())
    assert manifest.source is not None
    assert manifest.source.uri == f"file://{tmp_path}/claims%20of%202019.csv"
    assert manifest.source.modified_at == LONG_AGO
    assert before <= manifest.landed_at <= utc_now()
    assert (manifest.inbox_id, manifest.through_seq, manifest.event_id) == ("", 0, None)
    [found] = archive.landing.complete(DATASET)
    assert found == landed


def test_one_read_copies_and_hashes(archive: Archive, tmp_path: Path) -> None:
    # What comes out of a pipe cannot be read twice.
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    data = SECOND * 100_000
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    landed = land(archive.landing, pipe)
    writer.join(20)
    assert landed.manifest.sha256 == hashlib.sha256(data).hexdigest()
    assert content(landed) == data


def test_a_big_file_is_never_in_memory(archive: Archive, tmp_path: Path) -> None:
    big, size = tmp_path / "big.csv", 64 << 20
    with big.open("wb") as stream:
        stream.truncate(size)
    tracemalloc.start()
    try:
        landed = land(archive.landing, big)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert landed.manifest.bytes == size
    assert peak < 8 << 20


def test_how_far_the_copy_has_come_is_told(archive: Archive, file: Path) -> None:
    seen: list[Progress] = []
    land_manually(archive.landing, DATASET, file, run_id=f"{MANUAL}1", observe=seen.append)
    assert seen[-1] == Progress(LoadStage.READ, len(SECOND), len(SECOND))


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_what_cannot_be_read_is_named_and_leaves_no_trace(archive: Archive, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*\. Name a CSV file\."):
        land(archive.landing, tmp_path / name)
    assert archive.landing.datasets() == []


def test_a_file_that_cannot_be_read_to_its_end_leaves_no_landing(archive: Archive) -> None:
    # Memory of this process at the address 0 is there to be opened, and not to be read.
    with pytest.raises(ConfigurationError, match=r"/mem cannot be read: .*\. Name a CSV file\."):
        land(archive.landing, Path("/proc/self/mem"))
    assert list((archive.folder / "landing" / DATASET).iterdir()) == []


def test_a_landing_that_takes_nothing_is_told_of(tmp_path: Path, file: Path) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(LandingUnavailableError, match="cannot be written: Not a directory"):
        land(Landing(str(tmp_path / "a-file" / "landing")), file)


# --- into the table


def test_the_ledger_names_the_landed_file_and_no_event(archive: Archive, file: Path) -> None:
    outcome = load(archive, file)
    line = newest(archive)
    [landed] = archive.landing.complete(DATASET)
    assert (line.load_id, line.status, line.rows) == (outcome.load_id, LoadStatus.PUBLISHED, 2)
    assert (line.landing_uri, line.sha256, line.bytes) == (landed.uri, landed.manifest.sha256, len(SECOND))
    assert line.run_id == line.landing_run_id == landed.manifest.run_id
    assert (line.inbox_id, line.through_seq, line.event_id) == ("", 0, None)
    assert find_landed_file(archive.landing, line) == landed


def test_it_settles_no_event_and_hinders_none(archive: Archive, file: Path) -> None:
    archive.bring(FIRST, through_seq=5)
    before = archive.warehouse.reached(INBOX, [DATASET])
    load(archive, file)
    assert archive.warehouse.reached(INBOX, [DATASET]) == before
    assert archive.bring(FIRST, through_seq=6).status is LoadStatus.PUBLISHED


def test_its_data_are_as_old_as_the_file_whenever_it_is_loaded(archive: Archive, file: Path) -> None:
    dataset = archive.rules(mode="append", fresh_within_hours=1)
    landed = land(archive.landing, file)
    load_landed(archive.warehouse, dataset, landed, run_id=landed.manifest.run_id)
    line = newest(archive)
    assert line.landed_at == LONG_AGO
    assert query(archive.file, f"SELECT DISTINCT _qt_loaded_at FROM {TABLE}")[0][0].startswith("2019-05-04 03:02:01")
    assert [one.dataset for one in stale([dataset], {DATASET: line}, utc_now())] == [dataset]


def test_what_the_table_shows_already_is_landed_too_so_that_every_line_has_its_file(
    archive: Archive, file: Path
) -> None:
    load(archive, file)
    assert load(archive, file).status is LoadStatus.UNCHANGED
    lines = archive.warehouse.loads(dataset_id=DATASET)
    assert [line.status for line in lines] == [LoadStatus.UNCHANGED, LoadStatus.PUBLISHED]
    assert len({find_landed_file(archive.landing, line).uri for line in lines}) == 2


def test_a_refused_file_stays_landed_with_its_misfits_beside_it(archive: Archive, file: Path) -> None:
    archive.bring(FIRST)
    file.write_bytes(BROKEN)
    with pytest.raises(DriftError):
        load(archive, file)
    landed = find_landed_file(archive.landing, newest(archive))
    assert content(landed) == BROKEN
    misfits = landed.folder / f"invalid-values-{landed.manifest.run_id}.csv"
    assert misfits.read_text() == 'line,column,expected,value\n2,Paid,"decimal(15,2)",\n'


@pytest.mark.parametrize("data", [SECOND, BROKEN], ids=["loaded", "refused"])
def test_a_run_of_the_table_alone_takes_the_newest_download_whatever_was_brought_by_hand_since(
    place: Place, file: Path, data: bytes
) -> None:
    ingest = place.ingest()
    downloaded = ingest.land(SERVED, run_id="run-1").landed
    file.write_bytes(data)
    land(place.landing, file, SERVED)
    loaded = ingest.load(SERVED, run_id="run-of-the-table-alone")
    assert loaded.landed == downloaded


def test_where_all_was_brought_by_hand_a_run_of_the_table_alone_has_nothing_to_load(place: Place, file: Path) -> None:
    land(place.landing, file, SERVED)
    with pytest.raises(NothingLandedError, match="landed files were loaded manually"):
        place.ingest().load(SERVED, run_id="run-1")


# --- and back again


def test_it_is_restored_like_a_download(archive: Archive, file: Path) -> None:
    first = load(archive, file)
    archive.bring(FIRST, through_seq=3)
    restored = restore(archive.warehouse, archive.landing, archive.rules(), first.load_id, run_id="restore-1")
    assert restored.outcome is not None
    assert query(archive.file, f"SELECT Ref, Paid FROM {TABLE} ORDER BY _qt_row") == [("007", 2.5), ("008", -3.5)]
    line = newest(archive)
    assert (line.restores_load_id, line.through_seq, line.landed_at) == (first.load_id, 3, LONG_AGO)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_one_that_was_purged_is_said_to_be_so(archive: Archive, file: Path, scheme: str) -> None:
    landing = Landing(f"{scheme}{archive.folder}/landing")
    landed = land(landing, file)
    load_landed(archive.warehouse, archive.rules(), landed, run_id=landed.manifest.run_id)
    landing.remove(landed)
    with pytest.raises(FileGoneError, match="it was purged"):
        find_landed_file(landing, newest(archive))


# --- making room


def purgeable(archive: Archive, *, keep: int = 1, before: datetime | None = None) -> set[str]:
    """The runs whose files may go."""
    moment = before or utc_now() + timedelta(days=1)
    found = find_purgeable(archive.warehouse, archive.landing, before=moment, keep=keep)
    return {landed.manifest.run_id for purge in found for landed in purge.landed}


def test_files_by_hand_are_purged_like_downloads_but_for_what_the_table_shows(archive: Archive, file: Path) -> None:
    runs: list[str] = []
    for number in range(3):
        file.write_bytes(b"Ref,Paid\n007,%d.00\n" % number)
        load(archive, file)
        runs.append(newest(archive).run_id)
    file.write_bytes(BROKEN)
    with pytest.raises(DriftError):
        load(archive, file)
    assert purgeable(archive) == set(runs[:2])


def test_refused_files_by_hand_do_not_push_the_newest_download_out(archive: Archive, file: Path) -> None:
    archive.land(FIRST)
    download = archive.land(FIRST)
    for _ in range(3):
        land(archive.landing, file)
    gone = purgeable(archive)
    assert len(gone) == 3
    assert download.manifest.run_id not in gone


def test_a_file_by_hand_is_as_old_as_its_landing(archive: Archive, file: Path) -> None:
    for _ in range(3):
        land(archive.landing, file)
    assert purgeable(archive, before=utc_now() - timedelta(days=1)) == set()
    assert len(purgeable(archive)) == 2
