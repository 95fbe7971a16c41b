import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from qt_pipeline.errors import ConfigurationError, TransientError
from qt_pipeline.inbox import Inbox, InboxUnavailableError, NewEvent, open_inbox
from qt_pipeline.inbox.database import reading, writing
from qt_pipeline_tests.inbox.places import Place, Sqlite

EVENT = NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}")


def test_a_number_is_never_used_twice(inbox: Inbox, place: Place) -> None:
    [seq] = inbox.append([EVENT])
    place.execute("DELETE FROM _qt_events")
    [next_seq] = inbox.append([EVENT])
    assert next_seq > seq


def test_threads_share_an_inbox(inbox: Inbox) -> None:
    with ThreadPoolExecutor(16) as pool:
        seqs = [seq for [seq] in pool.map(lambda _: inbox.append([EVENT]), range(100))]
    assert sorted(seqs) == sorted(event.seq for event in inbox.events(limit=1000))
    assert len(set(seqs)) == 100


def test_a_new_inbox_may_be_opened_by_many_at_once(place: Place) -> None:
    callers = 8
    barrier = threading.Barrier(callers)

    def open_together(_: int) -> str:
        barrier.wait()
        inbox = open_inbox(place.url)
        inbox.append([EVENT])
        inbox.close()
        return inbox.inbox_id

    for _ in range(5):
        with ThreadPoolExecutor(callers) as pool:
            identities = set(pool.map(open_together, range(callers)))
        assert len(identities) == 1
        assert place.query("SELECT COUNT(*) FROM _qt_events") == [(callers,)]
        place.execute("DROP TABLE _qt_events", "DROP TABLE _qt_inbox")


def test_the_wait_for_other_writers_is_bounded_and_the_inbox_recovers(impatient_inbox: Inbox, place: Place) -> None:
    with place.numbers_held():
        with pytest.raises(InboxUnavailableError, match=r"locked|lock timeout|Lock request time out"):
            impatient_inbox.append([EVENT])
        with pytest.raises(InboxUnavailableError, match=r"locked|lock timeout|Lock request time out"):
            impatient_inbox.check()
        assert impatient_inbox.open_events() == []
    impatient_inbox.check()
    assert len(impatient_inbox.append([EVENT])) == 1


def test_a_check_really_writes(inbox: Inbox, place: Place) -> None:
    inbox.check()
    [(first,)] = place.query("SELECT checked_at FROM _qt_inbox")
    inbox.check()
    assert first is not None
    assert place.query("SELECT checked_at FROM _qt_inbox") != [(first,)]


def test_a_transaction_that_fails_leaves_nothing(inbox: Inbox, place: Place) -> None:
    inbox.check()
    before = place.query("SELECT checked_at FROM _qt_inbox")

    def fail_midway() -> None:
        with writing(inbox._engine) as connection:
            connection.execute(text("UPDATE _qt_inbox SET checked_at = NULL"))
            connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    with pytest.raises(InboxUnavailableError, match="nowhere"):
        fail_midway()
    assert place.query("SELECT checked_at FROM _qt_inbox") == before


def test_an_unavailable_inbox_is_worth_another_try() -> None:
    assert issubclass(InboxUnavailableError, TransientError)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "mysql://u:canary@h/d", "canary"],
)
def test_only_a_file_or_a_server_can_be_an_inbox(url: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_INBOX_URL") as caught:
        open_inbox(url)
    assert "canary" not in str(caught.value)


class TestOfSqlite:
    @pytest.fixture
    def place(self, sqlite: Sqlite) -> Place:
        return sqlite

    def test_a_commit_is_durable(self, inbox: Inbox) -> None:
        with writing(inbox._engine) as connection:
            assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
            assert connection.scalar(text("PRAGMA synchronous")) == 2
            assert connection.scalar(text("PRAGMA fullfsync")) == 1

    def test_a_writer_holds_the_lock_from_its_beginning_and_a_reader_never(
        self, impatient_inbox: Inbox, place: Place
    ) -> None:
        with reading(impatient_inbox._engine):
            place.execute("BEGIN IMMEDIATE")
        with place.numbers_held(), pytest.raises(InboxUnavailableError), writing(impatient_inbox._engine):
            raise AssertionError

    def test_a_full_database_takes_all_of_a_batch_or_nothing(self, inbox: Inbox) -> None:
        large = NewEvent("e-2", "DatasetUpdated", "d-one", None, b"x" * 60_000)
        with reading(inbox._engine) as connection:
            pages = connection.scalar(text("PRAGMA page_count"))
            connection.scalar(text(f"PRAGMA max_page_count = {pages + 10}"))
        with pytest.raises(InboxUnavailableError, match=r"full.*disk has space"):
            inbox.append([EVENT, large])
        assert inbox.events() == []
        with reading(inbox._engine) as connection:
            connection.scalar(text("PRAGMA max_page_count = 100000"))
        assert len(inbox.append([EVENT, large])) == 2

    def test_a_caller_that_finds_the_connection_taken_is_told_so(self, impatient_inbox: Inbox) -> None:
        with reading(impatient_inbox._engine), pytest.raises(InboxUnavailableError, match="other callers"):
            impatient_inbox.check()

    def test_a_file_that_cannot_be_an_inbox_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "text.db").write_text("This is not a database. " * 100)
        with pytest.raises(InboxUnavailableError, match="not a database"):
            open_inbox(f"sqlite:///{tmp_path}/text.db")
        with pytest.raises(InboxUnavailableError, match=r"Not a directory|File exists"):
            open_inbox(f"sqlite:///{tmp_path}/text.db/inbox.db")
