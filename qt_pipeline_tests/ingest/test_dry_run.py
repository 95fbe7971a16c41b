import gc
import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import DryRunResult, dry_run, load_file
from qt_pipeline.tabular import BadCsvError, EmptyFileError
from qt_pipeline.warehouse import DuplicateKeyError, LoadStatus, StaleLoadError, open_warehouse
from qt_pipeline_tests.ingest.loading import DATASET, Loading
from qt_pipeline_tests.ingest.place import CANARY, query

CSV = b"Ref,Paid,Note\n007,1.25,a\n008,-3.50,b\n"


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by the hash of its bytes."""
    # A connection that reads keeps a shared memory file and a log without a byte beside the database while it is open.
    gc.collect()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.endswith("-wal") or path.stat().st_size
    }


def tried(loading: Loading, data: bytes, **entry: Any) -> DryRunResult:
    """A trial, which must leave every file as it was."""
    loading.entry |= entry
    file, dataset = loading.file(data), loading.dataset
    before = contents(loading.folder)
    try:
        return dry_run(open_warehouse(f"sqlite:///{loading.database}", prepare=False), dataset, file)
    finally:
        assert contents(loading.folder) == before


def types_in(trial: DryRunResult) -> dict[str, str]:
    assert trial.contract is not None
    return {column.name: str(column.type) for column in trial.contract.columns}


def test_a_trial_of_a_first_file_tells_its_contract_and_makes_no_database(loading: Loading) -> None:
    trial = tried(loading, CSV, columns={"Paid": "decimal(18,2)"}, naming="snake_case")
    assert types_in(trial) == {"ref": "text(50)", "paid": "decimal(18,2)", "note": "text(50)"}
    assert (trial.dataset.id, trial.rows, trial.changes, trial.error) == (DATASET, 2, (), None)
    assert {path.name for path in loading.folder.iterdir()} == {"file.csv", "datasets.yaml"}


def test_a_trial_tells_the_contract_that_the_load_then_uses(loading: Loading) -> None:
    trial = tried(loading, CSV)
    assert loading.load(CSV).contract == trial.contract
    again = tried(loading, CSV)
    assert (again.contract, again.changes, again.error) == (trial.contract, (), None)


def test_a_trial_tells_what_would_become_different(loading: Loading) -> None:
    loading.load(CSV)
    trial = tried(loading, data := b"Ref,Paid,Note,New\n007,1.125,a,5\n")
    assert [str(change) for change in trial.changes] == [
        "column 'Paid' was decimal(15,2) and is decimal(15,3) now",
        "new column 'New' (integer)",
    ]
    assert types_in(trial)["New"] == "integer"
    assert loading.types()["Paid"] == "decimal(15,2)"
    assert loading.load(data).changes == trial.changes


@pytest.mark.parametrize("show_values", [True, False])
def test_a_trial_tells_the_drift_with_its_places(loading: Loading, show_values: bool) -> None:
    loading.load(CSV, show_values=show_values)
    bad = b"".join(b"%d,%s,x\n" % (n, CANARY.encode()) for n in range(150))
    trial = tried(loading, b"Ref,Paid,Note\n" + bad)
    assert (trial.contract, trial.changes, trial.rows) == (None, (), 150)
    assert trial.error is not None
    assert [(i.line, i.column) for i in trial.error.invalid_values] == [(2 + n, "Paid") for n in range(100)]
    assert (CANARY in str(trial.error)) == show_values
    assert loading.rows('"Ref"') == [("007",), ("008",)]


def test_a_trial_tells_drift_that_no_value_is_to_blame_for(loading: Loading) -> None:
    loading.load(CSV)
    trial = tried(loading, b"Ref,Note\n007,a\n")
    assert trial.error is not None
    assert (trial.error.columns_missing, trial.error.invalid_values) == (("Paid",), ())
    evolved = tried(loading, b"Ref,Note\n007,a\n", policy="evolve")
    assert [str(change) for change in evolved.changes] == ["column 'Paid' is missing in the file and NULL in the table"]


def test_a_trial_of_a_first_file_tells_what_its_declared_types_refuse(loading: Loading) -> None:
    trial = tried(loading, CSV, columns={"Note": "integer"})
    assert trial.error is not None
    assert [misfit.line for misfit in trial.error.invalid_values] == [2, 3]


def test_a_trial_looks_at_the_whole_file(loading: Loading) -> None:
    trial = tried(loading, b"Paid,Note\n" + (b"1," + b"x" * 1000 + b"\n") * 12_000 + b"1.5,x\n")
    assert (types_in(trial)["Paid"], trial.rows) == ("decimal(15,1)", 12_001)


@pytest.mark.parametrize(("data", "error"), [(b"a,b\n1\n", BadCsvError), (b"", EmptyFileError)])
def test_a_trial_of_a_file_that_cannot_be_read_names_its_dataset(
    loading: Loading, data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"^Dataset {DATASET}: "):
        tried(loading, data)


def test_a_trial_says_where_a_required_value_is_missing(loading: Loading) -> None:
    trial = tried(loading, b"Ref,Paid\n1,2\n3,\n", columns={"Paid": {"required": True}})
    assert trial.error is not None
    assert "Line 3 of the file has no value in the column 'Paid'" in trial.error.message
    trial = tried(loading, b"Ref\n1\n", columns={"Paid": {"required": True}})
    assert trial.error is not None
    assert "has no column 'Paid'" in trial.error.message
    assert trial.warnings == ()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"Ref,Line,Paid\nx,1,1\ny,1,2\nx,1,3\ny,1,4\n", "Lines 2 and 4, 3 and 5 of the file have the same key"),
        (b"Ref,Line,Paid\nx,1,1\n,1,2\ny,,3\n", "Lines 3, 4 of the file have no value in the key"),
        (b"Ref,Paid\nx,1\n", "has no column 'Line', which the catalog names as the key"),
        (b"Ref,Line,Paid\nx,1.5,1\nx,1.50,2\n", "Lines 2 and 3 of the file have the same key"),
        (b"Line,Ref,Paid\n1,x,1\n1,X,1\n2,x,1\n", None),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_trial_says_of_the_key_what_the_load_says(
    loading: Loading, data: bytes, told: str | None, first: bool
) -> None:
    if not first:
        loading.load(data.partition(b"\n")[0] + b"\n", empty="replace")
    columns = {"Line": "decimal(15,2)"}
    refusal = tried(loading, data, mode="upsert", key=["Ref", "Line"], columns=columns).error
    if told is None:
        assert refusal is None
        assert loading.load(data).totals.rows == 3
    else:
        with pytest.raises(DuplicateKeyError) as refused:
            loading.load(data)
        assert told in str(refusal)
        assert str(refusal) == str(refused.value)


SECOND = b"Ref,Paid,Note\n009,2.50,c\n"
REQUIRED = {"Paid": {"required": True}}


@pytest.mark.parametrize(
    ("file", "entry", "by_hand"),
    [
        pytest.param(SECOND, {"table": "é" * 100}, "", id="a name that is too long"),
        pytest.param(SECOND, {"table": "_qt_mine"}, "", id="a name like ours"),
        pytest.param(SECOND, {"table": "others"}, "CREATE TABLE others (x)", id="a table of somebody"),
        pytest.param(SECOND, {"table": "others"}, "CREATE VIEW others AS SELECT 1 AS x", id="a view of somebody"),
        pytest.param(SECOND, {"table": "o", "adopt": True}, "CREATE TABLE o (Paid REAL)", id="an adopted column"),
        pytest.param(b",".join(b"c%d" % n for n in range(2001)) + b"\n", {}, "", id="too many columns"),
        pytest.param(b",".join(b"c%d" % n for n in range(1999)) + b"\n", {"policy": "evolve"}, "", id="with ours"),
        pytest.param(b"Ref,Paid,Note\n", {}, "", id="no rows"),
        pytest.param(b"", {}, "", id="no bytes"),
        pytest.param(b"Ref,Paid,Note\n1,2\n", {}, "", id="a short row"),
        pytest.param(SECOND, {"min_rows": 2}, "", id="too few rows"),
        pytest.param(SECOND, {"max_drop_percent": 10}, "", id="a drop"),
        pytest.param(SECOND + b"010,1,d\n011,1,e\n012,1,f\n", {"max_rows": 3}, "", id="too many rows"),
        pytest.param(b"Ref,Paid,Note\n1,,x\n", {"columns": REQUIRED}, "", id="no required value"),
        pytest.param(b"Ref,Note\n1,x\n", {"columns": REQUIRED, "policy": "evolve"}, "", id="a required column"),
        pytest.param(SECOND, {"key": ["Claim"]}, "", id="no key"),
        pytest.param(b"Ref,Paid,Note,Note\n1,2,a,b\n", {"key": ["Note"]}, "", id="two keys"),
        pytest.param(SECOND + b"009,1,d\n", {"key": ["Ref"]}, "", id="a key twice"),
        pytest.param(SECOND + b",1,d\n", {"key": ["Ref"], "mode": "upsert"}, "", id="a blank key"),
        pytest.param(b"Ref,Paid,Note\n1,much,x\n", {}, "", id="another type"),
        pytest.param(b"Ref,Paid\n1,2\n", {}, "", id="a missing column"),
        pytest.param(b"Ref,Paid,Note,New\n1,2,a,b\n", {"policy": "freeze"}, "", id="a new column"),
        pytest.param(SECOND, {"columns": {"Note": "integer"}}, "", id="a declared type"),
        pytest.param(
            SECOND, {"columns": {"Note": "integer"}, "mode": "append"}, "", id="a declared type that older rows forbid"
        ),
        pytest.param(
            b"Ref,Paid,Note\n1,much,7\n",
            {"columns": {"Note": "integer"}, "mode": "upsert", "key": ["Ref"]},
            "",
            id="older rows and the file forbid",
        ),
        pytest.param(
            b"Ref,Paid,Note,New\n1,2,a,b\n", {}, "ALTER TABLE d_small ADD new INTEGER", id="a column of somebody"
        ),
        pytest.param(b"Ref,Paid,Note,New\n1,2,a,7\n", {}, "ALTER TABLE d_small ADD New AS (1)", id="a computed column"),
    ],
)
def test_a_trial_refuses_what_a_load_refuses_in_the_same_sentence(
    loading: Loading, file: bytes, entry: dict[str, Any], by_hand: str
) -> None:
    loading.load(CSV)
    if by_hand:
        query(loading.database, by_hand)
    max_rows = entry.pop("max_rows", None)
    loading.entry |= entry
    source, dataset = loading.file(file), loading.dataset
    with pytest.raises(PipelineError) as refused:
        load_file(loading.warehouse, dataset, source, max_rows=max_rows)
    before = contents(loading.folder)
    warehouse = open_warehouse(f"sqlite:///{loading.database}", prepare=False)
    try:
        refusal = dry_run(warehouse, dataset, source, max_rows=max_rows).error
    except PipelineError as error:
        refusal = error
    assert (type(refusal), str(refusal)) == (type(refused.value), str(refused.value))
    assert contents(loading.folder) == before


def test_a_trial_of_older_data_is_refused_as_the_load_is(loading: Loading) -> None:
    newer = replace(loading.file(CSV), inbox_id="inbox", through_seq=9)
    load_file(loading.warehouse, loading.dataset, newer)
    older = replace(newer, through_seq=8)
    with pytest.raises(StaleLoadError) as refused:
        load_file(loading.warehouse, loading.dataset, older)
    with pytest.raises(StaleLoadError) as tried_:
        dry_run(loading.warehouse, loading.dataset, older)
    assert str(tried_.value) == str(refused.value)


@pytest.mark.parametrize("entry", [{}, {"min_rows": 3}, {"max_drop_percent": 1}])
def test_a_trial_says_unchanged_where_a_load_says_so(loading: Loading, entry: dict[str, Any]) -> None:
    loading.load(CSV)
    trial = tried(loading, CSV, **entry)
    assert (trial.unchanged, trial.error, trial.rows) == (True, None, 2)
    assert loading.load(CSV).status is LoadStatus.UNCHANGED
    forced = dry_run(loading.warehouse, loading.dataset, loading.file(CSV), force=True)
    assert not forced.unchanged
    assert (forced.error is None) == ("min_rows" not in entry)


def test_a_trial_of_a_key_goes_through_the_whole_file_and_leaves_nothing_behind(
    loading: Loading, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    rows = b"".join(b"%d,%s\n" % (n, b"x" * 1000) for n in range(3_000))
    trial = tried(loading, b"Line,Note\n" + rows + b"0,x\n", key=["Line"])
    assert "Lines 2 and 3002 of" in str(trial.error)
    assert list(temporary.iterdir()) == []


def test_a_trial_of_a_dataset_with_a_key_says_where_a_required_value_is_missing(loading: Loading) -> None:
    trial = tried(loading, b"Ref,Paid\n1,2\n3,\n", key=["Ref"], columns={"Paid": {"required": True}})
    assert "Line 3 of the file has no value in the column 'Paid'" in str(trial.error)


def test_a_column_of_the_catalog_that_neither_file_nor_table_has_is_a_warning(loading: Loading) -> None:
    declared = {"Paid": "decimal(15,2)", "Piad": "decimal(15,2)", "Note": {"description": "Free text."}}
    told = ("The catalog declares the column 'Piad', which the file does not have.",)
    assert tried(loading, CSV, columns=declared, policy="evolve").warnings == told
    assert loading.load(CSV).warnings == told
    # Also where nothing is to be loaded.
    assert loading.load(CSV).warnings == told
    # That a column of the table is missing is a change already.
    assert tried(loading, data := b"Ref,Paid\n007,1.25\n").warnings == told
    assert loading.load(data).warnings == told
    assert tried(loading, CSV, columns={"Paid": "decimal(15,2)"}).warnings == ()
    assert loading.load(CSV).warnings == ()


def test_a_dry_run_of_an_unchanged_file_does_not_wait_for_a_writer(loading: Loading) -> None:
    loading.load(CSV)
    target = open_warehouse(f"sqlite:///{loading.database}", prepare=False)
    with closing(sqlite3.connect(loading.database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert dry_run(target, loading.dataset, loading.file(CSV)).unchanged
