"""The command `qt-pipeline`.

Here: its commands, and how they say that something went wrong. Not here: what they do.
"""

import logging
import sys
from typing import NoReturn

import typer

from qt_pipeline.cli.ddl import ddl
from qt_pipeline.cli.events import events, replay
from qt_pipeline.cli.load import load
from qt_pipeline.cli.serve import demo, dev, relay, sandbox
from qt_pipeline.errors import PipelineError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Quantemplate datasets as tables in your SQL database.",
    epilog="Exit codes: 0 done, 1 refused or failed (the last line says why and what to do), 2 a wrong option.",
)
for command in (demo, dev, relay, events, replay, load, ddl, sandbox):
    app.command()(command)


def main() -> NoReturn:
    """Run the command line; our own errors become one line and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app()
    except PipelineError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(1)
    sys.exit(0)
