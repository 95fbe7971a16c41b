"""Dagster's webserver, daemon and code server on this machine, as one command.

Here: the command and the folder that it wants. Not here: running it.
"""

import sys
from pathlib import Path

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.private import make_folder
from qt_pipeline.settings import PROJECT_ROOT

# By name: this package does not import Dagster.
_GUARDED = "qt_pipeline.defs.guarded"
# Dagster writes the path of its databases into a URL as it stands, and into YAML a comment begins at ` #`.
_UNUSABLE = "%?#"


def dagster_dev(port: int) -> list[str]:
    """The command that runs Dagster's webserver, behind a guard, its daemon and code server in the project's root."""
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    return [sys.executable, "-m", _GUARDED, "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)]


def prepare_dagster_home(home: Path) -> None:
    """Write the project's `dagster.yaml` to a folder of its own, where Dagster may leave files.

    Raises:
        ConfigurationError: Dagster would keep its databases in another folder than this one.
    """
    if not set(_UNUSABLE).isdisjoint(str(home)):
        raise ConfigurationError(
            f"Dagster cannot keep its databases in {home}: its path has one of {' '.join(_UNUSABLE)} in it.",
            hint="Set QT_STATE_DIR to another folder.",
        )
    make_folder(home)
    instance = (PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8")
    (home / "dagster.yaml").write_text(instance.replace(".qt/dagster", str(home)), encoding="utf-8")
