"""What opens an incident and what ends one, by examples and for any sequence of runs."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.alerting import (
    KINDS,
    SHARED,
    AlertKind,
    Cause,
    ColumnChange,
    FinishedRun,
    Incident,
    Key,
    Observations,
    observe,
)
from qt_pipeline.alerting.incidents import (
    DEBOUNCE,
    RECOVERY_WINDOW,
    mark_notified,
    merged,
    pending_notifications,
    prune,
)
from qt_pipeline.errors import FailureScope

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DATASET, OTHER, THIRD = "d-one", "d-other", "d-third"
SOMEBODY = "somebody"
NOT_LOADED = (AlertKind.NOT_LOADED, DATASET)
TARGET = (AlertKind.TARGET, "")

Board = Mapping[Key, Incident]
_numbers = count(1)


def run(
    dataset_id: str = DATASET, *, failed: bool, scope: FailureScope = FailureScope.DATASET, at: datetime = NOW
) -> FinishedRun:
    return FinishedRun(f"run-{next(_numbers)}", dataset_id, at, failed, scope)


def failure(dataset_id: str = DATASET, scope: FailureScope = FailureScope.DATASET, at: datetime = NOW) -> FinishedRun:
    return run(dataset_id, failed=True, scope=scope, at=at)


def success(dataset_id: str = DATASET, at: datetime = NOW) -> FinishedRun:
    return run(dataset_id, failed=False, at=at)


def after(
    *runs: FinishedRun, board: Board | None = None, parked: Iterable[str] = (), now: datetime = NOW
) -> dict[Key, Incident]:
    return observe(board or {}, Observations(runs=runs, parked=frozenset(parked)), now=now)


def open_kinds(board: Board) -> list[Key]:
    return sorted(key for key, incident in board.items() if incident.is_open)


def with_all_notified(board: Board, *, now: datetime = NOW) -> dict[Key, Incident]:
    """After all pending notifications were sent to one address."""
    return prune(
        mark_notified(board, SOMEBODY, pending_notifications(board, SOMEBODY, now=now + DEBOUNCE)), {SOMEBODY}, now=now
    )


def pending_keys(board: Board, *, now: datetime = NOW) -> tuple[list[Key], list[Key]]:
    """The keys of pending alerts and pending recoveries of an address."""
    pending = pending_notifications(board, SOMEBODY, now=now)
    return [i.key for i in pending.alerts], [i.key for i in pending.recoveries]


def test_runs_of_a_dataset_that_fail_one_after_the_other_are_one_incident_until_one_succeeds() -> None:
    first, *more = [failure(at=NOW + n * MINUTE) for n in range(10)]
    board = with_all_notified(after(first))
    board = after(*more, board=board)
    assert pending_keys(board) == ([], [])
    assert (board[NOT_LOADED].runs, board[NOT_LOADED].opened_at) == (10, NOW)
    board = after(success(), board=board)
    assert pending_keys(board) == ([], [NOT_LOADED])
    assert with_all_notified(board) == {}


def test_the_newest_run_counts_whatever_order_they_are_seen_in() -> None:
    assert open_kinds(after(success(at=NOW), failure(at=NOW - MINUTE))) == []
    assert open_kinds(after(failure(at=NOW), success(at=NOW - MINUTE))) == [NOT_LOADED]


def test_an_incident_that_closes_before_it_was_notified_is_never_notified() -> None:
    board = after(success(), board=after(failure()))
    assert pending_keys(board) == ([], [])
    assert prune(board, {SOMEBODY}, now=NOW) == {}


@pytest.mark.parametrize("scope", SHARED)
def test_what_all_datasets_share_is_one_incident_that_ends_when_each_of_them_loads_again(scope: FailureScope) -> None:
    board = with_all_notified(after(*(failure(d, scope) for d in (DATASET, OTHER, DATASET))))
    [incident] = board.values()
    assert (incident.kind, incident.runs, list(incident.failing)) == (SHARED[scope], 3, [DATASET, OTHER])
    board = after(success(DATASET), board=board)
    assert pending_keys(board) == ([], [])
    assert list(board[incident.key].failing) == [OTHER]
    board = after(success(OTHER), board=board)
    assert pending_keys(board) == ([], [incident.key])


def test_a_dataset_that_is_known_not_to_load_tells_nothing_new_of_what_all_share() -> None:
    board = with_all_notified(after(failure()))
    board = after(failure(DATASET, FailureScope.TARGET), board=board)
    assert open_kinds(board) == [NOT_LOADED]
    assert pending_keys(board) == ([], [])
    board = after(failure(OTHER, FailureScope.TARGET), board=board)
    assert pending_keys(board) == ([TARGET], [])


def test_a_dataset_that_fails_by_itself_during_an_outage_gets_an_alert_of_its_own() -> None:
    board = with_all_notified(after(failure(DATASET, FailureScope.TARGET)))
    board = after(failure(DATASET), board=board)
    assert pending_keys(board) == ([NOT_LOADED], [])
    assert pending_keys(after(success(), board=with_all_notified(board))) == ([], sorted([NOT_LOADED, TARGET]))


def test_an_outage_that_is_long_past_ends_and_what_is_left_of_it_is_each_datasets_own() -> None:
    board = with_all_notified(after(*(failure(d, FailureScope.TARGET) for d in (DATASET, OTHER, THIRD))))
    board = after(success(OTHER, at=NOW + MINUTE), board=board)
    assert pending_keys(observe(board, Observations(), now=NOW + RECOVERY_WINDOW)) == ([], [])
    board = observe(board, Observations(), now=NOW + MINUTE + RECOVERY_WINDOW)
    assert pending_keys(board) == ([NOT_LOADED, (AlertKind.NOT_LOADED, THIRD)], [TARGET])
    assert board[TARGET].still_failing == 2
    assert board[NOT_LOADED].run_id is not None
    # The next outage is notified again.
    board = with_all_notified(board)
    assert pending_keys(after(failure(OTHER, FailureScope.TARGET), board=board)) == ([TARGET], [])


def test_a_failure_amid_successes_keeps_an_outage_going() -> None:
    board = with_all_notified(after(failure(DATASET, FailureScope.TARGET)))
    board = after(success(OTHER), failure(THIRD, FailureScope.TARGET, at=NOW + MINUTE), board=board)
    assert pending_keys(observe(board, Observations(), now=NOW + 2 * RECOVERY_WINDOW)) == ([], [])


def test_parked_events_are_an_incident_of_their_dataset_unless_it_has_one() -> None:
    board = after(failure(OTHER, FailureScope.TARGET), parked=[DATASET, OTHER])
    assert open_kinds(board) == sorted([NOT_LOADED, TARGET])
    assert board[NOT_LOADED].runs == 0


def test_parked_events_are_notified_after_the_debounce_and_a_failed_run_immediately() -> None:
    board = after(failure(OTHER), parked=[DATASET])
    assert pending_keys(board) == ([(AlertKind.NOT_LOADED, OTHER)], [])
    assert pending_keys(board, now=NOW + DEBOUNCE)[0] == [NOT_LOADED, (AlertKind.NOT_LOADED, OTHER)]


def test_an_incident_lasts_while_events_are_parked_also_after_a_run_that_succeeds() -> None:
    board = with_all_notified(after(failure(), parked=[DATASET]))
    board = after(success(), board=board, parked=[DATASET])
    assert pending_keys(board) == ([], [])
    assert pending_keys(after(board=board)) == ([], [NOT_LOADED])


def test_a_removed_dataset_closes_its_incident_unless_events_of_it_are_parked() -> None:
    board = with_all_notified(after(failure()))
    assert open_kinds(observe(board, Observations(known=frozenset(), parked={DATASET}), now=NOW)) == [NOT_LOADED]
    assert open_kinds(observe(board, Observations(known=None), now=NOW)) == [NOT_LOADED]
    gone = observe(board, Observations(known={OTHER}), now=NOW)
    assert gone[NOT_LOADED].forgotten
    assert pending_keys(gone) == ([], [NOT_LOADED])


def test_a_stale_dataset_is_notified_unless_its_runs_fail() -> None:
    cause = Cause("It is old.")
    board = observe(
        {}, Observations(runs=[failure()], stale={DATASET: cause, OTHER: cause}, known={DATASET, OTHER}), now=NOW
    )
    stale = (AlertKind.STALE, OTHER)
    assert open_kinds(board) == sorted([NOT_LOADED, stale])
    board = with_all_notified(board)
    assert pending_keys(observe(board, Observations(stale=None), now=NOW)) == ([], [])
    assert pending_keys(observe(board, Observations(stale={OTHER: cause}), now=NOW)) == ([], [])
    assert pending_keys(observe(board, Observations(stale={}), now=NOW)) == ([], [stale])


def test_a_change_of_columns_is_one_notice_for_each_load_and_nothing_ends_it() -> None:
    changes = [ColumnChange(DATASET, load_id, "run", NOW, "New column 'Tax'.") for load_id in (7, 8)]
    board = observe({}, Observations(changes=changes), now=NOW)
    assert pending_keys(board)[0] == [(AlertKind.DRIFT, "d-one/7"), (AlertKind.DRIFT, "d-one/8")]
    assert board[AlertKind.DRIFT, "d-one/7"].dataset_id == DATASET
    assert with_all_notified(board) == {}


def test_a_notice_does_not_hide_that_events_of_its_dataset_are_parked() -> None:
    board = observe({}, Observations(changes=[ColumnChange(DATASET, 7, "run", NOW, "New.")], parked={DATASET}), now=NOW)
    assert NOT_LOADED in board


def test_a_notice_that_nobody_takes_is_forgotten_after_a_day() -> None:
    board = observe({}, Observations(changes=[ColumnChange(DATASET, 7, "run", NOW, "New.")]), now=NOW)
    assert prune(board, {SOMEBODY}, now=NOW + timedelta(hours=23))
    assert not prune(board, {SOMEBODY}, now=NOW + timedelta(hours=25))


def test_a_problem_of_the_tick_itself_is_notified_after_the_debounce_and_closes_with_it() -> None:
    wrong = Observations(detected={AlertKind.CONFIGURATION: Cause("The catalog is no YAML.")})
    board = observe({}, wrong, now=NOW)
    assert pending_keys(board) == ([], [])
    assert observe(board, Observations(), now=NOW + MINUTE)[AlertKind.CONFIGURATION, ""].closed_at
    board = observe(board, wrong, now=NOW + MINUTE)
    assert pending_keys(board, now=NOW + MINUTE) == ([(AlertKind.CONFIGURATION, "")], [])


def test_merged_incidents_keep_their_notified_addresses() -> None:
    elsewhere = observe({}, Observations(detected={AlertKind.INBOX: Cause("It is away.")}), now=NOW)
    elsewhere = mark_notified(elsewhere, SOMEBODY, pending_notifications(elsewhere, SOMEBODY, now=NOW + DEBOUNCE))
    board = after(failure(DATASET, FailureScope.INBOX), board=merged({}, elsewhere.values()))
    assert pending_keys(board) == ([], [])
    assert open_kinds(board) == [(AlertKind.INBOX, "")]
    assert pending_keys(after(success(), board=board)) == ([], [(AlertKind.INBOX, "")])
    both = merged(after(failure(DATASET, FailureScope.INBOX)), elsewhere.values())
    assert pending_keys(both) == ([], [])
    assert len(both) == 1


def test_an_address_that_is_not_used_any_more_keeps_no_incident() -> None:
    board = after(success(), board=with_all_notified(after(failure())))
    assert prune(board, {"somebody else"}, now=NOW) == {}


def test_a_new_address_gets_open_incidents_and_no_recovery_of_earlier_ones() -> None:
    board = with_all_notified(after(failure(), failure(OTHER)))
    board = after(success(), board=board)
    pending = pending_notifications(board, "newcomer", now=NOW)
    assert [i.key for i in pending.alerts] == [(AlertKind.NOT_LOADED, OTHER)]
    assert pending.recoveries == ()


def test_a_dataset_that_two_shared_incidents_leave_behind_is_known_not_to_load() -> None:
    later = NOW + RECOVERY_WINDOW + 3 * MINUTE
    board = after(failure(DATASET, FailureScope.TARGET), success(), parked={DATASET})
    again = failure(DATASET, FailureScope.QUANTEMPLATE, NOW + MINUTE)
    board = after(again, success(OTHER, NOW + 2 * MINUTE), board=board, parked={DATASET})
    board = after(board=board, parked={DATASET}, now=later)
    assert open_kinds(board) == [NOT_LOADED]
    assert open_kinds(after(board=board, now=later)) == [NOT_LOADED]


def test_every_kind_has_all_texts_and_only_a_notice_has_no_recovery() -> None:
    assert set(KINDS) == set(AlertKind)
    for kind, spec in KINDS.items():
        assert spec.headline
        assert spec.meaning.endswith(".")
        assert spec.hint.endswith(".")
        assert bool(spec.recovery) is (kind is not AlertKind.DRIFT)
    assert {kind for kind, spec in KINDS.items() if spec.is_shared} == set(SHARED.values())
    assert set(SHARED) == set(FailureScope) - {FailureScope.DATASET}


steps = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from([DATASET, OTHER, THIRD]), st.booleans(), st.sampled_from(list(FailureScope))),
            max_size=4,
        ),
        st.sets(st.sampled_from([DATASET, OTHER])),
        st.sampled_from([0, 1, 30, 61]),
        st.booleans(),
    ),
    max_size=25,
)


@given(steps)
def test_an_address_always_gets_alert_and_recovery_in_turn(
    steps: list[tuple[list[tuple[str, bool, FailureScope]], set[str], int, bool]],
) -> None:
    board: dict[Key, Incident] = {}
    now, known, failing = NOW, set[Key](), set[str]()
    for runs, parked, minutes, delivered in steps:
        now += minutes * MINUTE
        finished_runs = [
            run(d, failed=f, scope=c, at=now + n * timedelta(seconds=1)) for n, (d, f, c) in enumerate(runs)
        ]
        for one_run in finished_runs:
            (failing.add if one_run.failed else failing.discard)(one_run.dataset_id)
        board = observe(board, Observations(runs=finished_runs, parked=parked), now=now)
        # The failing datasets are exactly those of the incidents.
        assert {d for i in board.values() for d in i.failing} == failing | parked
        pending = pending_notifications(board, SOMEBODY, now=now)
        alerts, recoveries = {i.key for i in pending.alerts}, {i.key for i in pending.recoveries}
        assert not alerts & known
        assert recoveries <= known
        if delivered:
            board = mark_notified(board, SOMEBODY, pending)
            known = (known | alerts) - recoveries
        board = prune(board, {SOMEBODY}, now=now)
    board = observe(board, Observations(runs=[success(d, at=now) for d in sorted(failing)]), now=now)
    assert {i.key for i in pending_notifications(board, SOMEBODY, now=now).recoveries} == known
    assert with_all_notified(board, now=now) == {}
