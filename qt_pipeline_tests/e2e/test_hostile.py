"""Hostile content in Dagster's UI, and a hostile page beside it, in a real browser: nothing is wiped, nothing stops."""

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from qt_pipeline.dagster_api import DagsterApi
from qt_pipeline.inbox import EventState
from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline_tests.browser import NO_BROWSER, dagster_page, find_browser
from qt_pipeline_tests.e2e.live import LiveStack
from qt_pipeline_tests.hostile import HOSTILE

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(find_browser() is None, reason=NO_BROWSER)]

TABLE = "warehouse/table"
PATH = TABLE.split("/")
HOSTILE_DATASET = "d-hostile-content"
_WAIT_SECONDS = 60
_WIPE = 'mutation{wipeAssets(assetPartitionRanges:[{assetKey:{path:["warehouse","table"]}}]){__typename}}'


@pytest.fixture
def page(stack: LiveStack, first_events: dict[str, int]) -> Iterator[Page]:
    """A browser on the UI of the stack, whose datasets are all loaded."""
    assert first_events
    browser = find_browser()
    assert browser is not None
    expect.set_options(timeout=_WAIT_SECONDS * 1000)
    with dagster_page(browser, stack.ui_url, timeout_seconds=_WAIT_SECONDS) as opened:
        yield opened


def assert_unharmed(stack: LiveStack, dataset_ids: list[str]) -> None:
    """Every dataset is still materialized, and the sensor of events still runs."""
    for dataset_id in dataset_ids:
        assert stack.dagster.materializations(PATH, partition=dataset_id)
    assert DagsterApi(stack.ui_url).is_sensor_running("quantemplate_events")


def mutations(stack: LiveStack) -> list[str]:
    stop = f'mutation{{stopSensor(id:"{stack.dagster.sensor_id()}"){{__typename}}}}'
    return [_WIPE, stop]


def hostile_file(texts: list[str], *, suffix: str = "", value: str | None = None) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["Ref", *(name + suffix for name in texts)])
    writer.writerow(["1", *(texts if value is None else [value] * len(texts))])
    # With as many tabs in each line, the file would be taken for one that is separated by them.
    writer.writerow(["2", *["plain"] * len(texts)])
    return text.getvalue().encode()


@pytest.mark.timeout(600)
def test_no_content_of_a_file_makes_a_page_ask_for_anything(page: Page, stack: LiveStack) -> None:
    pictures = [f"![](</graphql?query={mutation}>)" for mutation in mutations(stack)]
    texts = list(dict.fromkeys([*pictures, *(name.replace("\x00", "") for name in HOSTILE)]))
    catalog = Path(stack.environment["QT_CATALOG"])
    assert "show_values" in catalog.read_text()
    for csv_file in (hostile_file(texts), hostile_file(texts, suffix=" too")):
        stack.serve(HOSTILE_DATASET, csv_file)
        [event] = stack.await_settled([stack.fire(HOSTILE_DATASET)])
    failed = event.state is EventState.PARKED
    run_id = stack.runs_of(HOSTILE_DATASET)[0].run_id
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    for address, there in (
        (f"/assets/{TABLE}?view=partitions&partition={HOSTILE_DATASET}", "sha256"),
        (f"/assets/{TABLE}?view=overview", "The dataset as a SQL table"),
        (f"/assets/{TABLE}?view=checks&checkDetail=no_drift", "no_drift"),
        (f"/assets/quantemplate/dataset?view=partitions&partition={HOSTILE_DATASET}", "sha256"),
        (f"/runs/{run_id}", "STEP_"),
    ):
        page.goto(address)
        expect(page.get_by_text(there).filter(visible=True).first).to_be_visible()
        for button in ("[Show Markdown]", "[Show JSON]", "[Show Table Schema]", "View metadata", "Show schema"):
            for found in page.get_by_text(button, exact=True).all()[:4]:
                if found.is_visible():
                    found.click()
                    page.keyboard.press("Escape")
        assert page.locator("a[href*='evil.example'], img[src*='graphql'], img[src*='evil']").count() == 0
        elsewhere = [url for url in asked if not url.startswith((f"{stack.ui_url}/", "data:", "blob:"))]
        assert [url for url in elsewhere if "dagster" not in url] == []
        assert [url for url in asked if "query=" in url or "mutation" in url] == []
    assert [url for url in asked if url.startswith(f"{stack.ui_url}/graphql")] != []
    assert_unharmed(stack, [] if failed else [HOSTILE_DATASET])


@contextmanager
def served(html: str) -> Iterator[str]:
    """A page of another origin: another port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


_ATTACK = """
async ([ui, mutations]) => {
  const over = [], seen = [];
  const body = mutation => JSON.stringify({query: mutation});
  for (const mutation of mutations) {
    const address = `${ui}/graphql?query=${encodeURIComponent(mutation)}`;
    over.push(new Promise(resolve => {
      const img = document.createElement("img");
      img.onload = img.onerror = resolve;
      img.src = address;
      document.body.append(img);
    }));
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      over.push(new Promise(resolve => {
        const frame = document.createElement("iframe");
        frame.name = `f${Math.random()}`;
        document.body.append(frame);
        const form = document.createElement("form");
        Object.assign(form, {method: "post", enctype: type, action: address, target: frame.name});
        document.body.append(form);
        setTimeout(() => { frame.onload = resolve; form.submit(); setTimeout(resolve, 5000); }, 200);
      }));
    }
    for (const host of [ui, ui.replace("127.0.0.1", "localhost")]) {
      const url = `${host}/graphql`;
      const options = [
        [`${url}?query=${encodeURIComponent(mutation)}`, {mode: "no-cors"}],
        [`${url}?query=${encodeURIComponent(mutation)}`, {mode: "no-cors", method: "POST"}],
        [url, {mode: "no-cors", method: "POST", headers: {"Content-Type": "text/plain; application/json"},
               body: body(mutation)}],
        [url, {mode: "cors", method: "POST", headers: {"Content-Type": "application/json"}, body: body(mutation)}],
        [`${host}/report_asset_materialization/warehouse/table?partition=d-forged`, {mode: "no-cors", method: "POST"}],
      ];
      for (const [to, how] of options)
        over.push(fetch(to, how).then(async answer => answer.ok && seen.push(await answer.text()), () => 0));
    }
  }
  const subscribe = new Promise(resolve => {
    const socket = new WebSocket(`${ui.replace("http", "ws")}/graphql`, "graphql-ws");
    socket.onopen = () => { seen.push("websocket"); resolve(); };
    socket.onerror = socket.onclose = resolve;
  });
  await Promise.allSettled([...over, subscribe]);
  return seen;
}
"""


def test_a_page_of_another_origin_drives_nothing(page: Page, stack: LiveStack, first_events: dict[str, int]) -> None:
    with served("<!doctype html><title>Prizes</title><p>Look!") as address:
        page.goto(address)
        seen = page.evaluate(_ATTACK, [stack.ui_url, mutations(stack)])
        assert_unharmed(stack, list(first_events))
        assert seen == []
        assert stack.dagster.materializations(PATH, partition="d-forged") == []


def test_a_link_on_another_page_leads_to_a_run(page: Page, stack: LiveStack, first_events: dict[str, int]) -> None:
    run_id = stack.runs_of(next(iter(first_events)))[0].run_id
    with served(f'<!doctype html><a href="{stack.ui_url}/runs/{run_id}">the run</a>') as address:
        page.goto(address)
        page.get_by_text("the run").click()
        expect(page.get_by_text("Success", exact=True).first).to_be_visible()
        # The page's own requests and its subscription, which brings the log, are answered.
        expect(page.get_by_text("STEP_SUCCESS", exact=False).first).to_be_visible()


def test_a_page_of_another_origin_steers_neither_the_sandbox_nor_an_open_relay(page: Page, stack: LiveStack) -> None:
    dataset_id = SANDBOX_DATASETS[0].id
    before = len(stack.inbox.events(limit=100_000))
    script = """
    async ([control, dataset]) => {
      const url = `${control}/datasets/${dataset}/fire`;
      await Promise.allSettled([fetch(url, {mode: "no-cors", method: "POST"}), fetch(url, {method: "POST"})]);
    }
    """
    with served("<!doctype html><p>Look!") as address:
        page.goto(address)
        page.evaluate(script, [stack.control_url, dataset_id])
    assert len(stack.inbox.events(limit=100_000)) == before
