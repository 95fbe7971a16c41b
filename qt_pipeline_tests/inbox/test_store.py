from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qt_pipeline.inbox import EventState, EventUpdate, Inbox, NewEvent, open_inbox
from qt_pipeline.values import utc_now


def event(dataset_id: str | None = "d-one", *, body: bytes = b"{}") -> NewEvent:
    return NewEvent("e-1", "DatasetUpdated", dataset_id, "yesterday", body, "127.0.0.1")


def test_an_appended_event_is_stored_as_it_came(inbox: Inbox) -> None:
    before = utc_now()
    [seq] = inbox.append([event(body=b"\x00\xff raw")])
    [stored] = inbox.events()
    assert (stored.seq, stored.event_id, stored.name, stored.dataset_id, stored.created, stored.body) == (
        *(seq, "e-1", "DatasetUpdated", "d-one"),
        *("yesterday", b"\x00\xff raw"),
    )
    assert (stored.state, stored.outcome, stored.attempts, stored.delivery) == (EventState.PENDING, None, 0, None)
    assert stored.source_address == "127.0.0.1"
    assert before <= stored.received_at <= utc_now()


def test_nothing_appended_is_nothing_stored(inbox: Inbox) -> None:
    assert inbox.append([]) == []
    assert inbox.pending() == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=300), max_size=5), max_size=5))
def test_events_come_back_byte_for_byte_in_the_order_of_their_numbers(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]]
) -> None:
    inbox = open_inbox(f"sqlite:///{tmp_path_factory.mktemp('inbox')}/inbox.db")
    seqs = [seq for batch in batches for seq in inbox.append([event(body=body) for body in batch])]
    bodies = [body for batch in batches for body in batch]
    stored = inbox.events(limit=1000)[::-1]
    inbox.close()
    assert seqs == sorted(set(seqs))
    assert [(one.seq, one.body) for one in stored] == list(zip(seqs, bodies, strict=True))


def test_a_large_batch_keeps_its_order(inbox: Inbox) -> None:
    seqs = inbox.append([event(body=str(number).encode()) for number in range(3000)])
    stored = {one.seq: one.body for one in inbox.events(limit=3000)}
    assert [stored[seq] for seq in seqs] == [str(number).encode() for number in range(3000)]
    assert seqs == sorted(seqs)


def test_pending_is_ordered_by_number_and_bounded(inbox: Inbox) -> None:
    seqs = inbox.append([event(), event("d-two"), event(None)])
    assert [(one.seq, one.dataset_id) for one in inbox.pending()] == list(
        zip(seqs, ["d-one", "d-two", None], strict=True)
    )
    assert [one.seq for one in inbox.pending(limit=2)] == seqs[:2]


def test_the_highest_number_of_a_dataset_counts_every_state(inbox: Inbox) -> None:
    assert inbox.highest_seq("d-one") == 0
    _, newest, _ = inbox.append([event(), event(), event("d-two")])
    inbox.update([EventUpdate(newest, EventState.PARKED)])
    assert inbox.highest_seq("d-one") == newest


def test_an_update_replaces_the_whole_changeable_state(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    not_before = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=9)))
    inbox.update([EventUpdate(seq, outcome="It failed.", attempts=2, delivery="d-one:1:2", not_before=not_before)])
    [waiting] = inbox.pending()
    assert (waiting.attempts, waiting.delivery, waiting.not_before) == (2, "d-one:1:2", not_before)
    assert waiting.not_before is not None
    assert waiting.not_before.tzinfo is UTC
    inbox.update([EventUpdate(seq)])
    [waiting] = inbox.pending()
    assert (waiting.attempts, waiting.delivery, waiting.not_before) == (0, None, None)
    assert inbox.events()[0].outcome is None


def test_a_moment_without_time_zone_is_refused(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    with pytest.raises(Exception, match="without a time zone"):
        inbox.update([EventUpdate(seq, not_before=datetime(2026, 1, 1))])  # noqa: DTZ001  # the fault under test


def test_an_event_that_leaves_pending_is_settled_once(inbox: Inbox) -> None:
    first, second = inbox.append([event(), event()])
    inbox.update([EventUpdate(first, EventState.DONE, "Loaded.", attempts=1), EventUpdate(second, attempts=1)])
    settled = next(one for one in inbox.events() if one.seq == first)
    assert settled.settled_at is not None
    inbox.update([EventUpdate(first, EventState.PARKED, "Too late."), EventUpdate(first)])
    assert next(one for one in inbox.events() if one.seq == first) == settled
    assert [one.seq for one in inbox.pending()] == [second]


def test_an_empty_update_changes_nothing(inbox: Inbox) -> None:
    inbox.append([event()])
    inbox.update([])
    assert len(inbox.pending()) == 1


@pytest.mark.parametrize("state", [EventState.DONE, EventState.IGNORED, EventState.PARKED])
def test_a_replayed_event_has_a_new_attempt_number_and_all_its_tries(inbox: Inbox, state: EventState) -> None:
    waiting, settled = inbox.append([event(), event()])
    inbox.update([EventUpdate(settled, state, "The end.", attempts=5, delivery="d-one:2:5", not_before=utc_now())])
    assert inbox.replay([waiting, settled, 4711]) == 1
    replayed = inbox.pending()[1]
    assert (replayed.attempts, replayed.attempts_before_replay) == (6, 6)
    assert (replayed.delivery, replayed.not_before) == (None, None)
    stored = inbox.events()[0]
    assert (stored.outcome, stored.settled_at) == (None, None)


def test_a_replay_leaves_pending_events_alone(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    inbox.update([EventUpdate(seq, attempts=1, delivery="d-one:1:1")])
    before = inbox.pending()
    assert inbox.replay([seq]) == 0
    assert inbox.pending() == before


def test_an_update_after_a_replay_keeps_the_replay_known(inbox: Inbox) -> None:
    [seq] = inbox.append([event()])
    inbox.update([EventUpdate(seq, EventState.DONE)])
    inbox.replay([seq])
    inbox.update([EventUpdate(seq, attempts=2, delivery="d-one:1:2")])
    [waiting] = inbox.pending()
    assert (waiting.attempts, waiting.attempts_before_replay) == (2, 1)


def test_events_are_listed_newest_first_and_filtered(inbox: Inbox) -> None:
    one, two, three = inbox.append([event(), event("d-two"), event()])
    inbox.update([EventUpdate(three, EventState.PARKED)])
    assert [stored.seq for stored in inbox.events()] == [three, two, one]
    assert [stored.seq for stored in inbox.events(limit=1)] == [three]
    assert [stored.seq for stored in inbox.events(dataset_id="d-one")] == [three, one]
    assert [stored.seq for stored in inbox.events(state=EventState.PENDING, dataset_id="d-one")] == [one]


def test_every_state_is_counted(inbox: Inbox) -> None:
    first, _, _ = inbox.append([event(), event(), event()])
    inbox.update([EventUpdate(first, EventState.IGNORED, "Not supported event: PipelineCompleted")])
    assert inbox.counts() == {
        EventState.PENDING: 2,
        EventState.DONE: 0,
        EventState.IGNORED: 1,
        EventState.PARKED: 0,
    }


def test_events_and_identity_outlive_the_process(inbox: Inbox, file: Path) -> None:
    inbox.append([event()])
    inbox.close()
    again = open_inbox(f"sqlite:///{file}")
    assert again.inbox_id == inbox.inbox_id
    assert len(again.pending()) == 1
    again.close()


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
