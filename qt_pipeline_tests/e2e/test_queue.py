"""The path through an Azure queue: relay → queue → sensor → inbox → run → table, with both ends killed meanwhile."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL

import pytest
import requests

from qt_pipeline.inbox import EventState
from qt_pipeline.sandbox.webhook import dataset_updated
from qt_pipeline_tests.azurite import running_azurite
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, assert_table_is_as_served, until

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]

DATASETS = ("d-by-queue-one", "d-by-queue-two", "d-by-queue-three")
EVENTS = 120
KILLED_AFTER = 60


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LiveStack]:
    with running_azurite("queue") as address:
        settings = {
            "QT_DELIVERY_DELAY_SECONDS": "1",
            "QT_RECHECK_DELAYS_MINUTES": "never",
            "QT_RELAY_QUEUE_URL": f"{address}/devstoreaccount1/events",
        }
        with LiveStack(tmp_path / "state", settings=settings) as running:
            yield running


def send(stack: LiveStack, number: int) -> str:
    """Send one event until it is acknowledged, as a sender does that wants it to arrive; the event's id."""
    body = {**dataset_updated(DATASETS[number % len(DATASETS)]), "id": f"queued-{number}"}

    def acknowledged() -> bool:
        try:
            answer = requests.post(stack.webhook_url, data=json.dumps(body), timeout=30)
        except requests.ConnectionError:
            return False
        assert answer.status_code in {202, 503}, answer.text
        return answer.status_code == 202

    until(acknowledged, f"event {number} acknowledged")
    return str(body["id"])


def test_what_the_queue_has_taken_reaches_its_table_though_relay_and_sensor_are_killed(stack: LiveStack) -> None:
    for dataset_id in DATASETS:
        stack.serve(dataset_id, SMALL_CSV)
    sent: list[str] = []

    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(lambda: sent.extend(send(stack, number) for number in range(EVENTS)))
        until(lambda: len(sent) >= KILLED_AFTER, f"{KILLED_AFTER} events acknowledged")
        stack.stop("relay", SIGKILL)
        stack.start_relay()
        stack.restart_dagster()
        sending.result(timeout=300)

    def settled() -> bool:
        stack.check_alive()
        known = {event.event_id for event in stack.inbox.events(limit=10_000)}
        return known >= set(sent) and stack.inbox.counts()[EventState.PENDING] == 0

    until(settled, "all events moved and settled", seconds=300)
    assert len(sent) == EVENTS
    assert {event.state for event in stack.inbox.events(limit=10_000)} == {EventState.DONE}
    for dataset_id in DATASETS:
        assert_table_is_as_served(stack, dataset_id)
        newest = stack.inbox.highest_seq(dataset_id)
        assert stack.published(dataset_id)[-1].through_seq >= newest
