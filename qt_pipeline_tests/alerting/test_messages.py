"""Alert messages about one incident, many incidents, and recoveries."""

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
CONTEXT = MessageContext(
    names={DATASET: "Premium bordereau", "d-claims": "Claims"},
    causes={"run-1": Cause("The row at line 3 has 3 values.", "Fix the file in Quantemplate.")},
    parked={},
    dagster_url="http://127.0.0.1:3000",
)


def failed(
    *dataset_ids: str, scope: FailureScope = FailureScope.DATASET, parked: frozenset[str] = frozenset()
) -> list[Incident]:
    runs = [FinishedRun(f"run-{n}", d, NOW, failed=True, scope=scope) for n, d in enumerate(dataset_ids, 1)]
    return list(observe({}, Observations(runs=runs, parked=parked), now=NOW).values())


def recovered(incidents: list[Incident], *, after: timedelta = timedelta(minutes=12)) -> list[Incident]:
    before: dict[Key, Incident] = {i.key: i for i in incidents}
    runs = [FinishedRun("run-x", d, NOW + after, failed=False) for i in incidents for d in i.affected]
    return list(observe(before, Observations(runs=runs), now=NOW + after).values())


def alerts(incidents: list[Incident]) -> PendingNotifications:
    return PendingNotifications(tuple(incidents), ())


def recoveries(incidents: list[Incident]) -> PendingNotifications:
    return PendingNotifications((), tuple(incidents))


def test_an_alert_has_cause_fix_start_time_and_link() -> None:
    message = compose(alerts(failed(DATASET)), CONTEXT)
    assert message.title == "[qt_pipeline] Premium bordereau does not load"
    assert message.severity is Severity.FAILURE
    assert message.body.splitlines() == [
        "The row at line 3 has 3 values.",
        "How to fix: Fix the file in Quantemplate.",
        "",
        "Dataset: Premium bordereau (d-premium)",
        "Since: 2026-01-31 10:00 UTC",
        "Run: http://127.0.0.1:3000/runs/run-1",
        "After the fix, replay parked events: qt-pipeline replay --parked --dataset-id d-premium",
        "Alert: does-not-load",
    ]


def test_an_alert_about_parked_events_has_the_commands_for_them() -> None:
    context = replace(CONTEXT, parked={DATASET: "Tried 5 times."})
    body = compose(alerts(failed(DATASET, parked=frozenset({DATASET}))), context).body
    assert "Events of this dataset are parked: qt-pipeline events --state parked --dataset-id d-premium" in body
    assert "Events of 1 dataset" not in body


def test_an_alert_about_parked_events_without_a_failed_run_has_the_reason() -> None:
    context = replace(CONTEXT, parked={DATASET: "Run abc was canceled. Replay the event."})
    [incident] = observe({}, Observations(parked={DATASET}), now=NOW).values()
    body = compose(alerts([incident]), context).body
    assert body.startswith("Run abc was canceled. Replay the event.\nHow to fix: ")
    assert "Run: " not in body


def test_an_alert_about_a_shared_resource_counts_datasets_and_names_the_first() -> None:
    ids = [DATASET, *(f"d-{n}" for n in range(1, 13))]
    context = replace(CONTEXT, parked={DATASET: "Tried."})
    message = compose(alerts(failed(*ids, scope=FailureScope.TARGET, parked=frozenset(ids))), context)
    assert message.title == "[qt_pipeline] The target database fails: 13 datasets do not load"
    assert "Datasets that do not load: Premium bordereau, d-1, d-2," in message.body
    assert "d-9 and 3 more" in message.body
    assert "d-12" not in message.body
    assert "Events of 1 dataset are parked: qt-pipeline events --state parked\n" in message.body
    assert message.body.endswith("Alert: target")


def test_a_run_without_a_cause_gets_the_hint_of_its_kind() -> None:
    message = compose(alerts(failed(DATASET)), replace(CONTEXT, causes={}))
    assert message.body.startswith("See the run.\nHow to fix: Open the run")


def test_several_incidents_are_one_message_that_lists_ten_and_counts_the_rest() -> None:
    incidents = failed(DATASET, *(f"d-{n}" for n in range(1, 15)))
    message = compose(alerts(incidents), CONTEXT)
    assert message.title == "[qt_pipeline] 15 alerts"
    assert message.body.count(" does not load: ") == 10
    assert "- Premium bordereau does not load: The row at line 3 has 3 values." in message.body
    assert "  Fix the file in Quantemplate. http://127.0.0.1:3000/runs/run-1" in message.body
    assert "- and 5 more: see http://127.0.0.1:3000/runs" in message.body
    assert message.body.splitlines()[-2:] == [
        "After the fix, replay parked events: qt-pipeline replay --parked",
        "Alerts: does-not-load",
    ]


def test_a_recovery_has_duration_and_number_of_failed_runs() -> None:
    message = compose(recoveries(recovered(failed(DATASET))), CONTEXT)
    assert (message.title, message.severity) == ("[qt_pipeline] Premium bordereau loads again", Severity.SUCCESS)
    assert message.body == "Premium bordereau loads again, after 12 minutes with 1 failed run."


def test_a_recovery_of_a_shared_resource_counts_runs_and_datasets() -> None:
    message = compose(recoveries(recovered(failed(DATASET, "d-1", DATASET, scope=FailureScope.QUANTEMPLATE))), CONTEXT)
    assert message.title == "[qt_pipeline] Quantemplate works again"
    assert "after 12 minutes with 3 failed runs of 2 datasets." in message.body


def test_a_recovery_counts_datasets_that_still_fail() -> None:
    [incident] = recovered(failed(DATASET, scope=FailureScope.TARGET))
    message = compose(recoveries([replace(incident, still_failing=1)]), CONTEXT)
    assert message.body.endswith("1 dataset still does not load; each gets a separate alert.")


def test_a_removed_dataset_is_not_reported_as_loading_again() -> None:
    [incident] = recovered(failed(DATASET))
    message = compose(recoveries([replace(incident, forgotten=True)]), CONTEXT)
    assert message.title == "[qt_pipeline] Premium bordereau is no longer loaded"


def test_simultaneous_alerts_and_recoveries_are_one_message() -> None:
    message = compose(PendingNotifications(tuple(failed("d-claims")), tuple(recovered(failed(DATASET)))), CONTEXT)
    assert message.title == "[qt_pipeline] Claims does not load; 1 recovered"
    assert message.severity is Severity.FAILURE
    assert "Premium bordereau loads again" in message.body


def test_many_recoveries_are_counted() -> None:
    message = compose(recoveries(recovered(failed(*(f"d-{n}" for n in range(12))))), CONTEXT)
    assert message.title == "[qt_pipeline] 12 alerts recovered"
    assert message.body.endswith("And 2 more recovered.")


def test_stale_data_and_new_columns_are_warnings() -> None:
    observed = Observations(
        stale={DATASET: Cause("It is old.", "Look.")}, changes=[ColumnChange("d-claims", 7, "run-7", NOW, "New 'Tax'.")]
    )
    stale, drift = observe({}, observed, now=NOW).values()
    assert compose(alerts([stale, drift]), CONTEXT).severity is Severity.WARNING
    message = compose(alerts([stale]), CONTEXT)
    assert (message.title, message.severity) == ("[qt_pipeline] Premium bordereau is stale", Severity.WARNING)
    message = compose(alerts([drift]), CONTEXT)
    assert message.title == "[qt_pipeline] Claims has changed its columns"
    assert message.body.startswith("New 'Tax'.\nHow to fix: Inform the users of the table.")
    assert "Dataset: Claims (d-claims)" in message.body
    assert "Run: http://127.0.0.1:3000/runs/run-7" in message.body
    assert "replay" not in message.body


def test_long_or_unusual_text_stays_on_its_line() -> None:
    context = replace(
        CONTEXT, names={DATASET: "N" * 500}, causes={"run-1": Cause("a\nb\x1b[31m" + "c" * 9000, "d" * 9000)}
    )
    message = compose(alerts(failed(DATASET)), context)
    assert len(message.title) < 150
    assert len(message.body) < 2500
    assert message.body.splitlines()[0].startswith("a b\N{REPLACEMENT CHARACTER}[31mccc")
    assert "\x1b" not in message.body
    lines_of_two = compose(alerts(failed(DATASET, "d-1")), context).body.splitlines()
    assert max(len(line) for line in lines_of_two) < 300


def test_only_named_runs_and_datasets_are_read() -> None:
    many = failed(*(f"d-{n}" for n in range(30)))
    assert len(runs_named(alerts(many))) == len(datasets_named(alerts(many))) == 10
    [shared] = failed(*(f"d-{n}" for n in range(30)), scope=FailureScope.TARGET)
    assert runs_named(alerts([shared])) == {"run-30"}
    assert datasets_named(alerts([shared])) == {f"d-{n}" for n in range(10)}
    assert datasets_named(recoveries(recovered(failed(DATASET)))) == {DATASET}
    assert AlertKind.TARGET is shared.kind
