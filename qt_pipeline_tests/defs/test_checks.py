from typing import Any

import dagster as dg
import pytest

from qt_pipeline.defs.assets import DATASET, TABLE
from qt_pipeline.defs.checks import DESCRIPTIONS, check_specs
from qt_pipeline.sandbox import Fault
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline, Run, plain
from qt_pipeline_tests.hostile import as_read

CSV = "Ref,Name,Amount\n1,Ann,1.50\n2,Bob,2.50\n"


def load(pipeline: LocalPipeline, csv: str, **entry: Any) -> Run:
    said = ", ".join(f"{key}: {value}" for key, value in {"table": "claims", **entry}.items())
    pipeline.write_catalog(f"datasets: {{{DATASET_ID}: {{{said}}}}}")
    pipeline.serve(csv)
    return pipeline.run()


def test_a_load_that_goes_well_passes_every_check_of_its_dataset(pipeline: LocalPipeline) -> None:
    run = load(pipeline, CSV)
    assert {check.check_name for check in run.checks} == set(DESCRIPTIONS)
    assert all(check.passed for check in run.checks)
    assert {check.partition for check in run.checks} == {DATASET_ID}


@pytest.mark.parametrize(
    ("failing", "csv", "entry", "words"),
    [
        ("no_drift", "Ref,Name\n1,Ann\n2,Bob\n", {}, "columns that are missing: 'Amount'"),
        (
            "no_drift",
            CSV,
            {"mode": "append", "columns": "{Name: integer}"},
            "column 'Name' is text(50), declared as integer",
        ),
        ("enough_rows", "Ref,Name,Amount\n1,Ann,1.50\n", {"min_rows": 2}, "has 1 rows; the catalog expects at least 2"),
        ("enough_rows", "Ref,Name,Amount\n1,Ann,1.50\n", {"max_drop_percent": 40}, "50.0 % fewer than the 2 before"),
        ("enough_rows", "Ref,Name,Amount\n", {}, "a header and no rows"),
        ("unique_key", CSV + "2,Cleo,3.50\n", {"key": "[Ref]"}, "Lines 3 and 4 of the file have the same key"),
        ("unique_key", CSV + ",Cleo,3.50\n", {"key": "[Ref]"}, "Line 4 of the file has no value in the key"),
        ("required_values", CSV + "3,,3.50\n", {"columns": "{Name: {required: true}}"}, "Line 4 of the file"),
    ],
)
def test_a_file_fails_the_check_that_is_about_it_and_only_that(
    pipeline: LocalPipeline, failing: str, csv: str, entry: dict[str, Any], words: str
) -> None:
    load(pipeline, CSV)
    before = pipeline.sql("SELECT * FROM claims")
    run = load(pipeline, csv, **entry)
    assert not run.success
    check = run.check(failing)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert words in as_read(str(check.description))
    said = plain(check.metadata)
    assert (said["dataset"], words in said["error"], bool(said["how to fix"])) == (DATASET_ID, True, True)
    others = [other for other in run.checks if other.check_name != failing]
    assert len(others) == len(DESCRIPTIONS) - 1
    # They keep the result of the load before, and say so.
    assert {other.passed for other in others} == {True}
    assert {other.description for other in others} == {"Not evaluated in this run: showing the last result."}
    assert all(pipeline.shown_check(other.check_name) == other for other in others)
    assert pipeline.sql("SELECT * FROM claims") == before


def test_a_difference_that_the_policy_accepts_is_a_warning_until_the_next_load(pipeline: LocalPipeline) -> None:
    load(pipeline, CSV)
    run = load(pipeline, "Ref,Name,Amount,Broker\n1,Ann,1.50,B\n")
    assert run.success
    check = run.check("no_drift")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert plain(check.metadata)["changes"] == [{"change": "new column 'Broker' (text(50))"}]
    assert load(pipeline, "Ref,Name,Amount,Broker\n2,Ann,1.50,B\n").check("no_drift").passed


def test_what_the_catalog_declares_is_said_beside_the_result(pipeline: LocalPipeline) -> None:
    entry = {"key": "[Ref, Name]", "columns": "{Amount: {required: true}}", "min_rows": 2, "fresh_within_hours": 26.5}
    run = load(pipeline, CSV, **entry)
    assert plain(run.check("unique_key").metadata) == {"declared": "Ref, Name"}
    assert plain(run.check("required_values").metadata) == {"declared": "Amount"}
    assert plain(run.check("enough_rows").metadata) == {"rows": 2, "at least": 2.0}
    assert plain(run.check("fresh").metadata) == {"within hours": 26.5}
    assert plain(load(pipeline, CSV + "3,Cleo,1\n").check("unique_key").metadata) == {
        "declared": "The catalog declares none for this dataset."
    }


@pytest.mark.parametrize("fault", [Fault(kind="status", status=404, times=None), Fault(kind="html", times=None)])
def test_a_download_that_fails_leaves_every_check_its_last_result(pipeline: LocalPipeline, fault: Fault) -> None:
    good = load(pipeline, CSV + "3,Cleo,1\n", min_rows=3)
    failing = load(pipeline, CSV, min_rows=3)
    assert not failing.check("enough_rows").passed
    pipeline.sandbox.state.set_faults(DATASET_ID, [fault])
    for _ in range(2):
        run = pipeline.run()
        assert not run.success
        for name in DESCRIPTIONS:
            status, shown = pipeline.status_of_check(name), pipeline.shown_check(name)
            decided_by = failing if name == "enough_rows" else good
            assert (shown.passed, status) == ((False, "FAILED") if name == "enough_rows" else (True, "SUCCEEDED"))
            assert shown.description == "Not evaluated in this run: showing the last result."
            assert str(plain(shown.metadata)["last evaluated"]).endswith(f"UTC, by run {decided_by.id}")
            assert shown.partition == DATASET_ID
    pipeline.serve(CSV + "3,Cleo,1\n4,Dan,2\n")
    again = pipeline.run()
    assert again.success
    assert all(check.passed and "last evaluated" not in check.metadata for check in again.checks)


def test_a_check_that_was_never_evaluated_says_so_and_is_not_red(pipeline: LocalPipeline) -> None:
    load(pipeline, CSV)
    unknown = "d-mistyped"
    pipeline.instance.add_dynamic_partitions("quantemplate_datasets", [unknown])
    for _ in range(2):
        assert not pipeline.run(dataset_id=unknown).success
        for name in DESCRIPTIONS:
            shown = pipeline.shown_check(name, dataset_id=unknown)
            assert (shown.passed, shown.severity) == (False, dg.AssetCheckSeverity.WARN)
            assert (shown.description, shown.metadata) == ("Not evaluated in this run or any earlier run.", {})
            assert pipeline.shown_check(name).passed


def test_a_run_that_only_downloads_says_nothing_of_checks(pipeline: LocalPipeline) -> None:
    load(pipeline, CSV)
    pipeline.sandbox.state.set_faults(DATASET_ID, [Fault(kind="status", status=404, times=None)])
    assert pipeline.run([DATASET]).checks == []


def test_a_check_that_stops_a_load_is_said_to_block_and_no_other(pipeline: LocalPipeline) -> None:
    run = load(pipeline, CSV)
    assert {check.check_name for check in run.checks if not check.blocking} == {"fresh"}
    assert {spec.name for spec in check_specs(TABLE) if not spec.blocking} == {"fresh"}
    warned = load(pipeline, "Ref,Name,Amount,Broker\n1,Ann,1.50,B\n")
    assert warned.success
    assert not warned.check("no_drift").passed


def test_a_download_observes_the_dataset_in_quantemplate_as_a_version(pipeline: LocalPipeline) -> None:
    first = load(pipeline, CSV)
    [observed] = first.observations
    sha256 = pipeline.sandbox.state.version(DATASET_ID).sha256
    assert (observed.asset_key.to_user_string(), observed.partition) == ("quantemplate/source", DATASET_ID)
    assert plain(observed.metadata) == {
        "name": "claims",
        "sha256": sha256,
        "bytes": len(CSV),
        "trace id": first.id,
    }
    assert observed.tags["dagster/data_version"] == sha256
    assert [one.tags for one in pipeline.run().observations] == [observed.tags]


def test_columns_of_the_table_come_from_columns_of_the_file(pipeline: LocalPipeline) -> None:
    run = load(pipeline, "Gross Premium (GBP),Ref\n1.5,2\n", naming="snake_case")
    landed = run.metadata(DATASET)["dagster/column_schema"]
    assert [(column.name, column.type) for column in landed.columns] == [
        ("Gross Premium (GBP)", "text"),
        ("Ref", "text"),
    ]
    lineage = run.metadata(TABLE)["dagster/column_lineage"]
    assert lineage.deps_by_column == {
        "gross_premium_gbp": [dg.TableColumnDep(DATASET, "Gross Premium (GBP)")],
        "ref": [dg.TableColumnDep(DATASET, "Ref")],
    }


def test_a_file_without_a_header_that_can_be_read_is_landed_all_the_same(pipeline: LocalPipeline) -> None:
    run = load(pipeline, "\n\n")
    assert run.materialized == [DATASET]
    assert "dagster/column_schema" not in run.metadata(DATASET)


def test_the_delay_counts_from_the_first_event_that_waited(pipeline: LocalPipeline) -> None:
    assert "seconds: event to commit" not in load(pipeline, CSV).metadata(TABLE)
    pipeline.announce("d-another-dataset")
    assert "seconds: event to commit" not in pipeline.run().metadata(TABLE)
    pipeline.announce(DATASET_ID)
    waited = pipeline.run().metadata(TABLE)["seconds: event to commit"]
    assert 0 < waited < 60
    # A load of the table alone answers no event.
    assert "seconds: event to commit" not in pipeline.run([TABLE], tags={"qt/force": "true"}).metadata(TABLE)


def test_a_run_that_a_person_asks_for_gets_the_name_of_its_dataset(pipeline: LocalPipeline) -> None:
    run = load(pipeline, CSV, name="Claims of the pipeline")
    assert run.tags["qt/dataset"] == "Claims of the pipeline"
    assert run.metadata(TABLE)["name"] == run.metadata(DATASET)["name"] == "Claims of the pipeline"
    assert pipeline.run(tags={"qt/dataset": "said already"}).tags["qt/dataset"] == "said already"
