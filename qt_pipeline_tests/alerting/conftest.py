from collections.abc import Iterator

import pytest

from qt_pipeline_tests.alerting.services import Service, running_service
from qt_pipeline_tests.inbox.conftest import file, postgres, sqlite, sqlserver
from qt_pipeline_tests.open_results import no_result_stays_open

# Where inboxes can be: the store is in the database of one.
__all__ = ["file", "no_result_stays_open", "postgres", "sqlite", "sqlserver"]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    # A proxy of the environment is for other machines.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_service() as running:
        yield running


@pytest.fixture
def other_service() -> Iterator[Service]:
    with running_service() as running:
        yield running
