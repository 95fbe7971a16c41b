"""The command `alert`: a test message to real services on this machine."""

import json
import socket
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from qt_pipeline.cli import app
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import ENV_FILE_VARIABLE
from qt_pipeline_tests.alerting.services import SECRET, Service, running_service


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def service() -> Iterator[Service]:
    with running_service() as running:
        yield running


@pytest.fixture
def both(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service, and a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"json://127.0.0.1:{taken.getsockname()[1]}/{SECRET}"
    monkeypatch.setenv("QT_ALERT_URLS", f"{service.url.get_secret_value()} {nobody}")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["alert", *arguments])


def test_every_address_that_takes_the_message_is_success(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_ALERT_URLS", service.url.get_secret_value())
    result = run("--test")
    assert result.exit_code == 0
    assert service.titles == ["[qt_pipeline] A test"]


@pytest.mark.usefixtures("both")
def test_an_address_that_does_not_is_named_without_its_secret() -> None:
    result = run("--test")
    assert result.exit_code == 1
    assert "address 1 (JSON)" in result.stdout
    assert "address 2 (JSON)" in result.stdout
    assert "not sent: it did not accept the message" in result.stdout
    assert SECRET not in result.output


@pytest.mark.usefixtures("both")
def test_scripts_get_an_object_for_each_address() -> None:
    result = run("--test", "--json")
    assert result.exit_code == 1
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"address": "address 1 (JSON)", "sent": True, "problem": None},
        {"address": "address 2 (JSON)", "sent": False, "problem": "it did not accept the message"},
    ]


def test_without_an_address_it_says_which_setting_is_missing() -> None:
    result = run("--test")
    assert isinstance(result.exception, ConfigurationError)
    assert "QT_ALERT_URLS is not set" in str(result.exception)


def test_it_does_nothing_unless_it_is_asked_for_a_test() -> None:
    assert run().exit_code == 2
