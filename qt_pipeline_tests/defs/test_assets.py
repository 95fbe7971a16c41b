from contextlib import AbstractContextManager
from datetime import date
from typing import Any

import dagster as dg
import pytest

from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.assets import DATASET, TABLE
from qt_pipeline.defs.resources import LoadRetryPolicy
from qt_pipeline.sandbox import Fault
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline.warehouse import Load, LoadStatus, TargetUnavailableError
from qt_pipeline_tests.defs.local_pipeline import CREDENTIALS, DATASET_ID, LocalPipeline, plain

NAMES = ("Wilhelmina Featherstonehaugh", "Bartholomew Ravenscroft", "Ottoline Throckmorton")
CSV = f"""Policy Number,Insured Name,Inception,Premium
0091827123,{NAMES[0]},2024-01-01,31415926.54
0091827124,{NAMES[1]},2024-02-29,-27182818.28
0091827125,{NAMES[2]},,16180339.89
"""
PREMIUMS = ("31415926.54", "-27182818.28", "16180339.89")
TABLE_NAME = "claims"
SHOWN = f"datasets: {{{DATASET_ID}: {{table: {TABLE_NAME}, show_values: true}}}}"
HIDDEN = f"datasets: {{{DATASET_ID}: {{table: {TABLE_NAME}}}}}"
FORCED = {"qt/force": "true"}


@pytest.fixture
def claims(pipeline: LocalPipeline) -> LocalPipeline:
    """A pipeline whose one dataset goes to the table `claims`; its values are not to be shown."""
    pipeline.write_catalog(HIDDEN)
    pipeline.serve(CSV)
    return pipeline


def test_one_run_lands_the_file_and_publishes_the_table(claims: LocalPipeline) -> None:
    run = claims.run()
    assert run.success
    assert run.materialized == [DATASET, TABLE]
    rows = claims.sql('SELECT "Policy Number", "Insured Name", "Inception", "Premium", _qt_row FROM claims')
    assert rows == [
        ("0091827123", NAMES[0], "2024-01-01", 31415926.54, 2),
        ("0091827124", NAMES[1], "2024-02-29", -27182818.28, 3),
        ("0091827125", NAMES[2], None, 16180339.89, 4),
    ]


def test_the_download_says_what_came_why_and_how_long_it_took(claims: LocalPipeline) -> None:
    [_, newest] = claims.announce(DATASET_ID, DATASET_ID)
    run = claims.run()
    metadata = run.metadata(DATASET)
    served = claims.sandbox.state.version(DATASET_ID)
    assert metadata["sha256"] == served.sha256
    assert metadata["bytes"] == len(served.csv)
    assert metadata["event"] == f"event-of-{DATASET_ID}"
    assert metadata["events covered up to"] == newest
    assert metadata["download tries"] == 1
    assert 0 < metadata["bytes stored"] < 1000
    assert metadata["bytes on the wire"] >= len(served.csv)
    assert 0 <= metadata["seconds: download"] < 60
    assert str(metadata["dagster/uri"]).startswith(str(claims.folder / "landing" / DATASET_ID))


def test_the_id_of_the_run_is_the_trace_id_that_the_vendor_gets(claims: LocalPipeline) -> None:
    run = claims.run()
    assert claims.sandbox.state.downloads()[-1].trace_id == run.id
    assert run.metadata(DATASET)["trace id"] == run.id


def test_a_run_that_no_event_caused_says_so(claims: LocalPipeline) -> None:
    run = claims.run()
    assert run.metadata(DATASET)["event"] == "none: requested manually"
    assert run.metadata(DATASET)["events covered up to"] == 0


def test_the_table_says_its_rows_types_load_and_where_the_rows_came_from(claims: LocalPipeline) -> None:
    first, second = claims.run(), claims.run(tags=FORCED)
    metadata = second.metadata(TABLE)
    assert metadata["status"] == first.metadata(TABLE)["status"] == "published"
    assert "warnings" not in metadata
    assert metadata["dagster/table_name"] == TABLE_NAME
    assert metadata["rows"] == metadata["dagster/partition_row_count"] == 3
    assert metadata["load"] == 2
    assert metadata["replaced load"] == 1
    assert first.metadata(TABLE)["replaced load"] is None
    for name in ("sha256", "bytes", "dagster/uri", "trace id", "event"):
        assert metadata[name] == second.metadata(DATASET)[name]
    for stage in ("inspect", "stage", "publish"):
        assert 0 <= metadata[f"seconds: {stage}"] < 60


def test_the_table_shows_its_columns_with_types_as_dagster_reads_them(claims: LocalPipeline) -> None:
    schema = claims.run().metadata(TABLE)["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert [(column.name, column.type) for column in schema.columns] == [
        ("Policy Number", "text(50)"),
        ("Insured Name", "text(100)"),
        ("Inception", "date"),
        ("Premium", "decimal(15,2)"),
        ("_qt_load", "integer"),
        ("_qt_row", "integer"),
    ]


def test_a_file_that_the_table_shows_already_is_left_and_the_run_says_so(claims: LocalPipeline) -> None:
    first = claims.run()
    before = claims.sql("SELECT * FROM claims")
    again = claims.run()
    assert again.success
    assert again.materialized == [DATASET, TABLE]
    metadata = again.metadata(TABLE)
    assert (metadata["status"], metadata["load"], metadata["replaced load"]) == ("unchanged", 2, None)
    assert metadata["rows"] == metadata["dagster/partition_row_count"] == 3
    assert metadata["dagster/column_schema"] == first.metadata(TABLE)["dagster/column_schema"]
    assert "seconds: compare" in metadata
    assert all(check.passed for check in again.checks)
    assert claims.sql("SELECT * FROM claims") == before


@pytest.mark.parametrize(("value", "status"), [("true", "published"), ("false", "unchanged"), ("", "unchanged")])
def test_the_tag_that_forces_a_load_is_true_and_nothing_else(claims: LocalPipeline, value: str, status: str) -> None:
    claims.run()
    assert claims.run(tags={"qt/force": value}).metadata(TABLE)["status"] == status


def test_the_columns_are_described_as_in_the_catalog(claims: LocalPipeline) -> None:
    columns = "{Premium: {description: Gross of brokerage.}}"
    claims.write_catalog(f"datasets: {{{DATASET_ID}: {{naming: snake_case, columns: {columns}}}}}")
    schema = claims.run().metadata(TABLE)["dagster/column_schema"]
    described = {column.name: column.description for column in schema.columns}
    assert (described["premium"], described["inception"]) == ("Gross of brokerage.", None)
    assert "load_id in _qt_loads" in str(described["_qt_load"])


@pytest.mark.parametrize(
    ("entry", "own"),
    [
        ("lineage_columns: false", []),
        ("mode: append", ["_qt_loaded_at", "_qt_load", "_qt_row"]),
        ("mode: replace", ["_qt_load", "_qt_row"]),
    ],
)
def test_the_columns_shown_are_those_of_the_table(claims: LocalPipeline, entry: str, own: list[str]) -> None:
    claims.write_catalog(f"datasets: {{{DATASET_ID}: {{table: claims, {entry}}}}}")
    schema = claims.run().metadata(TABLE)["dagster/column_schema"]
    in_the_table = [name for _, name, *_ in claims.sql("PRAGMA table_info(claims)")]
    assert [column.name for column in schema.columns] == in_the_table
    assert in_the_table[4:] == own


def test_what_changed_is_a_list_of_warnings(claims: LocalPipeline) -> None:
    claims.write_catalog(f"datasets: {{{DATASET_ID}: {{table: claims, policy: evolve}}}}")
    claims.run()
    claims.serve("Policy Number,Premium,Broker\n0091827123,1.125,x\n")
    assert [row["warning"] for row in claims.run().metadata(TABLE)["warnings"]] == [
        "column 'Premium' was decimal(15,2) and is decimal(15,3) now.",
        "column 'Insured Name' is missing in the file and NULL in the table.",
        "column 'Inception' is missing in the file and NULL in the table.",
        "new column 'Broker' (text(50)).",
    ]


@pytest.mark.parametrize("catalog", [HIDDEN, SHOWN], ids=["hidden", "shown"])
def test_the_values_that_do_not_fit_are_a_table_with_values_only_where_they_may_be_shown(
    claims: LocalPipeline, catalog: str
) -> None:
    claims.write_catalog(catalog)
    claims.run()
    claims.serve(CSV.replace("16180339.89", "ten|and <a> bit").replace("2024-02-29", "soon"))
    run = claims.run()
    assert not run.success
    assert run.materialized == [DATASET]
    rows = [tuple(row.values()) for row in plain(run.failure.metadata)["invalid_values"]]
    if catalog == SHOWN:
        assert rows == [("3", "Inception", "date", "soon"), ("4", "Premium", "decimal(15,2)", "ten|and <a> bit")]
    else:
        assert rows == [("3", "Inception", "date"), ("4", "Premium", "decimal(15,2)")]
    [folder] = (claims.folder / "landing" / DATASET_ID).glob(f"*-{run.id[:8]}")
    listed = (folder / f"invalid-values-{run.id}.csv").read_text()
    assert [line.split(",")[:2] for line in listed.splitlines()[1:]] == [["3", "Inception"], ["4", "Premium"]]
    assert ("soon" in listed) == (catalog == SHOWN)


def test_no_more_than_a_hundred_misfits_are_shown(claims: LocalPipeline) -> None:
    claims.serve("Paid\n1\n")
    claims.run()
    claims.serve("Paid\n" + "x\n" * 150)
    assert len(plain(claims.run().failure.metadata)["invalid_values"]) == 100


def test_the_run_carries_the_number_of_the_newest_event_it_covers(claims: LocalPipeline) -> None:
    [_, newest] = claims.announce(DATASET_ID, DATASET_ID)
    claims.announce("d-another-dataset")
    assert claims.run().tags["qt/through_seq"] == str(newest)


def test_the_check_passes_with_the_sums_that_agree(claims: LocalPipeline) -> None:
    check = claims.run().check("complete")
    assert check.passed
    assert (check.asset_key, check.check_name) == (TABLE, "complete")
    # The sum of three rows could show one, and the catalog does not allow that.
    assert plain(check.metadata) == {"rows": 3}


def test_the_sums_are_shown_where_they_show_no_row(claims: LocalPipeline) -> None:
    claims.serve("Name,Premium\n" + "Ann,0.25\n" * 10)
    check = claims.run().check("complete")
    assert plain(check.metadata) == {"rows": 10, "sum of Premium": "2.50"}


def test_the_sums_of_few_rows_are_shown_where_the_catalog_shows_values(claims: LocalPipeline) -> None:
    claims.write_catalog(SHOWN)
    check = claims.run().check("complete")
    assert plain(check.metadata) == {"rows": 3, "sum of Premium": "20413448.15"}


def test_values_are_previewed_where_the_catalog_shows_them(claims: LocalPipeline) -> None:
    claims.write_catalog(SHOWN)
    rows = claims.run().metadata(TABLE)["preview"]
    assert list(rows[0]) == ["Policy Number", "Insured Name", "Inception", "Premium"]
    assert [tuple(row.values()) for row in rows] == [
        ("0091827123", NAMES[0], "2024-01-01", "31415926.54"),
        ("0091827124", NAMES[1], "2024-02-29", "-27182818.28"),
        ("0091827125", NAMES[2], None, "16180339.89"),
    ]


def test_a_preview_stops_after_ten_rows(claims: LocalPipeline) -> None:
    claims.write_catalog(SHOWN)
    claims.serve("Count,Name\n" + "".join(f"{n},x\n" for n in range(25)))
    assert len(claims.run().metadata(TABLE)["preview"]) == 10


def test_no_value_can_break_out_of_its_cell_in_the_preview(claims: LocalPipeline) -> None:
    claims.write_catalog(SHOWN)
    claims.serve('A|B,C\n"one|two","<script>x</script>"\n"up\ndown",back\\slash\n![a](http://b),*c*\n')
    assert claims.run().metadata(TABLE)["preview"] == [
        {"A|B": "one|two", "C": "<script>x</script>"},
        {"A|B": "up down", "C": "back\\slash"},
        {"A|B": "![a](http://b)", "C": "*c*"},
    ]


def test_no_value_of_a_row_is_recorded_where_the_catalog_hides_them(
    claims: LocalPipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    run = claims.run()
    assert run.success
    output = capfd.readouterr()
    everything = run.everything_recorded + output.out + output.err
    assert "Insured Name" in everything
    assert [value for value in (*NAMES, *PREMIUMS, "0091827123", "2024-02-29") if value in everything] == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(CSV.replace("16180339.89", "Ten-and-a-bit"), id="a number became text"),
        pytest.param(CSV.replace("2024-02-29", "Saint-Swithin"), id="a day became text"),
        pytest.param(CSV + f"0091827126,{NAMES[0]}\n", id="a row is too short"),
        pytest.param(CSV + f'0091827126,"{NAMES[0]}"s,,1.00\n', id="a quote inside a value"),
    ],
)
def test_no_value_of_a_row_is_recorded_of_a_load_that_fails(
    claims: LocalPipeline, capfd: pytest.CaptureFixture[str], changed: str
) -> None:
    claims.run()
    claims.serve(changed)
    run = claims.run()
    assert not run.success
    output = capfd.readouterr()
    everything = run.everything_recorded + output.out + output.err
    hidden = (*NAMES, *PREMIUMS, "Ten-and-a-bit", "Saint-Swithin", "0091827126")
    assert [value for value in hidden if value in everything] == []


def test_what_lies_below_our_own_errors_is_not_recorded(claims: LocalPipeline) -> None:
    claims.run()
    claims.sql("CREATE TRIGGER refuse BEFORE INSERT ON claims BEGIN SELECT RAISE(ABORT, 'no more rows'); END")
    run = claims.run(tags=FORCED)
    assert "no more rows" in (run.failure.description or "")
    assert [word for word in ("IntegrityError", "INSERT INTO", "sqlalchemy") if word in run.everything_recorded] == []


SABOTAGE = {
    "a row is lost": (
        "CREATE TRIGGER lose BEFORE INSERT ON claims WHEN new._qt_row = 3 BEGIN SELECT RAISE(IGNORE); END",
        "2 rows instead of 3",
    ),
    "an amount is changed": (
        """
        CREATE TRIGGER spoil AFTER INSERT ON claims WHEN new._qt_row = 3
        BEGIN UPDATE claims SET "Premium" = "Premium" + 0.01 WHERE rowid = new.rowid; END
        """,
        "column 'Premium' adds up differently",
    ),
}


@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_a_table_that_differs_from_its_file_is_rolled_back_and_never_reported_as_materialized(
    claims: LocalPipeline, sabotage: str
) -> None:
    claims.run()
    before = claims.sql("SELECT * FROM claims")
    trigger, difference = SABOTAGE[sabotage]
    claims.sql(trigger)

    run = claims.run(tags=FORCED)

    assert not run.success
    assert run.materialized == [DATASET]
    check = run.check("complete")
    assert not check.passed
    assert plain(check.metadata)["difference"] == difference
    assert plain(check.metadata)["where"] == "published"
    assert difference in (run.failure.description or "")
    assert claims.sql("SELECT * FROM claims") == before
    assert [load.status for load in claims.warehouse.loads()] == [LoadStatus.FAILED, LoadStatus.PUBLISHED]


def test_a_failed_check_stands_in_dagsters_records(claims: LocalPipeline) -> None:
    claims.run()
    claims.sql(SABOTAGE["a row is lost"][0])
    claims.run(tags=FORCED)
    key = dg.AssetCheckKey(TABLE, "complete")
    [record] = claims.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status.value == "FAILED"


BAD_FILES = {
    "a ragged row": (CSV.encode() + b"0091827126,Short\n", len(CSV.splitlines()) + 1, len(CSV.encode())),
    "bytes that are not UTF-8": (
        CSV.encode() + b"0091827126,\xff,,1.00\n",
        len(CSV.splitlines()) + 1,
        len(CSV.encode()) + 11,
    ),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_bad_file_fails_the_run_and_names_dataset_place_and_fix(claims: LocalPipeline, fault: str) -> None:
    claims.run()
    before = claims.sql("SELECT * FROM claims")
    csv, line, byte = BAD_FILES[fault]
    claims.serve(csv)

    run = claims.run()

    assert not run.success
    assert run.materialized == [DATASET]
    description = run.failure.description or ""
    metadata = plain(run.failure.metadata)
    assert description.startswith(f"Dataset {DATASET_ID}: ")
    assert f"at line {line}, byte {byte}: " in description
    assert metadata["dataset"] == DATASET_ID
    assert str(metadata["how to fix"]) in description
    assert str(metadata["error"]) in description
    assert metadata["how to fix"]
    assert claims.sql("SELECT * FROM claims") == before


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(kind="cut", times=None), "broke off"),
        (Fault(kind="html", times=None), "'text/html'"),
        (Fault(kind="empty", times=None), "zero bytes"),
        (Fault(kind="not_ready", times=None), "204"),
        (Fault(kind="status", status=403, times=None), "not shared with the API user"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_download_that_fails_lands_nothing_and_the_table_is_not_tried(
    claims: LocalPipeline, fault: Fault, words: str
) -> None:
    claims.run()
    before = claims.sql("SELECT * FROM claims")
    claims.sandbox.state.set_faults(DATASET_ID, [fault])

    run = claims.run()

    assert not run.success
    assert run.materialized == []
    assert words in (run.failure.description or "")
    assert (run.failure.description or "").startswith(f"Dataset {DATASET_ID}: ")
    assert claims.sql("SELECT * FROM claims") == before
    assert len(list((claims.folder / "landing" / DATASET_ID).iterdir())) == 1


def test_the_table_alone_loads_the_newest_landing_by_its_manifest(claims: LocalPipeline) -> None:
    claims.announce(DATASET_ID)
    claims.run()
    claims.serve(CSV.replace("16180339.89", "20.00"))
    landed = claims.run([DATASET])
    # Without a manifest it does not count, however new it is.
    (claims.folder / "landing" / DATASET_ID / "00000009-deadbeef").mkdir()

    run = claims.run([TABLE])

    assert run.success
    assert run.materialized == [TABLE]
    for name in ("sha256", "trace id", "dagster/uri", "event"):
        assert run.metadata(TABLE)[name] == landed.metadata(DATASET)[name]
    assert claims.sql('SELECT "Premium" FROM claims WHERE _qt_row = 4') == [(20,)]
    [newest, *_] = claims.warehouse.loads()
    assert (newest.run_id, newest.landing_run_id) == (run.id, landed.id)


def test_the_table_alone_needs_neither_credentials_nor_the_vendor(claims: LocalPipeline) -> None:
    claims.run([DATASET])
    downloads = len(claims.sandbox.state.downloads())
    assert claims.run([TABLE], with_credentials=False).success
    assert len(claims.sandbox.state.downloads()) == downloads


def test_the_table_of_a_dataset_that_was_never_landed_says_what_to_do(claims: LocalPipeline) -> None:
    run = claims.run([TABLE])
    assert not run.success
    assert run.failure.description == (
        f"Dataset {DATASET_ID}: No landed file was found. Materialize both assets, to download it first."
    )


def test_a_run_without_credentials_names_the_variables(claims: LocalPipeline) -> None:
    run = claims.run(with_credentials=False)
    assert not run.success
    assert all(name in (run.failure.description or "") for name in CREDENTIALS)


def test_a_dataset_that_the_catalog_does_not_list_goes_to_a_table_of_its_own_name(pipeline: LocalPipeline) -> None:
    pipeline.serve("Day,Amount\n2024-05-01,1.5\n")
    run = pipeline.run()
    assert run.metadata(TABLE)["dagster/table_name"] == DATASET_ID.replace("-", "_")
    assert pipeline.sql('SELECT "Day" FROM d_claims_of_a_test_0001') == [(date(2024, 5, 1).isoformat(),)]


def down_for(pipeline: LocalPipeline, monkeypatch: pytest.MonkeyPatch, tries: int) -> list[int]:
    """Let the target be away for so many loads; the list grows by one for each that finds it so."""
    found: list[int] = []
    begin = pipeline.warehouse.begin

    def away(*arguments: Any) -> AbstractContextManager[Load]:
        if len(found) < tries:
            found.append(1)
            raise TargetUnavailableError("The target is away.", hint="Wait.")
        return begin(*arguments)

    monkeypatch.setattr(pipeline.warehouse, "begin", away)
    return found


def test_a_load_is_tried_again_within_its_run_when_the_target_was_away(
    claims: LocalPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = down_for(claims, monkeypatch, 1)
    run = claims.run()
    assert run.success
    assert len(found) == 1
    assert "Retrying the load in" in run.everything_recorded
    assert [download.trace_id for download in claims.sandbox.state.downloads()].count(run.id) == 1


def test_a_target_that_stays_away_fails_the_run_and_a_repeat_may_help(
    claims: LocalPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = down_for(claims, monkeypatch, 99)
    run = claims.run()
    assert not run.success
    assert len(found) == 2
    assert run.failure.metadata["error"].value == "The target is away."
    assert "qt/failure" not in run.tags


def test_what_a_repeat_would_not_change_is_tried_once_and_the_run_says_so(claims: LocalPipeline) -> None:
    claims.serve("Policy Number\n007\n008,\n")
    run = claims.run()
    assert not run.success
    assert run.tags["qt/failure"] == "permanent"
    assert "Retrying the load" not in run.everything_recorded


def test_settings_that_are_wrong_fail_a_run_for_good(pipeline: LocalPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    monkeypatch.setenv("QT_READ_TIMEOUT_SECONDS", "soon")
    pipeline.serve("A\n1\n")
    result = (
        build_defs()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(instance=pipeline.instance, partition_key=DATASET_ID, raise_on_error=False)
    )
    run = pipeline.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.status, run.tags["qt/failure"]) == (dg.DagsterRunStatus.FAILURE, "permanent")


@pytest.mark.parametrize(("tries", "wait"), [(1, 10), (2, 20), (3, 40), (4, None)])
def test_the_wait_between_two_tries_of_a_load_doubles(tries: int, wait: float | None) -> None:
    assert LoadRetryPolicy(attempts=4, delay_seconds=10).wait_after(tries) == wait
