"""An inbox through a real PgBouncer, and in databases and sessions of other encodings."""

import pytest
from sqlalchemy import make_url

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import InboxUnavailableError, NewEvent, open_inbox
from qt_pipeline.inbox.database import reading
from qt_pipeline_tests.postgres import new_database, running_pgbouncer

EVENT = NewEvent("e-1", "DatasetUpdated", "d-café", None, b"{}")


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
def test_appends_go_through_a_pooler(postgres_server: str, pool_mode: str) -> None:
    with new_database(postgres_server, "UTF8") as url, running_pgbouncer(url, pool_mode) as pooler:
        inboxes = [open_inbox(pooler) for _ in range(3)]
        # More often than psycopg would wait before it prepares a statement, on whatever connection is free.
        numbers = [number for _ in range(10) for inbox in inboxes for number in inbox.append([EVENT, EVENT])]
        assert numbers == sorted(set(numbers))
        assert {inbox.inbox_id for inbox in inboxes} == {inboxes[0].inbox_id}
        assert inboxes[2].highest_seq("d-café") == numbers[-1]
        with reading(inboxes[0]._engine) as connection:
            for name, value in (("synchronous_commit", "on"), ("statement_timeout", "10s"), ("lock_timeout", "5s")):
                assert connection.exec_driver_sql(f"SHOW {name}").scalar() == value
        for inbox in inboxes:
            inbox.close()


def test_what_a_pooler_refuses_is_named(postgres_server: str) -> None:
    with running_pgbouncer(postgres_server, "transaction") as pooler:
        url = make_url(pooler).update_query_dict({"options": "-c search_path=x"}).render_as_string(hide_password=False)
        with pytest.raises(InboxUnavailableError, match=r"unsupported startup parameter.*Remove `options`"):
            open_inbox(url)


@pytest.mark.parametrize("encoding", ["LATIN1", "UTF8"])
def test_text_is_the_same_again_whatever_encoding_the_environment_prefers(
    postgres_server: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database(postgres_server, encoding) as url:
        for preferred in ("UTF8", "LATIN1"):
            monkeypatch.setenv("PGCLIENTENCODING", preferred)
            inbox = open_inbox(url)
            [seq] = inbox.append([EVENT])
            assert inbox.highest_seq("d-café") == seq
            inbox.close()


def test_a_database_without_an_encoding_is_refused(postgres_server: str) -> None:
    with (
        new_database(postgres_server, "SQL_ASCII") as url,
        pytest.raises(ConfigurationError, match=r"SQL_ASCII.*QT_INBOX_URL"),
    ):
        open_inbox(url)
