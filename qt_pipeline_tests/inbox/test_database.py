import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from qt_pipeline.errors import ConfigurationError, TransientError
from qt_pipeline.inbox import Inbox, InboxUnavailableError, NewEvent, open_inbox
from qt_pipeline.inbox.database import reading, writing

EVENT = NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}")


def test_a_commit_is_durable(inbox: Inbox) -> None:
    with writing(inbox._engine) as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA fullfsync")) == 1


def test_a_writer_holds_the_lock_from_its_beginning_and_a_reader_never(inbox: Inbox, file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        with reading(inbox._engine):
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        with writing(inbox._engine), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")


def test_a_number_is_never_used_twice(inbox: Inbox, file: Path) -> None:
    [seq] = inbox.append([EVENT])
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("DELETE FROM _qt_events")
    assert inbox.append([EVENT]) == [seq + 1]


def test_threads_share_an_inbox(inbox: Inbox) -> None:
    with ThreadPoolExecutor(16) as pool:
        seqs = [seq for [seq] in pool.map(lambda _: inbox.append([EVENT]), range(100))]
    assert sorted(seqs) == list(range(1, 101))


def test_a_new_inbox_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    callers = 8
    barrier = threading.Barrier(callers)

    def open_together(url: str) -> str:
        barrier.wait()
        inbox = open_inbox(url)
        inbox.append([EVENT])
        inbox.close()
        return inbox.inbox_id

    for round_ in range(10):
        url = f"sqlite:///{tmp_path}/{round_}/new/inbox.db"
        with ThreadPoolExecutor(callers) as pool:
            identities = set(pool.map(open_together, [url] * callers))
        assert len(identities) == 1
        assert open_inbox(url).highest_seq("d-one") == callers


def test_a_locked_inbox_refuses_and_recovers(impatient_inbox: Inbox, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InboxUnavailableError, match="database is locked"):
            impatient_inbox.append([EVENT])
        with pytest.raises(InboxUnavailableError, match="database is locked"):
            impatient_inbox.check()
        assert impatient_inbox.pending() == []
        other.execute("ROLLBACK")
    impatient_inbox.check()
    assert impatient_inbox.append([EVENT]) == [1]


def test_a_full_database_takes_all_of_a_batch_or_nothing(inbox: Inbox) -> None:
    large = NewEvent("e-2", "DatasetUpdated", "d-one", None, b"x" * 60_000)
    with reading(inbox._engine) as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count = {pages + 10}"))
    with pytest.raises(InboxUnavailableError, match="full"):
        inbox.append([EVENT, large])
    assert inbox.events() == []
    with reading(inbox._engine) as connection:
        connection.execute(text("PRAGMA max_page_count = 100000"))
    assert len(inbox.append([EVENT, large])) == 2


def test_a_check_really_writes(inbox: Inbox, file: Path) -> None:
    def last_check() -> str | None:
        with closing(sqlite3.connect(file)) as other:
            return other.execute("SELECT checked_at FROM _qt_inbox").fetchone()[0]

    inbox.check()
    first = last_check()
    inbox.check()
    assert first is not None
    assert last_check() != first


def test_a_caller_that_finds_the_connection_taken_is_told_so(impatient_inbox: Inbox) -> None:
    with reading(impatient_inbox._engine), pytest.raises(InboxUnavailableError, match="other callers"):
        impatient_inbox.check()


def test_a_file_that_cannot_be_an_inbox_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database. " * 100)
    with pytest.raises(InboxUnavailableError, match="not a database"):
        open_inbox(f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(InboxUnavailableError, match=r"Not a directory|File exists"):
        open_inbox(f"sqlite:///{tmp_path}/text.db/inbox.db")


def test_an_unavailable_inbox_is_worth_another_try() -> None:
    assert issubclass(InboxUnavailableError, TransientError)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "postgresql://u:canary@h/d", "canary"],
)
def test_only_a_file_can_be_an_inbox(url: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_INBOX_URL") as caught:
        open_inbox(url)
    assert "canary" not in str(caught.value)
