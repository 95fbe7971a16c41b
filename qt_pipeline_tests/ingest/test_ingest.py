import csv as csv_module
import io
import json

import pytest

from qt_pipeline.errors import ConfigurationError, PermanentError, PipelineError, TransientError
from qt_pipeline.ingest import NoRowsError
from qt_pipeline.landing import NothingLandedError
from qt_pipeline.quantemplate import EmptyBodyError, IncompleteBodyError, NotReadyError, UnexpectedContentError
from qt_pipeline.sandbox import SANDBOX_DATASETS, Fault, SandboxDataset
from qt_pipeline.tabular import BadCsvError, DriftError, EmptyFileError
from qt_pipeline.warehouse import LoadStatus, StaleLoadError
from qt_pipeline_tests.ingest.place import CANARY, CSV, DATASET, Place, both


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_a_table_is_the_served_file_cell_by_cell(place: Place, dataset: SandboxDataset) -> None:
    outcome, loaded = both(place.ingest(), "run-1", dataset.id)
    served = place.server.state.version(dataset.id)
    assert outcome.landed.manifest.sha256 == served.sha256
    place.assert_table_is(served.csv, loaded)


def test_the_next_version_replaces_the_whole_table_under_the_same_contract(place: Place) -> None:
    dataset_id = SANDBOX_DATASETS[1].id
    ingest = place.ingest()
    _, first = both(ingest, "run-1", dataset_id)
    changed = place.server.state.change(dataset_id)
    _, second = both(ingest, "run-2", dataset_id)
    place.assert_table_is(changed.csv, second)
    assert second.file.contract == first.file.contract
    assert second.file.replaced_load_id == first.file.load_id
    assert second.file.totals != first.file.totals


def test_what_landed_says_where_it_came_from(place: Place) -> None:
    place.event("d-another")
    seq = place.event()
    place.event("d-another")
    outcome, loaded = both(place.ingest(), "run-1")
    manifest = outcome.landed.manifest
    assert (manifest.run_id, manifest.inbox_id, manifest.through_seq) == ("run-1", place.inbox.inbox_id, seq)
    assert manifest.event_id == f"event-{DATASET}"
    assert manifest.bytes == outcome.download.bytes == len(CSV)
    assert place.server.state.downloads()[-1].trace_id == manifest.trace_id == outcome.download.trace_id
    [record] = place.warehouse.loads()
    assert (record.load_id, record.status, record.rows) == (loaded.file.load_id, LoadStatus.PUBLISHED, 3)
    assert (record.run_id, record.landing_run_id, record.landing_uri) == ("run-1", "run-1", outcome.landed.uri)
    assert (record.sha256, record.through_seq, record.event_id) == (manifest.sha256, seq, manifest.event_id)


def test_without_any_event_nothing_is_claimed_for_one(place: Place) -> None:
    outcome, _ = both(place.ingest(), "run-1")
    assert (outcome.landed.manifest.through_seq, outcome.landed.manifest.event_id) == (0, None)


def test_an_event_that_arrives_during_the_download_is_not_claimed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.event()
    during: list[int] = []

    def meanwhile(_: str) -> None:
        during.append(place.event())

    monkeypatch.setattr(place.server.state, "next_fault", meanwhile)
    outcome, _ = both(place.ingest(), "run-1")
    assert outcome.landed.manifest.through_seq == before
    assert during == [before + 1]
    assert place.through() == before


def test_the_catalog_names_the_table(place: Place) -> None:
    _, loaded = both(place.ingest({"datasets": {DATASET: {"table": "Paid claims", "name": "Claims"}}}), "run-1")
    assert (loaded.file.dataset.table, loaded.file.dataset.label) == ("Paid claims", "Claims")
    place.assert_table_is(CSV, loaded)


@pytest.mark.parametrize("step", ["land", "load"])
def test_every_error_names_its_dataset(place: Place, step: str) -> None:
    place.serve(CSV, Fault(kind="status", status=403))
    with pytest.raises(PipelineError) as caught:
        getattr(place.ingest(), step)(DATASET, run_id="run-1")
    assert str(caught.value).startswith(f"Dataset {DATASET}: ")


def test_missing_credentials_are_named_before_anything_is_asked(place: Place) -> None:
    asked = len(place.server.state.downloads())
    ingest = place.ingest(missing=("QT_CLIENT_ID", "QT_CLIENT_SECRET"))
    with pytest.raises(ConfigurationError, match=r"d-small: Not set: QT_CLIENT_ID, QT_CLIENT_SECRET\. .*\.env"):
        ingest.land(DATASET, run_id="run-1")
    assert len(place.server.state.downloads()) == asked


def test_what_is_landed_can_be_loaded_without_credentials(place: Place) -> None:
    place.ingest().land(DATASET, run_id="run-1")
    place.assert_table_is(CSV, place.ingest(missing=("QT_CLIENT_ID",)).load(DATASET, run_id="run-1"))


@pytest.mark.parametrize(
    ("csv", "places"),
    [
        (f"Reference,Paid,Paid Date\n007,1.25,20260131\n{CANARY},1\n", "line 3, byte 43: the row has 2 values"),
        (f"Reference,Paid,Paid Date\n{CANARY},1,,\n", "line 2, byte 25: the row has 4 values"),
        (
            f"Reference,Paid,Paid Date\n{CANARY},1,\udcff\n",
            f"line 2, byte {28 + len(CANARY)}: bytes that are not UTF-8",
        ),
        (f'Reference,Paid,Paid Date\n{CANARY},1,"\n', f"line 2, byte {28 + len(CANARY)}: the quote that opens here"),
        (f'Reference,Paid,Paid Date\n{CANARY}"x,1,\n', f"line 2, byte {25 + len(CANARY)}: a quote inside"),
        (f"Reference,Paid,Paid Date\n{CANARY},1,\n\n{CANARY},1,\n", f"line 3, byte {29 + len(CANARY)}: a blank line"),
        (f"Reference,Paid,Paid Date\n{CANARY},1,\0\n", f"line 2, byte {28 + len(CANARY)}: a NUL character"),
    ],
)
def test_a_bad_file_names_dataset_and_place_and_the_table_stays(place: Place, csv: str, places: str) -> None:
    ingest = place.ingest({"defaults": {"show_values": True}})
    _, loaded = both(ingest, "run-1")
    place.serve(csv.encode(errors="surrogateescape"))
    ingest.land(DATASET, run_id="run-2")
    with pytest.raises(BadCsvError) as caught:
        ingest.load(DATASET, run_id="run-2")
    assert str(caught.value).startswith(f"Dataset {DATASET}: The file is not valid CSV at {places}")
    assert CANARY not in str(caught.value)
    place.assert_table_is(CSV, loaded)
    assert place.warehouse.contract(DATASET) == loaded.file.contract


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind="html"), UnexpectedContentError),
        (Fault(kind="json"), UnexpectedContentError),
        (Fault(kind="cut"), IncompleteBodyError),
        (Fault(kind="cut", fraction=0.99), IncompleteBodyError),
        (Fault(kind="short_length"), IncompleteBodyError),
        (Fault(kind="empty"), EmptyBodyError),
        (Fault(kind="not_ready"), NotReadyError),
        (Fault(kind="status", status=404), PermanentError),
        (Fault(kind="status", status=503), TransientError),
    ],
    ids=lambda value: f"{value.kind}-{value.fraction}-{value.status}" if isinstance(value, Fault) else "",
)
def test_a_download_that_fails_names_its_dataset_and_lands_nothing(
    place: Place, fault: Fault, error: type[PipelineError]
) -> None:
    ingest = place.ingest({"defaults": {"empty": "replace"}})
    outcome, loaded = both(ingest, "run-1")
    place.serve(CSV.replace(b"007", b"070"), fault)
    with pytest.raises(error, match=f"^Dataset {DATASET}: "):
        ingest.land(DATASET, run_id="run-2")
    assert place.landing.newest(DATASET) == outcome.landed
    place.assert_table_is(CSV, loaded)


@pytest.mark.parametrize("header", [b"Reference,Paid,Paid Date\n", b"\xef\xbb\xbfReference,Paid,Paid Date"])
def test_a_file_without_rows_keeps_the_table_unless_the_catalog_says_otherwise(place: Place, header: bytes) -> None:
    keeping = place.ingest()
    _, loaded = both(keeping, "run-1")
    place.serve(header)
    keeping.land(DATASET, run_id="run-2")
    with pytest.raises(NoRowsError, match=f"^Dataset {DATASET}: .*'empty: replace'"):
        keeping.load(DATASET, run_id="run-2")
    place.assert_table_is(CSV, loaded)

    emptied = place.ingest({"datasets": {DATASET: {"empty": "replace"}}}).load(DATASET, run_id="run-2")
    assert emptied.file.totals.rows == 0
    assert emptied.file.contract == loaded.file.contract
    place.assert_table_is(header, emptied)


def test_a_landed_file_without_a_byte_of_text_never_empties_the_table(place: Place) -> None:
    ingest = place.ingest({"defaults": {"empty": "replace"}})
    _, loaded = both(ingest, "run-1")
    place.serve(b"\xef\xbb\xbf")
    ingest.land(DATASET, run_id="run-2")
    with pytest.raises(EmptyFileError, match=f"^Dataset {DATASET}: "):
        ingest.load(DATASET, run_id="run-2")
    place.assert_table_is(CSV, loaded)


def test_with_nothing_landed_there_is_nothing_to_load(place: Place) -> None:
    with pytest.raises(NothingLandedError, match=f"^Dataset {DATASET}: No landed file"):
        place.ingest().load(DATASET, run_id="run-1")


def test_the_table_alone_loads_the_newest_landing_and_settles_nothing(place: Place) -> None:
    ingest = place.ingest()
    ingest.land(DATASET, run_id="run-1")
    place.serve(newer := CSV.replace(b"007", b"070"))
    place.event()
    ingest.land(DATASET, run_id="run-2")
    place.assert_table_is(newer, ingest.load(DATASET, run_id="run-of-the-table-alone"))
    assert place.through() == 0
    of_its_own = ingest.load(DATASET, run_id="run-2")
    assert of_its_own.file.status is LoadStatus.UNCHANGED
    place.assert_table_is(newer, of_its_own)
    assert place.through() == 1


def test_a_run_loads_what_it_landed_itself(place: Place) -> None:
    ingest = place.ingest()
    ingest.land(DATASET, run_id="run-1")
    place.serve(CSV.replace(b"007", b"070"))
    ingest.land(DATASET, run_id="run-2")
    place.assert_table_is(CSV, ingest.load(DATASET, run_id="run-1"))


def test_older_data_do_not_replace_newer_ones(place: Place) -> None:
    ingest = place.ingest()
    ingest.land(DATASET, run_id="run-1")
    place.event()
    place.serve(newer := CSV.replace(b"007", b"070"))
    _, loaded = both(ingest, "run-2")
    with pytest.raises(StaleLoadError, match=f"^Dataset {DATASET}: "):
        ingest.load(DATASET, run_id="run-1")
    place.assert_table_is(newer, loaded)


@pytest.mark.parametrize("show_values", [True, False])
def test_values_are_shown_only_where_the_catalog_allows_it(place: Place, show_values: bool) -> None:
    ingest = place.ingest({"datasets": {DATASET: {"show_values": show_values}}})
    _, loaded = both(ingest, "run-1")
    assert (loaded.file.preview is not None) == show_values
    assert ("'007'" in repr(loaded)) == show_values

    place.serve(CSV.replace(b"1.25", CANARY.encode()))
    ingest.land(DATASET, run_id="run-2")
    with pytest.raises(DriftError) as caught:
        ingest.load(DATASET, run_id="run-2")
    assert str(caught.value).startswith(f"Dataset {DATASET}: ")
    assert "line 2, column 'Paid'" in str(caught.value)
    assert (CANARY in str(caught.value)) == show_values
    place.assert_table_is(CSV, loaded)


def test_a_preview_is_the_beginning_of_the_file_as_it_stands(place: Place) -> None:
    place.serve(b"Reference,Paid\n" + b"".join(b"%03d,%s\n" % (n, b"1.50" if n % 2 else b"") for n in range(40)))
    _, loaded = both(place.ingest({"defaults": {"show_values": True}}), "run-1")
    assert loaded.file.preview is not None
    assert loaded.file.preview.columns == ("Reference", "Paid")
    assert loaded.file.preview.rows == tuple((f"{n:03d}", "1.50" if n % 2 else None) for n in range(10))


@pytest.mark.parametrize(
    ("policy", "csv", "words"),
    [
        ("additive", b"Reference,Paid\n007,1\n", "columns that are missing: 'Paid Date'"),
        ("additive", b"Reference,Paid,paid on\n007,1,\n", "columns that are missing: 'Paid Date'"),
        ("additive", b"Reference,Paid,Paid Date\n007,x,\n", "another type: 'Paid (decimal(15,2))'"),
        ("freeze", b"Reference,Paid,Paid Date,More\n007,1,,\n", "columns that are new: 'More'"),
        ("freeze", b"Reference,Paid,paid on\n007,1,\n", "columns that are new: 'paid on'"),
        ("freeze", b"Reference,Paid,Paid Date\n007,1.5,2026-01-31\n", "another type: 'Paid Date (date %Y%m%d)'"),
    ],
)
def test_a_file_with_other_columns_is_refused_by_the_policy_and_the_table_stays(
    place: Place, policy: str, csv: bytes, words: str
) -> None:
    ingest = place.ingest({"datasets": {DATASET: {"policy": policy}}})
    _, loaded = both(ingest, "run-1")
    place.serve(csv)
    ingest.land(DATASET, run_id="run-2")
    with pytest.raises(DriftError, match=f"^Dataset {DATASET}: ") as caught:
        ingest.load(DATASET, run_id="run-2")
    assert words in str(caught.value)
    place.assert_table_is(CSV, loaded)


def test_columns_may_change_places_and_decimals_gain_places(place: Place) -> None:
    ingest = place.ingest()
    _, first = both(ingest, "run-1")
    place.serve(csv := b"Paid Date,Paid,Reference\n20260131,1.2345,007\n")
    _, second = both(ingest, "run-2")
    names = [column.name for column in second.file.contract.columns]
    assert names == [column.name for column in first.file.contract.columns]
    place.assert_table_is(csv, second)


@pytest.mark.parametrize("show_values", [True, False])
def test_the_values_that_do_not_fit_are_listed_beside_the_landed_file(place: Place, show_values: bool) -> None:
    ingest = place.ingest({"datasets": {DATASET: {"show_values": show_values}}})
    both(ingest, "run-1")
    bad = b"".join(b'%03d,"%s\n%d",\n' % (n, CANARY.encode(), n) for n in range(150))
    place.serve(b"Reference,Paid,Paid Date\n" + bad)
    landed = ingest.land(DATASET, run_id="run-2").landed
    with pytest.raises(DriftError) as caught:
        ingest.load(DATASET, run_id="run-2")
    text = (landed.folder / "invalid-values-run-2.csv").read_text()
    header, *rows = csv_module.reader(io.StringIO(text, newline=""))
    assert header == ["line", "column", "expected", "value"]
    assert rows == [
        [str(2 + 2 * n), "Paid", "decimal(15,2)", f"{CANARY}\n{n}" if show_values else ""] for n in range(100)
    ]
    assert len(caught.value.invalid_values) == 100
    # It stays a complete landing, which can be loaded when the catalog allows it.
    evolving = place.ingest({"datasets": {DATASET: {"policy": "evolve"}}})
    assert evolving.load(DATASET, run_id="run-2").file.totals.rows == 150


def test_drift_without_a_value_to_blame_leaves_no_list(place: Place) -> None:
    ingest = place.ingest()
    both(ingest, "run-1")
    place.serve(b"Reference,Paid\n007,1\n")
    landed = ingest.land(DATASET, run_id="run-2").landed
    with pytest.raises(DriftError):
        ingest.load(DATASET, run_id="run-2")
    assert {path.name for path in landed.folder.iterdir()} == {"data.csv.zst", "manifest.json"}


def test_the_same_file_again_is_left_and_settles_its_event_unless_it_is_forced(place: Place) -> None:
    ingest = place.ingest()
    _, first = both(ingest, "run-1")
    seq = place.event()
    _, second = both(ingest, "run-2")
    assert second.file.status is LoadStatus.UNCHANGED
    assert place.through() == seq
    place.assert_table_is(CSV, first)
    forced = ingest.load(DATASET, run_id="run-2", force=True)
    assert (forced.file.status, forced.file.replaced_load_id) == (LoadStatus.PUBLISHED, first.file.load_id)
    place.assert_table_is(CSV, forced)


def test_no_name_of_a_landing_or_message_holds_the_secret(place: Place) -> None:
    outcome, loaded = both(place.ingest(), "run-1")
    told = repr((outcome, loaded)) + json.dumps(outcome.landed.manifest.model_dump(mode="json"))
    assert place.server.client_secret not in told


@pytest.mark.parametrize("dataset_id", [DATASET, "d-two"])
def test_datasets_do_not_meet(place: Place, dataset_id: str) -> None:
    place.server.state.put("d-two", b"Reference,Paid\nA,1\n")
    ingest = place.ingest()
    loaded = {name: both(ingest, f"run-of-{name}", name)[1] for name in (DATASET, "d-two")}
    place.assert_table_is(place.server.state.version(dataset_id).csv, loaded[dataset_id])
