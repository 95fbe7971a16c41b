"""Dagster's webserver, daemon and code server on this machine, as one command.

Here: the command and its home folder. Not here: running it.
"""

import sys
from pathlib import Path

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.private import make_folder
from qt_pipeline.settings import PROJECT_ROOT

# By name: this package does not import Dagster.
_GUARDED = "qt_pipeline.defs.guarded"
# Dagster writes the path of its databases unescaped into a URL, and ` #` begins a comment in YAML.
_UNUSABLE = "%?#"


def dagster_dev(port: int) -> list[str]:
    """The command that runs Dagster's webserver, behind a guard, its daemon and code server in the project's root."""
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    return [sys.executable, "-m", _GUARDED, "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)]


def prepare_dagster_home(home: Path) -> None:
    """Write the project's `dagster.yaml` to a separate folder, in which Dagster creates files.

    Raises:
        ConfigurationError: Dagster cannot keep its databases in this folder.
    """
    if not set(_UNUSABLE).isdisjoint(str(home)):
        raise ConfigurationError(
            f"Dagster cannot keep its databases in {home}: the path contains one of {' '.join(_UNUSABLE)}.",
            hint="Set QT_STATE_DIR to another folder.",
        )
    make_folder(home)
    instance = (PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8")
    (home / "dagster.yaml").write_text(instance.replace(".qt/dagster", str(home)), encoding="utf-8")
