"""Whole lives of an inbox: events, ticks, crashes, runs and people in any order, and what must be true of each."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from qt_pipeline.dispatch import Delivery, KnownRun, Plan, Policy, RunState, plan
from qt_pipeline.inbox import EventState, NewEvent, OpenEvents, open_inbox
from qt_pipeline.warehouse import LoadProgress

DATASETS = ("d-1", "d-2", "d-3")
# Fewer requests a tick than datasets, so that these have to wait for each other.
POLICY = Policy(
    attempts=3, delay=timedelta(seconds=30), requests=2, rechecks=(timedelta(minutes=1), timedelta(minutes=5))
)
MEMORY = Path("/dev/shm")
UNHANDLED = "PipelineCompleted"

RelayCrash = Literal["never", "before its commit", "after its commit"]
TickCrash = Literal["never", "before the inbox is written", "before a run is asked for", "after a run was asked for"]
RELAY_CRASHES = st.sampled_from(["never", "never", *get_args(RelayCrash)])
TICK_CRASHES = st.sampled_from(["never", "never", *get_args(TickCrash)])


@dataclass
class Run:
    """A run as Dagster and its own process know it. Moments are steps of the life."""

    number: int
    dataset_id: str
    key: str | None
    state: RunState = RunState.IN_FLIGHT
    through_seq: int | None = None
    download_began: int = 0
    is_loaded: bool = False

    @property
    def known(self) -> KnownRun:
        return KnownRun(f"run-{self.number}", self.dataset_id, self.state, self.key)


@dataclass(frozen=True)
class Load:
    """A load that ended well, whether its file was another one than the table showed, and when its download began."""

    dataset_id: str
    through_seq: int
    download_began: int
    of_its_own_run: bool
    changed: bool


class Life(RuleBasedStateMachine):
    """A real inbox, the real plan, and a model of everything around them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.inbox = open_inbox(f"sqlite:///{self.folder.name}/inbox.db")
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.step = 0
        self.asked_at: dict[int, int] = {}
        self.runs: list[Run] = []
        self.loads: list[Load] = []
        self.keys: set[str] = set()

    # What happens around the sensor.

    @rule(dataset_id=st.sampled_from(DATASETS), count=st.integers(1, 3), crash=RELAY_CRASHES)
    def events_arrive(self, dataset_id: str, count: int, crash: RelayCrash) -> None:
        self._receive("DatasetUpdated", dataset_id, count, crash)

    @rule(crash=RELAY_CRASHES)
    def an_event_of_another_type_arrives(self, crash: RelayCrash) -> None:
        self._receive(UNHANDLED, None, 1, crash)

    @rule(seconds=st.sampled_from([5, 30, 60, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(choice=st.integers(0))
    def a_person_replays_an_event(self, choice: int) -> None:
        settled = [event for event in self.inbox.events(limit=10_000) if event.state is not EventState.PENDING]
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
            self._load(landed[-1], self._start(dataset_id, key=None), changed=True).state = RunState.SUCCEEDED

    @rule()
    def settled_events_are_purged(self) -> None:
        before = {dataset_id: self.inbox.highest_seq(dataset_id) for dataset_id in DATASETS}
        self.inbox.purge(datetime.max.replace(tzinfo=UTC), limit=1000)
        assert before == {dataset_id: self.inbox.highest_seq(dataset_id) for dataset_id in DATASETS}

    @rule()
    def dagster_forgets_runs_that_have_ended(self) -> None:
        self.runs = self._in_flight()

    @rule(choice=st.integers(0))
    def a_person_repeats_a_failed_run_from_its_failure(self, choice: int) -> None:
        # Dagster gives the new run the tags of the old one, its delivery among them.
        failed = [run for run in self.runs if run.state is RunState.FAILED and run.through_seq is not None]
        if failed:
            old = failed[choice % len(failed)]
            if self._executing(old.dataset_id) is None and not self._is_stale(old):
                self._load(old, self._start(old.dataset_id, old.key), changed=True).state = RunState.SUCCEEDED

    # What becomes of runs.

    @rule(choice=st.integers(0), changed=st.booleans())
    def a_run_goes_on(self, choice: int, *, changed: bool) -> None:
        if in_flight := self._in_flight():
            self._go_on(in_flight[choice % len(in_flight)], changed=changed)

    @rule(changed=st.booleans(), hours=st.integers(1, 3))
    def quiet_hours(self, hours: int, *, changed: bool) -> None:
        """All that goes on comes to its end, as on most days: what is rare can then meet what has settled."""
        for _ in range(hours):
            self.tick()
            while in_flight := self._in_flight():
                for run in in_flight:
                    self._go_on(run, changed=changed)
            self.tick()
            self.now += timedelta(hours=1)

    @rule(choice=st.integers(0), state=st.sampled_from([RunState.FAILED, RunState.REFUSED, RunState.CANCELED]))
    def a_run_ends_badly(self, choice: int, state: RunState) -> None:
        # At any point: also after its publish, before Dagster heard of it.
        if in_flight := self._in_flight():
            in_flight[choice % len(in_flight)].state = state

    # The sensor.

    @rule(crash=TICK_CRASHES, target_is_known=st.sampled_from([True, True, False]))
    def tick(self, crash: TickCrash = "never", *, target_is_known: bool = True) -> None:
        events = [*self.inbox.open_events(), *self.inbox.open_events(EventState.PARKED)]
        decided = self._decide(events, target_is_known=target_is_known)
        self._check(decided)
        if crash == "before the inbox is written":
            return
        self.inbox.update(decided.updates)
        self._check_keys(decided)
        if crash == "before a run is asked for":
            return
        for delivery in decided.deliveries:
            self._submit(delivery)
            if crash == "after a run was asked for":
                return

    def _decide(self, events: Sequence[OpenEvents], *, target_is_known: bool) -> Plan:
        keys = {event.delivery for event in events if event.state is EventState.PENDING} - {None}
        known = [run.known for run in reversed(self.runs) if run.state is RunState.IN_FLIGHT or run.key in keys]
        reached: dict[str, LoadProgress] = {}
        for load in self.loads:
            if load.of_its_own_run:
                before = reached.get(load.dataset_id, LoadProgress())
                published = max(before.published_through, load.through_seq if load.changed else 0)
                reached[load.dataset_id] = LoadProgress(published, max(before.checked_through, load.through_seq))
        return plan(events, known, reached if target_is_known else None, now=self.now, policy=POLICY)

    def _check(self, decided: Plan) -> None:
        for update in decided.updates:
            group = update.events
            assert update.attempts - group.attempts_before_replay - update.unchanged_checks <= POLICY.attempts
            match update.state:
                case EventState.DONE:
                    for seq in self._seqs(group):
                        assert self._is_shown(seq, group)
                case EventState.IGNORED:
                    assert (group.name, update.outcome) == (UNHANDLED, f"Not supported event: {UNHANDLED}")
                case EventState.PARKED:
                    ended = [run.state for run in self.runs if run.key == group.delivery]
                    spent = group.attempts - group.attempts_before_replay - group.unchanged_checks == POLICY.attempts
                    assert spent or {RunState.CANCELED, RunState.REFUSED} & set(ended)
                case EventState.PENDING:
                    assert group.name != UNHANDLED

    def _check_keys(self, decided: Plan) -> None:
        """A key is new, or belongs to a delivery that was never submitted."""
        written = {update.delivery for update in decided.updates if update.state is EventState.PENDING}
        for delivery in decided.deliveries:
            assert not any(run.key == delivery.key for run in self.runs)
            assert (delivery.key in self.keys) != (delivery.key in written)
            self.keys.add(delivery.key)

    def _submit(self, delivery: Delivery) -> None:
        assert not any(run.dataset_id == delivery.dataset_id for run in self._in_flight())
        waiting = [group for group in self.inbox.open_events() if group.delivery == delivery.key]
        assert min(group.first_seq for group in waiting) >= delivery.first
        assert max(group.last_seq for group in waiting) == delivery.last
        self._start(delivery.dataset_id, delivery.key)

    def _seqs(self, group: OpenEvents) -> list[int]:
        """The numbers of the events that a group stands for."""
        return [
            event.seq
            for event in self.inbox.events(state=group.state, dataset_id=group.dataset_id, limit=10_000)
            if group.first_seq <= event.seq <= group.last_seq and event.attempts == group.attempts
        ]

    def _is_shown(self, seq: int, group: OpenEvents) -> bool:
        """Whether enough loads ended well whose download began after the event arrived, or was replayed."""
        after = [
            load
            for load in self.loads
            if load.dataset_id == group.dataset_id and load.download_began > self.asked_at[seq]
        ]
        if group.attempts_before_replay:
            return bool(after)
        return any(load.changed for load in after) or len(after) > len(POLICY.rechecks)

    # The model.

    def _next_step(self) -> int:
        self.step += 1
        return self.step

    def _receive(self, name: str, dataset_id: str | None, count: int, crash: RelayCrash) -> None:
        """What the relay does, and a sender that repeats what was not acknowledged."""
        event = NewEvent("e", name, dataset_id, None, b"{}")
        if crash == "after its commit":
            for seq in self.inbox.append([event] * count):
                self.asked_at[seq] = self._next_step()
        # The repeat: of what was never stored, or a duplicate.
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

    def _go_on(self, run: Run, *, changed: bool) -> None:
        if run.through_seq is None:
            # One run for each dataset at a time: Dagster's queue holds the others back.
            if self._executing(run.dataset_id) is None:
                run.through_seq, run.download_began = self.inbox.highest_seq(run.dataset_id), self._next_step()
                # Or later loads would be refused as older.
                assert all(load.through_seq <= run.through_seq for load in self._loads_of(run.dataset_id))
        elif run.is_loaded:
            run.state = RunState.SUCCEEDED
        elif self._is_stale(run):
            run.state = RunState.REFUSED
        else:
            self._load(run, run, changed=changed or not self._loads_of(run.dataset_id))

    def _loads_of(self, dataset_id: str) -> list[Load]:
        return [load for load in self.loads if load.dataset_id == dataset_id]

    def _is_stale(self, landed: Run) -> bool:
        return any(load.through_seq > (landed.through_seq or 0) for load in self._loads_of(landed.dataset_id))

    def _load(self, landed: Run, by: Run, *, changed: bool) -> Run:
        through, own = landed.through_seq or 0, landed is by
        self.loads.append(Load(by.dataset_id, through, landed.download_began, own, changed))
        by.is_loaded = True
        return by

    def teardown(self) -> None:
        """Whatever happened: once all is well again, every event comes to its end."""
        for _ in range(20 * len(DATASETS)):
            while in_flight := self._in_flight():
                for run in in_flight:
                    self._go_on(run, changed=False)
            self.tick()
            self.now += timedelta(hours=1)
            if not self._in_flight() and not self.inbox.counts()[EventState.PENDING]:
                break
        counts = self.inbox.counts()
        assert counts[EventState.PENDING] == 0
        assert not self._in_flight()
        assert all(
            (event.state is EventState.IGNORED) == (event.name == UNHANDLED)
            for event in self.inbox.events(limit=10_000)
        )
        self.inbox.close()
        self.folder.cleanup()


def live(*, lives: int, steps: int) -> None:
    """Lead this many lives of at most so many steps each; fails with the shortest one that breaks a promise."""
    run_state_machine_as_test(Life, settings=settings(max_examples=lives, stateful_step_count=steps, deadline=None))


def run(*, lives: int, steps: int) -> None:
    """The large form; prints the figures."""
    began = time.monotonic()
    live(lives=lives, steps=steps)
    print(f"{lives} lives of up to {steps} steps, none broke a promise, in {time.monotonic() - began:.0f} s")  # noqa: T201
