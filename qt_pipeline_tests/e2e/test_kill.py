"""kill -9 in the middle, then a restart: the table still ends up right, by no more loads than needed."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest

from qt_pipeline.inbox import EventState
from qt_pipeline.sandbox.webhook import WebhookUnreachableError, dataset_updated, post_event
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, assert_table_is_as_served, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def mortal(stack: LiveStack) -> LiveStack:
    """The stack, whose processes are killed; each test starts them again."""
    return stack


def assert_all_is_right(stack: LiveStack, dataset_id: str, seqs: list[int]) -> None:
    """Every event is done, the table holds what is served, each load was for a new event, and nothing is left over."""
    events = stack.await_settled(seqs)
    stack.await_tick()
    assert {event.state for event in events} == {EventState.DONE}
    assert_table_is_as_served(stack, dataset_id)
    reached = [load.through_seq for load in stack.published(dataset_id)]
    assert reached == sorted(set(reached))
    assert reached[-1] == max(seqs)
    assert stack.staging_tables() == []
    assert all(run.is_over for run in stack.runs_of(dataset_id))


def test_events_survive_the_death_of_the_daemon(mortal: LiveStack) -> None:
    dataset_id = "d-daemon"
    mortal.serve(dataset_id, SMALL_CSV)
    mortal.spoil(dataset_id, kind="slow", seconds=60)
    first = mortal.fire(dataset_id)
    mortal.await_download(dataset_id)
    mortal.daemon().kill()
    second = mortal.fire(dataset_id, change=True)
    mortal.stop("dagster")
    mortal.start_dagster()
    assert_all_is_right(mortal, dataset_id, [first, second])


@pytest.mark.long
def test_events_that_the_relay_accepted_survive_its_death(mortal: LiveStack) -> None:
    dataset_id = "d-relay"
    mortal.serve(dataset_id, SMALL_CSV)
    accepted: list[int] = []
    enough = Event()

    def send_events() -> None:
        while not enough.is_set():
            with suppress(WebhookUnreachableError):
                delivery = post_event(mortal.webhook_url, json.dumps(dataset_updated(dataset_id)).encode())
                assert delivery.status == 202
                assert isinstance(delivery.body, dict)
                accepted.append(delivery.body["sequence"])

    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send_events) for _ in range(4)]
        try:
            until(lambda: len(accepted) > 50, "50 events accepted")
            mortal.stop("relay", signal.SIGKILL)
            before = len(accepted)
            mortal.start_relay()
            until(lambda: len(accepted) > before + 50, "50 more events accepted")
        finally:
            enough.set()
        for sender in senders:
            sender.result()
    assert len(set(accepted)) == len(accepted)
    assert_all_is_right(mortal, dataset_id, accepted)


def test_the_event_of_a_killed_worker_is_tried_again(mortal: LiveStack) -> None:
    dataset_id = "d-worker"
    mortal.serve(dataset_id, SMALL_CSV)
    mortal.spoil(dataset_id, kind="slow", seconds=60)
    seq = mortal.fire(dataset_id)
    run = mortal.await_download(dataset_id)
    mortal.worker(run.run_id).kill()
    assert_all_is_right(mortal, dataset_id, [seq])
    assert [run.status for run in mortal.runs_of(dataset_id)] == ["SUCCESS", "FAILURE"]


@pytest.mark.long
def test_a_run_whose_worker_and_code_server_died_together_is_found_and_tried_again(mortal: LiveStack) -> None:
    dataset_id = "d-worker-and-code-server"
    mortal.serve(dataset_id, SMALL_CSV)
    mortal.spoil(dataset_id, kind="slow", seconds=60)
    seq = mortal.fire(dataset_id)
    run = mortal.await_download(dataset_id)
    # The servers first: they must not live to see the worker die and say so.
    for process in [*mortal.code_servers(), mortal.worker(run.run_id)]:
        process.kill()
    mortal.restart_dagster()
    assert_all_is_right(mortal, dataset_id, [seq])
    assert [run.status for run in mortal.runs_of(dataset_id)] == ["SUCCESS", "FAILURE"]
    assert "The process of this run and the code server" in mortal.dagster.log(run.run_id)
