"""What becomes of a download that must not reach its table, from the first try to the good file that follows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from qt_pipeline.inbox import EventState, StoredEvent
from qt_pipeline_tests.e2e.live import SMALL_CSV, LiveStack, assert_no_secret_is_kept, assert_table_is_as_served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TRIES_IN_VAIN = 2


@dataclass(frozen=True)
class Bad:
    """A download gone wrong by its bytes or on the wire, how the failure names the place, and how many tries."""

    name: str
    place: str
    tries: int = 1
    csv: bytes = SMALL_CSV
    fault: dict[str, object] = field(default_factory=dict)

    @property
    def dataset_id(self) -> str:
        return f"d-{self.name}"


KINDS = (
    Bad("ragged-row", "at line 3, byte 20: the row has 3 values", csv=b"Ref,Amount\n007,1.25\n008,2.50,9\n"),
    Bad("not-utf-8", "at line 3, byte 22: bytes that are not UTF-8", csv=b"Ref,Amount\n007,1.25\n00\xff,2.50\n"),
    Bad("cut-body", "broke off after 14 bytes", TRIES_IN_VAIN, fault={"kind": "cut", "times": None}),
    Bad("web-page", "the content type 'text/html'", fault={"kind": "html", "times": None}),
)
each_kind = pytest.mark.parametrize("bad", KINDS, ids=[bad.name for bad in KINDS])


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """Each dataset was loaded well, then its download went wrong and an event came; all events are settled."""
    settings = {
        "QT_DELIVERY_ATTEMPTS": str(TRIES_IN_VAIN),
        "QT_DELIVERY_DELAY_SECONDS": "0",
        "QT_REQUEST_ATTEMPTS": "1",
    }
    with LiveStack(tmp_path_factory.mktemp("spoiled"), settings=settings) as stack:
        for bad in KINDS:
            stack.serve(bad.dataset_id, SMALL_CSV)
        stack.await_settled([stack.fire(bad.dataset_id) for bad in KINDS])
        for bad in KINDS:
            stack.serve(bad.dataset_id, bad.csv)
            stack.spoil(bad.dataset_id, **bad.fault)
        stack.await_settled([stack.fire(bad.dataset_id) for bad in KINDS])
        yield stack


def newest_event(stack: LiveStack, bad: Bad) -> StoredEvent:
    return stack.inbox.events(dataset_id=bad.dataset_id, limit=1)[0]


@each_kind
def test_a_bad_download_fails_as_many_runs_as_may_help_naming_dataset_and_place(spoiled: LiveStack, bad: Bad) -> None:
    *failed, first = spoiled.runs_of(bad.dataset_id)
    assert first.status == "SUCCESS"
    assert [run.status for run in failed] == ["FAILURE"] * bad.tries
    for run in failed:
        log = spoiled.dagster.log(run.run_id)
        assert f"Dataset {bad.dataset_id}: " in log
        assert bad.place in log


@each_kind
def test_a_bad_download_leaves_the_table_as_it_was(spoiled: LiveStack, bad: Bad) -> None:
    [load] = spoiled.published(bad.dataset_id)
    rows = spoiled.rows(f'SELECT "Ref", "Amount", _qt_load, _qt_row FROM {load.table_name} ORDER BY _qt_row')
    assert rows == [("007", 1.25, load.load_id, 2), ("008", 2.5, load.load_id, 3)]
    assert spoiled.staging_tables() == []


@each_kind
def test_after_its_last_try_an_event_is_parked_with_its_run(spoiled: LiveStack, bad: Bad) -> None:
    event = newest_event(spoiled, bad)
    assert event.state is EventState.PARKED
    assert event.attempts == bad.tries
    assert event.outcome is not None
    assert spoiled.runs_of(bad.dataset_id)[0].run_id in event.outcome


def test_no_secret_is_left_by_failures(spoiled: LiveStack) -> None:
    assert_no_secret_is_kept(spoiled, known=KINDS[0].dataset_id)


def test_a_good_file_and_a_new_event_bring_the_table_right(spoiled: LiveStack) -> None:
    better = SMALL_CSV + b"009,4.75\n"
    for bad in KINDS:
        spoiled.serve(bad.dataset_id, better)
        spoiled.spoil(bad.dataset_id)
    events = spoiled.await_settled([spoiled.fire(bad.dataset_id) for bad in KINDS])
    assert {event.state for event in events} == {EventState.DONE}
    for bad in KINDS:
        assert_table_is_as_served(spoiled, bad.dataset_id)
