import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from typer.main import get_group

from qt_pipeline import cli
from qt_pipeline.settings import ENV_FILE_VARIABLE, Settings

SECRET = "hunter2 and something more"

Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must end with code 1, under no settings but these, and return the one line it says."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"QT_{name.upper()}", raising=False)
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    monkeypatch.setenv("QT_STATE_DIR", str(tmp_path / "state"))

    def run(*arguments: str, **settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["qt-pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        output = capsys.readouterr()
        assert output.out == ""
        [line] = output.err.splitlines()
        return line

    return run


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_the_relay_does_not_listen_beyond_this_machine_without_tokens(refused: Refused, host: str) -> None:
    line = refused("relay", "--host", host, "--port", "0")
    assert line == (
        f"The relay does not listen on {host} without a token. Set QT_RELAY_TOKENS, or listen on 127.0.0.1."
    )


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, "QT_CLIENT_ID, QT_CLIENT_SECRET"),
        ({"QT_CLIENT_ID": "somebody"}, "QT_CLIENT_SECRET"),
        ({"QT_CLIENT_SECRET": SECRET}, "QT_CLIENT_ID"),
    ],
    ids=["neither", "no secret", "no id"],
)
def test_the_sandbox_names_the_credentials_that_are_missing(
    refused: Refused, settings: dict[str, str], missing: str
) -> None:
    line = refused("sandbox", "--port", "0", **settings)
    assert line == f"Not set: {missing}. Set them in the environment or in .env; see .env.example."


@pytest.mark.parametrize("command", ["dev", "relay", "sandbox"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QT_API_URL", f"http://user:{SECRET}@example.com"),
        ("QT_RELAY_TOKENS", SECRET),
        ("QT_WAREHOUSE_URL", f"user:{SECRET}@host"),
        ("QT_INBOX_URL", f"{SECRET}://"),
        ("QT_CONNECT_TIMEOUT_SECONDS", SECRET),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_that_does_not_show_its_value(
    refused: Refused, command: str, name: str, value: str
) -> None:
    line = refused(command, **{name: value})
    assert name in line
    assert "Correct it in the environment or in .env." in line
    assert "hunter2" not in line


def test_help_lists_every_command_with_what_it_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qt_pipeline", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = " ".join(done.stdout.split())
    commands = [command.callback for command in cli.app.registered_commands if command.callback]
    assert {"demo", "dev", "relay", "sandbox"} <= {command.__name__ for command in commands}
    for command in commands:
        first_words = str(command.__doc__).split()[:4]
        assert f"{command.__name__.replace('_', '-')} {' '.join(first_words)}" in page


def test_a_wrong_option_ends_with_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["qt-pipeline", "relay", "--port", "seventy"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err


def test_help_of_every_command_has_examples_that_stand_out() -> None:
    commands = get_group(cli.app).commands
    assert {"demo", "run", "load", "history"} <= commands.keys()
    for name, command in commands.items():
        page = CliRunner().invoke(command, ["--help"], prog_name=f"qt-pipeline {name}").output
        _, examples, rest = page.partition(" Examples:")
        assert examples, page
        assert f"     qt-pipeline {name}" in rest.splitlines()[1] + rest.splitlines()[2], page
