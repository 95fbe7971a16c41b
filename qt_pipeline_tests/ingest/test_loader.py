import hashlib
import logging
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.ingest import NoRowsError, RequiredValueError, TooFewRowsError, local_file
from qt_pipeline.tabular import DeclarationError, DriftError
from qt_pipeline.tabular.reader import BLOCK_SIZES
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import LoadStatus, Warehouse
from qt_pipeline.warehouse.sqlite import SqliteTarget
from qt_pipeline_tests.ingest.loading import DATASET, TABLE, Loading
from qt_pipeline_tests.ingest.place import CANARY, query

CSV = b"Ref,Paid,Note\n007,1.25,a\n008,-3.50,b\n"

LONG = b"x" * 1000
FILLER = b"1," + LONG + b"\n"
MANY = b"Paid,Note\n" + FILLER * ((16 << 20) // len(FILLER))
"""More than a glance takes in."""

HEADER_GLANCE_PASS = 3
"""How often a file is opened that is read once: for its header, for a look at its beginning, for its rows."""


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


def line_of(data: bytes) -> int:
    """The line of the last row."""
    return data.count(b"\n")


def records_of(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b",") for line in data.splitlines()[1:]]


# --- one pass or two


@pytest.mark.parametrize("data", [CSV, MANY], ids=["short", "long"])
def test_a_file_whose_beginning_tells_the_truth_is_read_once(loading: Loading, data: bytes) -> None:
    first = loading.load(data)
    assert loading.opened == HEADER_GLANCE_PASS
    loading.assert_table_is(data, first)
    again = loading.load(data, force=True)
    assert loading.opened == HEADER_GLANCE_PASS
    loading.assert_table_is(data, again)


def test_a_change_that_the_beginning_shows_costs_no_second_pass(loading: Loading) -> None:
    loading.load(CSV)
    outcome = loading.load(b"Ref,Paid,Note,New\n007,1.125,a,5\n")
    assert loading.opened == HEADER_GLANCE_PASS
    assert [str(change) for change in outcome.changes] == [
        "column 'Paid' was decimal(15,2) and is decimal(15,3) now",
        "new column 'New' (integer)",
    ]


@pytest.mark.parametrize(
    ("late", "types"),
    [
        (b"1.5,x\n", {"Paid": "decimal(15,1)", "Note": "text(2000)"}),
        (b"x,x\n", {"Paid": "text(50)", "Note": "text(2000)"}),
        (b"7," + b"x" * 2001 + b"\n", {"Paid": "integer", "Note": "text(4000)"}),
    ],
    ids=["a decimal", "a word", "a longer text"],
)
def test_a_file_whose_beginning_misleads_is_read_once_more_and_loaded_as_it_is(
    loading: Loading, late: bytes, types: dict[str, str]
) -> None:
    outcome = loading.load(data := MANY + late)
    assert loading.opened == HEADER_GLANCE_PASS + 2
    assert loading.types() == types
    assert outcome.totals.rows == line_of(data) - 1
    loading.assert_table_is(data, outcome)


def test_a_column_that_is_blank_at_first_gets_the_type_of_its_late_values(loading: Loading) -> None:
    data = MANY.replace(b"\n1,", b"\n,") + b"2026-01-31,x\n"
    outcome = loading.load(data)
    assert loading.types()["Paid"] == "date"
    loading.assert_table_is(data, outcome)


def test_a_late_change_that_the_contract_allows_is_carried_out(loading: Loading) -> None:
    loading.load(b"Paid,Note\n1.5," + LONG + b"\n")
    outcome = loading.load(data := MANY + b"0.125,x\n")
    assert [str(change) for change in outcome.changes] == ["column 'Paid' was decimal(15,1) and is decimal(15,3) now"]
    loading.assert_table_is(data, outcome)


def test_a_late_value_that_the_contract_forbids_is_named_and_the_table_stays(loading: Loading) -> None:
    first = loading.load(data := b"Paid,Note\n1,x\n")
    with pytest.raises(DriftError) as caught:
        loading.load(bad := MANY + b"x,x\n")
    assert [(misfit.line, misfit.column) for misfit in caught.value.invalid_values] == [(line_of(bad), "Paid")]
    loading.assert_table_is(data, first)


@pytest.mark.parametrize("place", ["at the beginning", "late"])
def test_a_row_that_needs_a_large_block_is_loaded_shown_and_held_against_the_contract(
    loading: Loading, place: str
) -> None:
    long_row = b"2," + b"y" * (2 * BLOCK_SIZES[0] + 1) + b"\n"
    start = b"Paid,Note\n"
    data = start + (long_row + b"3,x\n" if place == "at the beginning" else MANY.removeprefix(start) + long_row)
    outcome = loading.load(data, show_values=True)
    assert loading.types() == {"Paid": "integer", "Note": "text"}
    assert outcome.preview is not None
    assert outcome.preview.rows[0][0] == ("2" if place == "at the beginning" else "1")
    in_the_table = sorted(loading.rows('"Paid", length("Note")'))
    assert in_the_table == sorted((int(paid), len(note)) for paid, _, note in records_of(data))
    with pytest.raises(DriftError) as caught:
        loading.load(data + b"x,x\n")
    assert [(misfit.line, misfit.value) for misfit in caught.value.invalid_values] == [(line_of(data) + 1, "x")]
    assert sorted(loading.rows('"Paid", length("Note")')) == in_the_table


# --- misfits


@pytest.mark.parametrize("show_values", [True, False])
def test_the_first_hundred_misfits_are_told_with_line_and_column_and_values_only_where_they_may_be(
    loading: Loading, show_values: bool
) -> None:
    loading.load(CSV, show_values=show_values)
    bad = b"".join(b"%d,%s,x\n" % (n, b"1.5" if n % 3 else CANARY.encode()) for n in range(400))
    with pytest.raises(DriftError) as caught:
        loading.load(b"Ref,Paid,Note\n" + bad)
    assert [(m.line, m.column, m.type, m.value) for m in caught.value.invalid_values] == [
        (2 + 3 * n, "Paid", "decimal(15,2)", CANARY if show_values else None) for n in range(100)
    ]
    assert caught.value.dataset_id == DATASET
    assert (CANARY in f"{caught.value} {caught.value!r} {loading.ledger}") == show_values


def test_a_load_that_fails_has_its_line_in_the_ledger_with_the_reason(loading: Loading) -> None:
    loading.load(CSV)
    with pytest.raises(DriftError) as caught:
        loading.load(b"Ref,Paid\n007,1\n")
    [published, failed] = loading.ledger
    assert (published.status, failed.status) == (LoadStatus.PUBLISHED, LoadStatus.FAILED)
    assert failed.error is not None
    assert caught.value.message in failed.error
    assert (failed.rows, failed.replaced_load_id, failed.changes) == (None, None, None)
    assert failed.finished_at is not None


# --- guards


def refused(loading: Loading, data: bytes, error: type[PipelineError], words: str) -> None:
    before = loading.rows()
    with pytest.raises(error, match=f"^Dataset {DATASET}: .*{words}"):
        loading.load(data)
    assert loading.rows() == before
    assert loading.ledger[-1].status is LoadStatus.FAILED


def rows_of(count: int) -> bytes:
    return b"Ref,Paid,Note\n" + b"".join(b"%d,1.5,x\n" % n for n in range(count))


def test_a_file_without_rows_fails_the_load_unless_it_is_to_replace_the_rows(loading: Loading) -> None:
    loading.load(CSV)
    refused(loading, rows_of(0), NoRowsError, "has a header and no rows.*'empty: replace'")
    outcome = loading.load(rows_of(0), empty="replace")
    assert (outcome.totals.rows, outcome.table_rows, loading.rows()) == (0, 0, [])
    assert outcome.changes == ()


def test_a_first_file_without_rows_leaves_every_type_open_until_the_first_value_comes(loading: Loading) -> None:
    loading.load(b"Ref,Paid,Note\n", empty="replace", columns={"Note": "text(20)"})
    assert loading.types() == {"Ref": "text(50)", "Paid": "open", "Note": "text(20)"}
    outcome = loading.load(CSV)
    assert loading.types() == {"Ref": "text(50)", "Paid": "decimal(15,2)", "Note": "text(20)"}
    assert [str(change) for change in outcome.changes] == ["column 'Paid' was open and is decimal(15,2) now"]
    loading.assert_table_is(CSV, outcome)


def test_a_file_with_fewer_rows_than_expected_fails_the_load(loading: Loading) -> None:
    loading.load(rows_of(10), min_rows=10)
    refused(loading, rows_of(9), TooFewRowsError, "has 9 rows; the catalog expects at least 10")
    loading.load(rows_of(9), min_rows=9)
    loading.entry["empty"] = "replace"
    refused(loading, rows_of(0), TooFewRowsError, "has 0 rows; the catalog expects at least 9")


def test_a_first_file_with_fewer_rows_than_expected_makes_no_table(loading: Loading) -> None:
    with pytest.raises(TooFewRowsError):
        loading.load(rows_of(9), min_rows=10)
    assert query(loading.database, f"SELECT name FROM sqlite_master WHERE name = '{TABLE}'") == []
    assert loading.warehouse.contract(DATASET) is None


def test_a_file_with_too_many_rows_less_than_the_last_fails_the_load(loading: Loading) -> None:
    loading.load(rows_of(40), max_drop_percent=25)
    refused(
        loading, rows_of(29), TooFewRowsError, r"has 29 rows, 27\.5 % fewer than the 40 before; the catalog allows 25 %"
    )
    loading.load(rows_of(30))
    loading.load(rows_of(100))
    refused(loading, rows_of(74), TooFewRowsError, "26.0 % fewer than the 100 before")
    loading.load(rows_of(74), max_drop_percent=26)


def test_a_drop_is_counted_from_the_last_file_also_when_that_was_found_unchanged_and_where_rows_stay(
    loading: Loading,
) -> None:
    loading.load(rows_of(40), max_drop_percent=25, mode="append")
    assert loading.load(rows_of(40)).status is LoadStatus.UNCHANGED
    refused(loading, rows_of(29), TooFewRowsError, "than the 40 before")
    assert loading.load(rows_of(30)).table_rows == 70


def test_a_table_that_was_emptied_on_purpose_is_no_measure_of_a_drop(loading: Loading) -> None:
    loading.load(rows_of(0), max_drop_percent=0, empty="replace")
    assert loading.load(rows_of(1)).totals.rows == 1


# --- unchanged


def test_a_file_that_the_table_shows_already_is_left_and_the_ledger_says_so(loading: Loading) -> None:
    first = loading.load(CSV)
    again = loading.load(CSV)
    assert loading.opened == 0
    assert (again.status, again.replaced_load_id, again.changes) == (LoadStatus.UNCHANGED, None, ())
    assert (again.contract, again.totals.rows, again.table_rows) == (first.contract, 2, 2)
    assert (again.table, again.preview) == (TABLE, None)
    assert set(again.seconds) == {"compare"}
    assert again.load_id != first.load_id
    assert [(line.status, line.rows, line.table_rows) for line in loading.ledger] == [
        (LoadStatus.PUBLISHED, 2, 2),
        (LoadStatus.UNCHANGED, 2, 2),
    ]
    loading.assert_table_is(CSV, first)


def test_force_loads_a_file_that_the_table_shows_already(loading: Loading) -> None:
    first = loading.load(CSV)
    forced = loading.load(CSV, force=True)
    assert (forced.status, forced.replaced_load_id) == (LoadStatus.PUBLISHED, first.load_id)
    loading.assert_table_is(CSV, forced)


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        ({"naming": "snake_case"}, LoadStatus.PUBLISHED),
        ({"policy": "evolve"}, LoadStatus.PUBLISHED),
        ({"columns": {"Paid": "decimal(9,2)"}}, LoadStatus.PUBLISHED),
        ({"empty": "replace"}, LoadStatus.PUBLISHED),
        ({"after_publish": "SELECT 1"}, LoadStatus.PUBLISHED),
        ({"mode": "upsert", "key": ["Ref"]}, LoadStatus.PUBLISHED),
        ({"columns": {"Paid": {"description": "What was paid."}}}, LoadStatus.UNCHANGED),
        ({"min_rows": 1, "max_drop_percent": 5}, LoadStatus.UNCHANGED),
        ({"owner": "pricing", "show_values": True, "name": "Paid"}, LoadStatus.UNCHANGED),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_the_same_file_is_loaded_again_when_the_catalog_decides_otherwise_how_it_becomes_rows(
    loading: Loading, entry: dict[str, Any], status: LoadStatus
) -> None:
    loading.load(CSV)
    assert loading.load(CSV, **entry).status is status


def test_a_table_that_somebody_has_changed_is_loaded_again(loading: Loading) -> None:
    loading.load(CSV)
    query(loading.database, f"DELETE FROM {TABLE} WHERE _qt_row = 2")
    outcome = loading.load(CSV)
    assert outcome.status is LoadStatus.PUBLISHED
    loading.assert_table_is(CSV, outcome)


# --- what a load tells


def test_changes_are_told_to_the_caller_in_the_ledger_and_in_the_log(
    loading: Loading, caplog: pytest.LogCaptureFixture
) -> None:
    assert loading.load(b"Ref,Count,Gone\n1,2,3\n", policy="evolve").changes == ()
    assert caplog.records == []
    outcome = loading.load(b"Ref,Count,New\n1,2.5,x\n")
    told = [
        "column 'Count' was integer and is decimal(38,1) now",
        "column 'Gone' is missing in the file and NULL in the table",
        "new column 'New' (text(50))",
    ]
    assert [str(change) for change in outcome.changes] == told
    assert [line.changes for line in loading.ledger] == [None, "\n".join(told)]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [f"Dataset {DATASET}: {change}." for change in told]
    assert loading.rows('"Ref", "Count", "Gone", "New"') == [("1", "2.5", None, "x")]


def test_warnings_of_the_target_are_told_to_the_caller(loading: Loading) -> None:
    class Worried(SqliteTarget):
        warnings = ("Readers wait during a publish.",)

    loading.open_target = lambda url: Warehouse(Worried(make_url(url)))
    assert loading.load(CSV).warnings == ("Readers wait during a publish.",)


def test_the_outcome_says_how_long_each_stage_took_and_what_was_replaced(loading: Loading) -> None:
    first, second = loading.load(CSV), loading.load(CSV, force=True)
    assert set(first.seconds) == {"inspect", "stage", "publish"}
    assert all(0 <= took < 60 for took in first.seconds.values())
    assert (first.replaced_load_id, second.replaced_load_id) == (None, first.load_id)
    assert (first.table, first.totals.rows, first.table_rows) == (TABLE, 2, 2)


def test_a_preview_shows_null_for_a_column_that_is_missing_and_no_row_of_an_empty_file(loading: Loading) -> None:
    loading.load(CSV, show_values=True, policy="evolve", empty="replace", naming="snake_case")
    shown = loading.load(b"Note,Ref\nc,009\n").preview
    assert shown is not None
    assert (shown.columns, shown.rows) == (("ref", "paid", "note"), (("009", None, "c"),))
    empty = loading.load(b"Ref,Paid,Note\n").preview
    assert empty is not None
    assert empty.rows == ()


# --- what the catalog says of columns and rows


def test_declared_types_and_names_of_the_catalog_make_the_table(loading: Loading) -> None:
    columns = {"Gross Paid": "decimal(18,2) 1.234,56", "Day": "date %d/%m/%Y", "Open": "boolean Y/N"}
    loading.load(b'Gross Paid,Day,Open\n"1.234,50",31/01/2026,N\n', naming="snake_case", columns=columns)
    assert loading.rows("gross_paid, day, open") == [("1234.50", "2026-01-31", 0)]
    assert loading.types() == {
        "gross_paid": "decimal(18,2) 1.234,56",
        "day": "date %d/%m/%Y",
        "open": "boolean Y/N",
    }


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_where_rows_stay_a_value_of_another_kind_is_refused_that_would_rewrite_them(
    loading: Loading, mode: str
) -> None:
    loading.load(
        b"Ref,Day\n1,2026-01-31\n", mode=mode, policy="evolve", **({"key": ["Ref"]} if mode == "upsert" else {})
    )
    refused(loading, b"Ref,Day\n2,soon\n", DriftError, r"'Day \(date\)'")
    loading.load(b"Ref,Day\n2,2026-02-01\n")
    assert loading.rows('"Ref", "Day"') == [("1", "2026-01-31"), ("2", "2026-02-01")]


def test_where_rows_stay_a_type_that_cannot_hold_them_is_refused_when_it_is_declared(loading: Loading) -> None:
    loading.load(b"Name,Paid\nAnn,007\n", mode="append")
    loading.entry["columns"] = {"Paid": "integer"}
    refused(loading, b"Name,Paid\nBob,8\n", DeclarationError, r"'Paid' is text\(50\), declared as integer")
    loading.load(b"Name,Paid\nBob,8\n", columns={"Paid": "text(200)"})
    assert loading.rows('"Name", "Paid"') == [("Ann", "007"), ("Bob", "8")]


@pytest.mark.parametrize("value", ["soon", "2026-01-31"])
def test_a_value_that_is_not_in_the_form_of_its_column_is_never_stored_in_another(loading: Loading, value: str) -> None:
    loading.load(b"Name,Day\nAnn,31/01/2026\n", policy="evolve", columns={"Day": "date %d/%m/%Y"})
    loading.entry["columns"] = {}
    refused(loading, f"Name,Day\nAnn,31/01/2026\nBob,{value}\n".encode(), DriftError, r"line 3, column 'Day'")


# --- tables that were there before


def adopted(loading: Loading, ddl: str, data: bytes, **entry: Any) -> tuple[list[str], list[str]]:
    """The names of the columns of a table that a load has taken over, and what the load says has changed."""
    query(loading.database, f"CREATE TABLE {TABLE} ({ddl})")
    outcome = loading.load(data, adopt=True, **entry)
    loading.assert_table_is(data, outcome)
    return [column.name for column in outcome.contract.columns], [str(change) for change in outcome.changes]


def test_a_table_is_taken_over_by_headers_that_differ_in_case(loading: Loading) -> None:
    names, changes = adopted(
        loading,
        '"claim no" VARCHAR(20), paid NUMERIC(9,2)',
        b"Paid,Claim No\n1.25,007\n",
    )
    assert (names, changes) == (["claim no", "paid"], [])
    # From now on the headers are the file's own.
    assert loading.load(b"Paid,Claim No\n2.5,008\n").changes == ()
    with pytest.raises(DriftError, match="columns that are missing: 'Claim No'"):
        loading.load(b"Paid,claim no\n2.5,008\n")


def test_a_table_is_taken_over_by_headers_that_give_its_names_in_snake_case(loading: Loading) -> None:
    names, changes = adopted(
        loading,
        "claim_no VARCHAR(20), gross_paid NUMERIC(9,2), vehicles INTEGER",
        b"Vehicles,Gross Paid,ClaimNo,Open\n3,1.25,007,true\n",
        naming="snake_case",
    )
    assert names == ["claim_no", "gross_paid", "vehicles", "open"]
    assert changes == ["new column 'open' (boolean)"]


def test_a_table_that_is_taken_over_grows_where_the_first_file_needs_it(loading: Loading) -> None:
    names, changes = adopted(
        loading,
        "name VARCHAR(3), paid NUMERIC(4,2), vehicles SMALLINT",
        b"Name,Paid,Vehicles\nAnnabel,123.125,70000\n",
    )
    assert names == ["name", "paid", "vehicles"]
    # SQLite holds texts of any length and whole numbers of 64 bits, whatever their columns are called.
    assert changes == ["column 'paid' was decimal(4,2) and is decimal(15,3) now"]


def test_a_table_is_not_taken_over_by_a_file_that_its_types_cannot_hold(loading: Loading) -> None:
    query(loading.database, f"CREATE TABLE {TABLE} (name VARCHAR(20), paid NUMERIC(9,2))")
    query(loading.database, f"INSERT INTO {TABLE} VALUES ('Ann', 1.5)")
    with pytest.raises(DriftError, match=r"missing: 'paid'"):
        loading.load(b"Name\nAnn\n", adopt=True)
    with pytest.raises(DriftError, match=r"'paid \(decimal\(9,2\)\)'. First of them: line 2, column 'paid'"):
        loading.load(b"Name,Paid\nAnn,much\n")
    assert loading.rows() == [("Ann", 1.5)]


# --- files of this machine


def test_a_local_file_is_known_by_its_bytes_and_opened_from_its_beginning_each_time(tmp_path: Path) -> None:
    path = tmp_path / "claims of 2026.csv"
    path.write_bytes(data := CSV * 100_000)
    before = utc_now()
    file = local_file(path, run_id="by-hand")
    assert (file.sha256, file.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (file.run_id, file.landing_run_id) == ("by-hand", "by-hand")
    assert (file.inbox_id, file.through_seq, file.event_id) == ("", 0, None)
    assert file.uri == f"file://{tmp_path}/claims%20of%202026.csv"
    assert file.landed_at.tzinfo is UTC
    assert abs((file.landed_at - before).total_seconds()) < 3600
    for _ in range(2):
        with file.open() as stream:
            assert stream.read(20) == data[:20]


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_local_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*\. Name a CSV file\."):
        local_file(tmp_path / name, run_id="by-hand")


def test_a_local_file_is_told_in_the_ledger(loading: Loading) -> None:
    loading.load(CSV)
    [line] = loading.ledger
    assert (line.sha256, line.bytes) == (hashlib.sha256(CSV).hexdigest(), len(CSV))
    assert line.landing_uri == (loading.folder / "file.csv").as_uri()


REQUIRED = {"Ref": {"required": True}, "Paid": {"required": True, "type": "decimal(18,2)"}}


@pytest.mark.parametrize("before", [True, False], ids=["later", "first"])
def test_a_row_without_a_required_value_fails_the_load_by_its_line(loading: Loading, before: bool) -> None:
    if before:
        loading.load(CSV, columns=REQUIRED)
    file = b"Ref,Paid,Note\n1,1.25,a\n2,2.50,\n3,,\n4,,b\n"
    with pytest.raises(RequiredValueError, match="Line 4 of the file has no value in the column 'Paid'") as caught:
        loading.load(file, columns=REQUIRED)
    assert caught.value.dataset_id == DATASET
    if before:
        assert len(loading.rows()) == 2
    assert loading.load(file, columns={"Ref": {"required": True}}).totals.rows == 4


def test_a_quoted_blank_is_no_value_and_lines_within_quotes_count(loading: Loading) -> None:
    with pytest.raises(RequiredValueError, match="Line 4 of the file has no value in the column 'Ref'"):
        loading.load(b'Ref,Paid\n"a\nb",1\n"",2\n', columns={"Ref": {"required": True}})


def test_a_required_value_is_missed_far_into_the_file_and_when_the_file_is_read_twice(loading: Loading) -> None:
    rows = b"".join(b"%d,1.5,x\n" % n for n in range(200_000))
    with pytest.raises(RequiredValueError, match="Line 200002 of the file has no value in the column 'Paid'"):
        loading.load(b"Ref,Paid,Note\n" + rows + b"9,,x\n", columns={"Paid": {"required": True}})
    with pytest.raises(RequiredValueError, match="Line 200003 of the file has no value in the column 'Paid'"):
        loading.load(b"Ref,Paid,Note\n" + rows + b"9,text,x\n9,,x\n", columns={"Paid": {"required": True}})


def test_a_column_that_is_required_and_not_there_fails_the_load_under_every_policy(loading: Loading) -> None:
    with pytest.raises(RequiredValueError, match="The file has no column 'Paid', which the catalog requires"):
        loading.load(b"Ref\n1\n", columns={"Paid": {"required": True}}, policy="evolve")
    loading.load(b"Ref,Paid\n1,2\n")
    with pytest.raises(RequiredValueError, match="Line 2 of the file has no value in the column 'Paid'"):
        loading.load(b"Ref\n2\n")


def test_what_is_newly_required_is_looked_for_in_the_same_file_again(loading: Loading) -> None:
    file = b"Ref,Paid\n1,\n"
    loading.load(file)
    with pytest.raises(RequiredValueError):
        loading.load(file, columns={"Paid": {"required": True}})
