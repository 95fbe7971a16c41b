from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.dispatch import Delivery, KnownRun, Plan, Policy, RunState, due_for_refresh, is_orphaned, plan
from qt_pipeline.inbox import EventState, EventUpdate, OpenEvents
from qt_pipeline.liveness import Process
from qt_pipeline.warehouse import LoadProgress

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy(
    attempts=3, delay=timedelta(seconds=30), requests=50, rechecks=(timedelta(minutes=1), timedelta(minutes=5))
)
FIRST = "d-one:1:1"


def waiting(
    seq: int,
    dataset_id: str | None = "d-one",
    *,
    last: int | None = None,
    state: EventState = EventState.PENDING,
    name: str = "DatasetUpdated",
    attempts: int = 0,
    replayed_at: int = 0,
    delivery: str | None = None,
    unchanged_checks: int = 0,
    not_before: datetime | None = None,
) -> OpenEvents:
    return OpenEvents(
        state, name, dataset_id, seq, last or seq, attempts, replayed_at, delivery, unchanged_checks, not_before
    )


def run(state: RunState, delivery: str | None = FIRST, dataset_id: str = "d-one", run_id: str = "run-1") -> KnownRun:
    return KnownRun(run_id, dataset_id, state, delivery)


def decide(
    *events: OpenEvents,
    runs: list[KnownRun] | None = None,
    published: dict[str, int] | None = None,
    looked: dict[str, int] | None = None,
    target_is_known: bool = True,
    now: datetime = NOW,
    policy: Policy = POLICY,
) -> Plan:
    """`looked` are numbers that only a load of an unchanged file has reached."""
    shown = published or {}
    reached = {dataset: LoadProgress(through, through) for dataset, through in shown.items()}
    reached |= {dataset: LoadProgress(shown.get(dataset, 0), through) for dataset, through in (looked or {}).items()}
    return plan(events, runs or [], reached if target_is_known else None, now=now, policy=policy)


def states(decided: Plan) -> dict[int, EventState]:
    """By the first number of each group."""
    return {update.events.first_seq: update.state for update in decided.updates}


def test_nothing_waits_and_nothing_is_done() -> None:
    assert decide() == Plan()


def test_a_new_event_is_delivered_and_the_delivery_written_to_it_first() -> None:
    assert decide(waiting(1)) == Plan(
        updates=(EventUpdate(waiting(1), attempts=1, delivery=FIRST),),
        deliveries=(Delivery(FIRST, "d-one", attempt=1, first=1, last=1),),
    )


def test_an_event_for_a_dataset_that_the_catalog_refuses_is_parked_and_says_what_to_do() -> None:
    events = [waiting(1), waiting(2, "d-two"), waiting(3, name="Other")]
    decided = plan(events, [], {}, now=NOW, policy=POLICY, refused={"d-one": "List this one."})
    assert states(decided) == {1: EventState.PARKED, 2: EventState.PENDING, 3: EventState.IGNORED}
    assert decided.updates[0].outcome == "List this one."
    assert [delivery.dataset_id for delivery in decided.deliveries] == ["d-two"]


def test_a_burst_for_one_dataset_is_one_delivery() -> None:
    burst = waiting(1, last=1000)
    key = "d-one:1000:1"
    assert decide(burst) == Plan((EventUpdate(burst, attempts=1, delivery=key),), (Delivery(key, "d-one", 1, 1, 1000),))


def test_each_dataset_has_a_delivery_of_its_own() -> None:
    decided = decide(waiting(1), waiting(2, "d-two"), waiting(3))
    assert [(delivery.dataset_id, delivery.first, delivery.last) for delivery in decided.deliveries] == [
        ("d-one", 1, 3),
        ("d-two", 2, 2),
    ]


@pytest.mark.parametrize("delivery", [FIRST, None, "d-one:9:9"])
def test_while_any_run_of_its_dataset_is_in_flight_an_event_waits(delivery: str | None) -> None:
    going = run(RunState.IN_FLIGHT, delivery)
    covered, fresh = waiting(1, attempts=1, delivery=FIRST), waiting(2)
    assert decide(covered, fresh, runs=[going]) == Plan()
    assert decide(fresh, runs=[replace(going, dataset_id="d-two")]).deliveries != ()


def test_a_published_load_settles_every_event_it_reaches_and_no_other() -> None:
    events = waiting(1, last=3, attempts=1, delivery=FIRST)
    decided = decide(events, runs=[run(RunState.IN_FLIGHT)], published={"d-one": 2, "d-two": 9})
    [done] = decided.updates
    assert (done.events, done.state) == (events.up_to(2), EventState.DONE)
    assert (done.attempts, done.delivery) == (1, FIRST)
    assert decided.deliveries == ()


def test_an_event_may_be_done_before_any_run_was_asked_for_it() -> None:
    assert states(decide(waiting(1), published={"d-one": 1})) == {1: EventState.DONE}


def test_what_was_not_reached_is_delivered_when_the_run_has_ended() -> None:
    done, fresh = waiting(1, attempts=1, delivery=FIRST), waiting(2)
    decided = decide(done, fresh, runs=[run(RunState.SUCCEEDED)], published={"d-one": 1})
    assert states(decided) == {1: EventState.DONE, 2: EventState.PENDING}
    assert decided.deliveries == (Delivery("d-one:2:1", "d-one", 1, 2, 2),)


@pytest.mark.parametrize("state", list(RunState))
def test_no_run_settles_an_event_as_done_by_itself(state: RunState) -> None:
    decided = decide(waiting(5, attempts=1, delivery=FIRST), runs=[run(state)], published={"d-one": 4, "d-two": 9})
    assert EventState.DONE not in states(decided).values()


def test_a_delivery_whose_run_is_unknown_is_asked_for_again_under_its_key() -> None:
    covered = [waiting(seq, attempts=2, delivery="d-one:2:2") for seq in (1, 2)]
    again = Plan(deliveries=(Delivery("d-one:2:2", "d-one", 2, 1, 2),))
    assert decide(*covered, waiting(3)) == again
    assert decide(*covered, runs=[run(RunState.FAILED, "d-one:2:1")]) == again
    assert decide(*covered, target_is_known=False) == again


def test_a_failure_is_tried_again_after_a_delay_that_doubles() -> None:
    policy = replace(POLICY, attempts=20)
    for attempts, seconds in [(1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (19, 3600)]:
        key = f"d-one:1:{attempts}"
        failed = waiting(1, attempts=attempts, delivery=key)
        not_before = NOW + timedelta(seconds=seconds)
        postponed = decide(failed, runs=[run(RunState.FAILED, key)], policy=policy)
        assert postponed == Plan((EventUpdate(failed, attempts=attempts, delivery=key, not_before=not_before),))
        again = replace(failed, not_before=not_before)
        early, due = not_before - timedelta(microseconds=1), not_before
        assert decide(again, runs=[run(RunState.FAILED, key)], policy=policy, now=early) == Plan()
        next_key = f"d-one:1:{attempts + 1}"
        assert decide(again, runs=[run(RunState.FAILED, key)], policy=policy, now=due) == Plan(
            (EventUpdate(again, attempts=attempts + 1, delivery=next_key),),
            (Delivery(next_key, "d-one", attempts + 1, 1, 1),),
        )


def test_a_run_that_succeeded_without_publishing_its_own_download_is_a_failure() -> None:
    covered = waiting(1, attempts=1, delivery=FIRST)
    [postponed] = decide(covered, runs=[run(RunState.SUCCEEDED)], published={}).updates
    assert (postponed.state, postponed.not_before) == (EventState.PENDING, NOW + timedelta(seconds=30))


def test_a_success_waits_for_a_target_that_could_not_be_asked() -> None:
    covered = waiting(1, attempts=3, delivery=FIRST)
    assert decide(covered, runs=[run(RunState.SUCCEEDED)], target_is_known=False) == Plan()
    assert decide(covered, runs=[run(RunState.SUCCEEDED)]) != Plan()


def test_new_events_wait_with_those_that_failed_and_are_delivered_with_them() -> None:
    failed = waiting(1, attempts=1, delivery=FIRST, not_before=NOW + timedelta(seconds=30))
    fresh = waiting(2)
    assert decide(failed, fresh, runs=[run(RunState.FAILED)]) == Plan()
    decided = decide(failed, fresh, runs=[run(RunState.FAILED)], now=NOW + timedelta(seconds=30))
    assert decided == Plan(
        (EventUpdate(failed, attempts=2, delivery="d-one:2:1"), EventUpdate(fresh, attempts=1, delivery="d-one:2:1")),
        (Delivery("d-one:2:1", "d-one", 1, 1, 2),),
    )


def test_the_last_failure_parks_and_says_which_run_and_what_to_do() -> None:
    key = "d-one:1:3"
    [parked] = decide(waiting(1, attempts=3, delivery=key), runs=[run(RunState.FAILED, key, run_id="run-9")]).updates
    assert (parked.state, parked.attempts, parked.delivery) == (EventState.PARKED, 3, key)
    assert parked.outcome is not None
    for word in ("3 times", "run-9", "replay"):
        assert word in parked.outcome


def test_a_younger_event_outlives_the_parking_of_an_older_one() -> None:
    key = "d-one:2:1"
    old, young = waiting(1, attempts=3, delivery=key), waiting(2, attempts=1, delivery=key)
    decided = decide(old, young, waiting(3), runs=[run(RunState.FAILED, key)])
    assert states(decided) == {1: EventState.PARKED, 2: EventState.PENDING}
    assert decided.deliveries == ()
    all_spent = decide(old, replace(young, attempts=3), waiting(3), runs=[run(RunState.FAILED, key)])
    assert states(all_spent) == {1: EventState.PARKED, 2: EventState.PARKED, 3: EventState.PENDING}
    assert all_spent.deliveries == (Delivery("d-one:3:1", "d-one", 1, 3, 3),)


def test_a_canceled_run_parks_what_it_served_and_new_events_go_on() -> None:
    decided = decide(waiting(1, attempts=1, delivery=FIRST), waiting(2), runs=[run(RunState.CANCELED)])
    assert states(decided) == {1: EventState.PARKED, 2: EventState.PENDING}
    assert "canceled" in str(decided.updates[0].outcome)
    assert decided.deliveries == (Delivery("d-one:2:1", "d-one", 1, 2, 2),)


def test_of_two_runs_of_a_delivery_the_newest_counts() -> None:
    covered = waiting(1, attempts=3, delivery=FIRST)
    newest_first = [run(RunState.CANCELED, run_id="run-2"), run(RunState.FAILED, run_id="run-1")]
    assert "run-2 was canceled" in str(decide(covered, runs=newest_first).updates[0].outcome)
    assert "run-1 failed last" in str(decide(covered, runs=newest_first[::-1]).updates[0].outcome)


def test_a_replayed_event_is_delivered_whatever_was_published_before() -> None:
    decided = decide(waiting(1, attempts=4, replayed_at=4), published={"d-one": 9})
    assert decided.deliveries == (Delivery("d-one:1:5", "d-one", 5, 1, 1),)
    assert states(decided) == {1: EventState.PENDING}


def test_a_replayed_event_is_done_when_its_own_delivery_succeeds() -> None:
    replayed = waiting(1, attempts=5, replayed_at=4, delivery="d-one:1:5")
    for state in RunState:
        runs = [run(state, "d-one:1:5"), run(RunState.SUCCEEDED, None, run_id="run-0"), run(RunState.SUCCEEDED, FIRST)]
        is_done = EventState.DONE in states(decide(replayed, runs=runs, published={"d-one": 9})).values()
        assert is_done == (state is RunState.SUCCEEDED)
    succeeded = [run(RunState.SUCCEEDED, "d-one:1:5")]
    assert states(decide(replayed, runs=succeeded, published={})) == {1: EventState.PENDING}


def test_a_replayed_event_has_all_its_tries_again() -> None:
    key = "d-one:1:6"
    tried_twice = waiting(1, attempts=6, replayed_at=4, delivery=key)
    [again] = decide(tried_twice, runs=[run(RunState.FAILED, key)]).updates
    assert (again.state, again.not_before) == (EventState.PENDING, NOW + timedelta(seconds=60))
    [parked] = decide(replace(tried_twice, attempts=7), runs=[run(RunState.FAILED, key)]).updates
    assert parked.state is EventState.PARKED


@pytest.mark.parametrize(
    ("name", "dataset_id"), [("PipelineCompleted", None), ("PipelineCompleted", "d-one"), ("Other", "d-one")]
)
def test_a_type_that_is_not_handled_is_ignored_in_so_many_words(name: str, dataset_id: str | None) -> None:
    event = waiting(1, dataset_id, name=name)
    decided = decide(event, published={"d-one": 9})
    assert decided == Plan((EventUpdate(event, EventState.IGNORED, f"Not supported event: {name}"),))


def test_an_event_is_ignored_also_when_no_more_runs_may_be_asked_for() -> None:
    decided = decide(waiting(1), waiting(2, "d-two"), waiting(3, None, name="X"), policy=replace(POLICY, requests=1))
    assert states(decided) == {1: EventState.PENDING, 3: EventState.IGNORED}


def test_a_tick_asks_for_no_more_runs_than_it_may_and_the_longest_waiting_come_first() -> None:
    events = [waiting(seq, f"d-{seq}") for seq in range(1, 8)]
    decided = decide(*events, policy=replace(POLICY, requests=3))
    assert [delivery.dataset_id for delivery in decided.deliveries] == ["d-1", "d-2", "d-3"]
    assert set(states(decided)) == {1, 2, 3}


def test_datasets_that_fail_again_and_again_do_not_starve_the_others() -> None:
    failing = [
        waiting(seq, f"d-{seq}", attempts=1, delivery=f"d-{seq}:{seq}:1", not_before=NOW) for seq in range(1, 61)
    ]
    failed = [run(RunState.FAILED, group.delivery, str(group.dataset_id)) for group in failing]
    fresh = waiting(61, "d-fresh")
    first = decide(*failing, fresh, runs=failed)
    assert [delivery.dataset_id for delivery in first.deliveries] == [f"d-{seq}" for seq in range(1, 51)]
    going = [run(RunState.IN_FLIGHT, delivery.key, delivery.dataset_id) for delivery in first.deliveries]
    second = decide(*failing, fresh, runs=[*going, *failed])
    assert [delivery.dataset_id for delivery in second.deliveries] == [f"d-{seq}" for seq in range(51, 61)] + [
        "d-fresh"
    ]


def test_the_limit_does_not_hold_back_what_needs_no_run() -> None:
    events = [waiting(1, "d-1"), waiting(2, "d-2"), waiting(3, "d-3")]
    decided = decide(*events, published={"d-3": 3}, policy=replace(POLICY, requests=1))
    assert states(decided) == {1: EventState.PENDING, 3: EventState.DONE}


def test_a_failure_that_a_repeat_would_not_change_is_tried_once() -> None:
    [parked] = decide(waiting(1, attempts=1, delivery=FIRST), runs=[run(RunState.REFUSED)]).updates
    assert parked.state is EventState.PARKED
    assert "run-1 failed, and a retry would fail too" in str(parked.outcome)
    assert "replay" in str(parked.outcome)


def test_after_an_unchanged_file_the_dataset_is_looked_at_again_and_again_and_then_the_event_is_done() -> None:
    moment, event = NOW, waiting(1, attempts=1, delivery=FIRST)
    for look, minutes in enumerate((1, 5), start=1):
        unchanged = {"runs": [run(RunState.SUCCEEDED, event.delivery)], "looked": {"d-one": 1}}
        [postponed] = decide(event, now=moment, **unchanged).updates
        due = moment + timedelta(minutes=minutes)
        assert (postponed.state, postponed.unchanged_checks, postponed.not_before) == (EventState.PENDING, look, due)
        event = replace(event, unchanged_checks=look, not_before=due)
        assert decide(event, now=due - timedelta(microseconds=1), **unchanged) == Plan()
        key = f"d-one:1:{look + 1}"
        again = decide(event, now=due, **unchanged)
        assert again == Plan(
            (EventUpdate(event, attempts=look + 1, delivery=key, unchanged_checks=look),),
            (Delivery(key, "d-one", look + 1, 1, 1),),
        )
        moment, event = due, replace(event, attempts=look + 1, delivery=key, not_before=None)
    [done] = decide(event, runs=[run(RunState.SUCCEEDED, event.delivery)], looked={"d-one": 1}).updates
    assert done.state is EventState.DONE
    assert "unchanged at all 3 checks after this event" in str(done.outcome)


def test_a_change_ends_the_looks() -> None:
    event = waiting(1, attempts=2, delivery="d-one:1:2", unchanged_checks=1, not_before=NOW + timedelta(minutes=5))
    assert states(decide(event, runs=[run(RunState.SUCCEEDED, "d-one:1:2")], published={"d-one": 1})) == {
        1: EventState.DONE
    }


def test_a_new_event_does_not_wait_for_the_next_look_at_an_older_one() -> None:
    looked_at = waiting(1, attempts=1, delivery=FIRST, unchanged_checks=1, not_before=NOW + timedelta(minutes=1))
    decided = decide(looked_at, waiting(2), runs=[run(RunState.SUCCEEDED)], looked={"d-one": 1})
    assert decided.deliveries == (Delivery("d-one:2:1", "d-one", 1, 2, 2),)
    assert states(decided) == {2: EventState.PENDING}


def test_looks_are_none_of_the_tries_that_failed() -> None:
    key = "d-one:1:4"
    looked_twice = waiting(1, attempts=4, unchanged_checks=2, delivery=key)
    [again] = decide(looked_twice, runs=[run(RunState.FAILED, key)]).updates
    assert (again.state, again.unchanged_checks, again.not_before) == (
        EventState.PENDING,
        2,
        NOW + timedelta(seconds=60),
    )
    [parked] = decide(replace(looked_twice, attempts=5), runs=[run(RunState.FAILED, key)]).updates
    assert parked.state is EventState.PARKED


def test_a_replayed_event_asks_for_one_look_only() -> None:
    replayed = waiting(1, attempts=5, replayed_at=4, delivery="d-one:1:5")
    assert states(decide(replayed, runs=[run(RunState.SUCCEEDED, "d-one:1:5")], looked={"d-one": 1})) == {
        1: EventState.DONE
    }


def test_a_parked_event_is_done_when_a_later_load_shows_what_came_after_it() -> None:
    parked = waiting(1, last=4, state=EventState.PARKED, attempts=3, delivery=FIRST)
    assert decide(parked, looked={"d-one": 4}) == Plan()
    [done] = decide(parked, published={"d-one": 3}).updates
    assert (done.events, done.state) == (parked.up_to(3), EventState.DONE)


def test_a_parked_replay_waits_for_a_person() -> None:
    parked = waiting(1, state=EventState.PARKED, attempts=5, replayed_at=4, delivery="d-one:1:5")
    assert decide(parked, published={"d-one": 9}) == Plan()


def test_a_parked_event_of_a_refused_dataset_is_not_parked_again() -> None:
    parked = waiting(1, state=EventState.PARKED)
    assert plan([parked], [], {}, now=NOW, policy=POLICY, refused={"d-one": "Not listed."}) == Plan()


DATASETS = ("d-1", "d-2", "d-3")
KEYS = st.sampled_from([f"{dataset}:{seq}:{attempt}" for dataset in DATASETS for seq in (1, 4) for attempt in (1, 2)])
MOMENTS = st.one_of(st.none(), st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds)))


@st.composite
def _progress(draw: st.DrawFn) -> OpenEvents:
    """What the events of one group have in common; their numbers come later."""
    replayed_at = draw(st.sampled_from([0, 0, 2]))
    tries = draw(st.integers(0, 3))
    return waiting(
        0,
        draw(st.sampled_from([*DATASETS, None])),
        name=draw(st.sampled_from(["DatasetUpdated", "DatasetUpdated", "PipelineCompleted"])),
        state=draw(st.sampled_from([EventState.PENDING, EventState.PENDING, EventState.PARKED])),
        unchanged_checks=draw(st.integers(0, tries)),
        attempts=replayed_at + tries,
        replayed_at=replayed_at,
        delivery=draw(KEYS) if tries else None,
        not_before=draw(MOMENTS) if tries else None,
    )


@st.composite
def any_events(draw: st.DrawFn) -> list[OpenEvents]:
    """Groups as the inbox makes them: one for all events that agree in everything but number and `not_before`.

    So each number is in one group, no two groups agree in all that, and the spans of groups may interlace or enclose
    each other.
    """
    groups = draw(st.lists(_progress(), max_size=6, unique_by=lambda group: replace(group, not_before=None)))
    group_of = draw(st.dictionaries(st.integers(1, 30), st.sampled_from(groups), max_size=12)) if groups else {}
    numbers = {group: [seq for seq, its in group_of.items() if its is group] for group in groups}
    events = [replace(group, first_seq=min(seqs), last_seq=max(seqs)) for group, seqs in numbers.items() if seqs]
    return sorted(events, key=lambda group: group.first_seq)


ANY_RUNS = st.lists(
    st.builds(
        KnownRun,
        run_id=st.sampled_from(["run-1", "run-2"]),
        dataset_id=st.sampled_from(DATASETS),
        state=st.sampled_from(RunState),
        delivery=st.one_of(st.none(), KEYS),
    ),
    max_size=8,
)
HOW_FAR = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: LoadProgress(min(pair), max(pair)))
ANY_REACHED = st.one_of(st.none(), st.dictionaries(st.sampled_from(DATASETS), HOW_FAR))


@given(any_events(), ANY_RUNS, ANY_REACHED, st.integers(1, 3))
def test_whatever_the_state_a_plan_keeps_the_rules(
    events: list[OpenEvents], runs: list[KnownRun], reached: dict[str, LoadProgress] | None, requests: int
) -> None:
    policy = replace(POLICY, requests=requests)
    decided = plan(events, runs, reached, now=NOW, policy=policy)
    # The same inputs give the same plan, and are left as they were.
    assert decided == plan(tuple(events), tuple(runs), reached, now=NOW, policy=policy)

    assert len(decided.deliveries) <= requests
    assert len({delivery.dataset_id for delivery in decided.deliveries}) == len(decided.deliveries)
    in_flight = {known.dataset_id for known in runs if known.state is RunState.IN_FLIGHT}
    assert not in_flight & {delivery.dataset_id for delivery in decided.deliveries}

    parts: dict[int, list[OpenEvents]] = {}
    for update in decided.updates:
        [group] = [event for event in events if _is_part(update.events, event)]
        parts.setdefault(group.first_seq, []).append(update.events)
        how_far = (reached or {}).get(group.dataset_id or "", LoadProgress())
        match update.state:
            case EventState.DONE:
                assert reached is not None
                assert how_far.checked_through >= update.events.last_seq
                if group.attempts_before_replay:
                    # Even when it is parked: a person may have run its delivery again in Dagster.
                    own = [run for run in runs if (run.dataset_id, run.delivery) == (group.dataset_id, group.delivery)]
                    assert own[0].state is RunState.SUCCEEDED
                else:
                    assert how_far.published_through >= update.events.last_seq or group.state is EventState.PENDING
            case EventState.IGNORED:
                assert update.outcome == f"Not supported event: {group.name}"
            case EventState.PARKED:
                assert group.state is EventState.PENDING
                assert any(known.state is not RunState.IN_FLIGHT for known in runs)
                assert group.delivery is not None
            case EventState.PENDING:
                # Either delivered now, or told not to be before a moment that lies ahead.
                assert group.state is EventState.PENDING
                assert (update.attempts == group.attempts) == (update.not_before is not None)
                assert update.not_before is None or update.not_before > NOW
        assert update.attempts - group.attempts in (0, 1)
        assert update.unchanged_checks - group.unchanged_checks in (0, 1) or update.state is EventState.IGNORED
    for pieces in parts.values():
        # No event is changed twice in one plan.
        assert len(pieces) == 1 or pieces[0].last_seq < pieces[1].first_seq
        assert len(pieces) <= 2

    for delivery in decided.deliveries:
        written = [
            update
            for update in decided.updates
            if update.state is EventState.PENDING and update.delivery == delivery.key and update.not_before is None
        ]
        if written:
            assert {update.events.dataset_id for update in written} == {delivery.dataset_id}
            assert min(update.events.first_seq for update in written) == delivery.first
            assert max(update.events.last_seq for update in written) == delivery.last
        else:
            # It was written to its events by an earlier tick, and its run is not known.
            assert delivery.key in {event.delivery for event in events}
            assert delivery.key not in {known.delivery for known in runs if known.dataset_id == delivery.dataset_id}


def _is_part(part: OpenEvents, whole: OpenEvents) -> bool:
    within = whole.first_seq <= part.first_seq <= part.last_seq <= whole.last_seq
    return within and replace(part, first_seq=whole.first_seq, last_seq=whole.last_seq) == whole


@pytest.mark.parametrize(
    ("process", "seconds", "lost"),
    [
        (Process.ALIVE, 100_000, False),
        (Process.DEAD, 0, True),
        (Process.UNKNOWN, 60, False),
        (Process.UNKNOWN, 61, True),
    ],
)
def test_a_run_is_lost_when_its_process_is_gone_or_never_came(process: Process, seconds: int, lost: bool) -> None:
    assert is_orphaned(process, timedelta(seconds=seconds)) is lost


def test_all_are_asked_for_but_those_with_a_run_in_flight_and_those_that_somebody_restored() -> None:
    runs = [run(RunState.IN_FLIGHT, None, "d-busy"), run(RunState.FAILED, None, "d-failed")]
    known = ["d-idle", "d-busy", "d-failed", "d-restored"]
    assert due_for_refresh(known, runs, {"d-restored", "d-unknown"}) == ["d-idle", "d-failed"]
    assert due_for_refresh(known, runs) == ["d-idle", "d-failed", "d-restored"]
