"""When messages are sent, over many ticks, to addresses that accept or reject them."""

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
class FakeAddress:
    """An address that keeps accepted messages."""

    key: str = "somebody"
    label: str = "address 1"
    accepts: bool = True
    received: list[tuple[datetime, Message]] = field(default_factory=list)
    now: datetime = NOW

    def send(self, message: Message) -> bool:
        if self.accepts:
            self.received.append((self.now, message))
        return self.accepts

    @property
    def titles(self) -> list[str]:
        return [message.title.removeprefix("[qt_pipeline] ") for _, message in self.received]


class SynchronousSender(Sender):
    """A sender without threads: it sends thousands of messages per second."""

    def deliver(self, messages: Mapping[Address, Message]) -> list[SendResult]:
        return [
            SendResult(a, "" if a.send(message) else "it did not accept the message") for a, message in messages.items()
        ]


def load_context(_pending: Sequence[PendingNotifications]) -> MessageContext:
    return MessageContext(names={}, causes={}, parked={}, dagster_url="http://127.0.0.1:3000")


class Conversation:
    """Consecutive ticks, each with the runs that finished before it."""

    def __init__(self, *addresses: FakeAddress, per_hour: int = 20) -> None:
        self.addresses = addresses
        self.state = AlertState()
        self.now = NOW
        self.saved: list[AlertState] = []
        self.per_hour = per_hour
        self._runs = 0

    def tick(
        self,
        *,
        failed: Iterable[str] = (),
        well: Iterable[str] = (),
        scope: FailureScope = FailureScope.DATASET,
        after: timedelta = TICK,
    ) -> None:
        self.now += after
        for address in self.addresses:
            address.now = self.now
        runs = [self._run(d, failed=True, scope=scope) for d in failed]
        runs += [self._run(d, failed=False) for d in well]
        self.state = AlertState(
            self.state.checkpoint, observe(self.state.incidents, Observations(runs=runs), now=self.now)
        )
        routing = AlertRouting(self.addresses, SynchronousSender(), self.per_hour)
        self.state, _ = notify(self.state, routing, now=self.now, save=self._save, load_context=load_context)

    def _save(self, _before: AlertState, after: AlertState) -> None:
        self.saved.append(after)

    def _run(self, dataset_id: str, *, failed: bool, scope: FailureScope = FailureScope.DATASET) -> FinishedRun:
        self._runs += 1
        return FinishedRun(f"run-{self._runs}", dataset_id, self.now, failed, scope)


def test_an_outage_of_many_failing_runs_is_one_alert_and_one_recovery() -> None:
    somebody = FakeAddress()
    conversation = Conversation(somebody)
    for n in range(10):
        conversation.tick(failed=[f"d-{n % 5}"], scope=FailureScope.TARGET)
    conversation.tick(well=["d-0", "d-1"])
    assert somebody.titles == ["The target database fails: 1 dataset does not load"]
    conversation.tick(well=["d-2", "d-3", "d-4"])
    assert somebody.titles[1:] == ["The target database works again"]
    assert "10 failed runs of 5 datasets" in somebody.received[1][1].body
    assert conversation.state.incidents == {}


@pytest.mark.parametrize("scope", [FailureScope.DATASET, FailureScope.TARGET])
def test_a_thousand_datasets_that_fail_together_are_one_message(scope: FailureScope) -> None:
    somebody = FakeAddress()
    conversation = Conversation(somebody)
    conversation.tick(failed=[f"d-{n:04}" for n in range(1000)], scope=scope)
    conversation.tick(well=[f"d-{n:04}" for n in range(1000)])
    alert, recovery = (message for _, message in somebody.received)
    assert "1000" in alert.title
    assert "990 more" in alert.body
    assert len(alert.body) < 4000
    assert len(recovery.body) < 4000


def test_the_rate_limit_bounds_messages_about_consecutive_failures() -> None:
    somebody = FakeAddress()
    conversation = Conversation(somebody, per_hour=5)
    for n in range(100):
        conversation.tick(failed=[f"d-{n:04}"])
    assert len(somebody.received) == 5
    conversation.tick(after=HOUR)
    assert len(somebody.received) == 6
    assert somebody.titles[-1] == "95 alerts"


def test_the_next_message_contains_delayed_alerts_that_are_still_open() -> None:
    somebody = FakeAddress()
    conversation = Conversation(somebody, per_hour=1)
    conversation.tick(failed=["d-one"])
    conversation.tick(failed=["d-two", "d-three"])
    conversation.tick(well=["d-one", "d-two"])
    conversation.tick(after=HOUR)
    assert somebody.titles == ["d-one does not load", "d-three does not load; 1 recovered"]
    assert "d-one loads again" in somebody.received[1][1].body
    assert "d-two" not in somebody.received[1][1].body


def test_a_rejected_message_is_retried_with_growing_delays() -> None:
    somebody, other = FakeAddress(accepts=False), FakeAddress(key="other", label="address 2")
    conversation = Conversation(somebody, other)
    conversation.tick(failed=["d-one"])
    for _ in range(100):
        conversation.tick()
    assert other.titles == ["d-one does not load"]
    contact = conversation.state.checkpoint.contacts[somebody.key]
    assert contact.not_before is not None
    assert 5 < contact.failures < 12
    assert contact.sent == ()
    somebody.accepts = True
    conversation.tick(after=timedelta(minutes=10))
    assert somebody.titles == ["d-one does not load"]
    assert other.titles == ["d-one does not load"]


def test_a_message_is_counted_and_saved_as_pending_before_it_is_sent() -> None:
    class Dying(FakeAddress):
        def send(self, message: Message) -> bool:
            raise SystemExit(message.title)

    conversation = Conversation(Dying())
    with pytest.raises(SystemExit):
        conversation.tick(failed=["d-one"])
    [saved] = conversation.saved
    assert saved.incidents[AlertKind.NOT_LOADED, "d-one"].notified == frozenset()
    assert len(saved.checkpoint.contacts["somebody"].sent) == 1


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
def test_the_rate_limit_holds_and_no_rejected_message_is_lost(
    ticks: list[tuple[set[str], set[str], FailureScope, bool, int]], per_hour: int
) -> None:
    somebody = FakeAddress()
    conversation = Conversation(somebody, per_hour=per_hour)
    for failed, well, scope, accepts, minutes in ticks:
        somebody.accepts = accepts
        conversation.tick(failed=failed, well=well - failed, scope=scope, after=minutes * timedelta(minutes=1))
    sent_times = [sent_at for sent_at, _ in somebody.received]
    for sent_at in sent_times:
        assert sum(sent_at - HOUR < other <= sent_at for other in sent_times) <= per_hour
    # Once the address accepts messages again, it gets all open incidents, and then all recoveries.
    somebody.accepts = True
    conversation.tick(after=2 * HOUR)
    for incident in conversation.state.incidents.values():
        assert incident.is_open
        headline = f"{incident.subject} does not load" if incident.subject else "The target database fails"
        assert any(headline in text for sent_at, text in _texts(somebody) if sent_at >= incident.opened_at)
    conversation.tick(well=["d-one", "d-two", "d-three", "d-four"], after=2 * HOUR)
    assert conversation.state.incidents == {}


def _texts(address: FakeAddress) -> list[tuple[datetime, str]]:
    return [(sent_at, f"{message.title} {message.body}") for sent_at, message in address.received]
