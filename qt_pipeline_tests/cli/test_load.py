import csv
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pytest

from qt_pipeline import cli
from qt_pipeline.settings import ENV_FILE_VARIABLE, Settings
from qt_pipeline_tests.hostile import HOSTILE, controls

Ran = Callable[..., tuple[int, str, str]]

FILE = b"Claim No,Paid,Lost on\n0012,1.50,2026-01-31\n0013,2.25,\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ran:
    """Run a command on a state folder of its own: the exit code, what it printed, what it complained of."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"QT_{name.upper()}", raising=False)
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    monkeypatch.setenv("QT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("QT_CATALOG", str(tmp_path / "datasets.yaml"))
    (tmp_path / "datasets.yaml").touch()

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["qt-pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output.out, output.err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "claims.csv"
    file.write_bytes(FILE)
    return file


def answer(ran: tuple[int, str, str]) -> dict[str, Any]:
    return json.loads(ran[1])


def rows_of(tmp_path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(tmp_path / "state" / "warehouse.db")) as connection:
        return connection.execute('SELECT "Claim No", Paid, "Lost on", _qt_row FROM d_one ORDER BY _qt_row').fetchall()


def test_a_file_is_loaded_and_the_answer_tells_what_became_of_it(run: Ran, file: Path, tmp_path: Path) -> None:
    ran = run("load", str(file), "--dataset-id", "d-one", "--json")
    assert ran[0] == 0
    told = answer(ran)
    assert {key: told[key] for key in ("dataset_id", "table", "rows", "status", "load_id", "changes")} == {
        "dataset_id": "d-one",
        "table": "d_one",
        "rows": 2,
        "status": "published",
        "load_id": 1,
        "changes": [],
    }
    assert told["columns"] == [
        {"source": "Claim No", "name": "Claim No", "type": "text(50)"},
        {"source": "Paid", "name": "Paid", "type": "decimal(15,2)"},
        {"source": "Lost on", "name": "Lost on", "type": "date"},
    ]
    assert told["sha256"] == sha256(FILE).hexdigest()
    assert set(told["seconds"]) == {"inspect", "stage", "publish"}
    assert rows_of(tmp_path) == [("0012", 1.5, "2026-01-31", 2), ("0013", 2.25, None, 3)]


def test_people_are_told_which_target_it_went_into_and_where_the_file_is_kept(
    run: Ran, file: Path, tmp_path: Path
) -> None:
    told = run("load", str(file), "--dataset-id", "d-one")[1]
    assert f"d_one in {tmp_path}/state/warehouse.db: published, 2 rows, load 1 (" in told
    [kept] = (tmp_path / "state" / "landing" / "d-one").glob("*/data.csv.zst")
    assert f"Landed file: {kept}\n" in told
    told = run("load", str(file), "--dataset-id", "d-one", "--dry-run")[1]
    assert f"2 rows for the table d_one in {tmp_path}/state/warehouse.db. Nothing was written." in told


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_dataset_that_nobody_has_named_before_is_pointed_out(
    run: Ran, file: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "datasets.yaml").write_text("datasets: {d-listed: {}}\n", encoding="utf-8")
    note = "Note: The catalog does not list d-slip, and it was never loaded before: this is a new table."
    assert note in run("load", str(file), "--dataset-id", "d-slip", *options)[1]
    assert "Note" not in run("load", str(file), "--dataset-id", "d-listed", *options)[1]
    run("load", str(file), "--dataset-id", "d-slip")
    assert "Note" not in run("load", str(file), "--dataset-id", "d-slip", *options)[1]
    assert answer(run("load", str(file), "--dataset-id", "d-slip", "--json"))["status"] == "unchanged"


def test_line_diff_and_restore_know_a_file_that_is_gone_from_this_machine(run: Ran, file: Path, tmp_path: Path) -> None:
    first = answer(run("load", str(file), "--dataset-id", "d-one", "--json"))
    file.write_bytes(FILE.replace(b"2.25", b"4.75"))
    run("load", str(file), "--dataset-id", "d-one")
    file.unlink()
    told = run("show-row", "d-one", "1", "3")[1].splitlines()
    assert told[:2] == [first["landed_file"], f"Loaded manually from {file.as_uri()}"]
    assert told[-1].endswith("3  0013,2.25,")
    as_json = answer(run("show-row", "d-one", "1", "3", "--json"))
    assert (as_json["file"], as_json["source"]) == (first["landed_file"], file.as_uri())
    assert "1 removed, 1 added: 2 rows before, 2 after." in run("diff", "d-one", "1", "2")[1]
    assert run("restore", "d-one", "1", "--yes")[0] == 0
    assert rows_of(tmp_path) == [("0012", 1.5, "2026-01-31", 2), ("0013", 2.25, None, 3)]
    newest, *_ = run("history", "d-one", "--json")[1].splitlines()
    assert json.loads(newest)["landed_file"] == first["landed_file"]


def test_a_landing_that_cannot_be_written_is_told_before_anything_is_loaded(
    run: Ran, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("QT_LANDING_URL", str(tmp_path / "a-file"))
    code, told, complaint = run("load", str(file), "--dataset-id", "d-one")
    assert (code, told) == (1, "")
    assert f"The landing {tmp_path}/a-file/d-one cannot be written: Not a directory." in complaint
    assert not (tmp_path / "state").exists()


def test_the_same_file_again_is_unchanged_unless_it_is_forced(run: Ran, file: Path) -> None:
    statuses = [
        answer(run("load", str(file), "--dataset-id", "d-one", "--json", *more))["status"]
        for more in ([], [], ["--force"], [])
    ]
    assert statuses == ["published", "unchanged", "published", "unchanged"]


def test_a_dry_run_tells_contract_and_drift_and_writes_nothing(run: Ran, file: Path, tmp_path: Path) -> None:
    told = answer(run("load", str(file), "--dataset-id", "d-one", "--dry-run", "--json"))
    assert (told["status"], told["rows"], len(told["columns"])) == ("would load", 2, 3)
    assert not (tmp_path / "state").exists()
    run("load", str(file), "--dataset-id", "d-one")
    before = sorted((path, path.read_bytes()) for path in (tmp_path / "state").rglob("*") if path.is_file())
    file.write_bytes(FILE.replace(b"2.25", b"none"))
    ran = run("load", str(file), "--dataset-id", "d-one", "--dry-run", "--json")
    assert (ran[0], answer(ran)["status"]) == (1, "would fail")
    assert answer(ran)["invalid_values"] == [{"line": 3, "column": "Paid", "expected": "decimal(15,2)", "value": None}]
    after = sorted((path, path.read_bytes()) for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert [path for path, _ in after if path.suffix == ".db"] == [path for path, _ in before if path.suffix == ".db"]
    landed = [[found for found in there if "landing" in found[0].parts] for there in (before, after)]
    assert landed[0] == landed[1] != []
    assert rows_of(tmp_path) == [("0012", 1.5, "2026-01-31", 2), ("0013", 2.25, None, 3)]


def test_a_column_of_the_catalog_that_the_file_does_not_have_is_noted(run: Ran, file: Path, tmp_path: Path) -> None:
    (tmp_path / "datasets.yaml").write_text("datasets: {d-one: {columns: {Piad: integer}}}\n", encoding="utf-8")
    note = "The catalog declares the column 'Piad', which the file does not have."
    for options in (("--dry-run",), ()):
        assert f"Note: {note}\n" in run("load", str(file), "--dataset-id", "d-one", *options)[1]
        assert answer(run("load", str(file), "--dataset-id", "d-one", "--json", *options))["warnings"] == [note]


def test_a_file_that_does_not_fit_ends_with_code_1_and_says_where(run: Ran, file: Path, tmp_path: Path) -> None:
    run("load", str(file), "--dataset-id", "d-one")
    (tmp_path / "datasets.yaml").write_text("defaults: {show_values: true}\n", encoding="utf-8")
    file.write_bytes(FILE.replace(b"2.25", b"none"))
    code, told, complaint = run("load", str(file), "--dataset-id", "d-one")
    assert code == 1
    assert told == "", "the error names the few places there are"
    assert "Dataset d-one: The file does not fit" in complaint
    assert "line 3, column 'Paid': 'none' is not decimal(15,2)" in complaint
    failed = run("load", str(file), "--dataset-id", "d-one", "--json")
    assert (failed[0], answer(failed)["status"]) == (1, "failed")
    assert answer(failed)["invalid_values"] == [
        {"line": 3, "column": "Paid", "expected": "decimal(15,2)", "value": "none"}
    ]
    # Each of the two refused files, with what did not fit.
    assert len(list((tmp_path / "state" / "landing" / "d-one").glob("*/invalid-values-manual-*.csv"))) == 2


def test_more_values_than_an_error_names_are_listed_up_to_ten(run: Ran, file: Path) -> None:
    run("load", str(file), "--dataset-id", "d-one")
    file.write_bytes(b"Claim No,Paid,Lost on\n" + b"0012,none,2026-01-31\n" * 12)
    code, told, complaint = run("load", str(file), "--dataset-id", "d-one")
    assert (code, complaint.count("column 'Paid': a value")) == (1, 3)
    *listed, more = told.splitlines()
    assert [line.partition(",")[0] for line in listed] == [f"line {number}" for number in range(2, 12)]
    assert more == "... and 2 more invalid values."


@pytest.mark.parametrize("dataset_id", ["../x", "", "a/b"])
def test_an_id_that_cannot_be_one_is_refused(run: Ran, file: Path, dataset_id: str) -> None:
    code, _, complaint = run("load", str(file), "--dataset-id", dataset_id)
    assert code == 1
    assert "cannot be the id of a dataset" in complaint


def test_a_file_that_is_not_there_is_said_to_be_so(run: Ran, tmp_path: Path) -> None:
    code, _, complaint = run("load", str(tmp_path / "none.csv"), "--dataset-id", "d-one")
    assert code == 1
    assert "none.csv cannot be read" in complaint
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("raised", [RuntimeError("kanarie"), KeyError("kanarie"), OSError(5, "kanarie")])
def test_an_error_that_nobody_foresaw_is_one_json_object_without_its_text(
    run: Ran, file: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], raised: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise raised

    monkeypatch.setattr("qt_pipeline.ingest.loader.check_headers", fail)
    code, told, complaint = run("load", str(file), "--dataset-id", "d-one", "--json", *options)
    assert code == 1
    assert json.loads(told) == {
        "dataset_id": "d-one",
        "status": "failed",
        "error": f"Unexpected error: {type(raised).__name__}.",
        "hint": "Run the command without --json for the traceback, and report it.",
        "invalid_values": [],
    }
    assert "kanarie" not in told + complaint


def test_a_landing_that_is_a_file_is_one_json_object_too(
    run: Ran, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("QT_LANDING_URL", str(tmp_path / "a-file"))
    ran = run("load", str(file), "--dataset-id", "d-one", "--json")
    assert (ran[0], answer(ran)["status"]) == (1, "failed")
    assert "cannot be written: Not a directory." in answer(ran)["error"]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    return pipe


def load_stdin(*options: str, stdin: IO[bytes] | None = None, data: bytes | None = None) -> tuple[int, dict[str, Any]]:
    """`qt-pipeline load /dev/stdin --json` in a process of its own, from a file or with `data` through a pipe."""
    command = [sys.executable, "-m", "qt_pipeline", "load", "/dev/stdin", "--dataset-id", "d-one", "--json", *options]
    with subprocess.Popen(command, stdin=stdin or subprocess.PIPE, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(data, timeout=120)
    return process.returncode, json.loads(output)


def test_a_named_pipe_is_loaded_under_its_own_name(run: Ran, file: Path, pipe: Path, tmp_path: Path) -> None:
    run("load", str(file), "--dataset-id", "d-one")
    data = FILE.replace(b"2.25", b"4.75")
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    told = answer(run("load", str(pipe), "--dataset-id", "d-one", "--json"))
    writer.join(20)
    assert (told["status"], told["rows"], told["sha256"]) == ("published", 2, sha256(data).hexdigest())
    assert rows_of(tmp_path)[1] == ("0013", 4.75, None, 3)
    as_json = answer(run("show-row", "d-one", str(told["load_id"]), "2", "--json"))
    assert as_json["source"] == pipe.as_uri()


def test_a_dry_run_of_a_pipe_is_refused_before_it_is_opened(run: Ran, pipe: Path, tmp_path: Path) -> None:
    # Nobody writes into it: whoever opened it would wait for ever.
    for options in ((), ("--json",)):
        code, told, complaint = run("load", str(pipe), "--dataset-id", "d-one", "--dry-run", *options)
        assert code == 1
        assert "is not a regular file and can be read only once, which is not enough for a dry run." in told + complaint
        assert "Save the output of the pipe to a file" in told + complaint
    assert not (tmp_path / "state").exists()


def test_standard_input_is_loaded_from_a_pipe_and_tried_from_a_file(run: Ran, file: Path, tmp_path: Path) -> None:
    with file.open("rb") as stream:
        code, tried = load_stdin("--dry-run", stdin=stream)
    assert (code, tried["status"], tried["rows"]) == (0, "would load", 2)
    code, refused = load_stdin("--dry-run", data=FILE)
    assert (code, refused["status"]) == (1, "failed")
    assert "/dev/stdin is not a regular file" in refused["error"]
    code, loaded = load_stdin(data=FILE)
    assert (code, loaded["status"]) == (0, "published")
    assert answer(run("show-row", "d-one", str(loaded["load_id"]), "2", "--json"))["source"] == "file:///dev/stdin"
    assert len(rows_of(tmp_path)) == 2


def test_ddl_prints_what_an_administrator_runs(run: Ran, file: Path) -> None:
    code, told, _ = run("ddl", str(file), "--dataset-id", "d-one")
    assert code == 0
    assert 'CREATE TABLE "d_one"' in told or "CREATE TABLE d_one" in told
    assert "CREATE TABLE _qt_loads" in told


def test_ddl_wants_file_and_dataset_together(run: Ran, file: Path) -> None:
    code, _, complaint = run("ddl", str(file))
    assert code == 2
    assert "Specify both" in complaint


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)], ids=["load", "dry run"])
def test_a_file_of_more_rows_than_the_setting_allows_is_refused(
    run: Ran, file: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("QT_MAX_ROWS", "1")
    code, told, complaint = run("load", str(file), "--dataset-id", "d-one", *arguments)
    assert code == 1
    assert "more than 1 rows" in told + complaint
    assert "QT_MAX_ROWS" in told + complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ("load", "{file}", "--dataset-id", "d-one"),
        ("load", "{file}", "--dataset-id", "d-one", "--dry-run"),
        ("ddl", "{file}", "--dataset-id", "d-one"),
        ("datasets",),
        ("restore", "d-one", "1", "--yes"),
        ("run", "d-one"),
    ],
    ids=" ".join,
)
def test_a_catalog_that_is_named_and_does_not_exist_is_refused(
    run: Ran, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("QT_CATALOG", str(tmp_path / "datasets.yml"))
    code, told, complaint = run(*(argument.format(file=file) for argument in arguments))
    assert code == 1
    assert "datasets.yml, which QT_CATALOG names, does not exist" in told + complaint
    assert not (tmp_path / "state" / "warehouse.db").exists()


def hostile_file(folder: Path, rows: int = 1) -> Path:
    file = folder / "hostile.csv"
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        names = [name.replace("\x00", "") for name in HOSTILE]
        writer.writerows([["Ref", *names], *[["1", *names]] * rows])
    return file


@pytest.mark.parametrize("options", [["--dry-run"], [], ["--force"]])
def test_hostile_headers_steer_no_terminal_and_are_no_markup(run: Ran, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "datasets.yaml").write_text("datasets: {d-one: {table: t, show_values: true, policy: evolve}}")
    # It has more separators of other kinds than commas.
    trusted = ["--first-line-is-header", *options]
    code, out, err = run("load", str(hostile_file(tmp_path)), "--dataset-id", "d-one", *trusted)
    assert code == 0, err
    assert controls(out) == controls(err) == []
    if options == ["--dry-run"]:
        assert "[bold red]x[/]" in out
        assert ":bomb:" in out


def test_an_error_about_a_hostile_file_or_catalog_steers_no_terminal(run: Ran, tmp_path: Path) -> None:
    (tmp_path / "datasets.yaml").write_text("datasets: {d-one: {table: t, columns: {Ref: integer}, key: [Ref]}}")
    for options in (["--dry-run"], []):
        code, out, err = run("load", str(hostile_file(tmp_path, rows=2)), "--dataset-id", "d-one", *options)
        assert code == 1
        assert controls(out) == controls(err) == []
    for text in HOSTILE:
        quoted = json.dumps(text)
        (tmp_path / "datasets.yaml").write_text(f"datasets: {{d-one: {{{quoted}: {quoted}, mode: {quoted}}}}}")
        code, out, err = run("load", str(hostile_file(tmp_path)), "--dataset-id", "d-one")
        assert (code, bool(err)) == (1, True)
        assert controls(out) == controls(err) == []
