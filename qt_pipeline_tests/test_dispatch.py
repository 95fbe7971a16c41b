from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.dispatch import Delivery, KnownRun, Plan, Policy, RunState, is_lost, plan
from qt_pipeline.inbox import EventState, EventUpdate, PendingEvent
from qt_pipeline.liveness import Process

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy(attempts=3, delay=timedelta(seconds=30), requests=50)
FIRST = "d-one:1:1"


def waiting(
    seq: int,
    dataset_id: str | None = "d-one",
    *,
    name: str = "DatasetUpdated",
    attempts: int = 0,
    replayed_at: int = 0,
    delivery: str | None = None,
    not_before: datetime | None = None,
) -> PendingEvent:
    return PendingEvent(seq, name, dataset_id, attempts, replayed_at, delivery, not_before)


def run(state: RunState, delivery: str | None = FIRST, dataset_id: str = "d-one", run_id: str = "run-1") -> KnownRun:
    return KnownRun(run_id, dataset_id, state, delivery)


def decide(
    *events: PendingEvent,
    runs: list[KnownRun] | None = None,
    published: dict[str, int] | None = None,
    target_is_known: bool = True,
    now: datetime = NOW,
    policy: Policy = POLICY,
) -> Plan:
    known = (published or {}) if target_is_known else None
    return plan(events, runs or [], known, now=now, policy=policy)


def states(decided: Plan) -> dict[int, EventState]:
    return {update.seq: update.state for update in decided.updates}


def test_nothing_waits_and_nothing_is_done() -> None:
    assert decide() == Plan()


def test_a_new_event_is_delivered_and_the_delivery_written_to_it_first() -> None:
    assert decide(waiting(1)) == Plan(
        updates=(EventUpdate(1, attempts=1, delivery=FIRST),),
        deliveries=(Delivery(FIRST, "d-one", attempt=1, events=(1,)),),
    )


def test_an_event_for_a_dataset_that_the_catalog_refuses_is_parked_and_says_what_to_do() -> None:
    events = [waiting(1), waiting(2, "d-two"), waiting(3, name="Other")]
    decided = plan(events, [], {}, now=NOW, policy=POLICY, refused={"d-one"})
    assert states(decided) == {1: EventState.PARKED, 2: EventState.PENDING, 3: EventState.IGNORED}
    assert "List this one" in next(update.outcome or "" for update in decided.updates if update.seq == 1)
    assert [delivery.dataset_id for delivery in decided.deliveries] == ["d-two"]


def test_a_burst_for_one_dataset_is_one_delivery() -> None:
    decided = decide(*(waiting(seq) for seq in range(1, 1001)))
    [delivery] = decided.deliveries
    assert delivery == Delivery("d-one:1000:1", "d-one", attempt=1, events=tuple(range(1, 1001)))
    assert {(update.attempts, update.delivery) for update in decided.updates} == {(1, delivery.key)}


def test_each_dataset_has_a_delivery_of_its_own() -> None:
    decided = decide(waiting(1), waiting(2, "d-two"), waiting(3))
    assert [(delivery.dataset_id, delivery.events) for delivery in decided.deliveries] == [
        ("d-one", (1, 3)),
        ("d-two", (2,)),
    ]


@pytest.mark.parametrize("delivery", [FIRST, None, "d-one:9:9"])
def test_while_any_run_of_its_dataset_is_in_flight_an_event_waits(delivery: str | None) -> None:
    going = run(RunState.IN_FLIGHT, delivery)
    covered, fresh = waiting(1, attempts=1, delivery=FIRST), waiting(2)
    assert decide(covered, fresh, runs=[going]) == Plan()
    assert decide(fresh, runs=[replace(going, dataset_id="d-two")]).deliveries != ()


def test_a_published_load_settles_every_event_it_reaches_and_no_other() -> None:
    events = [waiting(seq, attempts=1, delivery=FIRST) for seq in (1, 2, 3)]
    decided = decide(*events, runs=[run(RunState.IN_FLIGHT)], published={"d-one": 2, "d-two": 9})
    assert states(decided) == {1: EventState.DONE, 2: EventState.DONE}
    assert {(update.attempts, update.delivery) for update in decided.updates} == {(1, FIRST)}
    assert decided.deliveries == ()


def test_an_event_may_be_done_before_any_run_was_asked_for_it() -> None:
    assert states(decide(waiting(1), published={"d-one": 1})) == {1: EventState.DONE}


def test_what_was_not_reached_is_delivered_when_the_run_has_ended() -> None:
    done, fresh = waiting(1, attempts=1, delivery=FIRST), waiting(2)
    decided = decide(done, fresh, runs=[run(RunState.SUCCEEDED)], published={"d-one": 1})
    assert states(decided) == {1: EventState.DONE, 2: EventState.PENDING}
    assert decided.deliveries == (Delivery("d-one:2:1", "d-one", 1, (2,)),)


@pytest.mark.parametrize("state", list(RunState))
def test_no_run_settles_an_event_as_done_by_itself(state: RunState) -> None:
    decided = decide(waiting(5, attempts=1, delivery=FIRST), runs=[run(state)], published={"d-one": 4, "d-two": 9})
    assert EventState.DONE not in states(decided).values()


def test_a_delivery_whose_run_is_unknown_is_asked_for_again_under_its_key() -> None:
    covered = [waiting(seq, attempts=2, delivery="d-one:2:2") for seq in (1, 2)]
    again = Plan(deliveries=(Delivery("d-one:2:2", "d-one", 2, (1, 2)),))
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
        assert postponed == Plan((EventUpdate(1, attempts=attempts, delivery=key, not_before=not_before),))
        again = replace(failed, not_before=not_before)
        early, due = not_before - timedelta(microseconds=1), not_before
        assert decide(again, runs=[run(RunState.FAILED, key)], policy=policy, now=early) == Plan()
        next_key = f"d-one:1:{attempts + 1}"
        assert decide(again, runs=[run(RunState.FAILED, key)], policy=policy, now=due) == Plan(
            (EventUpdate(1, attempts=attempts + 1, delivery=next_key),),
            (Delivery(next_key, "d-one", attempts + 1, (1,)),),
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
        (EventUpdate(1, attempts=2, delivery="d-one:2:1"), EventUpdate(2, attempts=1, delivery="d-one:2:1")),
        (Delivery("d-one:2:1", "d-one", 1, (1, 2)),),
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
    assert all_spent.deliveries == (Delivery("d-one:3:1", "d-one", 1, (3,)),)


def test_a_canceled_run_parks_what_it_served_and_new_events_go_on() -> None:
    decided = decide(waiting(1, attempts=1, delivery=FIRST), waiting(2), runs=[run(RunState.CANCELED)])
    assert states(decided) == {1: EventState.PARKED, 2: EventState.PENDING}
    assert "canceled" in str(decided.updates[0].outcome)
    assert decided.deliveries == (Delivery("d-one:2:1", "d-one", 1, (2,)),)


def test_of_two_runs_of_a_delivery_the_newest_counts() -> None:
    covered = waiting(1, attempts=3, delivery=FIRST)
    newest_first = [run(RunState.CANCELED, run_id="run-2"), run(RunState.FAILED, run_id="run-1")]
    assert "run-2 was canceled" in str(decide(covered, runs=newest_first).updates[0].outcome)
    assert "run-1 failed last" in str(decide(covered, runs=newest_first[::-1]).updates[0].outcome)


def test_a_replayed_event_is_delivered_whatever_was_published_before() -> None:
    decided = decide(waiting(1, attempts=4, replayed_at=4), published={"d-one": 9})
    assert decided.deliveries == (Delivery("d-one:1:5", "d-one", 5, (1,)),)
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
    decided = decide(waiting(1, dataset_id, name=name), published={"d-one": 9})
    assert decided == Plan((EventUpdate(1, EventState.IGNORED, f"Not supported event: {name}"),))


def test_an_event_is_ignored_also_when_no_more_runs_may_be_asked_for() -> None:
    decided = decide(waiting(1), waiting(2, "d-two"), waiting(3, None, name="X"), policy=replace(POLICY, requests=1))
    assert states(decided) == {1: EventState.PENDING, 3: EventState.IGNORED}


def test_a_tick_asks_for_no_more_runs_than_it_may_and_the_longest_waiting_come_first() -> None:
    events = [waiting(seq, f"d-{seq}") for seq in range(1, 8)]
    decided = decide(*events, policy=replace(POLICY, requests=3))
    assert [delivery.dataset_id for delivery in decided.deliveries] == ["d-1", "d-2", "d-3"]
    assert set(states(decided)) == {1, 2, 3}


def test_the_limit_does_not_hold_back_what_needs_no_run() -> None:
    events = [waiting(1, "d-1"), waiting(2, "d-2"), waiting(3, "d-3")]
    decided = decide(*events, published={"d-3": 3}, policy=replace(POLICY, requests=1))
    assert states(decided) == {1: EventState.PENDING, 3: EventState.DONE}


DATASETS = ("d-1", "d-2", "d-3")
KEYS = st.sampled_from([f"{dataset}:{seq}:{attempt}" for dataset in DATASETS for seq in (1, 4) for attempt in (1, 2)])
MOMENTS = st.one_of(st.none(), st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds)))


@st.composite
def any_events(draw: st.DrawFn) -> list[PendingEvent]:
    seqs = sorted(draw(st.sets(st.integers(1, 30), max_size=10)))
    events: list[PendingEvent] = []
    for seq in seqs:
        replayed_at = draw(st.sampled_from([0, 0, 2]))
        tries = draw(st.integers(0, 3))
        events.append(
            waiting(
                seq,
                draw(st.sampled_from([*DATASETS, None])),
                name=draw(st.sampled_from(["DatasetUpdated", "DatasetUpdated", "PipelineCompleted"])),
                attempts=replayed_at + tries,
                replayed_at=replayed_at,
                delivery=draw(KEYS) if tries else None,
                not_before=draw(MOMENTS) if tries else None,
            )
        )
    return events


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
ANY_PUBLISHED = st.one_of(st.none(), st.dictionaries(st.sampled_from(DATASETS), st.integers(0, 30)))


@given(any_events(), ANY_RUNS, ANY_PUBLISHED, st.integers(1, 3))
def test_whatever_the_state_a_plan_keeps_the_rules(
    events: list[PendingEvent], runs: list[KnownRun], published: dict[str, int] | None, requests: int
) -> None:
    policy = replace(POLICY, requests=requests)
    decided = plan(events, runs, published, now=NOW, policy=policy)
    # The same inputs give the same plan, and are left as they were.
    assert decided == plan(tuple(events), tuple(runs), published, now=NOW, policy=policy)

    by_seq = {event.seq: event for event in events}
    assert len(decided.deliveries) <= requests
    assert len({delivery.dataset_id for delivery in decided.deliveries}) == len(decided.deliveries)
    assert len({update.seq for update in decided.updates}) == len(decided.updates)
    in_flight = {known.dataset_id for known in runs if known.state is RunState.IN_FLIGHT}
    assert not in_flight & {delivery.dataset_id for delivery in decided.deliveries}

    for update in decided.updates:
        event = by_seq[update.seq]
        through = (published or {}).get(event.dataset_id or "", 0)
        match update.state:
            case EventState.DONE:
                assert published is not None
                assert through >= event.seq
            case EventState.IGNORED:
                assert update.outcome == f"Not supported event: {event.name}"
            case EventState.PARKED:
                assert any(known.state is not RunState.IN_FLIGHT for known in runs)
                assert event.delivery is not None
            case EventState.PENDING:
                # Either delivered now, or told not to be before a moment that lies ahead.
                assert (update.attempts == event.attempts) == (update.not_before is not None)
                assert update.not_before is None or update.not_before > NOW
        assert update.attempts - event.attempts in (0, 1)

    for delivery in decided.deliveries:
        assert {by_seq[seq].dataset_id for seq in delivery.events} == {delivery.dataset_id}
        written = {
            update.seq: update.attempts
            for update in decided.updates
            if update.state is EventState.PENDING and update.delivery == delivery.key
        }
        if written:
            assert written == {seq: by_seq[seq].attempts + 1 for seq in delivery.events}
        else:
            # It was written to its events by an earlier tick, and its run is not known.
            assert delivery.key in {by_seq[seq].delivery for seq in delivery.events}
            assert delivery.key not in {known.delivery for known in runs if known.dataset_id == delivery.dataset_id}


@pytest.mark.parametrize(
    ("process", "seconds", "lost"),
    [
        (Process.ALIVE, 100_000, False),
        (Process.GONE, 0, True),
        (Process.UNSEEN, 60, False),
        (Process.UNSEEN, 61, True),
    ],
)
def test_a_run_is_lost_when_its_process_is_gone_or_never_came(process: Process, seconds: int, lost: bool) -> None:
    assert is_lost(process, timedelta(seconds=seconds)) is lost
