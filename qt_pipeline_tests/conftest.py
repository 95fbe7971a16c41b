"""What tests of all packages share: how they are distributed to processes, and servers that each process starts once.

A file goes to one process, and so do all files that use one running stack.
"""

import os
from collections.abc import Iterator

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

import qt_pipeline_tests.examples  # noqa: F401  # registers the profiles
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline_tests.postgres import careless_postgres

hypothesis.settings.load_profile("quick")

_SHARE_A_STACK = {
    f"qt_pipeline_tests/e2e/test_{name}.py"
    for name in ("alerts", "browser", "coalescing", "hostile", "kill", "manual", "path", "run_command")
}


_LONGEST_FIRST = ("oracle", "faults", "e2e", "defs")
"""Packages whose files take longest: a process that came to one of them last would work on it alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, first of all those that share a stack: Dagsters start one at a time."""
    ranks = {package: rank for rank, package in enumerate(_LONGEST_FIRST)}

    def rank(item: pytest.Item) -> int:
        shares_a_stack = item.nodeid.partition("::")[0] in _SHARE_A_STACK
        return -1 if shares_a_stack else ranks.get(item.path.parent.name, len(ranks))

    items.sort(key=rank)


class _Scheduling(LoadFileScheduling):
    """Two processes would each start Dagster for them, and again after every file in between."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "those that share a stack" if file in _SHARE_A_STACK else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One process more than there are cores: many tests wait for Dagster, for a lock or for a disk."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one PostgreSQL for all tests, each of which takes a schema or a database of its own."""
    with careless_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxServer]:
    """One Quantemplate for all tests, each of which serves its datasets anew."""
    with SandboxServer() as server:
        yield server
