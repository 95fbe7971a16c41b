"""Traces: one from the relay to the last stage of a run, as a collector sees it, and what happens without one."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from qt_pipeline.errors import PipelineError
from qt_pipeline.sandbox import Fault, SandboxServer
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline.telemetry import RUN_SERVICE, Span, of_event, run, traces_to
from qt_pipeline.telemetry.otlp import OtlpExporter
from qt_pipeline_tests.ingest.place import CSV, DATASET, Place, both
from qt_pipeline_tests.relay.running import TOKEN, RelayProcess, port_in
from qt_pipeline_tests.telemetry.collector import Collector, Received

EVENT = "0d5ab1b2-0000-4000-8000-5f2a1c7de001"
STAGES = ["download", "land", "inspect", "stage", "publish"]
SECRET = "hunter2-of-the-collector"


def environment(state: Path, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "OTEL_"))}
    return {**inherited, ENV_FILE_VARIABLE: "", "QT_STATE_DIR": str(state), **settings}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def place(sandbox: SandboxServer, tmp_path: Path) -> Iterator[Place]:
    with Place.opened(sandbox, tmp_path) as place:
        place.serve(CSV)
        yield place


def start_relay(tmp_path: Path, endpoint: str) -> RelayProcess:
    log = tmp_path / "relay.log"
    settings = environment(tmp_path, QT_RELAY_TOKENS=TOKEN, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    command = [sys.executable, "-m", "qt_pipeline", "relay", "--port", "0", "--metrics-port", "0"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=settings, stdout=stderr, stderr=stderr)
    return RelayProcess(port_in(log, process), tmp_path / "inbox.db", process, log)


def body(event_id: str = EVENT) -> bytes:
    return json.dumps({"id": event_id, "name": "DatasetUpdated", "payload": {"datasetId": DATASET}}).encode()


def children(collector: Collector, parent: Received) -> list[Received]:
    return [span for span in collector.named(*STAGES) if span.parent_id == parent.span_id]


def test_one_trace_leads_from_the_relay_to_the_publish(collector: Collector, place: Place, tmp_path: Path) -> None:
    relay = start_relay(tmp_path, collector.url)
    try:
        sequence = relay.post(body()).json()["sequence"]
    finally:
        # What waits is sent before the process is gone.
        relay.end(signal.SIGTERM)
    run_id = str(uuid4())
    with traces_to(collector.url, RUN_SERVICE), run(run_id, dataset_id=DATASET):
        outcome, loaded = both(place.ingest({"datasets": {DATASET: {"name": "Paid claims"}}}), run_id)

    [accepted] = collector.named("accept event")
    assert (accepted.service, accepted.parent_id, accepted.failed) == ("qt_pipeline.relay", "", False)
    assert (
        accepted.attributes.items()
        >= {
            "qt.event_id": EVENT,
            "qt.dataset_id": DATASET,
            "qt.sequence": sequence,
        }.items()
    )
    [whole] = collector.named("run")
    assert (whole.service, whole.parent_id, whole.failed) == ("qt_pipeline.run", accepted.span_id, False)
    assert whole.attributes == {
        "qt.run_id": run_id,
        "qt.dataset_id": DATASET,
        "qt.dataset": "Paid claims",
        "qt.event_id": EVENT,
        "qt.through_seq": sequence,
    }
    stages = children(collector, whole)
    assert [stage.name for stage in stages] == STAGES
    assert {span.trace_id for span in collector.spans} == {of_event(EVENT).trace_id}
    assert len({span.span_id for span in collector.spans}) == len(collector.spans) == 7
    assert accepted.began <= accepted.ended <= whole.began
    for before, after in pairwise(stages):
        assert whole.began <= before.began <= before.ended <= after.began <= after.ended <= whole.ended
    download, *_, publish = stages
    assert download.attributes["qt.vendor_trace_id"] == place.server.state.downloads()[-1].trace_id == run_id
    assert download.attributes["qt.bytes"] == len(CSV) == outcome.download.bytes
    assert (publish.attributes["qt.rows"], publish.attributes["qt.load_id"]) == (3, loaded.file.load_id)


def test_a_run_for_no_event_has_its_own_id_as_its_trace(collector: Collector, place: Place) -> None:
    run_id = str(uuid4())
    with traces_to(collector.url, RUN_SERVICE), run(run_id):
        both(place.ingest(), run_id)
    [whole] = collector.named("run")
    assert (whole.trace_id, whole.parent_id) == (run_id.replace("-", ""), "")
    assert [stage.name for stage in children(collector, whole)] == STAGES


def test_a_failure_is_told_in_our_words_at_its_stage_and_at_the_run(collector: Collector, place: Place) -> None:
    place.serve(CSV, Fault(kind="status", status=404))
    with (
        traces_to(collector.url, RUN_SERVICE),
        pytest.raises(PipelineError) as failure,
        run(str(uuid4())),
    ):
        place.ingest().land(DATASET, run_id="run-1")
    [whole], [download] = collector.named("run"), collector.named("download")
    assert download.failed
    assert whole.failed
    assert download.words == whole.words == failure.value.message


def test_a_try_that_succeeds_after_one_that_failed_makes_the_run_one_that_succeeded(
    collector: Collector, place: Place
) -> None:
    run_id = str(uuid4())
    with traces_to(collector.url, RUN_SERVICE), run(run_id):
        with pytest.raises(PipelineError):
            place.ingest().load(DATASET, run_id=run_id)
        both(place.ingest(), run_id)
    [whole] = collector.named("run")
    assert not whole.failed


def test_a_pass_that_is_begun_anew_is_no_failure(collector: Collector, place: Place) -> None:
    # The second megabytes make text of what began as numbers.
    place.serve(b"Reference,Note,Text\n" + b"1,1,%s\n" % (b"x" * 400) * 15_000 + b"2,two,\n")
    with traces_to(collector.url, RUN_SERVICE), run(str(uuid4())):
        both(place.ingest(), "run-1")
    [whole] = collector.named("run")
    stages = children(collector, whole)
    assert [stage.name for stage in stages] == ["download", "land", "inspect", "stage", "inspect", "stage", "publish"]
    assert not any(stage.failed for stage in stages)


def test_a_refused_request_is_a_span_that_failed_and_shows_neither_path_nor_token(
    collector: Collector, tmp_path: Path
) -> None:
    relay = start_relay(tmp_path, collector.url)
    try:
        assert relay.post(body(), token="a-wrong-token-of-somebody").status_code == 401
    finally:
        relay.end(signal.SIGTERM)
    [refused] = collector.named("refuse request")
    assert refused.failed
    assert refused.attributes == {
        "qt.reason": "token",
        "qt.status": 401,
        "qt.route": "POST /webhooks/quantemplate/{token}",
    }
    assert "a-wrong-token" not in repr(collector.spans)


@pytest.mark.parametrize("answers", [False, True], ids=["nobody listens", "never answers"])
def test_a_collector_that_is_down_fails_nothing_and_is_told_of_in_one_line(tmp_path: Path, *, answers: bool) -> None:
    (tmp_path / "file.csv").write_bytes(CSV)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if answers:
            listener.listen()
        endpoint = f"http://collector:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/{SECRET}"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "qt_pipeline", "load", str(tmp_path / "file.csv")),
                *("--dataset-id", DATASET, "--json"),
            ],
            env=environment(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 3
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
    told = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert len(told) <= 1
    if not answers:
        assert told[0].startswith("Traces are late or lost")


def test_half_a_character_costs_no_span(collector: Collector) -> None:
    with traces_to(collector.url, RUN_SERVICE), run("run-1", dataset_id="d-\ud800"):
        pass
    [whole] = collector.named("run")
    assert whole.attributes["qt.dataset_id"] == "d-?"


def test_what_opentelemetry_cannot_use_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    done = []
    with traces_to("http://127.0.0.1:9", RUN_SERVICE), run("run-1"):
        done.append(1)
    assert done


def test_the_end_does_not_wait_for_a_collector_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        exporter = OtlpExporter(f"http://127.0.0.1:{listener.getsockname()[1]}", RUN_SERVICE)
        exporter.record(Span("run", of_event(EVENT), ended=1))
        ending = threading.Thread(target=exporter.close, daemon=True)
        ending.start()
        # The SDK by itself would wait for half a minute.
        ending.join(20)
        assert not ending.is_alive()


WITHOUT_TRACES = """
import sys
from pathlib import Path
import dagster as dg

dg.Definitions(assets=[])
before = {name for name in sys.modules if name.startswith("opentelemetry")}

import qt_pipeline.definitions
from qt_pipeline.catalog import load_catalog
from qt_pipeline.ingest import load_file, local_file
from qt_pipeline.telemetry import run, traces_to
from qt_pipeline.warehouse import open_warehouse

folder = Path(sys.argv[1])
with traces_to(sys.argv[2] or None, "qt_pipeline.run"), run("run-1"):
    dataset = load_catalog(folder / "datasets.yaml").dataset("d-small")
    load_file(open_warehouse(f"sqlite:///{folder}/warehouse.db"), dataset, local_file(folder / "f.csv", run_id="run-1"))
print(sorted({name for name in sys.modules if name.startswith("opentelemetry")} - before)[:3])
"""


@pytest.mark.parametrize("wanted", [False, True])
def test_opentelemetry_is_imported_only_where_there_is_a_collector(
    tmp_path: Path, collector: Collector, *, wanted: bool
) -> None:
    (tmp_path / "f.csv").write_bytes(CSV)
    (tmp_path / "datasets.yaml").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRACES, str(tmp_path), collector.url if wanted else ""],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (done.stdout.strip() != "[]") == wanted
