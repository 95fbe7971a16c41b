import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from qt_pipeline import cli
from qt_pipeline.catalog import load_catalog
from qt_pipeline.env_file import read_env_file
from qt_pipeline.settings import PROJECT_ROOT, load_settings
from qt_pipeline_tests.cli.terminal import typed

SECRET = "hunter2 'and' \\ more"


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QT_")}
    return kept | {
        "QT_ENV_FILE": str(tmp_path / ".env"),
        "QT_CATALOG": str(tmp_path / "datasets.yaml"),
        "QT_STATE_DIR": str(tmp_path / "state"),
        "PYTHONPATH": str(PROJECT_ROOT),
    }


@pytest.fixture
def ask(environment: dict[str, str], tmp_path: Path) -> Callable[[Sequence[tuple[str, str]]], tuple[int, str]]:
    """Run `init` at a terminal, with these answers."""
    return lambda answers: typed(["init"], answers, environment=environment, folder=tmp_path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], tmp_path: Path) -> Path:
    """The folder, whose files this process reads as its settings."""
    for name in list(os.environ):
        if name.startswith("QT_"):
            monkeypatch.delenv(name)
    for name in ("QT_ENV_FILE", "QT_CATALOG", "QT_STATE_DIR"):
        monkeypatch.setenv(name, environment[name])
    return tmp_path


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:  # noqa: ARG001
    """Run `init` as a script does."""

    def run(*options: str, typed_in: str = "", **settings: str) -> Done:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["qt-pipeline", "init", *options])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed_in))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return Done(int(ended.value.code or 0), output.out, output.err)

    return run


FIRST = [
    ("Client id", "api-user"),
    ("Client secret of the API user: ", SECRET),
    ("organisation", "c-org-000001"),
    ("Kind of the target database", ""),
    ("URL of the target database", ""),
    ("Create a secret token", "y"),
    ("spaces (empty for none): ", "json://alerts.example/canary-3"),
    ("Dataset id", "d-first"),
    ("Table", "premium"),
    ("Dataset id", "d-second"),
    ("Table", ""),
    ("Dataset id", ""),
    ("Check everything now", "n"),
]


def test_what_was_answered_is_what_the_settings_and_the_catalog_say(
    ask: Callable[..., tuple[int, str]], here: Path
) -> None:
    code, screen = ask(FIRST)
    assert code == 0, screen
    assert SECRET not in screen
    assert (here / ".env").stat().st_mode & 0o777 == 0o600
    settings = load_settings()
    assert (settings.client_id, settings.organisation_id) == ("api-user", "c-org-000001")
    assert settings.client_secret is not None
    assert settings.client_secret.get_secret_value() == SECRET
    assert settings.warehouse_url == f"sqlite:///{PROJECT_ROOT}/.qt/warehouse.db"
    [token] = settings.relay_tokens
    assert len(token.get_secret_value()) > 30
    assert screen.count(token.get_secret_value()) == 1, "it was made for whoever sits there"
    assert f"https://<your host>/webhooks/quantemplate/{token.get_secret_value()}" in screen
    assert f"last one of QT_RELAY_TOKENS in {here / '.env'}" in screen
    assert [url.get_secret_value() for url in settings.alert_urls] == ["json://alerts.example/canary-3"]
    assert "canary" not in screen
    assert {d.id: d.table for d in load_catalog(settings.catalog).datasets} == {
        "d-first": "premium",
        "d-second": "d_second",
    }
    first_line = (here / "datasets.yaml").read_text().splitlines()[0]
    assert first_line == f"# yaml-language-server: $schema={PROJECT_ROOT}/docs/datasets.schema.json"


def test_a_wrong_answer_is_told_at_once_and_asked_again(ask: Callable[..., tuple[int, str]], here: Path) -> None:
    code, screen = ask(
        [
            ("Client id", ""),
            ("a value is required", "api-user"),
            ("Client secret of the API user: ", SECRET),
            ("organisation", "c-org"),
            ("Kind of the target database", "oracle"),
            ("'oracle' is not a choice", "azure"),
            ("such as mssql+mssqlpython://user@server.database.windows.net/database", "nonsense"),
            ("is not a SQLAlchemy URL", "postgresql://loader@db.example/reporting"),
            ("Password (empty for none): ", "p@ss/word"),
            ("Schema of", "quantemplate"),
            ("Create a secret token", "n"),
            ("spaces (empty for none): ", "json://alerts.example/ canary-4://"),
            ("spaces (empty for none): ", ""),
            ("Dataset id", "n"),
            ("'n' does not start with d-", "n"),
            ("Dataset id", "no id at all"),
            ("does not start with d-", "y"),
            ("Table", "x"),
            ("cannot be the id of a dataset", "d-one"),
            ("Table", "x"),
            ("Dataset id", "d-two"),
            ("Table", "X"),
            ("both go to the table", ""),
            ("Check everything now", "n"),
        ]
    )
    assert code == 0, screen
    assert "p@ss/word" not in screen
    assert "Apprise does not recognize address 2" in screen
    assert "canary" not in screen
    assert "/webhooks/" not in screen
    settings = load_settings()
    assert settings.warehouse_url == "postgresql://loader:p%40ss%2Fword@db.example/reporting"
    assert settings.warehouse_schema == "quantemplate"
    assert [d.id for d in load_catalog(here / "datasets.yaml").datasets] == ["d-one"]


KEEPING = [
    ("Client id", "another"),
    ("keeps the current one): ", ""),
    ("organisation", ""),
    ("Keep it?", "y"),
    ("spaces (empty for none): ", ""),
]


def test_what_is_there_is_changed_only_when_that_is_agreed_to(ask: Callable[..., tuple[int, str]], here: Path) -> None:
    lines = (
        f"# mine\nQT_CLIENT_ID=before\nQT_CLIENT_SECRET=kept\nQT_ORGANISATION_ID=c-kept\nQT_RELAY_TOKENS={'t' * 20}\n"
    )
    (here / ".env").write_text(f"{lines}QT_WAREHOUSE_URL=sqlite:////tmp/w.db\nOTHER=x\n")
    (here / "datasets.yaml").write_text("unlisted: refuse\n")
    before = (here / ".env").read_text()
    code, screen = ask([*KEEPING, ("Change them?", "n"), ("Check everything now", "n")])
    assert code == 0, screen
    assert "QT_CLIENT_ID" in screen.partition("has other values for")[2]
    assert (here / ".env").read_text() == before
    assert "is unchanged" in screen
    assert "Written" not in screen
    code, screen = ask([*KEEPING, ("Change them? [Y/n]", ""), ("Check everything now", "n")])
    assert code == 0, screen
    assert (here / ".env").read_text() == before.replace("before", "another")
    assert (here / "datasets.yaml").read_text() == "unlisted: refuse\n"


def test_what_the_environment_says_takes_the_place_of_a_value_only_when_asked_for(
    ask: Callable[..., tuple[int, str]], here: Path, environment: dict[str, str]
) -> None:
    environment["QT_CLIENT_ID"] = "of-the-environment"
    (here / ".env").write_text("QT_CLIENT_ID=before\n")
    *questions, last = FIRST
    questions[0] = ("Client id of the API user [of-the-environment]", "")
    code, screen = ask([*questions, ("Change them? [y/N]", ""), last])
    assert code == 0, screen
    assert read_env_file(here / ".env")["QT_CLIENT_ID"] == "before"
    assert "Written" in screen


def test_no_to_a_change_loses_nothing_else_that_was_typed(ask: Callable[..., tuple[int, str]], here: Path) -> None:
    (here / ".env").write_text("QT_CLIENT_ID=before\n")
    *questions, last = FIRST
    code, screen = ask([*questions, ("Change them?", "n"), last])
    assert code == 0, screen
    assert (load_settings().client_id, load_settings().organisation_id) == ("before", "c-org-000001")
    assert [d.id for d in load_catalog(here / "datasets.yaml").datasets] == ["d-first", "d-second"]


def test_ctrl_c_writes_nothing(ask: Callable[..., tuple[int, str]], here: Path) -> None:
    code, _ = ask([("Client id", "api-user"), ("Client secret of the API user: ", SECRET), ("organisation", "\x03")])
    assert code != 0
    assert list(here.iterdir()) == []


def test_without_a_terminal_it_says_what_to_do_in_place_of_waiting(run: Run, here: Path) -> None:
    done = run()
    assert done.returncode == 1
    hint = "Pass the answers as options, with --yes; `qt-pipeline init --help` lists them."
    assert done.stderr.splitlines() == [f"There is no terminal for questions. {hint}"]
    assert list(here.iterdir()) == []


def test_every_question_has_an_option(run: Run, here: Path) -> None:
    options = ["--client-id", "api-user", "--client-secret-stdin", "--organisation-id", "c-org"]
    options += [
        "--warehouse-url",
        "sqlite:////tmp/w.db",
        "--no-relay-token",
        "--dataset",
        "d-a=paid",
        "--dataset",
        "d-b",
    ]
    done = run("--yes", *options, typed_in=f"{SECRET}\n")
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert read_env_file(here / ".env") == {
        "QT_CLIENT_ID": "api-user",
        "QT_CLIENT_SECRET": SECRET,
        "QT_ORGANISATION_ID": "c-org",
        "QT_WAREHOUSE_URL": "sqlite:////tmp/w.db",
    }
    assert {d.id: d.table for d in load_catalog(here / "datasets.yaml").datasets} == {"d-a": "paid", "d-b": "d_b"}


@pytest.mark.usefixtures("here")
def test_secrets_may_come_from_the_environment(run: Run, tmp_path: Path) -> None:
    secrets = {
        "QT_CLIENT_SECRET": SECRET,
        "QT_WAREHOUSE_URL": "postgresql://u:hunter3@h/d",
        "QT_ALERT_URLS": "json://hunter4/ json://hunter5/",
    }
    done = run("--yes", "--client-id", "api-user", "--organisation-id", "c-org", **secrets)
    assert done.returncode == 0, done.stderr
    assert "hunter" not in done.stdout + done.stderr
    assert secrets.items() <= read_env_file(tmp_path / ".env").items()
    assert "Also set in the environment" in done.stdout
    [token] = load_settings().relay_tokens
    assert token.get_secret_value() not in done.stdout + done.stderr
    assert "https://<your host>/webhooks/quantemplate/<token>" in done.stdout
    assert f"last one of QT_RELAY_TOKENS in {tmp_path / '.env'}" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--yes", "--client-id", "x"], 1, "QT_CLIENT_SECRET is not set. Pass --client-secret-stdin"),
        (["--client-secret-stdin"], 2, "requires --yes"),
        (["--yes", "--client-id", ""], 2, "--client-id is empty"),
        (["--yes", "--warehouse-url", "nonsense"], 2, "not a SQLAlchemy URL"),
        (["--yes", "--warehouse-url", "postgresql://u:hunter3@h/d"], 2, "must not contain a password"),
        (["--yes", "--dataset", "no id"], 2, "cannot be the id of a dataset"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_written(
    run: Run, here: Path, options: list[str], code: int, words: str
) -> None:
    known = {"QT_CLIENT_SECRET": SECRET, "QT_CLIENT_ID": "x", "QT_ORGANISATION_ID": "c-org"}
    done = run(*options, typed_in="", **({} if code == 1 else known))
    told = " ".join(done.stderr.replace("│", " ").split())
    assert (done.returncode, words in told) == (code, True), done.stderr
    assert "hunter" not in told
    assert list(here.iterdir()) == []


def test_a_catalog_that_is_there_is_not_touched(run: Run, here: Path) -> None:
    (here / "datasets.yaml").write_text("datasets: {}\n")
    known = {"QT_CLIENT_SECRET": SECRET, "QT_CLIENT_ID": "x", "QT_ORGANISATION_ID": "c-org"}
    done = run("--yes", "--dataset", "d-a", **known)
    assert done.returncode == 1
    assert "already exists" in done.stderr
    assert not (here / ".env").exists()
    assert (here / "datasets.yaml").read_text() == "datasets: {}\n"


def test_it_looks_at_everything_when_asked_to(run: Run, here: Path) -> None:
    known = {"QT_CLIENT_SECRET": SECRET, "QT_CLIENT_ID": "x", "QT_ORGANISATION_ID": "c-org"}
    nowhere = dict.fromkeys(("QT_RELAY_URL", "QT_DAGSTER_URL", "QT_TOKEN_URL", "QT_API_URL"), "http://127.0.0.1:1")
    done = run("--yes", "--test", **known, **nowhere)
    assert done.returncode == 1
    assert "No connection to the token endpoint" in done.stdout
    assert (here / ".env").exists()
