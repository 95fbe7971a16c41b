"""A vendor on loopback, a client of it that loses no time waiting, and sinks that remember."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from pydantic import SecretStr

from qt_pipeline.quantemplate import ClientConfig, Download, QuantemplateClient
from qt_pipeline_tests.quantemplate import wire

DATASET = "d-w6g5sjf-gvgp4wmexqhykblu"
PATH = f"/v1/organisations/c-org/datasets/{DATASET}"
SECRET = "s3cret+&=%/ é"


@dataclass(slots=True)
class Sinks:
    """Every sink that was opened, and those of them that were left without an exception."""

    opened: list[io.BytesIO] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[io.BytesIO]:
        sink = io.BytesIO()
        self.opened.append(sink)
        yield sink
        self.kept.append(sink.getvalue())


@pytest.fixture
def vendor() -> Iterator[wire.WireServer]:
    with wire.WireServer() as server:
        server.on("/token", wire.token("token-1"), wire.token("token-2"), wire.token("token-3"))
        yield server


@pytest.fixture
def elsewhere() -> Iterator[wire.WireServer]:
    with wire.WireServer() as server:
        yield server


@pytest.fixture
def config(vendor: wire.WireServer) -> ClientConfig:
    return ClientConfig(
        api_url=f"{vendor.url}/v1",
        token_url=f"{vendor.url}/token",
        organisation_id="c-org",
        client_id="api-user",
        client_secret=SecretStr(SECRET),
        connect_timeout_seconds=5,
        read_timeout_seconds=5,
        attempts=3,
        retry_after_cap_seconds=0.05,
        not_ready_seconds=0,
        backoff_base_seconds=0.001,
    )


@pytest.fixture
def sinks() -> Sinks:
    return Sinks()


@pytest.fixture
def download(config: ClientConfig, sinks: Sinks) -> Callable[..., Download]:
    """Download the dataset with a new client, its config changed as given."""

    def download(**changes: object) -> Download:
        client = QuantemplateClient(replace(config, **changes))
        return client.download_dataset(DATASET, sinks.open, trace_id="run-1")

    return download
