"""The commands `run`, `cancel` and `restore` against the Dagster that is running: exit codes, words, what is true."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qt_pipeline_tests.dagster_client import TABLE
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, assert_table_is_as_served, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GOOD, BAD = "d-command-good", "d-command-bad"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    told: str
    complaint: str

    @property
    def answer(self) -> dict[str, Any]:
        """Of `--json`: one object."""
        assert self.complaint == ""
        return json.loads(self.told)


class Command:
    """A command that is on its way."""

    def __init__(self, stack: LiveStack, *arguments: str, catalog: str | None = None) -> None:
        catalog_of = {} if catalog is None else {"QT_CATALOG": catalog}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qt_pipeline", *arguments],
            cwd=stack.state_dir,
            env={**stack.environment, "QT_DAGSTER_URL": stack.ui_url, "COLUMNS": "200", **catalog_of},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> Ended:
        told, complaint = self.process.communicate(timeout=300)
        return Ended(self.process.returncode, told, complaint)


def command(stack: LiveStack, *arguments: str, catalog: str | None = None) -> Ended:
    return Command(stack, *arguments, catalog=catalog).end()


@pytest.fixture(scope="module")
def served(stack: LiveStack) -> Iterator[LiveStack]:
    """Two datasets that were loaded well; when the tests are over, all is well with them again."""
    for dataset_id in (GOOD, BAD):
        stack.serve(dataset_id, SMALL_CSV)
    ended = command(stack, "run", GOOD, BAD, "--new", "--wait")
    assert ended.code == 0, ended
    yield stack
    stack.spoil(BAD)
    assert command(stack, "run", BAD, "--wait").code == 0


def test_a_run_that_succeeds_ends_with_0_and_tells_rows_and_table(served: LiveStack) -> None:
    served.serve(GOOD, SMALL_CSV + b"009,4.75\n")
    ended = command(served, "run", GOOD, "--wait")
    run = served.runs_of(GOOD)[0]
    assert ended.code == 0, ended
    first, *_, last = ended.told.splitlines()
    assert first == f"{GOOD}: run {run.run_id}  {served.ui_url}/runs/{run.run_id}"
    load = served.published(GOOD)[-1]
    assert last.startswith(f"{GOOD}: succeeded after ")
    assert last.endswith(f": 3 rows in d_command_good, published (load {load.load_id}).")
    assert (run.status, load.run_id) == ("SUCCESS", run.run_id)
    assert run.tags["qt/reason"] == "requested by qt-pipeline run"
    assert run.tags["qt/dataset"] == "d_command_good"
    assert_table_is_as_served(served, GOOD)


def test_a_script_gets_one_object_and_a_forced_run_loads_the_same_file_again(served: LiveStack) -> None:
    forced = command(served, "run", GOOD, "--wait", "--json", "--force").answer
    assert (forced["status"], forced["load_status"], forced["error"]) == ("SUCCESS", "published", None)
    assert forced["run_id"] == served.runs_of(GOOD)[0].run_id
    assert forced["load_id"] == served.published(GOOD)[-1].load_id


def test_a_run_that_fails_ends_with_1_and_says_what_happened_and_what_to_do(served: LiveStack) -> None:
    served.spoil(BAD, kind="html", times=None)
    ended = command(served, "run", BAD, "--wait")
    assert ended.code == 1
    assert ended.told.splitlines()[-1].startswith(f"{BAD}: failed after ")
    what, hint = ended.complaint.splitlines()
    assert what.startswith("Error:      Quantemplate's answer has the content type 'text/html'. Tried ")
    assert hint.startswith("How to fix: Often this is the login or error page of a proxy")
    assert served.runs_of(BAD)[0].status == "FAILURE"


def test_a_run_that_is_canceled_ends_with_3_and_the_table_keeps_its_rows(served: LiveStack) -> None:
    before = served.published(BAD)
    served.spoil(BAD, kind="slow", seconds=120)
    waiting = Command(served, "run", BAD, "--wait")
    run = until(
        lambda: next((run for run in served.runs_of(BAD) if run.status == "STARTED"), None), "the run has started"
    )
    canceled = command(served, "cancel", run.run_id)
    assert (canceled.code, canceled.complaint) == (0, "")
    ended = waiting.end()
    assert ended.code == 3
    assert ended.told.splitlines()[-1].startswith(f"{BAD}: canceled after ")
    assert served.published(BAD) == before


@pytest.mark.long
def test_a_backfill_over_all_ends_with_1_if_any_failed_and_names_it(served: LiveStack) -> None:
    served.spoil(BAD, kind="html", times=None)
    # All that the catalog of whoever asks accepts.
    catalog = served.state_dir / "of-the-command.yaml"
    catalog.write_text(f"unlisted: refuse\ndatasets: {{{GOOD}: {{}}, {BAD}: {{}}}}\n")
    ended = command(served, "run", "--all", "--wait", "--json", catalog=str(catalog))
    assert ended.code == 1
    answer = ended.answer
    assert (answer["datasets"], answer["runs"]) == (2, {"SUCCESS": 1, "FAILURE": 1})
    [failed] = answer["failed"]
    assert (failed["dataset_id"], failed["run_id"]) == (BAD, served.runs_of(BAD)[0].run_id)
    assert "text/html" in failed["error"]
    assert {run.partition for run in served.dagster.runs(backfill=answer["backfill_id"])} == {GOOD, BAD}


def test_a_load_by_hand_is_told_in_the_ui_too(served: LiveStack, tmp_path: Path) -> None:
    file = tmp_path / "corrected.csv"
    file.write_bytes(served.served(GOOD) + b"099,1.00\n")
    told = json.loads(command(served, "load", str(file), "--dataset-id", GOOD, "--json").told)
    assert (told["status"], told["in_dagster"]) == ("published", True)
    newest = served.dagster.materializations(TABLE, partition=GOOD)[0]
    assert newest.metadata["loaded manually from"] == file.as_uri()
    assert newest.metadata["load"] == told["load_id"] == served.published(GOOD)[-1].load_id


def test_a_restore_is_told_in_the_ui_too(served: LiveStack) -> None:
    first = served.published(GOOD)[0].load_id
    answer = command(served, "restore", GOOD, str(first), "--yes", "--json")
    assert answer.code == 0, answer
    told = json.loads(answer.told)
    assert (told["status"], told["in_dagster"]) == ("restored", True)
    newest = served.dagster.materializations(TABLE, partition=GOOD)[0]
    assert newest.metadata["status"] == "restored"
    assert newest.metadata["load"] == told["load_id"] == served.published(GOOD)[-1].load_id
    seq = served.fire(GOOD)
    served.await_settled([seq])
    assert_table_is_as_served(served, GOOD)
