"""`datasets`, `history`, `diff`, `line`, `restore` and `purge` on real files and a real ledger, without Dagster."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qt_pipeline import cli
from qt_pipeline.demo import Ports, free_ports
from qt_pipeline.inbox import EventState, EventUpdate, NewEvent, open_inbox
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline.values import utc_now
from qt_pipeline_tests.archive import DATASET, TABLE, Archive
from qt_pipeline_tests.fake_dagster import RUN_ID, FakeDagster

FIRST = b"Ref,Paid\n007,1.25\n007,1.25\n008,-3.50\n"
SECOND = b'Paid,Ref,Note\n1.25,007,secret\n1.25,007,secret\n1.25,007,secret\n4.75,"0\n09",\n'

Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """A dataset with two loads, both of whose files have names of the first."""
    made = Archive(tmp_path)
    made.rules(name="Claims [paid]", columns={"Ref": "text"})
    made.bring(FIRST)
    made.bring(SECOND)
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], archive: Archive) -> Run:
    """Run a command on the archive: its exit code, and what it says."""
    closed = free_ports(Ports(0, 0, 0), lambda _: None).dagster
    settings = {
        ENV_FILE_VARIABLE: "",
        "COLUMNS": "250",
        "QT_STATE_DIR": str(archive.folder),
        "QT_CATALOG": str(archive.folder / "datasets.yaml"),
        "QT_DAGSTER_URL": f"http://127.0.0.1:{closed}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def ran(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["qt-pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output.out, output.err

    return ran


def answers(ran: Ran) -> list[dict[str, Any]]:
    assert ran[0] == 0, ran
    return [json.loads(line) for line in ran[1].splitlines()]


def test_datasets_of_catalog_ledger_and_inbox_are_listed_each_with_its_state(run: Run, archive: Archive) -> None:
    inbox = open_inbox(f"sqlite:///{archive.folder}/inbox.db")
    inbox.append(
        [NewEvent("e", "DatasetUpdated", dataset_id, None, b"{}") for dataset_id in ("d-new", "d-new", DATASET)]
    )
    [group] = [group for group in inbox.open_events() if group.dataset_id == DATASET]
    inbox.update([EventUpdate(group, EventState.PARKED, "It broke.")])
    found = {one["dataset_id"]: one for one in answers(run("datasets", "--json"))}
    kept, new = found[DATASET], found["d-new"]
    expected = {"name": "Claims [paid]", "table": TABLE, "state": "loaded", "rows": 4, "load_id": 2, "parked": 1}
    assert kept.items() >= (expected | {"pending": 0, "stale": False}).items()
    assert new.items() >= {"state": "never loaded", "rows": None, "pending": 2, "table": "d_new"}.items()
    told = run("datasets")[1]
    assert "Claims [paid]" in told
    assert "loaded, 1 event parked" in told
    assert "never loaded, 2 events pending" in told
    assert "s ago" in told


def test_the_load_is_the_one_that_the_rows_name_however_often_the_file_was_found_unchanged(
    run: Run, archive: Archive
) -> None:
    [before] = answers(run("datasets", "--json"))
    archive.bring(SECOND)
    [after] = answers(run("datasets", "--json"))
    assert (after["load_id"], after["last_load_id"], after["loaded_at"]) == (2, 3, before["loaded_at"])
    assert after["looked_at"] > before["looked_at"] == before["loaded_at"]


def test_the_state_tells_a_failure_a_restore_and_staleness(run: Run, archive: Archive) -> None:
    def state() -> tuple[str, bool]:
        [one] = answers(run("datasets", "--json"))
        return one["state"], one["stale"]

    archive.bring(b"Ref,Paid,Note\n007,much,\n", fails=True)
    assert state() == ("failed", False)
    assert run("restore", DATASET, "1", "--yes")[0] == 0
    assert state() == ("restored", False)
    archive.rules(fresh_within_hours=1)
    archive.make_old(utc_now() - timedelta(hours=2))
    assert state() == ("restored", True)


def newest_run(dataset_id: str, answer: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next(one["last_run"] for one in answer if one["dataset_id"] == dataset_id)


@pytest.fixture
def dagster(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDagster]:  # noqa: ARG001  # it sets the URL too
    with FakeDagster() as fake:
        monkeypatch.setenv("QT_DAGSTER_URL", fake.url)
        yield fake


def test_a_run_that_failed_before_its_load_is_told_with_what_to_do(run: Run, dagster: FakeDagster) -> None:
    dagster.run_ended("FAILURE", DATASET, utc_now())
    code, told, complaint = run("history", DATASET)
    assert (code, complaint) == (0, "")
    assert told.splitlines()[-3:] == [
        "Error:      It was refused.",
        "How to fix: Ask for it.",
        f"Log:        {dagster.url}/runs/{RUN_ID}",
    ]
    assert "The newest run failed, 0 s ago" in told
    told = run("datasets")[1]
    assert "loaded, last run failed" in told
    assert "qt-pipeline history ID" in told


def test_scripts_get_the_failed_run_with_the_dataset_and_no_line_of_history_more(
    run: Run, dagster: FakeDagster
) -> None:
    dagster.run_ended("FAILURE", DATASET, utc_now())
    dagster.run_ended("FAILURE", "d-unknown", utc_now())
    [one] = answers(run("datasets", "--json"))
    assert one["state"] == "loaded"
    assert one["last_run"].items() >= {"run_id": RUN_ID, "status": "FAILURE"}.items()
    assert one["last_run"]["url"] == f"{dagster.url}/runs/{RUN_ID}"
    history = run("history", DATASET, "--json")
    assert [load["load_id"] for load in answers(history)] == [2, 1]
    assert "Error:      It was refused." in history[2]


def test_a_dataset_that_was_never_loaded_tells_why_too(run: Run, dagster: FakeDagster) -> None:
    dagster.run_ended("FAILURE", "d-new", utc_now())
    told = run("history", "d-new")[1]
    assert told.startswith("d-new was never loaded.\nThe newest run failed")


def test_a_failed_run_is_over_with_the_next_load_or_run(run: Run, archive: Archive, dagster: FakeDagster) -> None:
    dagster.run_ended("FAILURE", DATASET, utc_now() - timedelta(hours=1))
    assert newest_run(DATASET, answers(run("datasets", "--json"))) is None, "the loads came later"
    dagster.run_ended("FAILURE", DATASET, utc_now())
    assert newest_run(DATASET, answers(run("datasets", "--json"))) is not None
    dagster.run_ended("SUCCESS", DATASET, utc_now())
    assert newest_run(DATASET, answers(run("datasets", "--json"))) is None, "a later run did not fail"
    dagster.run_ended("FAILURE", DATASET, utc_now())
    assert run("restore", DATASET, "1", "--yes")[0] == 0
    assert "The newest run failed" not in run("history", DATASET)[1]
    assert archive.warehouse.loads(limit=1)[0].restores_load_id == 1


def test_a_failure_that_the_ledger_tells_is_not_told_twice(run: Run, archive: Archive, dagster: FakeDagster) -> None:
    failed = archive.bring(b"Ref,Paid,Note\n007,much,\n", fails=True)
    dagster.run_ended("FAILURE", DATASET, utc_now(), run_id=failed.run_id)
    assert newest_run(DATASET, answers(run("datasets", "--json"))) is None
    published = archive.bring(b"Ref,Paid,Note\n007,1.00,\n")
    dagster.run_ended("FAILURE", DATASET, utc_now(), run_id=published.run_id)
    assert newest_run(DATASET, answers(run("datasets", "--json"))) is not None, "it failed after its load"


def test_all_datasets_are_one_question_and_no_dagster_is_one_quiet_line(
    run: Run, dagster: FakeDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("datasets")
    assert len(dagster.asked) == 1
    monkeypatch.setenv("QT_DAGSTER_URL", "http://127.0.0.1:1")
    for command in (("datasets", "--json"), ("history", DATASET, "--json")):
        ran = run(*command)
        assert answers(ran)
        [line] = ran[2].splitlines()
        assert line.startswith("Dagster cannot be reached at http://127.0.0.1:1.")


def test_before_anything_was_loaded_that_is_said_and_no_database_is_made(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QT_STATE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("QT_CATALOG", str(tmp_path / "empty.yaml"))
    (tmp_path / "empty.yaml").touch()
    assert "No datasets yet" in run("datasets")[1]
    assert "was never loaded" in run("history", DATASET)[1]
    assert not (tmp_path / "empty" / "warehouse.db").exists()


def test_history_tells_each_load_newest_first(run: Run, archive: Archive) -> None:
    archive.bring(b"Ref,Paid,Note\n007,much,\n", fails=True)
    run("restore", DATASET, "1", "--yes")
    restored, failed, second, first = answers(run("history", DATASET, "--json"))
    assert [one["load_id"] for one in (restored, failed, second, first)] == [4, 3, 2, 1]
    assert (failed["status"], failed["rows"]) == ("failed", None)
    assert "does not fit" in failed["error"]
    assert (restored["restores_load_id"], restored["sha256"]) == (1, first["sha256"])
    assert second["changes"] == ["new column 'Note' (text(50))"]
    told = run("history", DATASET, "--limit", "3")[1]
    assert "restored" in told
    assert "restores load 1" in told
    assert first["sha256"][:8] in told
    assert len(answers(run("history", DATASET, "--json", "--limit", "1"))) == 1


def test_diff_counts_rows_and_hides_values_unless_they_are_asked_for(run: Run) -> None:
    code, told, _ = run("diff", DATASET, "1", "2")
    assert code == 0
    assert "Only load 2 has the column 'Note'." in told
    assert "1 removed, 2 added: 3 rows before, 4 after." in told
    assert "line 4" in told
    assert "lines 4, 5" in told
    assert "--show-values shows them" in told
    assert "-3.50" not in told
    shown = run("diff", DATASET, "1", "2", "--show-values")[1]
    assert "-3.50" in shown
    assert "4.75" in shown


def test_diff_shows_values_where_the_catalog_does(run: Run, archive: Archive) -> None:
    [hidden] = answers(run("diff", DATASET, "1", "2", "--json"))
    assert hidden["removed"] == {"rows": 1, "of": 3, "columns": [], "lines": [4]}
    assert (hidden["added"]["rows"], hidden["added"]["lines"], hidden["added"]["columns"]) == (2, [4, 5], ["Note"])
    archive.rules(show_values=True)
    [shown] = answers(run("diff", DATASET, "1", "2", "--json", "--limit", "1"))
    assert shown["columns"] == ["Ref", "Paid"]
    assert shown["removed"]["values"] == [["008", "-3.50"]]
    assert (shown["added"]["lines"], shown["added"]["values"]) == ([4], [["007", "1.25"]])


def test_diff_of_a_load_with_itself_is_nothing(run: Run) -> None:
    assert run("diff", DATASET, "2", "2")[1] == "No differences: 4 rows before, 4 after.\n"


def test_line_shows_the_record_as_it_stands_with_its_lines(run: Run) -> None:
    _, told, _ = run("show-row", DATASET, "2", "5")
    path, *lines = told.splitlines()
    assert path.endswith("data.csv.zst")
    assert [line.strip() for line in lines] == ["1  Paid,Ref,Note", '5  4.75,"0', '6  09",']
    [answer] = answers(run("show-row", DATASET, "2", "5", "--json"))
    assert answer["record"] == {"first_line": 5, "last_line": 6, "text": ['4.75,"0', '09",']}
    assert answer["source"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show-row", DATASET, "2", "6"), "within the record of lines 5 to 6"),
        (("show-row", DATASET, "2", "7"), "the file has 6 lines"),
        (("show-row", DATASET, "9", "2"), "has no load 9"),
        (("diff", DATASET, "1", "9"), "has no load 9"),
        (("restore", DATASET, "9", "--yes"), "has no load 9"),
        (("history", "../x"), "cannot be the id of a dataset"),
    ],
)
def test_what_is_not_there_is_said_with_the_next_step(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, told, complaint = run(*arguments)
    assert (code, told) == (1, "")
    assert words in complaint


def test_a_file_that_was_purged_is_said_to_be(run: Run, archive: Archive) -> None:
    for landed in list(archive.landing.complete(DATASET))[1:]:
        archive.landing.remove(landed)
    for arguments in (("show-row", DATASET, "1", "2"), ("diff", DATASET, "1", "2"), ("restore", DATASET, "1", "--yes")):
        code, _, complaint = run(*arguments)
        assert code == 1
        assert "not in the landing" in complaint


def test_restore_asks_first_and_no_is_no(run: Run, archive: Archive) -> None:
    before = archive.warehouse.loads()
    asked = CliRunner().invoke(cli.app, ["restore", DATASET, "1"], input="n\n")
    assert asked.exit_code == 1
    assert "Replace the rows of d_kept by the 3 rows of load 1" in asked.output
    assert archive.warehouse.loads() == before
    assert run("restore", DATASET, "1", "--json")[0] == 2


def test_restore_tells_what_it_did_and_that_the_ui_will_not(run: Run) -> None:
    code, told, _ = run("restore", DATASET, "1", "--yes")
    assert code == 0
    assert "d_kept: load 1 is restored, 3 rows, as load 3." in told
    assert "It stays until an event, or a manual run" in told
    assert "only the ledger shows this restore" in told
    assert "shows the file of load 1 (by load 3). Nothing changed." in run("restore", DATASET, "1", "--yes")[1]
    [answer] = answers(run("restore", DATASET, "2", "--yes", "--json"))
    expected = {"status": "restored", "load_id": 4, "restored_load_id": 2, "rows": 4, "in_dagster": False}
    assert answer.items() >= expected.items()


def test_purge_says_what_would_go_asks_and_deletes(run: Run, archive: Archive) -> None:
    for number in range(4):
        archive.bring(f"Ref,Paid,Note\n{number},1.00,\n".encode())
    archive.make_old(utc_now() - timedelta(days=40))
    assert "Nothing to delete." in run("purge", "--older-than", "50", "--yes")[1]
    dry = run("purge", "--older-than", "30", "--keep", "2", "--dry-run")[1]
    assert "Nothing was deleted. Deleting would free " in dry
    assert len(list(archive.landing.complete(DATASET))) == 6
    no = CliRunner().invoke(cli.app, ["purge", "--older-than", "30", "--keep", "2"], input="n\n")
    assert no.exit_code == 1
    assert len(list(archive.landing.complete(DATASET))) == 6
    [gone] = answers(run("purge", "--older-than", "30", "--keep", "2", "--yes", "--json"))
    assert (gone["dataset_id"], gone["deleted"], len(gone["files"])) == (DATASET, True, 4)
    assert len(list(archive.landing.complete(DATASET))) == 2
    assert "Nothing to delete." in run("purge", "--older-than", "30", "--keep", "2", "--yes")[1]
    assert [one["load_id"] for one in answers(run("history", DATASET, "--json"))] == [6, 5, 2, 1]


def test_purge_wants_an_age(run: Run) -> None:
    assert run("purge")[0] == 2
    assert run("purge", "--older-than", "0")[0] == 2
