from collections.abc import Iterator
from pathlib import Path

import pytest

from qt_pipeline.inbox import Inbox, database, open_inbox


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "inbox.db"


@pytest.fixture
def inbox(file: Path) -> Iterator[Inbox]:
    opened = open_inbox(f"sqlite:///{file}")
    yield opened
    opened.close()


@pytest.fixture
def impatient_inbox(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    monkeypatch.setattr(database, "_WAIT_SECONDS", 0.1)
    opened = open_inbox(f"sqlite:///{file}")
    yield opened
    opened.close()
