"""How tests are shared out to processes: a file goes to one of them, and so do all files that use one running stack."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

_SHARE_A_STACK = {
    f"qt_pipeline_tests/e2e/test_{name}.py"
    for name in ("alerts", "browser", "by_hand", "coalescing", "path", "run_command")
}


class _Scheduling(LoadFileScheduling):
    """Two processes would each start Dagster for them, and again after every file in between."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "those that share a stack" if file in _SHARE_A_STACK else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
