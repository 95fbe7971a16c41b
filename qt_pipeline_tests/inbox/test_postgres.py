"""What only a server can do to an inbox, on a real PostgreSQL."""

import socket
from collections.abc import Iterator

import pytest
from sqlalchemy import func, make_url, select, text

from qt_pipeline.alerting import open_store
from qt_pipeline.database import advisory_key
from qt_pipeline.inbox import Inbox, InboxUnavailableError, NewEvent, database, open_inbox
from qt_pipeline.inbox.database import reading
from qt_pipeline_tests.inbox.places import Place, Postgres

EVENT = NewEvent("e-1", "DatasetUpdated", "d-one", None, b"{}")


@pytest.fixture
def place(postgres: Postgres) -> Place:
    return postgres


@pytest.fixture
def careless_server(place: Place) -> Iterator[None]:
    """A server whose defaults are made for speed."""
    defaults = {"synchronous_commit": "off", "default_transaction_isolation": "'serializable'"}
    place.execute(*(f"ALTER DATABASE postgres SET {name} = {value}" for name, value in defaults.items()))
    yield
    place.execute(*(f"ALTER DATABASE postgres RESET {name}" for name in defaults))


@pytest.mark.usefixtures("careless_server")
def test_a_commit_is_durable_and_a_read_sees_the_last_one_whatever_the_server_prefers(inbox: Inbox) -> None:
    with reading(inbox._engine) as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_an_inbox_from_which_nothing_is_missing_is_opened_while_another_process_prepares_it(place: Place) -> None:
    inbox_id = open_inbox(place.url).inbox_id
    open_store(place.url).close()
    with reading(open_inbox(place.url)._engine) as preparing:
        preparing.execute(select(func.pg_advisory_xact_lock(advisory_key(database._CREATION))))
        assert open_inbox(place.url).inbox_id == inbox_id
        open_store(place.url).close()


def test_a_statement_that_takes_too_long_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_STATEMENT_SECONDS", 1)
    inbox = open_inbox(place.url)
    with pytest.raises(InboxUnavailableError, match="statement timeout"), reading(inbox._engine) as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    inbox.close()


def test_an_inbox_outlives_its_connections(inbox: Inbox, place: Place) -> None:
    inbox.append([EVENT])
    [(ended,)] = place.query(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'qt_pipeline' AND pid <> pg_backend_pid()"
    )
    assert ended
    assert len(inbox.append([EVENT])) == 1


def test_a_server_that_is_away_is_unavailable_and_its_password_is_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(InboxUnavailableError, match=r"refused.*the server runs") as caught:
        open_inbox(f"postgresql://u:canary@127.0.0.1:{port}/d?application_name=canary")
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_no_row_is_told(inbox: Inbox) -> None:
    with pytest.raises(InboxUnavailableError, match="SQLSTATE 22P02") as caught, reading(inbox._engine) as connection:
        connection.execute(text("SELECT CAST('canary' AS integer)"))
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_inbox_lives_in_the_schema_that_the_url_names(inbox: Inbox, postgres: Postgres) -> None:
    inbox.append([EVENT])
    assert postgres.query(f"SELECT count(*) FROM {postgres.schema}._qt_events") == [(1,)]
    assert make_url(postgres.url).query["options"] == f"-csearch_path={postgres.schema}"


def test_a_login_that_may_only_read_and_write_finds_the_inbox_made(inbox: Inbox, postgres: Postgres) -> None:
    inbox.append([EVENT])
    role = f"writer_{postgres.schema}"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {postgres.schema} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {postgres.schema} TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {postgres.schema} TO {role}",
    )
    try:
        of_role = open_inbox(make_url(postgres.url).set(username=role).render_as_string(hide_password=False))
        assert of_role.inbox_id == inbox.inbox_id
        assert len(of_role.append([EVENT])) == 1
        of_role.check()
        of_role.close()
    finally:
        postgres.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
