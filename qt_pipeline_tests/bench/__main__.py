"""`python -m qt_pipeline_tests.bench`: run every benchmark and write what it measured into the document."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from qt_pipeline.errors import PipelineError
from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline_tests.bench import event_to_table
from qt_pipeline_tests.bench.document import write_section


def main(
    *,
    events: Annotated[int, typer.Option(min=1, help="How many events to follow.")] = 20,
    document: Annotated[Path, typer.Option(help="Where the figures are written.")] = (
        PROJECT_ROOT / "docs" / "benchmarks.md"
    ),
) -> None:
    """Measure on this machine, print the figures, and write them into the document."""
    console = Console(soft_wrap=True)
    try:
        write_section(document, event_to_table.run(events=events, console=console))
    except PipelineError as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    console.print(f"Written to {document}.")


typer.run(main)
