import json
import subprocess
import sys
from pathlib import Path

import pytest

from qt_pipeline import cli
from qt_pipeline.doctor import Area, Finding, FindingState
from qt_pipeline.settings import PROJECT_ROOT

WELL = Finding(Area.TARGET, "the [target]", FindingState.OK, "It answers.")
WARNED = Finding(Area.RELAY, "the relay", FindingState.WARNING, "It is alone.", "Set [a] token.")
FAILED = Finding(Area.TOKEN, "the token", FindingState.FAILURE, "It is refused.", "Ask for \x1b[31manother.")
SKIPPED = Finding(Area.DATASETS, "datasets", FindingState.SKIPPED, "There must be a token first.")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the doctor will find."""
    findings: list[Finding] = []
    # The command hides its module, which has the same name.
    monkeypatch.setattr(sys.modules["qt_pipeline.cli.doctor"], "run_checks", lambda _: findings)
    return findings


def doctor(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["qt-pipeline", "doctor", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("findings", "code"),
    [([WELL], 0), ([WELL, WARNED, SKIPPED], 0), ([FAILED, WELL], 1)],
    ids=["ok", "warning", "failure"],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_only_a_failure_is_one(
    monkeypatch: pytest.MonkeyPatch, found: list[Finding], findings: list[Finding], code: int, options: tuple[str, ...]
) -> None:
    found += findings
    assert doctor(monkeypatch, *options) == code


def test_people_get_a_table_and_below_it_the_next_steps(
    monkeypatch: pytest.MonkeyPatch, found: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    found += [FAILED, SKIPPED, WELL, WARNED]
    doctor(monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("└"))
    table = "\n".join(lines[: end + 1])
    assert all(word in table for word in ("area", "the [target]", "skipped", "It is alone."))
    assert lines[end + 1 :] == [
        "failure token, the token: It is refused.",
        "  → Ask for \N{REPLACEMENT CHARACTER}[31manother.",
        "warning relay, the relay: It is alone.",
        "  → Set [a] token.",
        "1 failure, 1 warning.",
    ]


@pytest.mark.parametrize("known", ["", "known"])
def test_without_settings_a_demo_that_runs_is_named_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
    found: list[Finding],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    known: str,
) -> None:
    for name in ("QT_CLIENT_ID", "QT_CLIENT_SECRET", "QT_ORGANISATION_ID"):
        monkeypatch.setenv(name, known)
    monkeypatch.setenv("QT_ENV_FILE", "")
    file = tmp_path / "demo.env"
    monkeypatch.setattr(sys.modules["qt_pipeline.cli.doctor"], "running_demo", lambda: file)
    found += [WELL]
    assert doctor(monkeypatch) == 0
    assert capsys.readouterr().out.endswith(f"export QT_ENV_FILE={file}\n") is not bool(known)
    doctor(monkeypatch, "--json")
    assert str(file) not in capsys.readouterr().out


def test_a_pipe_gets_whole_paths(
    monkeypatch: pytest.MonkeyPatch, found: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    path = "/srv/quantemplate/" + "folder/" * 15
    found += [Finding(Area.LANDING, path, FindingState.OK, f"It is in {path}.")]
    doctor(monkeypatch)
    assert f" {path} " in capsys.readouterr().out


def test_scripts_get_one_object_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, found: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    found += [FAILED, WARNED]
    doctor(monkeypatch, "--json")
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "failures": 1,
        "warnings": 1,
        "findings": [
            {
                "area": "token",
                "subject": "the token",
                "state": "failure",
                "message": "It is refused.",
                "hint": "Ask for \x1b[31manother.",
            },
            {
                "area": "relay",
                "subject": "the relay",
                "state": "warning",
                "message": "It is alone.",
                "hint": "Set [a] token.",
            },
        ],
    }


def test_it_works_from_anywhere_with_settings_that_nothing_else_works_with(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("QT_READ_TIMEOUT_SECONDS=canary-1\nQT_WAREHOUSE_URL=canary-2\nQT_LOG_FORMAT=x\n")
    nowhere = dict.fromkeys(("QT_RELAY_URL", "QT_DAGSTER_URL"), "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "qt_pipeline", "doctor", "--json"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(PROJECT_ROOT),
            "QT_ENV_FILE": str(tmp_path / ".env"),
            "QT_STATE_DIR": str(tmp_path / "state"),
            **nowhere,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr
    findings = json.loads(done.stdout)["findings"]
    failed = {finding["subject"] for finding in findings if finding["area"] == "settings"}
    assert {"QT_READ_TIMEOUT_SECONDS", "QT_WAREHOUSE_URL", "QT_LOG_FORMAT"} <= failed
    assert {finding["area"] for finding in findings} == set(Area)


# A check whose thread is in a library when Python exits. A C++ library would abort the process there; whether Python
# completes its exit shows without one.
LATE = """
import atexit, sys, threading
from qt_pipeline.doctor import CHECK_THREAD
import qt_pipeline.cli
doctor = sys.modules['qt_pipeline.cli.doctor']

def diagnose(as_json=False):
    hanging = threading.Thread(target=threading.Event().wait, daemon=True, name=CHECK_THREAD)
    hanging.start()
    print("the findings")
    return 1

doctor.diagnose = diagnose
atexit.register(print, "the end of Python")
sys.argv = ["qt-pipeline", "doctor"]
from qt_pipeline.cli import main
main()
"""


def test_a_check_that_is_still_going_on_cannot_take_the_end_down() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "the findings\n"), done.stderr
