import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from qt_pipeline.inbox import EventTooLargeError, Inbox, InboxUnavailableError, NewEvent
from qt_pipeline.relay import GroupCommitWriter, Metrics, QueueSink, app, sinks, writer
from qt_pipeline.relay.rejections import Reason
from qt_pipeline.relay.sinks import BacklogFullError
from qt_pipeline_tests.relay.posting import event
from qt_pipeline_tests.relay.running import TOKEN, StartRelay


def new(event_id: str) -> NewEvent:
    return NewEvent(event_id, "DatasetUpdated", "d-one", None, event(event_id))


class HeldInbox:
    """The inbox, whose commits wait until they may go on."""

    def __init__(self, inbox: Inbox) -> None:
        self.groups: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self._append = inbox.append
        inbox.append = self.append  # type: ignore[method-assign]

    def append(self, events: Sequence[NewEvent]) -> list[int]:
        self.groups.append([one.event_id for one in events])
        self.begun.release()
        assert self.go_on.acquire(timeout=20)
        return self._append(events)

    async def begin(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=20)


def test_events_that_wait_together_share_a_commit_and_get_their_own_numbers(inbox: Inbox) -> None:
    held, metrics = HeldInbox(inbox), Metrics()

    async def accept_all() -> list[int]:
        group_writer = GroupCommitWriter(inbox, metrics)
        first = asyncio.create_task(group_writer.accept(new("0")))
        await held.begin()
        others = [asyncio.create_task(group_writer.accept(new(str(number)))) for number in range(1, 100)]
        await asyncio.sleep(0)
        assert metrics.registry.get_sample_value("qt_relay_events_waiting") == 99
        assert not first.done()
        held.go_on.release(2)
        return await asyncio.gather(first, *others)

    sequences = asyncio.run(accept_all())
    assert [len(group) for group in held.groups] == [1, 99]
    assert {one.seq: one.event_id for one in inbox.events(limit=200)} == {
        sequence: str(number) for number, sequence in enumerate(sequences)
    }
    assert metrics.registry.get_sample_value("qt_relay_events_accepted_total") == 100
    assert metrics.registry.get_sample_value("qt_relay_group_events_sum") == 100
    assert metrics.registry.get_sample_value("qt_relay_commit_seconds_count") == 2


def test_a_commit_that_fails_fails_all_of_its_group_and_no_other(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    append = inbox.append

    def fail_for_poison(events: Sequence[NewEvent]) -> list[int]:
        if any(one.event_id == "poison" for one in events):
            raise InboxUnavailableError("It is out of reach.")
        return append(events)

    monkeypatch.setattr(inbox, "append", fail_for_poison)

    async def accept_all() -> list[int | BaseException]:
        group_writer = GroupCommitWriter(inbox, Metrics())
        group = asyncio.gather(*(group_writer.accept(new(name)) for name in ("a", "poison")), return_exceptions=True)
        refused = await group
        return [*refused, await group_writer.accept(new("b"))]

    first, second, third = asyncio.run(accept_all())
    assert isinstance(first, InboxUnavailableError)
    assert isinstance(second, InboxUnavailableError)
    assert isinstance(third, int)
    assert [one.event_id for one in inbox.events()] == ["b"]


def test_a_caller_who_went_away_hinders_nobody(inbox: Inbox) -> None:
    held = HeldInbox(inbox)

    async def accept_all() -> int:
        group_writer = GroupCommitWriter(inbox, Metrics())
        blocker = asyncio.create_task(group_writer.accept(new("blocker")))
        await held.begin()
        gone, stays = (asyncio.create_task(group_writer.accept(new(name))) for name in ("gone", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        held.go_on.release(2)
        await blocker
        return await stays

    sequence = asyncio.run(accept_all())
    assert {one.seq: one.event_id for one in inbox.events()}[sequence] == "stays"


def test_a_full_relay_refuses_at_once_and_recovers(
    inbox: Inbox, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_BACKLOG", 2)
    held, relay = HeldInbox(inbox), start_relay([TOKEN])
    senders = [threading.Thread(target=relay.post, args=(event(str(number)),)) for number in range(3)]
    senders[0].start()
    assert held.begun.acquire(timeout=20)
    for sender in senders[1:]:
        sender.start()
    while relay.metrics.registry.get_sample_value("qt_relay_events_waiting") != 2:
        threading.Event().wait(0.01)
    refused = relay.post(event("too many"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    assert relay.refused(Reason.FULL) == 1
    held.go_on.release(10)
    for sender in senders:
        sender.join(20)
    assert relay.post(event("after")).status_code == 202
    assert {one.event_id for one in inbox.events()} == {"0", "1", "2", "after"}


class MemoryQueue:
    """Stands for the queue of a server; what is asked of it is little."""

    def __init__(self) -> None:
        self.kept: list[NewEvent] = []
        self.error: Exception | None = None

    def put(self, event: NewEvent) -> None:
        self.check()
        self.kept.append(event)

    def check(self) -> None:
        if self.error is not None:
            raise self.error


def test_an_event_in_the_queue_is_acknowledged_without_a_number(start_relay: StartRelay) -> None:
    queue = MemoryQueue()
    relay = start_relay([TOKEN], intake=QueueSink(queue, Metrics()))
    answer = relay.post(event("e-1"))
    assert (answer.status_code, answer.json()) == (202, {})
    assert [(kept.event_id, kept.body, kept.source_address) for kept in queue.kept] == [
        ("e-1", event("e-1"), "127.0.0.1")
    ]


@pytest.mark.parametrize(
    ("error", "status"), [(InboxUnavailableError("Out of reach."), 503), (EventTooLargeError("Too large."), 413)]
)
def test_an_event_that_the_queue_does_not_keep_is_refused(
    start_relay: StartRelay, error: Exception, status: int
) -> None:
    queue = MemoryQueue()
    queue.error = error
    relay = start_relay([TOKEN], intake=QueueSink(queue, Metrics()))
    assert relay.post(event("e-1")).status_code == status
    queue.error = None
    assert relay.post(event("e-2")).status_code == 202


class CheckedQueue(MemoryQueue):
    """Counts how often it is looked at, and takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.checks = 0
        self.go_on = threading.Event()

    def check(self) -> None:
        self.checks += 1
        assert self.go_on.wait(20)
        super().check()


def test_one_check_serves_all_who_ask_whether_the_relay_is_ready(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_GOOD_SECONDS", 60)
    queue = CheckedQueue()
    relay = start_relay([TOKEN], intake=QueueSink(queue, Metrics()))
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(relay.call, "GET", "/readyz") for _ in range(10)]
        time.sleep(0.3)
        queue.go_on.set()
        assert {answer.result().status_code for answer in asked} == {200}
    assert relay.call("GET", "/readyz").status_code == 200
    assert queue.checks == 1


def test_bad_news_are_looked_at_again(start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_GOOD_SECONDS", 60)
    queue = MemoryQueue()
    queue.error = InboxUnavailableError("Out of reach.")
    relay = start_relay([TOKEN], intake=QueueSink(queue, Metrics()))
    assert relay.call("GET", "/readyz").status_code == 503
    queue.error = None
    assert relay.call("GET", "/readyz").status_code == 200


def test_what_waits_for_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "MAX_BACKLOG", 0)
    with pytest.raises(BacklogFullError):
        asyncio.run(QueueSink(MemoryQueue(), Metrics()).accept(new("e-1")))
