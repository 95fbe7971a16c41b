from collections.abc import Iterator

import pytest

from qt_pipeline.sandbox import SANDBOX_DATASETS
from qt_pipeline_tests.alerting.services import Service, running_service
from qt_pipeline_tests.e2e.live import LiveStack


@pytest.fixture(scope="session")
def told() -> Iterator[Service]:
    """Whom the stack tells of failures."""
    with running_service() as running:
        yield running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, told: Service) -> Iterator[LiveStack]:
    """One stack for all tests that leave it as it was, with every dataset's newest file in its table."""
    settings = {
        "QT_ALERT_URLS": told.url.get_secret_value(),
        "QT_DELIVERY_DELAY_SECONDS": "1",
        # A proxy of the environment is for other machines.
        "NO_PROXY": "127.0.0.1",
    }
    with LiveStack(tmp_path_factory.mktemp("stack"), settings=settings) as running:
        yield running


@pytest.fixture(scope="session")
def first_events(stack: LiveStack) -> dict[str, int]:
    """The numbers of the first events of the sandbox's datasets, by dataset; they are settled."""
    seqs = {dataset.id: stack.fire(dataset.id) for dataset in SANDBOX_DATASETS}
    stack.await_settled(seqs.values())
    return seqs
