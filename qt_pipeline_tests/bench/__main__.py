"""`python -m qt_pipeline_tests.bench`: run every benchmark and write what it measured into the document."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from qt_pipeline.errors import PipelineError
from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline_tests.bench import event_to_table, loading, relay
from qt_pipeline_tests.bench.document import write_section


def main(
    *,
    events: Annotated[int, typer.Option(min=0, help="How many events to follow.")] = 20,
    rows: Annotated[int, typer.Option(min=0, help="How many rows the loaders are compared on.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each loader runs.")] = 3,
    large_rows: Annotated[int, typer.Option(min=0, help="Rows of the file that memory is measured on.")] = 10_000_000,
    relay_seconds: Annotated[int, typer.Option(min=0, help="How long the relay is under load, for each figure.")] = 30,
    document: Annotated[Path, typer.Option(help="Where the figures are written.")] = (
        PROJECT_ROOT / "docs" / "benchmarks.md"
    ),
) -> None:
    """Measure on this machine, print the figures, and write them into the document."""
    console = Console(soft_wrap=True)
    try:
        if relay_seconds:
            write_section(document, relay.run(seconds=relay_seconds, console=console))
        if rows:
            write_section(document, loading.run(rows=rows, rounds=rounds, large_rows=large_rows, console=console))
        if events:
            write_section(document, event_to_table.run(events=events, console=console))
    except PipelineError as error:
        console.print(f"[red]{error}")
        sys.exit(1)
    console.print(f"Written to {document}.")


typer.run(main)
