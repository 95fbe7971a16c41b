"""Lines of the log: what they look like where, and by what they are found together."""

import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.demo import prepare_dagster_home
from qt_pipeline.prefetch import prefetch
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline.telemetry import json_lines, log_context, of_event, run, span
from qt_pipeline.telemetry.logs import JsonLines
from qt_pipeline_tests.ingest.place import CSV, DATASET, Place, both
from qt_pipeline_tests.relay.running import TOKEN, Relay, port_in


def written(log: logging.Logger) -> dict[str, Any]:
    """The line that `log` writes of an error, as JSON."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    keep = Keep()
    keep.setFormatter(JsonLines())
    log.addHandler(keep)
    try:
        divmod(1, 0)
    except ZeroDivisionError:
        log.exception("%d went\nwrong with %r", 3, "ü\N{PILE OF POO}\ud800")
    finally:
        log.removeHandler(keep)
    [line] = lines
    assert "\n" not in line
    assert line.isascii()
    return json.loads(line)


def test_a_line_is_one_json_object_with_time_level_logger_message_and_exception() -> None:
    line = written(logging.getLogger("qt_pipeline.some.room"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (line["level"], line["logger"]) == ("ERROR", "qt_pipeline.some.room")
    assert line["message"].startswith("3 went\nwrong with 'ü")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: integer division or modulo by zero")
    assert set(line) == {"time", "level", "logger", "message", "exception"}


def test_a_line_says_what_the_work_around_it_is_about_and_no_more_afterwards() -> None:
    log = logging.getLogger("qt_pipeline.some.room")
    with log_context(run_id="r", dataset_id="d", dataset="Claims"):
        with log_context(event_id="e", sequence=7, load_id=3, dataset="Claims paid", run_id=None):
            inner = written(log)
        outer = written(log)
    assert inner.items() >= {"run_id": "r", "dataset_id": "d", "dataset": "Claims paid", "event_id": "e"}.items()
    assert (inner["sequence"], inner["load_id"]) == (7, 3)
    assert outer["dataset"] == "Claims"
    assert not {"event_id", "sequence", "load_id"} & set(outer)
    assert "run_id" not in written(log)


def test_a_thread_that_works_ahead_knows_what_its_work_is_about() -> None:
    log = logging.getLogger("qt_pipeline.some.room")
    with log_context(dataset_id="d"), span("stage") as around:
        [line] = prefetch(written(log) for _ in range(1))
    assert line["dataset_id"] == "d"
    assert (line["trace_id"], line["span_id"]) == (around.context.trace_id, around.context.span_id)


@contextmanager
def relay_on(state: Path, stderr: int, log: Path, **settings: str) -> Iterator[Relay]:
    """`qt-pipeline relay` with this as its standard error, which is copied to `log` by whoever reads it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "OTEL_"))}
    environment = {
        **inherited,
        ENV_FILE_VARIABLE: "",
        "QT_STATE_DIR": str(state),
        "QT_RELAY_TOKENS": TOKEN,
        **settings,
    }
    command = [sys.executable, "-m", "qt_pipeline", "relay", "--port", "0", "--metrics-port", "0"]
    state.mkdir()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        try:
            yield Relay(port_in(log, process), state / "inbox.db")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def event(number: int) -> bytes:
    return json.dumps(
        {"id": f"event-{number}", "name": "DatasetUpdated", "payload": {"datasetId": f"d-{number}"}}
    ).encode()


def parsed(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_outside_a_terminal_each_line_of_the_relay_is_json_and_every_event_is_found_by_its_ids(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    with log.open("wb") as stderr, relay_on(tmp_path / "state", stderr.fileno(), log) as relay:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda number: relay.post(event(number)), range(60)))
        assert relay.post(event(1), token="no-such-token-of-the-relay").status_code == 401
    lines = parsed(log)
    stored = [entry for line in lines for entry in line.get("events", [line] if "sequence" in line else [])]
    assert {entry["sequence"]: entry["event_id"] for entry in stored} == {
        answer.json()["sequence"]: f"event-{number}" for number, answer in enumerate(answers)
    }
    for entry in stored:
        number = entry["event_id"].removeprefix("event-")
        assert entry["dataset_id"] == f"d-{number}"
        assert entry["trace_id"] == of_event(entry["event_id"]).trace_id
    assert any("401 token" in line["message"] for line in lines)
    # What is not ours is a line of the same form.
    assert any(line["logger"] == "uvicorn.error" for line in lines)
    assert TOKEN not in log.read_text()
    assert "no-such-token" not in log.read_text()


@pytest.mark.parametrize(("log_format", "is_json"), [("auto", False), ("text", False), ("json", True)])
def test_a_terminal_gets_text_unless_told_otherwise(tmp_path: Path, log_format: str, *, is_json: bool) -> None:
    ours, theirs = pty.openpty()
    log = tmp_path / "terminal.log"
    log.touch()

    def copy() -> None:
        with log.open("ab", buffering=0) as to:
            # Linux ends a terminal whose other side is closed with an error.
            try:
                while chunk := os.read(ours, 1 << 16):
                    to.write(chunk)
            except OSError:
                pass

    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(copy)
        with relay_on(tmp_path / "state", theirs, log, QT_LOG_FORMAT=log_format) as relay:
            os.close(theirs)
            assert relay.post(event(1)).status_code == 202
        copying.result(30)
    os.close(ours)
    [line] = [line for line in log.read_text().splitlines() if "Stored 1 events" in line]
    assert line.startswith("{") == is_json
    if not is_json:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO qt_pipeline\.relay: Stored 1 events", line)


def test_without_a_terminal_text_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    with (
        log.open("wb") as stderr,
        relay_on(tmp_path / "state", stderr.fileno(), log, QT_LOG_FORMAT="text"),
    ):
        pass
    assert " INFO qt_pipeline.relay: The relay listens on" in log.read_text()


def test_the_lines_of_a_run_say_its_event_dataset_load_and_trace(
    sandbox: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Place.opened(sandbox, tmp_path) as place:
        place.serve(CSV)
        seq = place.event()
        ingest = place.ingest({"datasets": {DATASET: {"name": "Paid claims"}}})
        with json_lines("json"), run("run-1", dataset_id=DATASET):
            both(ingest, "run-1")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"].split(":")[0] for line in lines] == ["Dataset Paid claims"] * 2
    about = {
        "run_id": "run-1",
        "dataset_id": DATASET,
        "dataset": "Paid claims",
        "event_id": f"event-{DATASET}",
        "sequence": seq,
        "trace_id": of_event(f"event-{DATASET}").trace_id,
    }
    for line in lines:
        assert line.items() >= about.items()
    assert [line.get("load_id") for line in lines] == [None, 1]


def test_in_a_run_of_dagster_our_lines_are_in_its_log_and_once_as_json(
    sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.state.put(DATASET, CSV)
    state = tmp_path / "state"
    settings = {
        ENV_FILE_VARIABLE: "",
        "QT_API_URL": sandbox.api_url,
        "QT_CATALOG": str(tmp_path / "datasets.yaml"),
        "QT_CLIENT_ID": sandbox.client_id,
        "QT_CLIENT_SECRET": sandbox.client_secret,
        "QT_ORGANISATION_ID": sandbox.organisation_id,
        "QT_STATE_DIR": str(state),
        "QT_TOKEN_URL": sandbox.token_url,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "datasets.yaml").write_text("{}")
    prepare_dagster_home(tmp_path / "home")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        instance.add_dynamic_partitions(str(datasets.name), [DATASET])
        job = build_defs().resolve_implicit_global_asset_job_def()
        # Two in one process: what the first has set up is gone when the second begins.
        for _ in range(2):
            capfd.readouterr()
            result = job.execute_in_process(instance=instance, partition_key=DATASET)
            written = [line for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
            lines = [json.loads(line) for line in written]
            messages = [line["message"] for line in lines]
            assert len(messages) == len(set(messages)) == 2
            assert {line["run_id"] for line in lines} == {result.run_id}
            assert {line["trace_id"] for line in lines} == {result.run_id.replace("-", "")}
            told = [entry.user_message for entry in instance.all_logs(result.run_id)]
            for message in messages:
                assert told.count(message) == 1
    assert not [handler for handler in logging.getLogger("qt_pipeline").handlers if handler.formatter is not None]
