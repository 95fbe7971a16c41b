from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.inbox import EventState, EventUpdate, Inbox, NewEvent, OpenEvents, StoredEvent, open_inbox
from qt_pipeline.values import utc_now
from qt_pipeline_tests.examples import few_examples
from qt_pipeline_tests.inbox.places import Place, Sqlite

EARLIER = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=9)))


def event(dataset_id: str | None = "d-one", *, body: bytes = b"{}") -> NewEvent:
    return NewEvent("e-1", "DatasetUpdated", dataset_id, "yesterday", body, "127.0.0.1")


def group_of(inbox: Inbox, seq: int) -> OpenEvents:
    """A group of this pending event alone."""
    dataset_id = stored(inbox, seq).dataset_id
    whole = next(
        group
        for group in inbox.open_events()
        if group.dataset_id == dataset_id and group.first_seq <= seq <= group.last_seq
    )
    return whole.up_to(seq).beyond(seq - 1)


def settle(inbox: Inbox, state: EventState, *seqs: int) -> None:
    for seq in seqs:
        inbox.update([EventUpdate(group_of(inbox, seq), state, "The end.", attempts=1)])


def stored(inbox: Inbox, seq: int) -> StoredEvent:
    return next(one for one in inbox.events(limit=10_000) if one.seq == seq)


def numbers(inbox: Inbox) -> list[int]:
    """Of all events, in order."""
    return [one.seq for one in inbox.events(limit=10_000)][::-1]


def test_an_appended_event_is_stored_as_it_came(inbox: Inbox) -> None:
    before = utc_now()
    [seq] = inbox.append([event(body=b"\x00\xff raw")])
    [one] = inbox.events()
    assert (one.seq, one.event_id, one.name, one.dataset_id, one.created, one.body) == (
        *(seq, "e-1", "DatasetUpdated", "d-one"),
        *("yesterday", b"\x00\xff raw"),
    )
    assert (one.state, one.outcome, one.attempts, one.delivery, one.unchanged_checks) == (
        EventState.PENDING,
        None,
        0,
        None,
        0,
    )
    assert one.source_address == "127.0.0.1"
    assert before <= one.received_at <= utc_now()


def test_an_event_keeps_the_moment_it_was_received_which_may_be_long_ago(inbox: Inbox) -> None:
    inbox.append([NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}", received_at=EARLIER)])
    [one] = inbox.events()
    assert one.received_at == EARLIER
    assert one.received_at.tzinfo is UTC


def test_nothing_appended_is_nothing_stored(inbox: Inbox) -> None:
    assert inbox.append([]) == []
    assert inbox.events() == []


@few_examples()
@given(st.lists(st.lists(st.binary(max_size=300), max_size=5), max_size=5))
def test_events_come_back_byte_for_byte_in_the_order_of_their_numbers(
    inbox: Inbox, place: Place, batches: list[list[bytes]]
) -> None:
    place.execute("DELETE FROM _qt_events")
    seqs = [seq for batch in batches for seq in inbox.append([event(body=body) for body in batch])]
    bodies = [body for batch in batches for body in batch]
    assert seqs == sorted(set(seqs))
    assert [(one.seq, one.body) for one in inbox.events()[::-1]] == list(zip(seqs, bodies, strict=True))


def test_a_large_batch_keeps_its_order(inbox: Inbox) -> None:
    seqs = inbox.append([event(body=str(number).encode()) for number in range(3000)])
    bodies = {one.seq: one.body for one in inbox.events(limit=3000)}
    assert [bodies[seq] for seq in seqs] == [str(number).encode() for number in range(3000)]
    assert seqs == sorted(seqs)


def test_events_that_have_come_equally_far_are_one_group_and_the_oldest_group_comes_first(inbox: Inbox) -> None:
    one, two, none, one_again = inbox.append([event(), event("d-two"), event(None), event()])
    groups = inbox.open_events()
    assert [(group.dataset_id, group.first_seq, group.last_seq) for group in groups] == [
        ("d-one", one, one_again),
        ("d-two", two, two),
        (None, none, none),
    ]
    assert inbox.open_events(limit=2) == groups[:2]


def test_datasets_whose_ids_differ_in_case_alone_are_two(inbox: Inbox) -> None:
    lower, upper = inbox.append([event("d-one"), event("D-ONE")])
    assert [(group.dataset_id, group.first_seq) for group in inbox.open_events()] == [
        ("d-one", lower),
        ("D-ONE", upper),
    ]
    assert inbox.highest_seq("d-one") == lower


def test_a_group_waits_until_the_last_of_its_events_may_go(inbox: Inbox) -> None:
    first, second = inbox.append([event(), event()])
    later = EARLIER + timedelta(minutes=1)
    inbox.update(
        [
            EventUpdate(group_of(inbox, seq), attempts=1, delivery="d-one:2:1", not_before=moment)
            for seq, moment in ((first, later), (second, EARLIER))
        ]
    )
    [group] = inbox.open_events()
    assert (group.first_seq, group.last_seq, group.not_before) == (first, second, later)


def test_a_group_is_cut_at_a_number(inbox: Inbox) -> None:
    first, *_, last = inbox.append([event()] * 4)
    [group] = inbox.open_events()
    assert (group.up_to(first).first_seq, group.up_to(first).last_seq) == (first, first)
    assert (group.beyond(first).first_seq, group.beyond(first).last_seq) == (first + 1, last)
    assert group.up_to(last + 9) == group
    assert group.beyond(first - 9) == group


def test_only_the_events_of_the_state_asked_for_are_open(inbox: Inbox) -> None:
    one, two, three = inbox.append([event(), event(), event()])
    settle(inbox, EventState.PARKED, one)
    settle(inbox, EventState.DONE, two)
    [parked] = inbox.open_events(EventState.PARKED)
    assert (parked.state, parked.first_seq, parked.last_seq) == (EventState.PARKED, one, one)
    assert [group.first_seq for group in inbox.open_events()] == [three]


def test_the_oldest_pending_event_is_that_of_the_lowest_number(inbox: Inbox) -> None:
    assert inbox.oldest_pending_at() is None
    moments = [EARLIER, EARLIER + timedelta(minutes=1)]
    new = [NewEvent("e", "DatasetUpdated", "d-one", None, b"", received_at=moment) for moment in moments]
    first, _ = inbox.append(new)
    assert inbox.oldest_pending_at() == moments[0]
    settle(inbox, EventState.PARKED, first)
    assert inbox.oldest_pending_at() == moments[1]


def test_the_highest_number_of_a_dataset_counts_every_state(inbox: Inbox) -> None:
    assert inbox.highest_seq("d-one") == 0
    _, newest, _ = inbox.append([event(), event(), event("d-two")])
    settle(inbox, EventState.PARKED, newest)
    assert inbox.highest_seq("d-one") == newest


def test_an_update_replaces_the_whole_changeable_state(inbox: Inbox) -> None:
    inbox.append([event(), event()])
    [group] = inbox.open_events()
    inbox.update(
        [EventUpdate(group, outcome="Failed.", attempts=2, delivery="d:1:2", unchanged_checks=3, not_before=EARLIER)]
    )
    [waiting] = inbox.open_events()
    assert (waiting.first_seq, waiting.last_seq) == (group.first_seq, group.last_seq)
    assert (waiting.attempts, waiting.delivery, waiting.unchanged_checks, waiting.not_before) == (
        2,
        "d:1:2",
        3,
        EARLIER,
    )
    assert waiting.not_before is not None
    assert waiting.not_before.tzinfo is UTC
    inbox.update([EventUpdate(waiting)])
    assert inbox.open_events() == [group]
    assert inbox.events()[0].outcome is None


def test_a_moment_without_time_zone_is_refused(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    naive = EventUpdate(group_of(inbox, seq), not_before=datetime(2026, 1, 1))  # noqa: DTZ001  # the fault under test
    with pytest.raises(Exception, match="without a time zone"):
        inbox.update([naive])


def test_an_update_does_not_touch_events_that_came_later(inbox: Inbox) -> None:
    [first] = inbox.append([event()])
    [group] = inbox.open_events()
    [later] = inbox.append([event()])
    inbox.update([EventUpdate(group, EventState.DONE, "Loaded.")])
    assert stored(inbox, first).state is EventState.DONE
    assert [one.first_seq for one in inbox.open_events()] == [later]


def test_an_update_does_not_touch_events_that_have_gone_on(inbox: Inbox) -> None:
    settled, delivered, replayed, waiting = inbox.append([event()] * 4)
    [group] = inbox.open_events()
    settle(inbox, EventState.PARKED, settled, replayed)
    inbox.replay([replayed])
    inbox.update([EventUpdate(group_of(inbox, delivered), attempts=1, delivery="d-one:2:1")])
    before = {seq: stored(inbox, seq) for seq in (settled, delivered, replayed)}
    inbox.update([EventUpdate(group, EventState.DONE, "Loaded.")])
    assert {seq: stored(inbox, seq) for seq in before} == before
    assert stored(inbox, waiting).state is EventState.DONE


def test_an_update_does_not_touch_events_in_between_that_are_of_another_group(inbox: Inbox) -> None:
    _, other, without, _ = inbox.append([event(), event("d-two"), event(None), event()])
    inbox.update([EventUpdate(inbox.open_events()[0], EventState.DONE)])
    assert [one.first_seq for one in inbox.open_events()] == [other, without]


def test_an_event_that_leaves_pending_is_settled_once(inbox: Inbox) -> None:
    first, second = inbox.append([event(), event()])
    pending = group_of(inbox, first)
    settle(inbox, EventState.DONE, first)
    settled = stored(inbox, first)
    assert settled.settled_at is not None
    inbox.update([EventUpdate(pending, EventState.PARKED, "Too late."), EventUpdate(pending)])
    assert stored(inbox, first) == settled
    assert [one.first_seq for one in inbox.open_events()] == [second]


def test_an_empty_update_changes_nothing(inbox: Inbox) -> None:
    inbox.append([event()])
    before = inbox.open_events()
    inbox.update([])
    assert inbox.open_events() == before


Step = tuple[str | None, int, int, EventState, int, str | None, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["d-one", "d-two", None]),
        st.integers(0, 8),
        st.integers(0, 8),
        st.sampled_from([EventState.PENDING, EventState.PENDING, EventState.DONE, EventState.PARKED]),
        st.integers(0, 2),
        st.sampled_from([None, "a", "b"]),
        st.integers(0, 1),
    ),
    max_size=8,
)


@few_examples()
@given(st.lists(st.sampled_from(["d-one", "d-two", None]), min_size=1, max_size=8), STEPS)
def test_groups_stand_for_exactly_the_events_that_are_alike(
    inbox: Inbox, place: Place, dataset_ids: list[str | None], steps: list[Step]
) -> None:
    place.execute("DELETE FROM _qt_events")
    seqs = inbox.append([event(dataset_id) for dataset_id in dataset_ids])
    # What an event's group is told by: state, dataset, attempts, delivery, looks.
    expected = {
        seq: (EventState.PENDING, dataset_id, 0, None, 0) for seq, dataset_id in zip(seqs, dataset_ids, strict=True)
    }
    for dataset_id, low, high, state, attempts, delivery, looks in steps:
        groups = [group for group in inbox.open_events() if group.dataset_id == dataset_id]
        for group in groups:
            of_group = (group.state, group.dataset_id, group.attempts, group.delivery, group.unchanged_checks)
            alike = [seq for seq, fate in expected.items() if fate == of_group]
            assert (group.first_seq, group.last_seq) == (alike[0], alike[-1])
            part = group.up_to(max(seqs[0] + high, group.first_seq)).beyond(min(seqs[0] + low, group.last_seq - 1))
            if part.first_seq > part.last_seq:
                continue
            inbox.update([EventUpdate(part, state, None, attempts, delivery, looks)])
            expected |= {
                seq: (state, dataset_id, attempts, delivery, looks)
                for seq in alike
                if part.first_seq <= seq <= part.last_seq
            }
            break
    assert {
        one.seq: (one.state, one.dataset_id, one.attempts, one.delivery, one.unchanged_checks) for one in inbox.events()
    } == expected
    for state in (EventState.PENDING, EventState.PARKED):
        assert len(inbox.open_events(state)) == len({fate for fate in expected.values() if fate[0] is state})


@pytest.mark.parametrize("state", [EventState.DONE, EventState.IGNORED, EventState.PARKED])
def test_a_replayed_event_has_a_new_attempt_number_and_all_its_tries(inbox: Inbox, state: EventState) -> None:
    waiting, settled = inbox.append([event(), event()])
    own = group_of(inbox, settled)
    inbox.update(
        [EventUpdate(own, state, "The end.", attempts=5, delivery="d:2:5", unchanged_checks=2, not_before=utc_now())]
    )
    assert inbox.replay([waiting, settled, settled + 4711]) == 1
    replayed = inbox.open_events()[1]
    assert (replayed.first_seq, replayed.attempts, replayed.attempts_before_replay) == (settled, 6, 6)
    assert (replayed.delivery, replayed.unchanged_checks, replayed.not_before) == (None, 0, None)
    assert (stored(inbox, settled).outcome, stored(inbox, settled).settled_at) == (None, None)


def test_a_replay_leaves_pending_events_alone(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    inbox.update([EventUpdate(group_of(inbox, seq), attempts=1, delivery="d-one:1:1")])
    before = inbox.open_events()
    assert inbox.replay([seq]) == 0
    assert inbox.open_events() == before


def test_an_update_after_a_replay_keeps_the_replay_known(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    settle(inbox, EventState.DONE, seq)
    inbox.replay([seq])
    inbox.update([EventUpdate(group_of(inbox, seq), attempts=3, delivery="d-one:1:3")])
    [waiting] = inbox.open_events()
    assert (waiting.attempts, waiting.attempts_before_replay) == (3, 2)


def test_events_are_listed_newest_first_and_filtered(inbox: Inbox) -> None:
    one, two, three = inbox.append([event(), event("d-two"), event()])
    settle(inbox, EventState.PARKED, three)
    assert [found.seq for found in inbox.events()] == [three, two, one]
    assert [found.seq for found in inbox.events(limit=1)] == [three]
    assert [found.seq for found in inbox.events(dataset_id="d-one")] == [three, one]
    assert [found.seq for found in inbox.events(state=EventState.PENDING, dataset_id="d-one")] == [one]


def test_every_state_is_counted(inbox: Inbox) -> None:
    first, _, _ = inbox.append([event(), event(), event()])
    settle(inbox, EventState.IGNORED, first)
    assert inbox.counts() == {
        EventState.PENDING: 2,
        EventState.DONE: 0,
        EventState.IGNORED: 1,
        EventState.PARKED: 0,
    }


def test_a_purge_deletes_what_is_done_or_ignored_and_nothing_else(inbox: Inbox) -> None:
    done, ignored, parked, pending, _ = inbox.append([event()] * 5)
    settle(inbox, EventState.DONE, done)
    settle(inbox, EventState.IGNORED, ignored)
    settle(inbox, EventState.PARKED, parked)
    assert inbox.purge(utc_now(), limit=100) == 2
    assert numbers(inbox) == [parked, pending, pending + 1]


def test_a_purge_keeps_what_was_settled_later(inbox: Inbox) -> None:
    early, late, _ = inbox.append([event()] * 3)
    settle(inbox, EventState.DONE, early)
    between = utc_now()
    settle(inbox, EventState.DONE, late)
    assert inbox.purge(between, limit=100) == 1
    assert late in numbers(inbox)


def test_a_purge_keeps_the_newest_event_of_each_dataset_whatever_its_state(inbox: Inbox) -> None:
    seqs = inbox.append([event("d-one"), event("d-two"), event("d-one"), event("d-two"), event("d-three"), event(None)])
    settle(inbox, EventState.DONE, *seqs)
    highest = {dataset_id: inbox.highest_seq(dataset_id) for dataset_id in ("d-one", "d-two", "d-three")}
    assert inbox.purge(utc_now(), limit=100) == 3
    assert {dataset_id: inbox.highest_seq(dataset_id) for dataset_id in highest} == highest
    assert numbers(inbox) == sorted(highest.values())
    assert inbox.purge(utc_now(), limit=100) == 0


def test_a_purge_is_bounded_as_a_whole_and_in_each_transaction(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(inbox, EventState.IGNORED, *inbox.append([event(None)] * 10))
    monkeypatch.setattr("qt_pipeline.inbox.store._PURGE_BATCH_SIZE", 3)
    assert inbox.purge(utc_now(), limit=7) == 7
    assert len(numbers(inbox)) == 3
    assert inbox.purge(utc_now(), limit=7) == 3


def test_a_number_is_not_used_again_after_a_purge(inbox: Inbox) -> None:
    seqs = inbox.append([event(None), event(None)])
    settle(inbox, EventState.IGNORED, *seqs)
    inbox.purge(utc_now(), limit=100)
    assert numbers(inbox) == []
    [new] = inbox.append([event(None)])
    assert new > max(seqs)


def test_events_and_identity_outlive_the_process(inbox: Inbox, place: Place) -> None:
    inbox.append([event()])
    inbox.close()
    again = open_inbox(place.url)
    assert again.inbox_id == inbox.inbox_id
    assert len(again.events()) == 1
    again.close()


def test_an_inbox_that_lacks_a_column_or_an_index_gets_it_and_keeps_its_events(inbox: Inbox, place: Place) -> None:
    [seq] = inbox.append([event()])
    inbox.close()
    place.make_older()
    again = open_inbox(place.url)
    assert [(group.first_seq, group.unchanged_checks) for group in again.open_events()] == [(seq, 0)]
    again.append([event()])
    again.close()
    # Both are there to be taken away again.
    place.make_older()


def test_a_file_made_by_an_earlier_version_is_brought_up_to_date(sqlite: Sqlite) -> None:
    sqlite.file.parent.mkdir()
    sqlite.execute(
        "CREATE TABLE _qt_events (seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, "
        "name TEXT NOT NULL, dataset_id VARCHAR(100), created TEXT, received_at DATETIME NOT NULL, "
        "source_address TEXT, body BLOB NOT NULL, state VARCHAR(20) NOT NULL, outcome TEXT, "
        "attempts INTEGER NOT NULL, attempts_before_replay INTEGER NOT NULL, delivery TEXT, not_before DATETIME, "
        "settled_at DATETIME)",
        "CREATE INDEX _qt_events_state ON _qt_events (state, seq)",
        "CREATE INDEX _qt_events_dataset ON _qt_events (dataset_id, seq)",
        "CREATE TABLE _qt_inbox (id INTEGER NOT NULL CHECK (id = 1), inbox_id VARCHAR(36) NOT NULL, "
        "checked_at DATETIME, PRIMARY KEY (id))",
        "INSERT INTO _qt_inbox VALUES (1, 'the-same', NULL)",
        "INSERT INTO _qt_events VALUES (7, 'e-7', 'DatasetUpdated', 'd-one', NULL, '2026-01-31 10:00:00.000000', "
        "NULL, X'7B7D', 'pending', NULL, 1, 0, 'd-one:7:1', NULL, NULL)",
    )
    inbox = open_inbox(sqlite.url)
    assert inbox.inbox_id == "the-same"
    [group] = inbox.open_events()
    assert (group.first_seq, group.attempts, group.delivery, group.unchanged_checks) == (7, 1, "d-one:7:1", 0)
    inbox.update([EventUpdate(group, EventState.DONE, attempts=1)])
    assert inbox.append([event()]) == [8]
    assert inbox.purge(utc_now(), limit=1) == 1
    inbox.close()


def test_waiting_ends_with_the_first_newer_event_or_with_the_time(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    assert inbox.newest_seq() == seq
    assert inbox.wait_for_newer(seq - 1, seconds=60)
    assert not inbox.wait_for_newer(seq, seconds=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(inbox.wait_for_newer, seq, seconds=60)
        assert not waiting.done()
        inbox.append([event()])
        assert waiting.result(timeout=60)


def test_updates_are_all_made_or_none(inbox: Inbox) -> None:
    first, second = inbox.append([event("d-one"), event("d-two")])
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # cannot be stored
    changes: Sequence[EventUpdate] = [
        EventUpdate(group_of(inbox, first), EventState.DONE),
        EventUpdate(group_of(inbox, second), not_before=naive),
    ]
    with pytest.raises(Exception, match="time zone"):
        inbox.update(changes)
    assert stored(inbox, first).state is EventState.PENDING


def test_an_event_is_found_by_its_number(inbox: Inbox) -> None:
    seqs = inbox.append([event("d-one"), event("d-two", body=b"two")])
    found = inbox.event(seqs[1])
    assert found is not None
    assert (found.seq, found.dataset_id, found.body) == (seqs[1], "d-two", b"two")
    assert inbox.event(seqs[1] + 1) is None


def test_open_events_are_counted_by_dataset(inbox: Inbox) -> None:
    assert inbox.open_counts() == {}
    seqs = inbox.append([event("d-one"), event("d-one"), event("d-two"), event("d-three"), event(None)])
    settle(inbox, EventState.PARKED, seqs[1])
    settle(inbox, EventState.DONE, seqs[3])
    assert inbox.open_counts() == {
        "d-one": {EventState.PENDING: 1, EventState.PARKED: 1},
        "d-two": {EventState.PENDING: 1, EventState.PARKED: 0},
    }
