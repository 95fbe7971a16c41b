"""The words: what a person reads of one incident, of many, and of their end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from qt_pipeline.alerting import (
    AlertKind,
    Cause,
    ColumnChange,
    FinishedRun,
    Incident,
    Key,
    MessageContext,
    Observations,
    PendingNotifications,
    Severity,
    observe,
)
from qt_pipeline.alerting.messages import compose, datasets_named, runs_named
from qt_pipeline.errors import FailureScope

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
DATASET = "d-premium"
BACKGROUND = MessageContext(
    names={DATASET: "Premium bordereau", "d-claims": "Claims"},
    causes={"run-1": Cause("The row at line 3 has 3 values.", "Mend the file in Quantemplate.")},
    parked={},
    dagster_url="http://127.0.0.1:3000",
)


def failed(
    *dataset_ids: str, concerns: FailureScope = FailureScope.DATASET, parked: frozenset[str] = frozenset()
) -> list[Incident]:
    runs = [FinishedRun(f"run-{n}", d, NOW, failed=True, scope=concerns) for n, d in enumerate(dataset_ids, 1)]
    return list(observe({}, Observations(runs=runs, parked=parked), now=NOW).values())


def over(incidents: list[Incident], *, after: timedelta = timedelta(minutes=12)) -> list[Incident]:
    board: dict[Key, Incident] = {i.key: i for i in incidents}
    runs = [FinishedRun("run-x", d, NOW + after, failed=False) for i in incidents for d in i.affected]
    return list(observe(board, Observations(runs=runs), now=NOW + after).values())


def alerts(incidents: list[Incident]) -> PendingNotifications:
    return PendingNotifications(tuple(incidents), ())


def recoveries(incidents: list[Incident]) -> PendingNotifications:
    return PendingNotifications((), tuple(incidents))


def test_a_dataset_that_does_not_load_has_cause_next_step_since_when_and_link() -> None:
    message = compose(alerts(failed(DATASET)), BACKGROUND)
    assert message.title == "[qt_pipeline] Premium bordereau does not load"
    assert message.severity is Severity.FAILURE
    assert message.body.splitlines() == [
        "The row at line 3 has 3 values.",
        "What to do: Mend the file in Quantemplate.",
        "",
        "Dataset: Premium bordereau (d-premium)",
        "Since: 2026-01-31 10:00 UTC",
        "Run: http://127.0.0.1:3000/runs/run-1",
        "Once it is mended, for events that are parked: qt-pipeline replay --parked --dataset-id d-premium",
        "Alert: does-not-load",
    ]


def test_events_that_are_parked_are_told_with_the_commands_for_them() -> None:
    background = replace(BACKGROUND, parked={DATASET: "Tried 5 times."})
    body = compose(alerts(failed(DATASET, parked=frozenset({DATASET}))), background).body
    assert "Its events are parked: qt-pipeline events --state parked --dataset-id d-premium" in body
    assert "Events of" not in body


def test_parked_events_without_a_failed_run_say_why_they_are() -> None:
    background = replace(BACKGROUND, parked={DATASET: "Run abc was canceled. Replay the event."})
    [incident] = observe({}, Observations(parked={DATASET}), now=NOW).values()
    body = compose(alerts([incident]), background).body
    assert body.startswith("Run abc was canceled. Replay the event.\nWhat to do: ")
    assert "Run: " not in body


def test_what_all_share_is_told_with_the_datasets_counted_and_the_first_named() -> None:
    ids = [DATASET, *(f"d-{n}" for n in range(1, 13))]
    background = replace(BACKGROUND, parked={DATASET: "Tried."})
    message = compose(alerts(failed(*ids, concerns=FailureScope.TARGET, parked=frozenset(ids))), background)
    assert message.title == "[qt_pipeline] The target database fails: 13 datasets do not load"
    assert "Datasets that do not load: Premium bordereau, d-1, d-2," in message.body
    assert "d-9 and 3 more" in message.body
    assert "d-12" not in message.body
    assert "Events of 1 dataset are parked: qt-pipeline events --state parked\n" in message.body
    assert message.body.endswith("Alert: target")


def test_a_run_that_says_nothing_leaves_the_words_of_the_kind() -> None:
    message = compose(alerts(failed(DATASET)), replace(BACKGROUND, causes={}))
    assert message.body.startswith("See the run.\nWhat to do: Open the run")


def test_several_incidents_are_one_message_with_ten_of_them_and_the_number_of_the_others() -> None:
    incidents = failed(DATASET, *(f"d-{n}" for n in range(1, 15)))
    message = compose(alerts(incidents), BACKGROUND)
    assert message.title == "[qt_pipeline] 15 alerts"
    assert message.body.count(" does not load: ") == 10
    assert "- Premium bordereau does not load: The row at line 3 has 3 values." in message.body
    assert "  Mend the file in Quantemplate. http://127.0.0.1:3000/runs/run-1" in message.body
    assert "- and 5 more: see http://127.0.0.1:3000/runs" in message.body
    assert message.body.splitlines()[-2:] == [
        "Once it is mended, for events that are parked: qt-pipeline replay --parked",
        "Alerts: does-not-load",
    ]


def test_a_recovery_says_how_long_it_took_and_how_many_runs_failed() -> None:
    message = compose(recoveries(over(failed(DATASET))), BACKGROUND)
    assert (message.title, message.severity) == ("[qt_pipeline] Premium bordereau loads again", Severity.SUCCESS)
    assert message.body == "Premium bordereau loads again, after 12 minutes in which 1 run failed."


def test_a_recovery_of_what_all_share_counts_runs_and_datasets() -> None:
    message = compose(recoveries(over(failed(DATASET, "d-1", DATASET, concerns=FailureScope.QUANTEMPLATE))), BACKGROUND)
    assert message.title == "[qt_pipeline] Quantemplate is well again"
    assert "after 12 minutes in which 3 runs of 2 datasets failed." in message.body


def test_an_outage_that_leaves_datasets_behind_says_so() -> None:
    [incident] = over(failed(DATASET, concerns=FailureScope.TARGET))
    message = compose(recoveries([replace(incident, left=1)]), BACKGROUND)
    assert message.body.endswith("1 dataset still does not load, each with an alert of its own.")


def test_a_dataset_that_is_gone_does_not_load_again() -> None:
    [incident] = over(failed(DATASET))
    message = compose(recoveries([replace(incident, gone=True)]), BACKGROUND)
    assert message.title == "[qt_pipeline] Premium bordereau is not loaded any more"


def test_alerts_and_recoveries_of_one_moment_are_one_message() -> None:
    message = compose(PendingNotifications(tuple(failed("d-claims")), tuple(over(failed(DATASET)))), BACKGROUND)
    assert message.title == "[qt_pipeline] Claims does not load; 1 is over"
    assert message.severity is Severity.FAILURE
    assert "Premium bordereau loads again" in message.body


def test_many_recoveries_are_counted() -> None:
    message = compose(recoveries(over(failed(*(f"d-{n}" for n in range(12))))), BACKGROUND)
    assert message.title == "[qt_pipeline] 12 alerts are over"
    assert message.body.endswith("And 2 more are over.")


def test_stale_data_and_new_columns_are_warnings() -> None:
    seen = Observations(
        stale={DATASET: Cause("It is old.", "Look.")}, changes=[ColumnChange("d-claims", 7, "run-7", NOW, "New 'Tax'.")]
    )
    stale, drift = observe({}, seen, now=NOW).values()
    assert compose(alerts([stale, drift]), BACKGROUND).severity is Severity.WARNING
    message = compose(alerts([stale]), BACKGROUND)
    assert (message.title, message.severity) == ("[qt_pipeline] Premium bordereau is stale", Severity.WARNING)
    message = compose(alerts([drift]), BACKGROUND)
    assert message.title == "[qt_pipeline] Claims has changed its columns"
    assert message.body.startswith("New 'Tax'.\nWhat to do: Tell those who read the table.")
    assert "Dataset: Claims (d-claims)" in message.body
    assert "Run: http://127.0.0.1:3000/runs/run-7" in message.body
    assert "replay" not in message.body


def test_long_or_odd_words_stay_on_their_line() -> None:
    background = replace(
        BACKGROUND, names={DATASET: "N" * 500}, causes={"run-1": Cause("a\nb\x1b[31m" + "c" * 9000, "d" * 9000)}
    )
    message = compose(alerts(failed(DATASET)), background)
    assert len(message.title) < 150
    assert len(message.body) < 2500
    assert message.body.splitlines()[0].startswith("a b\N{REPLACEMENT CHARACTER}[31mccc")
    assert "\x1b" not in message.body
    several = compose(alerts(failed(DATASET, "d-1")), background).body.splitlines()
    assert max(len(line) for line in several) < 300


def test_only_what_is_named_has_to_be_looked_up() -> None:
    many = failed(*(f"d-{n}" for n in range(30)))
    assert len(runs_named(alerts(many))) == len(datasets_named(alerts(many))) == 10
    [shared] = failed(*(f"d-{n}" for n in range(30)), concerns=FailureScope.TARGET)
    assert runs_named(alerts([shared])) == {"run-30"}
    assert datasets_named(alerts([shared])) == {f"d-{n}" for n in range(10)}
    assert datasets_named(recoveries(over(failed(DATASET)))) == {DATASET}
    assert AlertKind.TARGET is shared.kind
