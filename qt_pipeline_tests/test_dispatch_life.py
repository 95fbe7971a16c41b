"""Whole lives of an inbox: events, ticks, crashes, runs and people in any order, and what must be true of each."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from qt_pipeline.dispatch import Delivery, KnownRun, Plan, Policy, RunState, plan
from qt_pipeline.inbox import EventState, NewEvent, PendingEvent, open_inbox

DATASETS = ("d-1", "d-2", "d-3")
# One request a tick, so that datasets have to wait for each other.
POLICY = Policy(attempts=3, delay=timedelta(seconds=30), requests=1)
UNHANDLED = "PipelineCompleted"

Crash = Literal["nowhere", "before the inbox is written", "before the run is asked for"]


@dataclass
class Run:
    """A run as Dagster and its own process know it. Moments are steps of the life."""

    number: int
    dataset_id: str
    key: str | None
    state: RunState = RunState.IN_FLIGHT
    through_seq: int | None = None
    download_began: int = 0
    is_published: bool = False

    @property
    def known(self) -> KnownRun:
        return KnownRun(f"run-{self.number}", self.dataset_id, self.state, self.key)


@dataclass(frozen=True)
class Load:
    """A publish, and when the download of its file began."""

    dataset_id: str
    through_seq: int
    download_began: int
    of_its_own_run: bool


class Life(RuleBasedStateMachine):
    """A real inbox, the real plan, and a model of everything around them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.inbox = open_inbox(f"sqlite:///{self.folder.name}/inbox.db")
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.step = 0
        self.asked_at: dict[int, int] = {}
        self.runs: list[Run] = []
        self.loads: list[Load] = []
        self.keys: set[str] = set()

    # What happens around the sensor.

    @rule(dataset_id=st.sampled_from(DATASETS), count=st.integers(1, 3))
    def events_arrive(self, dataset_id: str, count: int) -> None:
        self._append("DatasetUpdated", dataset_id, count)

    @rule()
    def an_event_of_another_type_arrives(self) -> None:
        self._append(UNHANDLED, None, 1)

    @rule(seconds=st.sampled_from([5, 30, 60, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(choice=st.integers(0))
    def a_person_replays_an_event(self, choice: int) -> None:
        settled = [event for event in self.inbox.events(limit=1000) if event.state is not EventState.PENDING]
        if settled:
            seq = settled[choice % len(settled)].seq
            assert self.inbox.replay([seq]) == 1
            self.asked_at[seq] = self._next_step()

    @rule(dataset_id=st.sampled_from(DATASETS))
    def a_person_starts_a_run(self, dataset_id: str) -> None:
        self._start(dataset_id, key=None)

    @rule(dataset_id=st.sampled_from(DATASETS))
    def a_person_runs_the_table_alone(self, dataset_id: str) -> None:
        landed = [run for run in self.runs if run.dataset_id == dataset_id and run.through_seq is not None]
        if landed and self._executing(dataset_id) is None and not self._is_stale(landed[-1]):
            self._publish(landed[-1], self._start(dataset_id, key=None)).state = RunState.SUCCEEDED

    @rule(choice=st.integers(0))
    def a_person_repeats_a_failed_run_from_its_failure(self, choice: int) -> None:
        # Dagster gives the new run the tags of the old one, its delivery among them.
        failed = [run for run in self.runs if run.state is RunState.FAILED and run.through_seq is not None]
        if failed:
            old = failed[choice % len(failed)]
            if self._executing(old.dataset_id) is None and not self._is_stale(old):
                self._publish(old, self._start(old.dataset_id, old.key)).state = RunState.SUCCEEDED

    # What becomes of runs.

    @rule(choice=st.integers(0))
    def a_run_goes_on(self, choice: int) -> None:
        if in_flight := self._in_flight():
            self._go_on(in_flight[choice % len(in_flight)])

    @rule(choice=st.integers(0), state=st.sampled_from([RunState.FAILED, RunState.CANCELED]))
    def a_run_ends_badly(self, choice: int, state: RunState) -> None:
        # At any point: also after its publish, before Dagster heard of it.
        if in_flight := self._in_flight():
            in_flight[choice % len(in_flight)].state = state

    # The sensor.

    @rule(
        crash=st.sampled_from(["nowhere", "before the inbox is written", "before the run is asked for"]),
        target_is_known=st.sampled_from([True, True, False]),
    )
    def tick(self, crash: Crash = "nowhere", *, target_is_known: bool = True) -> None:
        events = self.inbox.pending()
        decided = self._decide(events, target_is_known=target_is_known)
        self._check(decided, events)
        if crash == "before the inbox is written":
            return
        self.inbox.update(decided.updates)
        self._check_keys(decided)
        if crash == "before the run is asked for":
            return
        for delivery in decided.deliveries:
            self._submit(delivery)

    def _decide(self, events: Sequence[PendingEvent], *, target_is_known: bool) -> Plan:
        keys = {event.delivery for event in events} - {None}
        known = [run.known for run in reversed(self.runs) if run.state is RunState.IN_FLIGHT or run.key in keys]
        published: dict[str, int] = {}
        for load in self.loads:
            if load.of_its_own_run:
                published[load.dataset_id] = max(load.through_seq, published.get(load.dataset_id, 0))
        return plan(events, known, published if target_is_known else None, now=self.now, policy=POLICY)

    def _check(self, decided: Plan, events: Sequence[PendingEvent]) -> None:
        by_seq = {event.seq: event for event in events}
        for update in decided.updates:
            event = by_seq[update.seq]
            assert update.attempts - event.attempts_before_replay <= POLICY.attempts
            match update.state:
                case EventState.DONE:
                    assert self._is_shown(event)
                case EventState.IGNORED:
                    assert (event.name, update.outcome) == (UNHANDLED, f"Not supported event: {UNHANDLED}")
                case EventState.PARKED:
                    ended = [run.state for run in self.runs if run.key == event.delivery]
                    spent = event.attempts - event.attempts_before_replay == POLICY.attempts
                    assert spent or RunState.CANCELED in ended
                case EventState.PENDING:
                    assert event.name != UNHANDLED

    def _check_keys(self, decided: Plan) -> None:
        """A key is new, or belongs to a delivery that was never submitted."""
        written = {update.delivery for update in decided.updates if update.state is EventState.PENDING}
        for delivery in decided.deliveries:
            assert not any(run.key == delivery.key for run in self.runs)
            assert (delivery.key in self.keys) != (delivery.key in written)
            self.keys.add(delivery.key)

    def _submit(self, delivery: Delivery) -> None:
        assert not any(run.dataset_id == delivery.dataset_id for run in self._in_flight())
        waiting = {event.seq for event in self.inbox.pending() if event.delivery == delivery.key}
        assert waiting == set(delivery.events)
        self._start(delivery.dataset_id, delivery.key)

    def _is_shown(self, event: PendingEvent) -> bool:
        """Whether a load was published whose download began after the event arrived, or was replayed."""
        return any(
            load.dataset_id == event.dataset_id and load.download_began > self.asked_at[event.seq]
            for load in self.loads
        )

    # The model.

    def _next_step(self) -> int:
        self.step += 1
        return self.step

    def _append(self, name: str, dataset_id: str | None, count: int) -> None:
        event = NewEvent("e", name, dataset_id, None, b"{}")
        for seq in self.inbox.append([event] * count):
            self.asked_at[seq] = self._next_step()

    def _in_flight(self) -> list[Run]:
        return [run for run in self.runs if run.state is RunState.IN_FLIGHT]

    def _executing(self, dataset_id: str) -> Run | None:
        going = (run for run in self._in_flight() if run.dataset_id == dataset_id and run.through_seq is not None)
        return next(going, None)

    def _start(self, dataset_id: str, key: str | None) -> Run:
        run = Run(len(self.runs) + 1, dataset_id, key)
        self.runs.append(run)
        return run

    def _go_on(self, run: Run) -> None:
        if run.through_seq is None:
            # One run for each dataset at a time: Dagster's queue holds the others back.
            if self._executing(run.dataset_id) is None:
                run.through_seq, run.download_began = self.inbox.highest_seq(run.dataset_id), self._next_step()
        elif run.is_published:
            run.state = RunState.SUCCEEDED
        elif self._is_stale(run):
            run.state = RunState.FAILED
        else:
            self._publish(run, run)

    def _is_stale(self, landed: Run) -> bool:
        return any(
            load.dataset_id == landed.dataset_id and load.through_seq > (landed.through_seq or 0) for load in self.loads
        )

    def _publish(self, landed: Run, by: Run) -> Run:
        own = landed is by
        self.loads.append(Load(by.dataset_id, landed.through_seq or 0, landed.download_began, own))
        by.is_published = True
        return by

    def teardown(self) -> None:
        """Whatever happened: once all is well again, every event comes to its end."""
        for _ in range(20 * len(DATASETS)):
            while in_flight := self._in_flight():
                for run in in_flight:
                    self._go_on(run)
            self.tick()
            self.now += timedelta(hours=1)
        counts = self.inbox.counts()
        assert counts[EventState.PENDING] == 0
        assert not self._in_flight()
        assert all(
            (event.state is EventState.IGNORED) == (event.name == UNHANDLED) for event in self.inbox.events(limit=1000)
        )
        self.inbox.close()
        self.folder.cleanup()


def test_in_every_life_each_event_comes_to_its_right_end_and_no_key_is_used_twice() -> None:
    run_state_machine_as_test(Life, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
