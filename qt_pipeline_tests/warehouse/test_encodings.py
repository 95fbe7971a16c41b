"""Text arrives on PostgreSQL as the file has it, whatever the database, the login, the URL or the environment want."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, event, make_url

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.warehouse import TargetRefusedError, open_warehouse
from qt_pipeline_tests.postgres import new_database
from qt_pipeline_tests.warehouse.loading import load

CAFE = (Path(__file__).parents[1] / "data" / "cafe.csv").read_bytes()
_SIGNS = {
    "LATIN1": "Café ÿ ÄÖÜ \u00a0§",
    "LATIN9": "Café € Œuvre Š",
    "WIN1252": "Café € “quoted” — ™",
    "UTF8": "Café 日本 \U0001f600 e\u0301",
}


@contextmanager
def role(server: str, *settings: str) -> Iterator[str]:
    """A login with these settings of its own; its URL."""
    name = f"loader_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER".encode())
        for setting in settings:
            connection.execute(f"ALTER ROLE {name} SET {setting}".encode())
        try:
            yield make_url(server).set(username=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER".encode())
            connection.execute(f"DROP ROLE {name}".encode())


def towns(url: str, table: str = "paid") -> list[str]:
    with psycopg.connect(url, client_encoding="utf8") as connection:
        return [town for (town,) in connection.execute(f'SELECT "town" FROM {table}'.encode())]


@pytest.mark.parametrize("encoding", _SIGNS)
def test_text_arrives_in_a_database_of_any_encoding(postgres_server: str, encoding: str) -> None:
    text = _SIGNS[encoding]
    with new_database(postgres_server, encoding) as url:
        for _ in range(2):
            load(open_warehouse(url), f"town,claims\n{text},1\n".encode())
            assert towns(url) == [text]


@pytest.mark.parametrize("encoding", ["LATIN1", "LATIN9", "WIN1252"])
@pytest.mark.parametrize("data", [CAFE, "town,claims,日本\nx,1,2\n".encode()], ids=["value", "header"])
def test_what_the_database_cannot_hold_is_refused_by_the_name_of_its_encoding(
    postgres_server: str, encoding: str, data: bytes
) -> None:
    with new_database(postgres_server, encoding) as url:
        load(open_warehouse(url), b"town,claims\nYork,1\n")
        with pytest.raises(TargetRefusedError, match=f"its encoding {encoding} lacks a character") as caught:
            load(open_warehouse(url), data)
        told = f"{caught.value} {caught.value.__cause__} {open_warehouse(url).loads()[0].error}"
        assert not set(told) & set("é日本")
        assert "e6 97" not in told
        assert "the server runs" not in told
        assert towns(url) == ["York"]


def test_a_database_without_an_encoding_is_refused_before_anything_is_written(postgres_server: str) -> None:
    with new_database(postgres_server, "SQL_ASCII") as url:
        with pytest.raises(ConfigurationError, match=r"SQL_ASCII.*QT_WAREHOUSE_URL"):
            open_warehouse(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^_qt'").fetchall() == []


def _by_environment(url: str, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("PGCLIENTENCODING", "LATIN1")
    return url


def _by_options_of_environment(url: str, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("PGOPTIONS", "-c client_encoding=LATIN1")
    return url


def _by_database(url: str, _patch: pytest.MonkeyPatch) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {make_url(url).database} SET client_encoding = 'LATIN1'".encode())
    return url


def _by_url(url: str, _patch: pytest.MonkeyPatch) -> str:
    return make_url(url).update_query_dict({"client_encoding": "latin1"}).render_as_string(hide_password=False)


def _by_options_of_url(url: str, _patch: pytest.MonkeyPatch) -> str:
    options = {"options": "-c client_encoding=latin1"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


_WAYS = [_by_environment, _by_options_of_environment, _by_database, _by_url, _by_options_of_url]


@pytest.mark.parametrize("prefer_latin1", _WAYS)
def test_no_preference_for_another_encoding_changes_text(
    postgres_server: str, prefer_latin1: Callable[[str, pytest.MonkeyPatch], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database(postgres_server, "UTF8") as url:
        load(open_warehouse(prefer_latin1(url, monkeypatch)), CAFE)
        assert towns(url) == ["Café 日本"]


def test_no_preference_of_the_login_changes_text(postgres_server: str) -> None:
    with (
        new_database(postgres_server, "UTF8") as url,
        role(url, "client_encoding = 'WIN1252'") as of_role,
    ):
        load(open_warehouse(of_role), CAFE)
        assert towns(url) == ["Café 日本"]


def test_an_encoding_that_something_on_the_way_has_set_is_refused_before_a_row_is_sent(postgres_server: str) -> None:
    with new_database(postgres_server, "UTF8") as url:
        warehouse = open_warehouse(url)
        load(warehouse, b"town,claims\nYork,1\n")

        # As a pooler that keeps one server connection for many would leave it.
        @event.listens_for(warehouse._target._engine, "begin")
        def set_another(connection: Connection) -> None:
            connection.exec_driver_sql("SET client_encoding = 'LATIN1'")

        with pytest.raises(ConfigurationError, match="as LATIN1 instead of UTF-8"):
            load(warehouse, CAFE)
        assert towns(url) == ["York"]
