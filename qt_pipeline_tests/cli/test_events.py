"""The commands `events` and `replay`, on a real inbox."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from qt_pipeline.cli import app
from qt_pipeline.inbox import EventState, EventUpdate, Inbox, NewEvent, open_inbox
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline_tests.fake_dagster import RUN_ID, FakeDagster

ONE, TWO = "d-the-first-dataset-0001", "d-the-second-dataset-002"


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inbox]:
    """Two events for one dataset, one for another, in the inbox that the command opens."""
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    monkeypatch.setenv("QT_INBOX_URL", f"sqlite:///{tmp_path}/inbox.db")
    monkeypatch.setenv("COLUMNS", "200")
    inbox = open_inbox(f"sqlite:///{tmp_path}/inbox.db")
    inbox.append([NewEvent(f"e-{d}", "DatasetUpdated", d, None, b'{"id": "e"}', "192.0.2.7") for d in (ONE, TWO, ONE)])
    yield inbox
    inbox.close()


def park(inbox: Inbox, dataset_id: str) -> None:
    groups = [group for group in inbox.open_events() if group.dataset_id == dataset_id]
    inbox.update([EventUpdate(group, EventState.PARKED, "Tried 5 times.", attempts=5) for group in groups])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def listed(*arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("events", "--json", *arguments).stdout.splitlines()]


def test_events_are_listed_newest_first_with_what_became_of_them(inbox: Inbox) -> None:
    park(inbox, TWO)
    result = run("events")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if "DatasetUpdated" in line]
    assert [ONE in line for line in lines] == [True, False, True]
    assert "parked" in lines[1]
    assert "Tried 5 times." in lines[1]
    assert "waits for the sensor" in lines[0]
    assert "2 pending, 0 done, 0 ignored, 1 parked." in result.stdout


def test_events_are_chosen_by_state_dataset_and_number(inbox: Inbox) -> None:
    park(inbox, TWO)
    assert [event["number"] for event in listed("--state", "parked")] == [2]
    assert [event["number"] for event in listed("--dataset-id", ONE)] == [3, 1]
    assert [event["number"] for event in listed("--limit", "1")] == [3]


def test_a_script_gets_everything_that_is_known_of_an_event(inbox: Inbox) -> None:
    park(inbox, TWO)
    [event] = listed("--state", "parked")
    expected = {"dataset_id": TWO, "outcome": "Tried 5 times.", "tries": 5, "body": '{"id": "e"}', "delivery": None}
    assert event.items() >= (expected | {"source_address": "192.0.2.7", "event_id": f"e-{TWO}"}).items()


def test_what_a_sender_chose_does_not_steer_the_terminal(inbox: Inbox) -> None:
    inbox.append([NewEvent("e", "\x1b[2J[bold]Other[/bold]", None, None, b"{}")])
    line = next(line for line in run("events").stdout.splitlines() if "Other" in line)
    assert "\x1b" not in line
    assert "[bold]Other[/bold]" in line


def test_all_parked_events_are_replayed_in_one_command(inbox: Inbox) -> None:
    park(inbox, ONE)
    park(inbox, TWO)
    result = run("replay", "--parked")
    assert result.exit_code == 0
    assert result.stdout.startswith("3 events pending")
    assert inbox.counts()[EventState.PENDING] == 3


def test_the_parked_events_of_one_dataset_are_replayed(inbox: Inbox) -> None:
    park(inbox, ONE)
    park(inbox, TWO)
    run("replay", "--parked", "--dataset-id", ONE)
    assert [event.dataset_id for event in inbox.events(state=EventState.PENDING)] == [ONE, ONE]


def test_the_newest_event_of_a_dataset_is_replayed_by_its_id(inbox: Inbox) -> None:
    park(inbox, ONE)
    run("replay", "--dataset-id", ONE)
    assert [event.seq for event in inbox.events(state=EventState.PENDING)] == [3, 2]


def test_events_are_replayed_by_number_and_one_that_cannot_be_is_told(inbox: Inbox) -> None:
    park(inbox, ONE)
    result = run("replay", "1", "2", "77")
    assert result.exit_code == 0
    assert result.stdout.startswith("1 event pending")
    assert "The other events are unknown or already pending." in result.stderr
    assert run("replay", "2").exit_code == 1


def test_a_replay_of_nothing_in_particular_is_a_wrong_option(inbox: Inbox) -> None:
    assert run("replay").exit_code == 2
    assert inbox.counts()[EventState.PENDING] == 3


def test_one_event_is_shown_with_its_body_and_its_whole_fate(inbox: Inbox) -> None:
    inbox.append([NewEvent("e", "Other", ONE, "yesterday", b'{"id":\n "\x1b[2J[bold]"}', "192.0.2.7")])
    park(inbox, TWO)
    told = run("events", "4").stdout
    assert '{"id":\n "\N{REPLACEMENT CHARACTER}[2J[bold]"}' in told
    assert "192.0.2.7" in told
    assert "waits for the sensor" in told
    parked = run("events", "2").stdout
    assert "Tried 5 times." in parked
    event = json.loads(run("events", "2", "--json").stdout)
    assert (event["number"], event["outcome"], event["runs"]) == (2, "Tried 5 times.", [])


def test_the_runs_of_an_event_are_shown_where_dagster_answers(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    [group] = [group for group in inbox.open_events() if group.dataset_id == TWO]
    inbox.update([EventUpdate(group, attempts=1, delivery=f"{TWO}:2:1")])
    with FakeDagster("STARTED") as dagster:
        monkeypatch.setenv("QT_DAGSTER_URL", dagster.url)
        assert f"STARTED: {dagster.url}/runs/{RUN_ID}" in run("events", "2").stdout
    assert json.loads(run("events", "2", "--json").stdout)["runs"] == []


@pytest.mark.usefixtures("inbox")
def test_an_event_that_is_not_there_is_said_so() -> None:
    result = run("events", "77")
    assert result.exit_code == 1
    assert str(result.exception).startswith("The inbox has no event 77.")


def test_a_replay_of_nothing_says_how_to_load_without_an_event(inbox: Inbox) -> None:
    inbox.update([EventUpdate(group, state=EventState.DONE) for group in inbox.open_events()])
    result = run("replay", "--parked", "--dataset-id", TWO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"No parked events for {TWO}. To load without an event: qt-pipeline run {TWO} --wait" in result.stderr
