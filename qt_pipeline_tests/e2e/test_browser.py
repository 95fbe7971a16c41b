"""What a person sees and clicks in Dagster's UI, in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from qt_pipeline.catalog import load_catalog
from qt_pipeline.inbox import EventState
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline_tests.browser import NO_BROWSER, dagster_page, find_browser
from qt_pipeline_tests.dagster_client import Run
from qt_pipeline_tests.e2e.live import LiveStack, assert_table_is_as_served, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(find_browser() is None, reason=NO_BROWSER)]

CLAIMS = SANDBOX_DATASETS[1]
BROKEN = "d-broken-in-the-browser"
_WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def page(stack: LiveStack, first_events: dict[str, int]) -> Iterator[Page]:
    """A browser on the UI of the stack, whose datasets are all loaded."""
    assert first_events
    browser = find_browser()
    assert browser is not None
    expect.set_options(timeout=_WAIT_SECONDS * 1000)
    with dagster_page(browser, stack.ui_url, timeout_seconds=_WAIT_SECONDS) as opened:
        yield opened


def new_run(stack: LiveStack, dataset_id: str, before: list[Run]) -> Run:
    """Wait until a run of a dataset is over that was not there before."""
    known = {run.run_id for run in before}

    def over() -> Run | None:
        return next((run for run in stack.runs_of(dataset_id) if run.run_id not in known and run.is_over), None)

    return until(over, f"a new run of {dataset_id} is over")


def test_the_page_of_a_dataset_shows_its_rows_columns_and_preview(page: Page, stack: LiveStack) -> None:
    page.goto(f"/assets/warehouse/table?view=partitions&partition={CLAIMS.id}")
    for label in ("dagster/partition_row_count", "sha256", "seconds: publish", "seconds: event to commit"):
        expect(page.get_by_text(label, exact=True)).to_be_visible()
    expect(page.get_by_text(str(stack.newest_publish(CLAIMS.id).rows), exact=True).first).to_be_visible()
    expect(page.get_by_text(CLAIMS.name, exact=True)).to_be_visible()
    header, first, *_ = stack.served(CLAIMS.id).decode().splitlines()
    preview = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name=header.split(",")[0])).last
    expect(preview.get_by_role("row").first).to_contain_text(header.split(",")[0])
    expect(preview.get_by_role("row").nth(1)).to_contain_text(first.split(",")[0])
    page.get_by_text("[Show Table Schema]").click()
    expect(page.get_by_role("dialog").get_by_text("_qt_row", exact=True)).to_be_visible()


def test_the_overview_says_which_datasets_there_are_and_draws_plots(page: Page, stack: LiveStack) -> None:
    page.goto("/assets/warehouse/table?view=overview")
    for dataset in load_catalog(Path(stack.environment["QT_CATALOG"])).datasets:
        expect(page.get_by_role("cell", name=dataset.label, exact=True).first).to_be_visible()
        expect(page.get_by_role("cell", name=dataset.id, exact=True).first).to_be_visible()
    expect(page.get_by_text("demo@example.com").first).to_be_visible()
    page.get_by_role("button", name="Plots").click()
    plots = ("rows", "bytes", "seconds: event to commit", "seconds: inspect", "seconds: stage", "seconds: publish")
    for plot in plots:
        expect(page.get_by_text(plot, exact=True)).to_be_visible()
    expect(page.locator("canvas").nth(len(plots) - 1)).to_be_attached()


def test_a_dataset_that_is_materialized_by_clicking_is_loaded(page: Page, stack: LiveStack) -> None:
    before = stack.runs_of(CLAIMS.id)
    page.goto(f"/assets/warehouse/table?view=partitions&partition={CLAIMS.id}")
    expect(page.get_by_text("sha256", exact=True)).to_be_visible()
    page.get_by_role("button", name="Materialize").click()
    page.get_by_role("button", name="Launch 1 run").click()
    run = new_run(stack, CLAIMS.id, before)
    assert (run.status, run.tags["qt/dataset"]) == ("SUCCESS", CLAIMS.name)
    page.goto(f"/runs/{run.run_id}")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()


def test_a_failed_run_shows_why_and_what_to_do(page: Page, stack: LiveStack) -> None:
    stack.serve(BROKEN, b'Ref,Name\n1,"never closed\n')
    [event] = stack.await_settled([stack.fire(BROKEN)])
    page.goto(f"/runs/{stack.runs_of(BROKEN)[0].run_id}")
    expect(page.get_by_text("Failure", exact=True).first).to_be_visible()
    shown = page.get_by_text(re.compile(f"Dataset {BROKEN}: .*quote")).first
    expect(shown).to_be_visible()
    expect(page.get_by_text("how to fix", exact=True).first).to_be_attached()
    assert event.state is EventState.PARKED
    page.goto("/assets/warehouse/table?view=checks")
    expect(page.get_by_text("no_drift", exact=True).first).to_be_visible()


def test_a_backfill_of_every_dataset_that_is_started_by_clicking_loads_each(page: Page, stack: LiveStack) -> None:
    ours = {dataset.id for dataset in SANDBOX_DATASETS}
    # What other tests have left behind was made to fail.
    stack.dagster.delete_partitions([key for key in stack.dagster.partitions() if key not in ours])
    before = {dataset_id: stack.runs_of(dataset_id) for dataset_id in ours}
    page.goto("/asset-groups")
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="All", exact=True).click()
    expect(dialog.get_by_text("3 partitions")).to_be_visible()
    dialog.get_by_role("button", name="Launch", exact=False).last.click()
    runs = [new_run(stack, dataset_id, before[dataset_id]) for dataset_id in sorted(ours)]
    assert [run.status for run in runs] == ["SUCCESS"] * 3
    assert len({run.tags["dagster/backfill"] for run in runs}) == 1
    for dataset_id in ours:
        assert_table_is_as_served(stack, dataset_id)
