"""A real browser, headless: the system's Chromium, driven by Playwright. For the tests of what a person sees, and the
pictures of the documents.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, ViewportSize, sync_playwright

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SIZE = ViewportSize(width=1440, height=900)

NO_BROWSER = (
    f"No browser was found: none of {', '.join(_BROWSERS)} is on the PATH (on Debian: apt-get install chromium)."
)


def find_browser() -> str | None:
    """The browser's executable, if this machine has one."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


@contextmanager
def dagster_page(executable: str, ui_url: str, *, timeout_seconds: float) -> Iterator[Page]:
    """A page of a browser on Dagster's UI; every wait on it is bounded."""
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    # Chromium's sandbox does not work for root, which is whom a container has.
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=[*quiet, "--no-first-run", *as_root])
        page = chromium.new_page(base_url=ui_url, viewport=_SIZE, locale="en-GB", timezone_id="Etc/UTC")
        page.set_default_timeout(timeout_seconds * 1000)
        # Otherwise each new instance invites to the community, across the whole page.
        page.request.post("/graphql", data={"query": "mutation { setNuxSeen }"})
        yield page
        chromium.close()
