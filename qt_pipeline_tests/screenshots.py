"""`python -m qt_pipeline_tests.screenshots`: take the pictures of the documents again, of a running demo in a browser.

Here: which pages are shown, and when each has finished loading. Not here: the demo.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Locator, Page
from rich.console import Console

from qt_pipeline.dagster_api import DagsterApi
from qt_pipeline.demo import NotArrivedError, Ports, Stack, await_round, free_ports
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline_tests.browser import NO_BROWSER, dagster_page, find_browser

_IMAGES = PROJECT_ROOT / "docs" / "images"
_LOAD_SECONDS = 90
_SETTLE_MILLISECONDS = 1_500
_SHOWN = SANDBOX_DATASETS[1]


def main() -> None:
    """Start the demo, wait until its first round is over, and photograph it."""
    console = Console(soft_wrap=True)
    try:
        browser = find_browser()
        if browser is None:
            raise ConfigurationError(NO_BROWSER)
        with TemporaryDirectory(prefix="qt-pipeline-") as folder:
            stack = Stack(Path(folder), free_ports(Ports(sandbox=8641, relay=8642, dagster=3000), console.print))
            try:
                stack.start_sandbox()
                stack.start_relay()
                stack.start_dagster()
                await_round(stack, {dataset.id: stack.fire(dataset.id) for dataset in SANDBOX_DATASETS})
                _take_all(stack, browser, console)
            finally:
                stack.stop_all()
    except PipelineError as error:
        console.print(f"[red]{error}")
        sys.exit(1)


def _take_all(stack: Stack, browser: str, console: Console) -> None:
    with dagster_page(browser, stack.ui_url, timeout_seconds=_LOAD_SECONDS) as page:
        _IMAGES.mkdir(parents=True, exist_ok=True)
        _take_table(page, console)

        groups = ",".join(f"global@global:{group}" for group in ("quantemplate", "warehouse"))
        size = page.viewport_size
        # In a narrower window the graph shows names alone.
        page.set_viewport_size({"width": 2000, "height": 620})
        page.goto(f"/asset-groups?expanded={groups}")
        page.get_by_text("100% filled").nth(1).wait_for()
        page.get_by_text("6 / 6 Passed").wait_for()
        _take(page, "lineage", console)
        if size is not None:
            page.set_viewport_size(size)

        # So that a tick which asked for a run is among the newest.
        await_round(stack, {_SHOWN.id: stack.fire(_SHOWN.id, change=True)})
        page.goto("/locations/qt_pipeline/sensors/quantemplate_events")
        page.get_by_text("1 run requested").first.wait_for()
        _take(page, "sensor", console)

        page.goto("/assets/warehouse/table?view=overview")
        page.get_by_role("button", name="Plots").click()
        page.locator("canvas").nth(3).wait_for()
        page.get_by_text("seconds: event to commit", exact=True).scroll_into_view_if_needed()
        _take(page, "plots", console)

        page.goto(f"/runs/{_failed_run(stack)}?logs=type:STEP_FAILURE")
        page.get_by_text("how to fix", exact=True).first.wait_for()
        # What is below is for programmers, and of this machine.
        _take(page, "failed-run", console, above=page.get_by_text("Stack Trace:").first)


def _take_table(page: Page, console: Console) -> None:
    page.goto(f"/assets/warehouse/table?view=partitions&partition={_SHOWN.id}")
    preview = page.get_by_text("Show schema", exact=True).first
    preview.wait_for()
    _take(page, "asset-table", console)
    preview.scroll_into_view_if_needed()
    _take(page, "preview", console)


def _failed_run(stack: Stack) -> str:
    """A run whose download is answered by a login page."""
    stack.control("PUT", f"datasets/{_SHOWN.id}/faults", json=[{"kind": "html"}])
    api = DagsterApi(stack.ui_url)
    run_id = api.launch(_SHOWN.id, {})
    deadline = time.monotonic() + _LOAD_SECONDS
    while not api.run(run_id).status.is_over:
        if time.monotonic() > deadline:
            raise NotArrivedError(f"The run {run_id} did not end.")
        time.sleep(1)
    return run_id


def _take(page: Page, name: str, console: Console, *, above: Locator | None = None) -> None:
    # What moves into its place, and the browser's own first painting of it, have no event to wait for.
    page.wait_for_timeout(_SETTLE_MILLISECONDS)
    picture = _IMAGES / f"{name}.png"
    end = above.bounding_box() if above else None
    if end is None or page.viewport_size is None:
        page.screenshot(path=picture)
    else:
        page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": page.viewport_size["width"], "height": end["y"]})
    console.print(f"{picture}: {picture.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
