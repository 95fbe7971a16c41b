"""An outage as those hear of it who are told: once when it begins, once when it is over."""

import re
from typing import Any

import pytest
import requests

from qt_pipeline.inbox import EventState
from qt_pipeline_tests.alerting.services import SECRET, Service
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, files_that_hold, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DATASETS = tuple(f"d-outage-{number}" for number in range(2))
FAILS = "[qt_pipeline] Quantemplate fails: "
WELL_AGAIN = "[qt_pipeline] Quantemplate works again"


def messages(told: Service) -> list[dict[str, Any]]:
    """What was told of Quantemplate, or of a dataset of this test."""
    return [m for m in list(told.received) if "Quantemplate" in m["title"] or "d_outage" in m["title"] + m["message"]]


def link(message: dict[str, Any]) -> str:
    [found] = re.findall(r"^Run: (\S+)$", message["message"], re.MULTILINE)
    return str(found)


def test_an_outage_is_one_alert_and_one_recovery(stack: LiveStack, told: Service) -> None:
    for dataset_id in DATASETS:
        stack.serve(dataset_id, SMALL_CSV)
        # As for a user whom Quantemplate has locked out: every token is refused.
        stack.spoil(dataset_id, kind="status", status=401, times=None)
    events = [stack.fire(dataset_id) for dataset_id in DATASETS]
    assert {event.state for event in stack.await_settled(events)} == {EventState.PARKED}
    failed = {run.run_id: run for dataset_id in DATASETS for run in stack.runs_of(dataset_id)}
    assert [run.status for run in failed.values()] == ["FAILURE"] * 2
    alert = until(lambda: next(iter(messages(told)), None), "the alert")

    assert alert["title"].startswith(FAILS)
    assert "d_outage" in alert["message"]
    assert "Quantemplate answered 401." in alert["message"]
    assert "How to fix: Check that the API user is active" in alert["message"]
    assert "qt-pipeline replay --parked" in alert["message"]
    assert link(alert).removeprefix(f"{stack.ui_url}/runs/") in failed
    assert requests.get(link(alert), timeout=30, proxies={"http": ""}).ok

    for dataset_id in DATASETS:
        stack.spoil(dataset_id)
    stack.inbox.replay(events)
    assert {event.state for event in stack.await_settled(events)} == {EventState.DONE}
    until(lambda: messages(told)[-1]["title"] == WELL_AGAIN, "the recovery")
    assert [message["title"].partition(": ")[0] for message in messages(told)] == [FAILS.strip(": "), WELL_AGAIN]
    assert "with 2 failed runs of 2 datasets." in messages(told)[1]["message"]
    assert_the_address_is_kept_nowhere(stack)


def assert_the_address_is_kept_nowhere(stack: LiveStack) -> None:
    assert files_that_hold(stack, DATASETS[0])
    assert files_that_hold(stack, SECRET) == set()
