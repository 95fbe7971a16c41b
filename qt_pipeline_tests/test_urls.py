"""Passwords in URLs: used as they are meant, or refused by the setting's name; never shown, not even in part."""

import string
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

import qt_pipeline.settings
from qt_pipeline.dagster_api import DagsterApi, DagsterUnavailableError
from qt_pipeline.database import redacted_database_url
from qt_pipeline.doctor.redact import Redactor
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.inbox import open_inbox
from qt_pipeline.settings import Settings, load_settings, report_settings
from qt_pipeline.urls import UNCLEAR_URL, redacted_url, split_credentials, sqlite_url
from qt_pipeline.warehouse import open_warehouse

# `%` and two hexadecimal digits are the encoded form of another character: nobody can tell them from a raw `%`.
RAW = st.text(st.sampled_from(string.ascii_letters + string.digits + "@/#?:$&=+;,'\"[]{}()!*~^|<>\\ é€"), min_size=8)
DATABASES = ("QT_WAREHOUSE_URL", "QT_INBOX_URL")
SERVERS = ("QT_DAGSTER_URL", "QT_RELAY_URL", "QT_API_URL", "QT_TOKEN_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")


def pieces(password: str) -> Iterator[str]:
    """Every four characters of it that do not stand in what surrounds it."""
    found = (password[begin : begin + 4] for begin in range(len(password) - 3))
    return (piece for piece in found if piece not in innocent())


@cache
def innocent() -> str:
    """What is shown with every other password, too."""
    with environment():
        usual = f"{load_settings()} {load_settings()!r} {report_settings()}"
    sentences = Path(str(qt_pipeline.settings.__file__)).read_text()
    return f"{usual} {sentences} {UNCLEAR_URL} ConfigurationError postgresql://loader:***@db.example.com:5432/wh https://db.example.com:5432/wh"


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, field in Settings.model_fields.items():
            patch.delenv(str(field.validation_alias or f"QT_{name.upper()}"), raising=False)
        patch.setenv("QT_ENV_FILE", "")
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def settings_or_refusal(variable: str, url: str, password: str) -> Settings | None:
    """The settings with this one set; None if it is refused as it should be."""
    with environment(**{variable: url}):
        settings, refusal = None, ""
        try:
            settings = load_settings()
        except ConfigurationError as error:
            refusal = f"{error} {error!r} {error.__cause__}"
        survey = report_settings()
    assert list(survey.faults) == ([] if settings else [variable])
    assert not refusal or variable in refusal
    assert not is_shown(password, refusal, repr(survey), f"{settings} {settings!r}")
    return settings


def is_shown(password: str, *texts: str) -> bool:
    return any(piece in text for piece in pieces(password) for text in texts)


@given(variable=st.sampled_from(DATABASES), encoded=st.booleans(), password=RAW)
def test_the_password_of_a_database_is_used_as_it_is_meant_or_refused(
    variable: str, encoded: bool, password: str
) -> None:
    written = quote(password, safe="") if encoded else password
    url = f"postgresql://loader:{written}@db.example.com:5432/wh"
    settings = settings_or_refusal(variable, url, password)
    if settings is None:
        assert not encoded
        return
    value = settings.warehouse_url if variable == "QT_WAREHOUSE_URL" else settings.inbox_url
    parsed = make_url(value)
    assert (parsed.username, parsed.password, parsed.host, parsed.port) == ("loader", password, "db.example.com", 5432)
    assert not is_shown(password, redacted_database_url(value), Redactor(settings)(value))


@given(variable=st.sampled_from(SERVERS), encoded=st.booleans(), password=RAW)
def test_the_password_of_a_server_is_used_as_it_is_meant_or_refused(
    variable: str, encoded: bool, password: str
) -> None:
    written = quote(password, safe="") if encoded else password
    url = f"https://loader:{written}@db.example.com:5432/wh"
    settings = settings_or_refusal(variable, url, password)
    if settings is None:
        assert not encoded or variable in ("QT_API_URL", "QT_TOKEN_URL")
        return
    assert variable not in ("QT_API_URL", "QT_TOKEN_URL"), "a user is of no use there"
    base, credentials = split_credentials(url)
    assert (base, credentials) == ("https://db.example.com:5432/wh", ("loader", password.encode().decode("latin-1")))
    # As every library reads it that is given the URL itself.
    assert urlsplit(url).hostname == "db.example.com"
    assert redacted_url(url) == "https://db.example.com:5432/wh"
    assert DagsterApi(url).run_url("r") == "https://db.example.com:5432/wh/runs/r"


@given(password=RAW)
def test_the_password_of_a_store_is_used_as_it_is_meant_or_refused(password: str) -> None:
    url = f"sftp://loader:{password}@db.example.com/wh"
    if settings_or_refusal("QT_LANDING_URL", url, password):
        assert urlsplit(url).hostname == "db.example.com"
    assert not is_shown(password, redacted_url(url))


@given(text=RAW)
def test_whatever_stands_in_a_url_no_part_of_its_password_is_shown(text: str) -> None:
    for scheme in ("http", "az", "sftp"):
        assert not is_shown(text, redacted_url(f"{scheme}://loader:{text}@db.example.com:5432/wh"))
    try:
        shown = redacted_database_url(f"postgresql://loader:{text}@db.example.com:5432/wh")
    except ValueError:
        return
    assert not is_shown(text, shown)


@pytest.mark.parametrize("password", ["secret@word1", "12/secret@word1", "secret#wo?rd@1", "1@2:secretword"])
@pytest.mark.parametrize("variable", [*DATABASES, *SERVERS, "QT_LANDING_URL", "QT_RELAY_QUEUE_URL", "QT_ALERT_URLS"])
def test_an_unescaped_at_is_refused_by_name(variable: str, password: str) -> None:
    if variable == "QT_ALERT_URLS" and not {"/", "#"}.isdisjoint(password):
        pytest.skip("behind a host, channels and recipients hold an @")
    with environment(**{variable: f"https://loader:{password}@db.example.com/wh"}):
        if variable in (*DATABASES, "QT_LANDING_URL"):
            scheme = "sftp" if variable == "QT_LANDING_URL" else "postgresql"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(variable, f"{scheme}://loader:{password}@db.example.com/wh")
                with pytest.raises(ConfigurationError) as caught:
                    load_settings()
        else:
            with pytest.raises(ConfigurationError) as caught:
                load_settings()
    assert f"{variable}: " in str(caught.value)
    assert "%40" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////home/a@b/c@d.db",
        "mssql+pyodbc:///?odbc_connect=Uid%3Da%40b%3BServer%3Dx@y",
        "postgresql://db.example.com/wh?user=me@example.com",
        "postgresql://me%40example.com:pw@db.example.com/wh",
    ],
)
def test_a_clear_url_of_a_database_is_accepted(url: str) -> None:
    with environment(QT_WAREHOUSE_URL=url):
        assert load_settings().warehouse_url == url


@pytest.mark.parametrize("url", ["az://container/a@b", "file:///a@b/c@d", "abfs://box@account.dfs.core.windows.net/x"])
def test_a_clear_url_of_a_store_is_accepted(url: str) -> None:
    with environment(QT_LANDING_URL=url):
        assert load_settings().landing_url == url


def test_clear_addresses_of_alerts_are_accepted() -> None:
    urls = (
        "slack://T1/A1/TI/#chan/@user mailtos://smtp.example.com?user=me@x.com&to=a@b.com mailto://u:p@gmail.com/a@b.c"
    )
    with environment(QT_ALERT_URLS=urls):
        assert len(load_settings().alert_urls) == 3


def test_a_part_of_a_url_is_no_address_of_alerts() -> None:
    with environment(QT_ALERT_URLS="mailto://user:secret word@gmail.com"), pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "QT_ALERT_URLS: address 2 is not a URL" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["se;cret=word}{", "secret word'\"\\", "12/secret#?word"])
def test_no_connection_tells_of_a_password(password: str) -> None:
    for written in (password, quote(f"{password}@", safe="")):
        url = f"postgresql://loader:{written}@127.0.0.1:1/wh?connect_timeout=2"
        for opened in (open_inbox, open_warehouse):
            with pytest.raises(PipelineError) as caught:
                opened(url)
            assert not is_shown(password, str(caught.value), repr(caught.value))


def test_no_answer_of_dagster_tells_of_a_password() -> None:
    api = DagsterApi("http://loader:hunter2-hunter2@127.0.0.1:1", answer_seconds=2)
    with pytest.raises(DagsterUnavailableError) as caught:
        api.version()
    assert "http://127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {api.url} {api.run_url('r')} {api.backfill_url('b')}"


@pytest.mark.parametrize("value", ["abc${HOME}def", "${HOME}", "a${QT_NOBODY:-x}b", "'abc${HOME}def'", '"${HOME}"'])
@pytest.mark.parametrize(
    ("variable", "around"),
    [
        ("QT_CLIENT_SECRET", "{}"),
        ("QT_RELAY_TOKENS", "{}"),
        ("QT_ALERT_URLS", "{}"),
        ("QT_WAREHOUSE_URL", "postgresql://u:{}@h/d"),
        ("QT_INBOX_URL", "postgresql://h/d?password={}"),
    ],
)
def test_a_secret_that_the_file_would_change_is_refused(tmp_path: Path, variable: str, around: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"{variable}={around.format(value)}\n")
    with environment(QT_ENV_FILE=str(tmp_path / ".env"), HOME="/home/canary"):
        with pytest.raises(ConfigurationError) as caught:
            load_settings()
        assert variable in report_settings().faults
    assert f"{variable}: contains ${{…}}" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_dollar_stays_and_a_path_may_be_expanded(tmp_path: Path) -> None:
    lines = ["QT_CLIENT_SECRET=a$HOME$b$$c", "QT_STATE_DIR=${HOME}/qt", "QT_INBOX_URL=sqlite:///${HOME}/i.db"]
    (tmp_path / ".env").write_text("\n".join(lines))
    with environment(QT_ENV_FILE=str(tmp_path / ".env"), HOME="/home/me"):
        settings = load_settings()
    assert settings.client_secret is not None
    assert settings.client_secret.get_secret_value() == "a$HOME$b$$c"
    assert (settings.state_dir, settings.inbox_url) == (Path("/home/me/qt"), "sqlite:////home/me/i.db")


@pytest.mark.parametrize("name", ["a%41b", "50%", "who?x=1", "a#b", "a b", "žluť €", "a@b:c", "a&b;c'd\"e", "[x]{y}$z"])
def test_the_url_of_a_file_means_that_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    inbox = open_inbox(sqlite_url(folder / "inbox.db"))
    inbox.check()
    inbox.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "inbox.db").is_file()
    assert redacted_database_url(sqlite_url(folder / "inbox.db")) == str(folder / "inbox.db")
    with environment(QT_STATE_DIR=str(folder)):
        settings = load_settings()
    assert make_url(settings.warehouse_url).database == str(folder / "warehouse.db")
    assert make_url(settings.inbox_url).database == str(folder / "inbox.db")
    assert settings.landing_url == str(folder / "landing")
