"""A place in which all is well: real parts, but for Dagster."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest
import yaml
from pydantic import SecretStr

from qt_pipeline.doctor import Area, Finding, FindingState, run_checks
from qt_pipeline.env_file import write_env_file
from qt_pipeline.inbox import open_inbox
from qt_pipeline.relay import GroupCommitWriter, Metrics
from qt_pipeline.relay.app import RelayApp
from qt_pipeline.relay.rejections import Rejections
from qt_pipeline.relay.server import build_server
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline.settings import report_settings
from qt_pipeline_tests.fake_dagster import FakeDagster

TOKEN = "the-secret-token-of-the-webhook"
DATASET, OTHER = "d-small", "d-other"
CSV = b"Policy Number,Paid,Paid Date\n007,1.25,20260131\n"


@dataclass
class Place:
    """Where everything is, what the file of settings says, and a look at it all."""

    folder: Path
    sandbox: SandboxServer
    dagster: FakeDagster
    settings: dict[str, str]
    catalog: dict[str, object]
    monkeypatch: pytest.MonkeyPatch

    @property
    def env_file(self) -> Path:
        return self.folder / "settings.env"

    def write(self) -> None:
        """Write the file of settings and the catalog."""
        write_env_file(self.env_file, self.settings)
        (self.folder / "datasets.yaml").write_text(yaml.safe_dump(self.catalog))
        self.monkeypatch.setenv("QT_ENV_FILE", str(self.env_file))

    def look(self) -> list[Finding]:
        return run_checks(report_settings())

    def dataset(self, **said: object) -> None:
        """Let the catalog say this of the dataset."""
        self.catalog["datasets"] = {DATASET: said}


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def vendor() -> Iterator[SandboxServer]:
    with SandboxServer(client_id="api-user", client_secret="the secret of the API user") as server:
        yield server


@pytest.fixture
def sandbox(vendor: SandboxServer) -> SandboxServer:
    """The vendor, with two datasets whose downloads are well."""
    for dataset_id in (DATASET, OTHER):
        vendor.state.put(dataset_id, CSV)
        vendor.state.set_faults(dataset_id, [])
    return vendor


@pytest.fixture(scope="session")
def relay_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"sqlite:///{tmp_path_factory.mktemp('relay')}/inbox.db"
    metrics = Metrics()
    server = build_server(
        RelayApp(GroupCommitWriter(open_inbox(url), metrics), [SecretStr(TOKEN)], Rejections(metrics))
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def dagster() -> Iterator[FakeDagster]:
    with FakeDagster() as dagster:
        yield dagster


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: SandboxServer,
    relay_url: str,
    dagster: FakeDagster,
) -> Place:
    for name in list(os.environ):
        if name.upper().startswith("QT_"):
            monkeypatch.delenv(name)
    # A clone may be anywhere, and so may who calls.
    monkeypatch.chdir("/")
    # Not even by mistake may a test touch the state of whoever runs it.
    monkeypatch.setenv("QT_STATE_DIR", str(tmp_path / "state"))
    settings = {
        "QT_CLIENT_ID": sandbox.client_id,
        "QT_CLIENT_SECRET": sandbox.client_secret,
        "QT_ORGANISATION_ID": sandbox.organisation_id,
        "QT_API_URL": sandbox.api_url,
        "QT_TOKEN_URL": sandbox.token_url,
        "QT_CATALOG": str(tmp_path / "datasets.yaml"),
        "QT_RELAY_TOKENS": TOKEN,
        "QT_RELAY_URL": relay_url,
        "QT_DAGSTER_URL": dagster.url,
        "QT_ALERT_URLS": f"json://127.0.0.1:{closed_port()}/",
    }
    catalog: dict[str, object] = {"datasets": {DATASET: {"name": "Small", "columns": {"Paid": "decimal(9,2)"}}}}
    made = Place(tmp_path, sandbox, dagster, settings, catalog, monkeypatch)
    made.write()
    return made


def only(findings: list[Finding], area: Area, state: FindingState) -> list[Finding]:
    return [finding for finding in findings if finding.area is area and finding.state is state]
