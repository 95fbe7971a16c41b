"""`python -m qt_pipeline_tests.screenshots`: take the pictures of the documents again, of a running demo in a browser.

Here: which pages are shown, and when each has finished loading. Not here: the demo.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, ViewportSize, sync_playwright
from rich.console import Console

from qt_pipeline.demo import Ports, Stack, await_round, free_ports
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline.settings import PROJECT_ROOT

_IMAGES = PROJECT_ROOT / "docs" / "images"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SIZE = ViewportSize(width=1440, height=900)
_LOAD_MILLISECONDS = 90_000
_SETTLE_MILLISECONDS = 1_500
_SHOWN = SANDBOX_DATASETS[1]


def main() -> None:
    """Start the demo, wait until its first round is over, and photograph it."""
    console = Console(soft_wrap=True)
    try:
        browser = _find_browser()
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


def _find_browser() -> str:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise ConfigurationError(
            f"No browser was found: none of {', '.join(_BROWSERS)} is on the PATH.",
            todo="Install Chromium, on Debian or Ubuntu by: apt-get install chromium",
        )
    return found


def _take_all(stack: Stack, browser: str, console: Console) -> None:
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    # Chromium's sandbox does not work for root, which is whom a container has.
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=[*quiet, "--no-first-run", *as_root])
        page = chromium.new_page(base_url=stack.ui_url, viewport=_SIZE, locale="en-GB", timezone_id="Etc/UTC")
        page.set_default_timeout(_LOAD_MILLISECONDS)
        # Otherwise each new instance invites to the community, across the whole page.
        page.request.post("/graphql", data={"query": "mutation { setNuxSeen }"})
        _IMAGES.mkdir(parents=True, exist_ok=True)

        page.goto(f"/assets/warehouse/table?view=partitions&partition={_SHOWN.id}")
        preview = page.get_by_text("[Show Markdown]")
        preview.wait_for()
        _take(page, "asset-table", console)
        preview.click()
        page.get_by_text("Copy", exact=True).wait_for()
        _take(page, "preview", console)

        groups = ",".join(f"global@global:{group}" for group in ("quantemplate", "warehouse"))
        page.goto(f"/asset-groups?expanded={groups}")
        page.get_by_text("100% filled").nth(1).wait_for()
        page.get_by_text("1 / 1 Passed").wait_for()
        _take(page, "lineage", console)

        # So that a tick which asked for a run is among the newest.
        await_round(stack, {_SHOWN.id: stack.fire(_SHOWN.id, change=True)})
        page.goto("/locations/qt_pipeline/sensors/quantemplate_events")
        page.get_by_text("1 run requested").first.wait_for()
        _take(page, "sensor", console)
        chromium.close()


def _take(page: Page, name: str, console: Console) -> None:
    # What moves into its place, and the browser's own first painting of it, have no event to wait for.
    page.wait_for_timeout(_SETTLE_MILLISECONDS)
    picture = _IMAGES / f"{name}.png"
    page.screenshot(path=picture)
    console.print(f"{picture}: {picture.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
