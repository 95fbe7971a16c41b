"""The command `qt-pipeline`.

Here: the list of commands, and error output. Not here: what the commands do.
"""

import sys
from typing import NoReturn

import typer

from qt_pipeline.cli.alerts import alert
from qt_pipeline.cli.datasets import datasets, history
from qt_pipeline.cli.ddl import ddl
from qt_pipeline.cli.doctor import doctor
from qt_pipeline.cli.events import events, replay
from qt_pipeline.cli.files import diff, show_row
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
    "Get started": (demo, init, doctor),
    "Run": (dev, relay, run, cancel, load),
    "Inspect": (datasets, history, events, show_row, diff),
    "Recover": (replay, restore, purge),
    "Admin": (ddl, alert, sandbox),
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Quantemplate datasets as tables in your SQL database.",
    epilog="Exit codes: 0 done, 1 rejected or failed (the last line states the error and the fix), 2 invalid option, "
    "3 run canceled, 4 Dagster unreachable, 124 --timeout exceeded, 130 interrupted.",
)
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> NoReturn:
    """Run the command line; a PipelineError becomes one line and exit code 1."""
    # Includes files of libraries: Dagster's storage, the logs of runs.
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
        # The command reports the error, unless it needs no setting.
        return "auto"
