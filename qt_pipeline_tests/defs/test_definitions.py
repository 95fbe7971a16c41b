import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
import requests
from dagster._core.run_coordinator import QueuedRunCoordinator

from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.assets import DATASET, EVENTS, SOURCE, TABLE
from qt_pipeline.defs.checks import DESCRIPTIONS
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.demo import prepare_dagster_home
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.liveness import Process, RunLocks
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline

ROOT = Path(__file__).parents[2]

LOAD_WITHOUT_NETWORK = """
import sys

def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise RuntimeError(f"{event} {args}")

sys.addaudithook(watch)
import dagster as dg
from qt_pipeline import definitions

defs = definitions.defs()
dg.Definitions.validate_loadable(defs)
print(sorted(key.to_user_string() for key in defs.resolve_all_asset_keys()))
print([sensor.name for sensor in defs.sensors], [schedule.name for schedule in defs.schedules])
"""


def without_settings() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "DAGSTER_"))}
    return {**inherited, ENV_FILE_VARIABLE: ""}


def test_the_definitions_load_without_settings_or_network_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_NETWORK],
        cwd=tmp_path,
        env=without_settings(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['quantemplate/dataset', 'quantemplate/events', 'quantemplate/source', 'warehouse/table']",
        "['quantemplate_events', 'quantemplate_freshness', 'quantemplate_alerts'] ['quantemplate_refresh']",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_network_access_while_loading_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "dagster.py").write_text("import socket; socket.create_connection(('127.0.0.1', 9))")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_NETWORK],
        env={**without_settings(), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "RuntimeError: socket." in done.stderr


def test_both_assets_have_one_partition_for_each_dataset_and_the_table_comes_after_the_file() -> None:
    graph = build_defs().resolve_asset_graph()
    assert {graph.get(key).partitions_def for key in (DATASET, TABLE)} == {datasets}
    assert graph.get(TABLE).parent_keys == {DATASET}
    assert {key.name for key in graph.asset_check_keys} == set(DESCRIPTIONS)
    assert {graph.get(key).partitions_def for key in graph.asset_check_keys} == {datasets}


def test_the_story_goes_from_quantemplate_by_the_event_and_the_file_to_the_table() -> None:
    graph = build_defs().resolve_asset_graph()
    assert graph.get(EVENTS.key).parent_keys == {SOURCE.key}
    assert graph.get(DATASET).parent_keys == {SOURCE.key, EVENTS.key}
    assert {key for key in graph.get_all_asset_keys() if graph.get(key).is_external} == {SOURCE.key, EVENTS.key}


def test_both_assets_of_a_run_share_one_process() -> None:
    assert build_defs().executor is dg.in_process_executor


def test_the_sensor_runs_from_the_start_and_asks_for_both_assets() -> None:
    defs = build_defs()
    sensor = defs.resolve_sensor_def("quantemplate_events")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name is not None
    assert defs.resolve_job_def(sensor.job_name).asset_layer.selected_asset_keys == {DATASET, TABLE}


def test_the_rooms_are_put_together_from_the_settings(pipeline: LocalPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.serve("Reference,Amount\n007,1.25\n")
    state = pipeline.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "datasets.yaml").touch()
    settings = {
        "QT_API_URL": pipeline.sandbox.api_url,
        ENV_FILE_VARIABLE: "",
        "QT_CATALOG": str(state / "datasets.yaml"),
        "QT_CLIENT_ID": pipeline.sandbox.client_id,
        "QT_CLIENT_SECRET": pipeline.sandbox.client_secret,
        "QT_INBOX_URL": f"sqlite:///{state}/inbox.db",
        "QT_LANDING_URL": str(state / "landing"),
        "QT_ORGANISATION_ID": pipeline.sandbox.organisation_id,
        "QT_STATE_DIR": str(state),
        "QT_TOKEN_URL": pipeline.sandbox.token_url,
        "QT_WAREHOUSE_URL": f"sqlite:///{state}/warehouse.db",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    result = (
        build_defs()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(instance=pipeline.instance, partition_key=DATASET_ID, raise_on_error=False)
    )

    assert result.success
    assert {"inbox.db", "landing", "runs", "warehouse.db"} <= {path.name for path in state.iterdir()}
    assert RunLocks(state / "runs").status(result.run_id) is Process.ALIVE


def test_the_instance_allows_one_run_of_a_partition_at_a_time(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path / "home")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert list(queue.tag_concurrency_limits) == [
            {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        ]
        assert queue.max_concurrent_runs >= 2
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled


def test_the_instance_keeps_everything_in_the_folder_of_local_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_runs() == []
        assert instance.all_asset_keys() == []
    assert {path.name for path in tmp_path.iterdir()} == {"dagster.yaml", ".qt"}


# --- the name of the code location: run history and run keys are kept under it

_START_SECONDS = 150
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename } } } } }
"""
# What the tools of the tests themselves leave in the root.
_OF_TOOLS = {".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__"}


def commands(port: int) -> Mapping[str, list[str]]:
    address = ["-h", "127.0.0.1", "-p", str(port)]
    binaries = Path(sys.executable).parent
    return {
        "dagster dev": [str(binaries / "dagster"), "dev", *address],
        "dg dev": [str(binaries / "dg"), "dev", "--host", "127.0.0.1", "--port", str(port)],
        "dagster-webserver": [str(binaries / "dagster-webserver"), "-w", "workspace.yaml", *address],
    }


@contextmanager
def running(command: list[str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the project's root, ended with all it has started; its output is beside `home`."""
    prepare_dagster_home(home)
    settings = {"DAGSTER_HOME": str(home), "QT_STATE_DIR": str(home.parent / "state")}
    with home.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**without_settings(), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # Not SIGINT: a shell that starts the tests in the background lets all of them ignore it.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)


def loaded_locations(port: int) -> dict[str, str] | None:
    """Each code location's name and how it loaded; None as long as nobody answers or one is still loading."""
    with requests.Session() as session, suppress(requests.ConnectionError, requests.Timeout):
        session.trust_env = False
        answer = session.post(f"http://127.0.0.1:{port}/graphql", json={"query": _LOCATIONS}, timeout=10)
        entries = answer.json()["data"]["workspaceOrError"]["locationEntries"]
        if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
            return {entry["name"]: entry["locationOrLoadError"]["__typename"] for entry in entries}
    return None


@pytest.mark.e2e
@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=[pytest.mark.long] if how.endswith(" dev") else []) for how in commands(0)]
)
def test_the_code_location_has_the_same_name_however_dagster_is_started(how: str, tmp_path: Path) -> None:
    before = set(ROOT.iterdir())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    found: dict[str, str] | None = None
    with running(commands(port)[how], tmp_path / "home") as process:
        deadline = time.monotonic() + _START_SECONDS
        while found is None and process.poll() is None and time.monotonic() < deadline:
            found = loaded_locations(port)
            time.sleep(0.2)
    assert found == {"qt_pipeline": "RepositoryLocation"}, (tmp_path / "home.log").read_text()
    assert {path.name for path in set(ROOT.iterdir()) - before} <= _OF_TOOLS


@pytest.mark.parametrize("name", ["100%", "a?b", "a#b"])
def test_a_folder_in_which_dagster_would_not_keep_its_databases_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_STATE_DIR"):
        prepare_dagster_home(tmp_path / name / "dagster")
    assert not list(tmp_path.iterdir())
