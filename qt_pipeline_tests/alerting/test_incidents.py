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
    dataset_id: str = DATASET, *, failed: bool, concerns: FailureScope = FailureScope.DATASET, at: datetime = NOW
) -> FinishedRun:
    return FinishedRun(f"run-{next(_numbers)}", dataset_id, at, failed, concerns)


def failure(
    dataset_id: str = DATASET, concerns: FailureScope = FailureScope.DATASET, at: datetime = NOW
) -> FinishedRun:
    return run(dataset_id, failed=True, concerns=concerns, at=at)


def success(dataset_id: str = DATASET, at: datetime = NOW) -> FinishedRun:
    return run(dataset_id, failed=False, at=at)


def after(
    *runs: FinishedRun, board: Board | None = None, parked: Iterable[str] = (), now: datetime = NOW
) -> dict[Key, Incident]:
    return observe(board or {}, Observations(runs=runs, parked=frozenset(parked)), now=now)


def open_kinds(board: Board) -> list[Key]:
    return sorted(key for key, incident in board.items() if incident.is_open)


def with_all_told(board: Board, *, now: datetime = NOW) -> dict[Key, Incident]:
    """After somebody was told all there is to tell."""
    return prune(
        mark_notified(board, SOMEBODY, pending_notifications(board, SOMEBODY, now=now + DEBOUNCE)), {SOMEBODY}, now=now
    )


def told_now(board: Board, *, now: datetime = NOW) -> tuple[list[Key], list[Key]]:
    """What somebody is to be told: alerts, recoveries."""
    what = pending_notifications(board, SOMEBODY, now=now)
    return [i.key for i in what.alerts], [i.key for i in what.recoveries]


def test_runs_of_a_dataset_that_fail_one_after_the_other_are_one_incident_until_one_succeeds() -> None:
    first, *more = [failure(at=NOW + n * MINUTE) for n in range(10)]
    board = with_all_told(after(first))
    board = after(*more, board=board)
    assert told_now(board) == ([], [])
    assert (board[NOT_LOADED].runs, board[NOT_LOADED].opened_at) == (10, NOW)
    board = after(success(), board=board)
    assert told_now(board) == ([], [NOT_LOADED])
    assert with_all_told(board) == {}


def test_the_newest_run_counts_whatever_order_they_are_seen_in() -> None:
    assert open_kinds(after(success(at=NOW), failure(at=NOW - MINUTE))) == []
    assert open_kinds(after(failure(at=NOW), success(at=NOW - MINUTE))) == [NOT_LOADED]


def test_what_ended_before_anybody_was_told_is_told_to_nobody() -> None:
    board = after(success(), board=after(failure()))
    assert told_now(board) == ([], [])
    assert prune(board, {SOMEBODY}, now=NOW) == {}


@pytest.mark.parametrize("concern", SHARED)
def test_what_all_datasets_share_is_one_incident_that_ends_when_each_of_them_loads_again(concern: FailureScope) -> None:
    board = with_all_told(after(*(failure(d, concern) for d in (DATASET, OTHER, DATASET))))
    [incident] = board.values()
    assert (incident.kind, incident.runs, list(incident.failing)) == (SHARED[concern], 3, [DATASET, OTHER])
    board = after(success(DATASET), board=board)
    assert told_now(board) == ([], [])
    assert list(board[incident.key].failing) == [OTHER]
    board = after(success(OTHER), board=board)
    assert told_now(board) == ([], [incident.key])


def test_a_dataset_that_is_known_not_to_load_tells_nothing_new_of_what_all_share() -> None:
    board = with_all_told(after(failure()))
    board = after(failure(DATASET, FailureScope.TARGET), board=board)
    assert open_kinds(board) == [NOT_LOADED]
    assert told_now(board) == ([], [])
    board = after(failure(OTHER, FailureScope.TARGET), board=board)
    assert told_now(board) == ([TARGET], [])


def test_a_dataset_that_fails_by_itself_during_an_outage_gets_an_alert_of_its_own() -> None:
    board = with_all_told(after(failure(DATASET, FailureScope.TARGET)))
    board = after(failure(DATASET), board=board)
    assert told_now(board) == ([NOT_LOADED], [])
    assert told_now(after(success(), board=with_all_told(board))) == ([], sorted([NOT_LOADED, TARGET]))


def test_an_outage_that_is_long_past_ends_and_what_is_left_of_it_is_each_datasets_own() -> None:
    board = with_all_told(after(*(failure(d, FailureScope.TARGET) for d in (DATASET, OTHER, THIRD))))
    board = after(success(OTHER, at=NOW + MINUTE), board=board)
    assert told_now(observe(board, Observations(), now=NOW + RECOVERY_WINDOW)) == ([], [])
    board = observe(board, Observations(), now=NOW + MINUTE + RECOVERY_WINDOW)
    assert told_now(board) == ([NOT_LOADED, (AlertKind.NOT_LOADED, THIRD)], [TARGET])
    assert board[TARGET].still_failing == 2
    assert board[NOT_LOADED].run_id is not None
    # So that the next outage is told again.
    board = with_all_told(board)
    assert told_now(after(failure(OTHER, FailureScope.TARGET), board=board)) == ([TARGET], [])


def test_a_failure_amid_successes_keeps_an_outage_going() -> None:
    board = with_all_told(after(failure(DATASET, FailureScope.TARGET)))
    board = after(success(OTHER), failure(THIRD, FailureScope.TARGET, at=NOW + MINUTE), board=board)
    assert told_now(observe(board, Observations(), now=NOW + 2 * RECOVERY_WINDOW)) == ([], [])


def test_parked_events_are_an_incident_of_their_dataset_unless_it_has_one() -> None:
    board = after(failure(OTHER, FailureScope.TARGET), parked=[DATASET, OTHER])
    assert open_kinds(board) == sorted([NOT_LOADED, TARGET])
    assert board[NOT_LOADED].runs == 0


def test_parked_events_are_told_when_they_stay_so_and_a_failed_run_at_once() -> None:
    board = after(failure(OTHER), parked=[DATASET])
    assert told_now(board) == ([(AlertKind.NOT_LOADED, OTHER)], [])
    assert told_now(board, now=NOW + DEBOUNCE)[0] == [NOT_LOADED, (AlertKind.NOT_LOADED, OTHER)]


def test_an_incident_lasts_while_events_are_parked_also_after_a_run_that_succeeds() -> None:
    board = with_all_told(after(failure(), parked=[DATASET]))
    board = after(success(), board=board, parked=[DATASET])
    assert told_now(board) == ([], [])
    assert told_now(after(board=board)) == ([], [NOT_LOADED])


def test_a_dataset_that_is_gone_is_no_longer_an_incident_unless_events_of_it_are_parked() -> None:
    board = with_all_told(after(failure()))
    assert open_kinds(observe(board, Observations(known=frozenset(), parked={DATASET}), now=NOW)) == [NOT_LOADED]
    assert open_kinds(observe(board, Observations(known=None), now=NOW)) == [NOT_LOADED]
    gone = observe(board, Observations(known={OTHER}), now=NOW)
    assert gone[NOT_LOADED].forgotten
    assert told_now(gone) == ([], [NOT_LOADED])


def test_a_stale_dataset_is_told_unless_it_is_known_not_to_load() -> None:
    cause = Cause("It is old.")
    board = observe(
        {}, Observations(runs=[failure()], stale={DATASET: cause, OTHER: cause}, known={DATASET, OTHER}), now=NOW
    )
    stale = (AlertKind.STALE, OTHER)
    assert open_kinds(board) == sorted([NOT_LOADED, stale])
    board = with_all_told(board)
    assert told_now(observe(board, Observations(stale=None), now=NOW)) == ([], [])
    assert told_now(observe(board, Observations(stale={OTHER: cause}), now=NOW)) == ([], [])
    assert told_now(observe(board, Observations(stale={}), now=NOW)) == ([], [stale])


def test_a_change_of_columns_is_one_notice_for_each_load_and_nothing_ends_it() -> None:
    changes = [ColumnChange(DATASET, load_id, "run", NOW, "New column 'Tax'.") for load_id in (7, 8)]
    board = observe({}, Observations(changes=changes), now=NOW)
    assert told_now(board)[0] == [(AlertKind.DRIFT, "d-one/7"), (AlertKind.DRIFT, "d-one/8")]
    assert board[AlertKind.DRIFT, "d-one/7"].dataset_id == DATASET
    assert with_all_told(board) == {}


def test_a_notice_does_not_hide_that_events_of_its_dataset_are_parked() -> None:
    board = observe({}, Observations(changes=[ColumnChange(DATASET, 7, "run", NOW, "New.")], parked={DATASET}), now=NOW)
    assert NOT_LOADED in board


def test_a_notice_that_nobody_takes_is_forgotten_after_a_day() -> None:
    board = observe({}, Observations(changes=[ColumnChange(DATASET, 7, "run", NOW, "New.")]), now=NOW)
    assert prune(board, {SOMEBODY}, now=NOW + timedelta(hours=23))
    assert not prune(board, {SOMEBODY}, now=NOW + timedelta(hours=25))


def test_what_the_look_itself_meets_is_told_when_it_stays_so_and_ends_with_it() -> None:
    wrong = Observations(detected={AlertKind.CONFIGURATION: Cause("The catalog is no YAML.")})
    board = observe({}, wrong, now=NOW)
    assert told_now(board) == ([], [])
    assert observe(board, Observations(), now=NOW + MINUTE)[AlertKind.CONFIGURATION, ""].closed_at
    board = observe(board, wrong, now=NOW + MINUTE)
    assert told_now(board, now=NOW + MINUTE) == ([(AlertKind.CONFIGURATION, "")], [])


def test_incidents_kept_elsewhere_for_a_while_are_known_to_those_who_were_told() -> None:
    elsewhere = observe({}, Observations(detected={AlertKind.INBOX: Cause("It is away.")}), now=NOW)
    elsewhere = mark_notified(elsewhere, SOMEBODY, pending_notifications(elsewhere, SOMEBODY, now=NOW + DEBOUNCE))
    board = after(failure(DATASET, FailureScope.INBOX), board=merged({}, elsewhere.values()))
    assert told_now(board) == ([], [])
    assert open_kinds(board) == [(AlertKind.INBOX, "")]
    assert told_now(after(success(), board=board)) == ([], [(AlertKind.INBOX, "")])
    both = merged(after(failure(DATASET, FailureScope.INBOX)), elsewhere.values())
    assert told_now(both) == ([], [])
    assert len(both) == 1


def test_an_address_that_is_not_used_any_more_keeps_no_incident() -> None:
    board = after(success(), board=with_all_told(after(failure())))
    assert prune(board, {"somebody else"}, now=NOW) == {}


def test_a_new_address_is_told_what_is_open_and_not_of_the_end_of_what_it_never_knew() -> None:
    board = with_all_told(after(failure(), failure(OTHER)))
    board = after(success(), board=board)
    what = pending_notifications(board, "newcomer", now=NOW)
    assert [i.key for i in what.alerts] == [(AlertKind.NOT_LOADED, OTHER)]
    assert what.recoveries == ()


def test_a_dataset_that_two_shared_incidents_leave_behind_is_known_not_to_load() -> None:
    later = NOW + RECOVERY_WINDOW + 3 * MINUTE
    board = after(failure(DATASET, FailureScope.TARGET), success(), parked={DATASET})
    again = failure(DATASET, FailureScope.QUANTEMPLATE, NOW + MINUTE)
    board = after(again, success(OTHER, NOW + 2 * MINUTE), board=board, parked={DATASET})
    board = after(board=board, parked={DATASET}, now=later)
    assert open_kinds(board) == [NOT_LOADED]
    assert open_kinds(after(board=board, now=later)) == [NOT_LOADED]


def test_every_kind_has_its_words_and_only_a_notice_has_no_end() -> None:
    assert set(KINDS) == set(AlertKind)
    for kind, explained in KINDS.items():
        assert explained.headline
        assert explained.meaning.endswith(".")
        assert explained.hint.endswith(".")
        assert bool(explained.recovery) is (kind is not AlertKind.DRIFT)
    assert {kind for kind, explained in KINDS.items() if explained.is_shared} == set(SHARED.values())
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
def test_whatever_happens_an_address_hears_alert_and_recovery_in_turn(
    steps: list[tuple[list[tuple[str, bool, FailureScope]], set[str], int, bool]],
) -> None:
    board: dict[Key, Incident] = {}
    now, known, failing = NOW, set[Key](), set[str]()
    for runs, parked, minutes, takes_it in steps:
        now += minutes * MINUTE
        seen = [run(d, failed=f, concerns=c, at=now + n * timedelta(seconds=1)) for n, (d, f, c) in enumerate(runs)]
        for one in seen:
            (failing.add if one.failed else failing.discard)(one.dataset_id)
        board = observe(board, Observations(runs=seen, parked=parked), now=now)
        # Nothing that is wrong is without an incident, and nothing that is well is in one.
        assert {d for i in board.values() for d in i.failing} == failing | parked
        what = pending_notifications(board, SOMEBODY, now=now)
        alerts, recoveries = {i.key for i in what.alerts}, {i.key for i in what.recoveries}
        assert not alerts & known
        assert recoveries <= known
        if takes_it:
            board = mark_notified(board, SOMEBODY, what)
            known = (known | alerts) - recoveries
        board = prune(board, {SOMEBODY}, now=now)
    board = observe(board, Observations(runs=[success(d, at=now) for d in sorted(failing)]), now=now)
    assert {i.key for i in pending_notifications(board, SOMEBODY, now=now).recoveries} == known
    assert with_all_told(board, now=now) == {}
