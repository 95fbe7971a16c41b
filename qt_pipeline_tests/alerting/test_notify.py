"""What goes out when: in whole conversations with addresses that take messages or do not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.alerting import (
    Address,
    AlertKind,
    AlertRouting,
    AlertState,
    FinishedRun,
    Message,
    MessageContext,
    Observations,
    PendingNotifications,
    Sender,
    SendResult,
    notify,
    observe,
)
from qt_pipeline.errors import FailureScope

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
TICK = timedelta(seconds=20)
HOUR = timedelta(hours=1)


@dataclass(eq=False)
class Known:
    """An address that keeps what it takes."""

    key: str = "somebody"
    label: str = "address 1"
    takes: bool = True
    received: list[tuple[datetime, Message]] = field(default_factory=list)
    now: datetime = NOW

    def send(self, message: Message) -> bool:
        if self.takes:
            self.received.append((self.now, message))
        return self.takes

    @property
    def titles(self) -> list[str]:
        return [message.title.removeprefix("[qt_pipeline] ") for _, message in self.received]


class AtOnce(Sender):
    """Without threads: thousands of messages in a second."""

    def deliver(self, messages: Mapping[Address, Message]) -> list[SendResult]:
        return [
            SendResult(a, "" if a.send(message) else "it did not take the message") for a, message in messages.items()
        ]


def background(_owed: Sequence[PendingNotifications]) -> MessageContext:
    return MessageContext(names={}, causes={}, parked={}, dagster_url="http://127.0.0.1:3000")


class Conversation:
    """Ticks one after the other, each with the runs that ended before it."""

    def __init__(self, *addresses: Known, per_hour: int = 20) -> None:
        self.addresses = addresses
        self.state = AlertState()
        self.now = NOW
        self.kept: list[AlertState] = []
        self.per_hour = per_hour
        self._runs = 0

    def tick(
        self,
        *,
        failed: Iterable[str] = (),
        well: Iterable[str] = (),
        concerns: FailureScope = FailureScope.DATASET,
        after: timedelta = TICK,
    ) -> None:
        self.now += after
        for address in self.addresses:
            address.now = self.now
        runs = [self._run(d, failed=True, concerns=concerns) for d in failed]
        runs += [self._run(d, failed=False) for d in well]
        self.state = AlertState(
            self.state.checkpoint, observe(self.state.incidents, Observations(runs=runs), now=self.now)
        )
        post = AlertRouting(self.addresses, AtOnce(), self.per_hour)
        self.state, _ = notify(self.state, post, now=self.now, keep=self._keep, background=background)

    def _keep(self, _before: AlertState, after: AlertState) -> None:
        self.kept.append(after)

    def _run(self, dataset_id: str, *, failed: bool, concerns: FailureScope = FailureScope.DATASET) -> FinishedRun:
        self._runs += 1
        return FinishedRun(f"run-{self._runs}", dataset_id, self.now, failed, concerns)


def test_an_outage_of_many_failing_runs_is_one_alert_and_one_recovery() -> None:
    somebody = Known()
    conversation = Conversation(somebody)
    for n in range(10):
        conversation.tick(failed=[f"d-{n % 5}"], concerns=FailureScope.TARGET)
    conversation.tick(well=["d-0", "d-1"])
    assert somebody.titles == ["The target database fails: 1 dataset does not load"]
    conversation.tick(well=["d-2", "d-3", "d-4"])
    assert somebody.titles[1:] == ["The target database is well again"]
    assert "10 runs of 5 datasets failed" in somebody.received[1][1].body
    assert conversation.state.incidents == {}


@pytest.mark.parametrize("concerns", [FailureScope.DATASET, FailureScope.TARGET])
def test_a_thousand_datasets_that_fail_together_are_one_message(concerns: FailureScope) -> None:
    somebody = Known()
    conversation = Conversation(somebody)
    conversation.tick(failed=[f"d-{n:04}" for n in range(1000)], concerns=concerns)
    conversation.tick(well=[f"d-{n:04}" for n in range(1000)])
    alert, recovery = (message for _, message in somebody.received)
    assert "1000" in alert.title
    assert "990 more" in alert.body
    assert len(alert.body) < 4000
    assert len(recovery.body) < 4000


def test_datasets_that_fail_one_after_the_other_are_as_many_messages_as_the_bound_allows() -> None:
    somebody = Known()
    conversation = Conversation(somebody, per_hour=5)
    for n in range(100):
        conversation.tick(failed=[f"d-{n:04}"])
    assert len(somebody.received) == 5
    conversation.tick(after=HOUR)
    assert len(somebody.received) == 6
    assert somebody.titles[-1] == "95 alerts"


def test_what_the_bound_held_back_is_told_with_the_next_message_and_what_ended_meanwhile_never() -> None:
    somebody = Known()
    conversation = Conversation(somebody, per_hour=1)
    conversation.tick(failed=["d-one"])
    conversation.tick(failed=["d-two", "d-three"])
    conversation.tick(well=["d-one", "d-two"])
    conversation.tick(after=HOUR)
    assert somebody.titles == ["d-one does not load", "d-three does not load; 1 is over"]
    assert "d-one loads again" in somebody.received[1][1].body
    assert "d-two" not in somebody.received[1][1].body


def test_what_an_address_does_not_take_is_tried_again_later_and_more_and_more_seldom() -> None:
    somebody, other = Known(takes=False), Known(key="other", label="address 2")
    conversation = Conversation(somebody, other)
    conversation.tick(failed=["d-one"])
    for _ in range(100):
        conversation.tick()
    assert other.titles == ["d-one does not load"]
    contact = conversation.state.checkpoint.contacts[somebody.key]
    assert contact.not_before is not None
    assert 5 < contact.failures < 12
    assert contact.sent == ()
    somebody.takes = True
    conversation.tick(after=timedelta(minutes=10))
    assert somebody.titles == ["d-one does not load"]
    assert other.titles == ["d-one does not load"]


def test_a_message_is_counted_and_kept_as_not_told_before_it_is_sent() -> None:
    class Dying(Known):
        def send(self, message: Message) -> bool:
            raise SystemExit(message.title)

    conversation = Conversation(Dying())
    with pytest.raises(SystemExit):
        conversation.tick(failed=["d-one"])
    [kept] = conversation.kept
    assert kept.incidents[AlertKind.NOT_LOADED, "d-one"].notified == frozenset()
    assert len(kept.checkpoint.contacts["somebody"].sent) == 1


ticks = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["d-one", "d-two", "d-three", "d-four"])),
        st.sets(st.sampled_from(["d-one", "d-two", "d-three", "d-four"])),
        st.sampled_from([FailureScope.DATASET, FailureScope.TARGET]),
        st.booleans(),
        st.integers(1, 20),
    ),
    max_size=40,
)


@given(ticks, st.integers(1, 3))
def test_never_more_than_the_bound_and_nothing_is_lost_that_was_not_taken(
    ticks: list[tuple[set[str], set[str], FailureScope, bool, int]], per_hour: int
) -> None:
    somebody = Known()
    conversation = Conversation(somebody, per_hour=per_hour)
    for failed, well, concerns, takes, minutes in ticks:
        somebody.takes = takes
        conversation.tick(failed=failed, well=well - failed, concerns=concerns, after=minutes * timedelta(minutes=1))
    moments = [moment for moment, _ in somebody.received]
    for moment in moments:
        assert sum(moment - HOUR < other <= moment for other in moments) <= per_hour
    # Once it takes messages again, it is told of all that is open, and then that all of it is over.
    somebody.takes = True
    conversation.tick(after=2 * HOUR)
    for incident in conversation.state.incidents.values():
        assert incident.is_open
        words = f"{incident.subject} does not load" if incident.subject else "The target database fails"
        assert any(words in text for moment, text in _texts(somebody) if moment >= incident.opened_at)
    conversation.tick(well=["d-one", "d-two", "d-three", "d-four"], after=2 * HOUR)
    assert conversation.state.incidents == {}


def _texts(address: Known) -> list[tuple[datetime, str]]:
    return [(moment, f"{message.title} {message.body}") for moment, message in address.received]
