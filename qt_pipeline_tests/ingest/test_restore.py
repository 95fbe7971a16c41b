"""An earlier load's file in the table again, on SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from qt_pipeline.catalog import load_catalog
from qt_pipeline.ingest import FileGoneError, Restored, RestoreRefusedError, UnknownLoadError, restore
from qt_pipeline.landing import LandedFileChangedError
from qt_pipeline.warehouse import LoadStatus, StaleLoadError
from qt_pipeline_tests.archive import DATASET, INBOX, TABLE, Archive
from qt_pipeline_tests.compare import assert_table_equals_csv
from qt_pipeline_tests.postgres import new_database

FIRST = b'Ref,Paid,Note\n007,1.25,"one\ntwo"\n007,1.25,"one\ntwo"\n008,-3.50,\n'
SECOND = b"Ref,Paid,Note\n007,1.25,\n"
WIDER = b"Ref,Paid,Note,Extra\n007,123456789.25,a,9\n"

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.rules()
    return made


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """Each engine in turn."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = Archive(tmp_path, url, None if request.param == "sqlite" else f"the schema {tmp_path.name}")
    made.rules()
    return made


def rows(archive: Archive) -> Rows:
    """All rows but for their load, as a reader of any engine gets them."""
    url = archive.warehouse_url.replace("postgresql://", "postgresql+psycopg://")
    place = f'"{archive.schema}"."{TABLE}"' if archive.schema else f'"{TABLE}"'
    with create_engine(url).connect() as connection:
        found = connection.exec_driver_sql(f"SELECT * FROM {place} ORDER BY _qt_row").mappings()
        return [tuple(value for name, value in row.items() if name != "_qt_load") for row in found]


def bring_back(archive: Archive, load_id: int, dataset_id: str = DATASET) -> Restored:
    dataset = load_catalog(archive.folder / "datasets.yaml").dataset(dataset_id)
    return restore(archive.warehouse, archive.landing, dataset, load_id, run_id="restore-1")


def test_a_restore_brings_an_earlier_load_back_exactly(anywhere: Archive) -> None:
    first = anywhere.bring(FIRST, through_seq=3)
    before = rows(anywhere)
    second = anywhere.bring(SECOND, through_seq=5)
    assert rows(anywhere) != before
    restored = bring_back(anywhere, first.load_id)
    assert rows(anywhere) == before
    newest = anywhere.warehouse.newest_loads()[DATASET]
    assert restored.outcome is not None
    assert (newest.load_id, newest.status) == (restored.outcome.load_id, LoadStatus.PUBLISHED)
    assert (newest.restores_load_id, newest.replaced_load_id) == (first.load_id, second.load_id)
    assert (newest.sha256, newest.landing_run_id, newest.run_id) == (first.sha256, first.run_id, "restore-1")


def test_every_cell_is_as_in_the_file_of_then(archive: Archive) -> None:
    first = archive.bring(FIRST)
    archive.bring(SECOND)
    outcome = bring_back(archive, first.load_id).outcome
    assert outcome is not None
    assert_table_equals_csv(archive.file, TABLE, FIRST, outcome.contract, load_id=outcome.load_id)


def test_columns_that_came_later_are_null_where_the_file_has_none(anywhere: Archive) -> None:
    first = anywhere.bring(SECOND)
    anywhere.bring(WIDER)
    outcome = bring_back(anywhere, first.load_id).outcome
    assert outcome is not None
    assert [str(change) for change in outcome.changes] == [
        "column 'Extra' is missing in the file and NULL in the table"
    ]
    [row] = rows(anywhere)
    assert None in row


def test_a_restore_settles_no_event_and_the_next_event_replaces_it(anywhere: Archive) -> None:
    first = anywhere.bring(FIRST, through_seq=3)
    anywhere.bring(SECOND, through_seq=5)
    reached = anywhere.warehouse.reached(INBOX, [DATASET])
    bring_back(anywhere, first.load_id)
    assert anywhere.warehouse.reached(INBOX, [DATASET]) == reached
    anywhere.bring(WIDER, through_seq=6)
    newest = anywhere.warehouse.newest_loads()[DATASET]
    assert (newest.through_seq, newest.restores_load_id) == (6, None)
    assert len(rows(anywhere)) == 1


def test_what_was_older_than_the_replaced_load_is_older_than_the_restore(archive: Archive) -> None:
    first = archive.bring(FIRST, through_seq=3)
    archive.bring(SECOND, through_seq=5)
    straggler = archive.land(WIDER, through_seq=4)
    bring_back(archive, first.load_id)
    before = rows(archive)
    with pytest.raises(StaleLoadError):
        archive.load(straggler)
    assert rows(archive) == before


def test_a_file_that_the_table_shows_already_is_left_and_no_line_is_written(archive: Archive) -> None:
    first = archive.bring(FIRST)
    lines = archive.warehouse.loads()
    restored = bring_back(archive, first.load_id)
    assert restored.outcome is None
    assert restored.current.load_id == first.load_id
    assert archive.warehouse.loads() == lines
    archive.bring(SECOND)
    again = bring_back(archive, first.load_id).outcome
    assert again is not None
    assert bring_back(archive, first.load_id).current.load_id == again.load_id


def test_a_landed_file_that_was_changed_since_is_refused(archive: Archive) -> None:
    landed = archive.land(FIRST)
    first = archive.load(landed)
    other = archive.land(SECOND)
    archive.load(other)
    before = rows(archive)
    Path(landed.uri).write_bytes(Path(other.uri).read_bytes())
    with pytest.raises(LandedFileChangedError, match="no longer what was landed"):
        bring_back(archive, first.load_id)
    Path(landed.uri).write_bytes(b"torn")
    with pytest.raises(LandedFileChangedError, match="cannot be read"):
        bring_back(archive, first.load_id)
    assert rows(archive) == before
    assert len(archive.warehouse.loads()) == 2


def test_a_file_that_is_gone_is_said_to_be(archive: Archive) -> None:
    landed = archive.land(FIRST)
    first = archive.load(landed)
    archive.bring(SECOND)
    archive.landing.remove(landed)
    with pytest.raises(FileGoneError, match="not in the landing"):
        bring_back(archive, first.load_id)


def test_only_a_load_of_the_dataset_that_was_in_the_table_is_restored(archive: Archive) -> None:
    with pytest.raises(UnknownLoadError, match="no load 1"):
        bring_back(archive, 1)
    archive.bring(FIRST)
    failed = archive.bring(b"Ref,Paid,Note\n007,much,\n", fails=True)
    with pytest.raises(RestoreRefusedError, match="never in the table: the load is failed"):
        bring_back(archive, failed.load_id)
    with pytest.raises(UnknownLoadError, match=f"one of {DATASET}"):
        bring_back(archive, 1, "d-other")


@pytest.mark.parametrize(("mode", "more"), [("append", {}), ("upsert", {"key": ["Ref"]})])
def test_a_table_that_keeps_rows_of_many_files_is_not_restored(
    archive: Archive, mode: str, more: dict[str, Any]
) -> None:
    archive.rules(mode=mode, **more)
    first = archive.bring(SECOND)
    archive.bring(SECOND.replace(b"1.25", b"2.25"))
    with pytest.raises(RestoreRefusedError, match=f"mode {mode}") as refusal:
        bring_back(archive, first.load_id)
    assert "_qt_load" in refusal.value.hint


def test_a_drop_of_rows_that_was_wished_is_no_drop_to_guard_against(archive: Archive) -> None:
    small = archive.bring(SECOND)
    archive.bring(FIRST)
    archive.rules(max_drop_percent=10)
    assert bring_back(archive, small.load_id).outcome is not None


def test_the_same_file_from_the_vendor_ends_the_restore_without_a_publish(archive: Archive) -> None:
    first = archive.bring(FIRST, through_seq=1)
    archive.bring(SECOND, through_seq=2)
    bring_back(archive, first.load_id)
    looked = archive.bring(FIRST, through_seq=3)
    assert (looked.status, looked.restores_load_id) == (LoadStatus.UNCHANGED, None)


DAYS = b"Ref,Day,Paid\n1,03/04/2026,7\n2,05/06/2026,8\n"
DAY_FIRST, MONTH_FIRST = "date %d/%m/%Y", "date %m/%d/%Y"


@pytest.mark.parametrize(
    ("then", "since"),
    [
        ({"Day": DAY_FIRST}, {"Day": MONTH_FIRST}),
        ({"Day": DAY_FIRST}, {"Day": "text"}),
        ({"Day": DAY_FIRST}, {"Day": {"description": "Of the payment."}}),
        ({}, {"Day": MONTH_FIRST}),
        ({"Paid": "text"}, {"Paid": "integer", "Day": MONTH_FIRST}),
        ({"Day": "text"}, {"Day": MONTH_FIRST}),
    ],
)
def test_a_file_is_restored_in_the_forms_of_then(
    anywhere: Archive, then: dict[str, Any], since: dict[str, Any]
) -> None:
    anywhere.rules(columns=then)
    first = anywhere.bring(DAYS)
    before = rows(anywhere)
    anywhere.rules(columns=since)
    anywhere.bring(DAYS.replace(b"7", b"9"))
    bring_back(anywhere, first.load_id)
    assert rows(anywhere) == before
    # The same file by the rules of now is another.
    assert anywhere.bring(DAYS).status is LoadStatus.PUBLISHED


def test_a_form_that_is_declared_no_more_is_that_of_the_load(anywhere: Archive) -> None:
    anywhere.rules(columns={"Day": DAY_FIRST})
    anywhere.bring(DAYS.replace(b"7", b"6"))
    anywhere.rules()
    second = anywhere.bring(DAYS)
    before = rows(anywhere)
    anywhere.rules(columns={"Day": MONTH_FIRST})
    anywhere.bring(DAYS.replace(b"7", b"9"))
    bring_back(anywhere, second.load_id)
    assert rows(anywhere) == before


def test_a_load_of_an_older_version_is_restored_only_where_no_form_may_be_another(archive: Archive) -> None:
    archive.rules(columns={"Day": DAY_FIRST})
    first = archive.bring(DAYS)
    archive.bring(DAYS.replace(b"7", b"9"))
    with closing(sqlite3.connect(archive.file)) as connection, connection:
        connection.execute("UPDATE _qt_loads SET declared = NULL")
    assert bring_back(archive, first.load_id).outcome is not None
    archive.rules(columns={"Day": MONTH_FIRST})
    before = rows(archive)
    with pytest.raises(RestoreRefusedError, match="'Day'") as refusal:
        bring_back(archive, first.load_id)
    assert "qt-pipeline load" in refusal.value.hint
    assert rows(archive) == before
