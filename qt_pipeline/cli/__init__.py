"""The command `qt-pipeline`.

Here: its commands, and how they say that something went wrong. Not here: what they do.
"""

import sys
from typing import NoReturn

import typer

from qt_pipeline.cli.alerts import alert
from qt_pipeline.cli.datasets import datasets, history
from qt_pipeline.cli.ddl import ddl
from qt_pipeline.cli.doctor import doctor
from qt_pipeline.cli.events import events, replay
from qt_pipeline.cli.files import diff, line
from qt_pipeline.cli.init import init
from qt_pipeline.cli.load import load
from qt_pipeline.cli.output import print_error
from qt_pipeline.cli.purge import purge
from qt_pipeline.cli.restore import restore
from qt_pipeline.cli.run import cancel, run
from qt_pipeline.cli.serve import demo, dev, relay, sandbox
from qt_pipeline.errors import PipelineError
from qt_pipeline.private import keep_private
from qt_pipeline.settings import load_settings
from qt_pipeline.telemetry import LogFormat, log_to_stderr

_PANELS = {
    "Begin": (demo, init, doctor),
    "Run": (dev, relay, run, cancel, load),
    "See": (datasets, history, events, line, diff),
    "Mend": (replay, restore, purge),
    "Prepare": (ddl, alert, sandbox),
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Quantemplate datasets as tables in your SQL database.",
    epilog="Exit codes: 0 done, 1 refused or failed (the last line says why and what to do), 2 a wrong option, "
    "3 the run was canceled, 4 Dagster cannot be reached, 124 not over within --timeout, 130 interrupted.",
)
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> NoReturn:
    """Run the command line; our own errors become one line and exit code 1."""
    # Also for what libraries leave behind: Dagster's storage, the logs of runs.
    keep_private()
    log_to_stderr(_log_format())
    try:
        app()
    except PipelineError as error:
        print_error(error)
        sys.exit(1)
    sys.exit(0)


def _log_format() -> LogFormat:
    try:
        return load_settings().log_format
    except PipelineError:
        # The command will say what is wrong, unless it needs no setting.
        return "auto"
