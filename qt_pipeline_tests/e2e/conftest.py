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


_STACK = pytest.StashKey[LiveStack]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture needs it, also those of a module."""
    stack = item.config.stash.get(_STACK, None)
    if stack is not None and _uses_stack(item):
        stack.wake_dagster()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Dagster costs a fifth of a core while nothing happens: it sleeps while other rooms are tested."""
    stack = item.config.stash.get(_STACK, None)
    if stack is not None and not _uses_stack(nextitem):
        stack.stop("dagster")


def _uses_stack(item: pytest.Item | None) -> bool:
    return isinstance(item, pytest.Function) and "stack" in item.fixturenames


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, told: Service
) -> Iterator[LiveStack]:
    """One stack for all tests that leave it as it was, with every dataset's newest file in its table."""
    settings = {
        "QT_ALERT_URLS": told.url.get_secret_value(),
        "QT_DELIVERY_DELAY_SECONDS": "1",
        # A proxy of the environment is for other machines.
        "NO_PROXY": "127.0.0.1",
    }
    with LiveStack(tmp_path_factory.mktemp("stack"), settings=settings) as running:
        request.config.stash[_STACK] = running
        yield running
        del request.config.stash[_STACK]


@pytest.fixture(scope="session")
def first_events(stack: LiveStack) -> dict[str, int]:
    """The numbers of the first events of the sandbox's datasets, by dataset; they are settled."""
    seqs = {dataset.id: stack.fire(dataset.id) for dataset in SANDBOX_DATASETS}
    stack.await_settled(seqs.values())
    return seqs
