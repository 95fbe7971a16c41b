import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import PROJECT_ROOT, Settings, load_settings, report_settings, validate_setting

TOKEN = "canary-0123456789-abc"
OTHER_TOKEN = "canary_9876543210.xyz~"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor the `.env` file of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"QT_{name.upper()}", raising=False)
    monkeypatch.setenv("QT_ENV_FILE", "")


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_with_no_variable_set_everything_has_a_working_value() -> None:
    settings = load_settings()
    assert settings.api_url == "https://api.prod.quantemplate.com/v1"
    assert settings.token_url.startswith("https://accounts.prod.quantemplate.com/auth/realms/qt/")
    state = PROJECT_ROOT / ".qt"
    assert settings.state_dir == state
    assert settings.warehouse_url == f"sqlite:///{state}/warehouse.db"
    assert settings.inbox_url == f"sqlite:///{state}/inbox.db"
    assert settings.landing_url == f"{state}/landing"
    assert settings.catalog == PROJECT_ROOT / "datasets.yaml"
    assert settings.relay_tokens == ()


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_paths_hang_on_the_root_of_the_project_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QT_WAREHOUSE_URL", "sqlite:///here/w.db")
    monkeypatch.setenv("QT_INBOX_URL", "sqlite:////var/i.db")
    monkeypatch.setenv("QT_LANDING_URL", "landed")
    monkeypatch.setenv("QT_CATALOG", "conf/datasets.yaml")
    settings = load_settings()
    assert settings.warehouse_url == f"sqlite:///{PROJECT_ROOT}/here/w.db"
    assert settings.inbox_url == "sqlite:////var/i.db"
    assert settings.landing_url == f"{PROJECT_ROOT}/landed"
    assert settings.catalog == PROJECT_ROOT / "conf" / "datasets.yaml"


def test_the_state_folder_moves_all_local_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_STATE_DIR", "/var/lib/qt")
    settings = load_settings()
    assert (settings.warehouse_url, settings.inbox_url, settings.landing_url) == (
        "sqlite:////var/lib/qt/warehouse.db",
        "sqlite:////var/lib/qt/inbox.db",
        "/var/lib/qt/landing",
    )


@pytest.mark.parametrize("url", ["az://container/landing", "memory://landing"])
def test_a_landing_url_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("QT_LANDING_URL", url)
    assert load_settings().landing_url == url


def test_another_process_in_another_directory_means_the_same_places(tmp_path: Path) -> None:
    program = "from qt_pipeline.settings import load_settings as s; print(s().inbox_url, s().state_dir, s().catalog)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT_ROOT), "QT_ENV_FILE": "", "QT_INBOX_URL": "sqlite:///i.db", "QT_STATE_DIR": "s"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[:2] == [f"sqlite:///{PROJECT_ROOT}/i.db", f"{PROJECT_ROOT}/s"]


def test_a_file_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("QT_CLIENT_ID=from-file\nQT_ORGANISATION_ID=c-file\nQT_NOBODY_KNOWS=1\nOTHER=2\n")
    monkeypatch.setenv("QT_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("QT_CLIENT_ID", "from-environment")
    settings = load_settings()
    assert (settings.client_id, settings.organisation_id) == ("from-environment", "c-file")


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_CLIENT_ID", "from-environment")
    assert load_settings(client_id="given").client_id == "given"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().client_id = "other"


@pytest.mark.parametrize("name", ["QT_API_URL", "QT_TOKEN_URL"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1/", "http://localhost:1", "https://fabric.example.com/v1"])
def test_the_vendor_may_be_reached_by_https_and_on_this_machine_by_http(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(name, url)
    settings = load_settings()
    assert {"QT_API_URL": settings.api_url, "QT_TOKEN_URL": settings.token_url}[name] == url.rstrip("/")


@pytest.mark.parametrize("name", ["QT_API_URL", "QT_TOKEN_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "http://127.0.0.1@example.com",
        "http://localhost.example.com",
        "ftp://x.example.com",
    ],
)
def test_plain_http_is_refused_beyond_this_machine(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    message = refused(monkeypatch, **{name: url})
    assert name in message
    assert "https://" in message


@pytest.mark.parametrize("url", ["words", "https://", "https:///v1", "https://[canary/"])
def test_what_is_no_address_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    message = refused(monkeypatch, QT_API_URL=url)
    assert "QT_API_URL" in message
    assert "canary" not in message


def test_tokens_are_split_and_stay_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_RELAY_TOKENS", f" {TOKEN} ,,{OTHER_TOKEN}, ")
    settings = load_settings()
    assert [token.get_secret_value() for token in settings.relay_tokens] == [TOKEN, OTHER_TOKEN]
    assert "canary" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    "token", ["canary-short", "canary/with/a/slash", "canary with a space", "canary-" + "é" * 20, "canary" * 50]
)
def test_a_token_that_a_path_cannot_carry_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    message = refused(monkeypatch, QT_RELAY_TOKENS=f"{TOKEN},{token}")
    assert "QT_RELAY_TOKENS" in message
    assert "16 to 256" in message
    assert "canary" not in message


@pytest.mark.parametrize("name", ["QT_WAREHOUSE_URL", "QT_INBOX_URL"])
def test_a_database_url_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    message = refused(monkeypatch, **{name: "user:canary@host/db"})
    assert name in message
    assert "canary" not in message


def test_all_faults_are_told_at_once_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(
        monkeypatch,
        QT_READ_TIMEOUT_SECONDS="canary-1",
        QT_REQUEST_ATTEMPTS="0",
        QT_ALLOW_UNVERIFIED_LENGTH="canary-2",
        QT_API_URL="http://canary.example.com",
    )
    for name in ("QT_READ_TIMEOUT_SECONDS", "QT_REQUEST_ATTEMPTS", "QT_ALLOW_UNVERIFIED_LENGTH", "QT_API_URL"):
        assert name in message
    assert "canary" not in message
    assert ".env" in message


def test_no_secret_shows_in_what_settings_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_CLIENT_SECRET", "canary-secret")
    monkeypatch.setenv("QT_WAREHOUSE_URL", "postgresql://user:canary-password@host/db")
    monkeypatch.setenv("QT_INBOX_URL", "postgresql://user:canary-password@host/db")
    monkeypatch.setenv("QT_LANDING_URL", "https://account.blob.example.com/landing?sig=canary-signature")
    settings = load_settings()
    assert settings.client_secret == SecretStr("canary-secret")
    assert "canary" not in repr(settings) + str(settings)


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().missing_credentials == ("QT_CLIENT_ID", "QT_CLIENT_SECRET", "QT_ORGANISATION_ID")
    monkeypatch.setenv("QT_CLIENT_ID", "an-id")
    monkeypatch.setenv("QT_CLIENT_SECRET", "")
    assert load_settings().missing_credentials == ("QT_CLIENT_SECRET", "QT_ORGANISATION_ID")
    monkeypatch.setenv("QT_CLIENT_SECRET", "a-secret")
    monkeypatch.setenv("QT_ORGANISATION_ID", "c-org")
    assert load_settings().missing_credentials == ()


def test_a_file_that_is_named_hangs_on_the_root_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qt_pipeline.settings.PROJECT_ROOT", tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "demo.env").write_text("QT_CLIENT_ID=of-the-demo\n")
    monkeypatch.setenv("QT_ENV_FILE", "folder/demo.env")
    monkeypatch.chdir("/")
    assert load_settings().client_id == "of-the-demo"


def test_a_file_that_is_named_and_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "which does not exist" in refused(monkeypatch, QT_ENV_FILE=str(tmp_path / "demo.env"))


def test_a_file_that_is_no_text_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"QT_CLIENT_ID=\xff\n")
    assert str(tmp_path / ".env") in refused(monkeypatch, QT_ENV_FILE=str(tmp_path / ".env"))


def test_a_survey_tells_each_fault_and_has_the_default_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_READ_TIMEOUT_SECONDS", "canary")
    monkeypatch.setenv("QT_WAREHOUSE_URL", "canary")
    monkeypatch.setenv("QT_CLIENT_ID", "an-id")
    survey = report_settings()
    assert set(survey.faults) == {"QT_READ_TIMEOUT_SECONDS", "QT_WAREHOUSE_URL"}
    assert "canary" not in str(survey.faults)
    assert survey.settings.client_id == "an-id"
    assert survey.settings.read_timeout_seconds == 60
    assert survey.settings.warehouse_url.startswith("sqlite:///")


def test_a_survey_knows_a_slip_in_a_name_and_leaves_the_variables_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("QT_ORGANIZATION_ID=x\nQT_UMBRELLA=x\nOTHER=x\n")
    monkeypatch.setenv("QT_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("QT_CLIENT_SECRTE", "x")
    # Of Qt, the toolkit.
    for name in ("QT_QPA_PLATFORM", "QT_IM_MODULE", "QT_SCALE_FACTOR", "QT_ACCESSIBILITY", "QT_STYLE_OVERRIDE"):
        monkeypatch.setenv(name, "x")
    assert report_settings().unknown == {
        "QT_CLIENT_SECRTE": "QT_CLIENT_SECRET",
        "QT_ORGANIZATION_ID": "QT_ORGANISATION_ID",
        "QT_UMBRELLA": "",
    }


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("relay_tokens", "short", "16 to 256"),
        ("warehouse_url", "nonsense", "SQLAlchemy URL"),
        ("warehouse_url", "postgresql://user@host/db", None),
        ("poll_minutes", "0", "greater than"),
        ("client_id", "anything", None),
    ],
)
def test_one_value_is_judged_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str | None) -> None:
    monkeypatch.setenv("QT_MAX_ROWS", "nonsense")
    found = validate_setting(name, value)
    assert found is None if fault is None else fault in str(found)
