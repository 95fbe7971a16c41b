"""Every lower bound of pyproject.toml is one that works: the oldest releases it allows are installed, and used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_oldest_releases_that_are_allowed_load_a_file_take_an_event_and_load_the_definitions(
    tmp_path: Path,
) -> None:
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "lowest" / "bin" / "python"
    run([str(uv), "venv", "--quiet", "--python", sys.executable, str(tmp_path / "lowest")])
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python), "--resolution", "lowest-direct"]
    run([*install, str(ROOT)])
    # From elsewhere, so that the package is the one that was installed.
    run([str(python), "-P", str(ROOT / "qt_pipeline_tests" / "short_form.py")], cwd=tmp_path)


def run(command: list[str], cwd: Path = ROOT) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "PYTHON", "DAGSTER_"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
