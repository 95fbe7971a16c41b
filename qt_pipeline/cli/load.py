"""`qt-pipeline load`: a CSV file of this machine into its dataset's table, without Dagster and without Quantemplate.

Here: the command's options, and what it prints. Not here: what a load is (see ingest).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qt_pipeline import telemetry
from qt_pipeline.catalog import load_catalog
from qt_pipeline.cli.progress import progress_display
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import CsvFile, FileOutcome, Trial, load_file, local_file, try_file
from qt_pipeline.settings import load_settings
from qt_pipeline.tabular import Contract, DriftError, Misfit
from qt_pipeline.warehouse import open_warehouse

_SHOWN_MISFITS = 10

File = Annotated[Path, typer.Argument(help="The CSV file.", show_default=False)]
DatasetId = Annotated[str, typer.Option("--dataset-id", help="The dataset whose table the file is for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what a load would do; write nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Load the file even if the table shows it already.")]


def load(
    file: File, *, dataset_id: DatasetId, as_json: AsJson = False, dry_run: DryRun = False, force: Force = False
) -> None:
    """Load a CSV file into its dataset's table, by the rules of the catalog: checked, typed, all of it or nothing."""
    console = Console(soft_wrap=True)
    try:
        if dry_run:
            trial, source = _try(file, dataset_id)
            if as_json:
                typer.echo(json.dumps(_trial_as_json(trial, source)))
            else:
                _tell_trial(console, trial)
            if trial.refusal is not None:
                raise typer.Exit(1)
            return
        outcome, source = _load(file, dataset_id, force=force)
    except PipelineError as error:
        if as_json:
            typer.echo(json.dumps(_error_as_json(error, dataset_id)))
            raise typer.Exit(1) from None
        _tell_misfits(console, _misfits_of(error))
        raise
    if as_json:
        typer.echo(json.dumps(_outcome_as_json(outcome, source)))
    else:
        _tell(console, outcome)


def _load(file: Path, dataset_id: str, *, force: bool) -> tuple[FileOutcome, CsvFile]:
    settings = load_settings()
    dataset = load_catalog(settings.catalog).dataset(dataset_id)
    run_id = f"by-hand-{uuid4()}"
    traced = telemetry.traces_to(settings.telemetry_endpoint, telemetry.RUN_SERVICE)
    with progress_display() as observe, traced, telemetry.run(run_id, dataset_id=dataset.id), telemetry.attempt():
        source = local_file(file, run_id=run_id, observe=observe)
        warehouse = open_warehouse(settings.warehouse_url, settings.warehouse_schema, settings.staging_schema)
        return load_file(warehouse, dataset, source, force=force, observe=observe), source


def _try(file: Path, dataset_id: str) -> tuple[Trial, CsvFile]:
    settings = load_settings()
    dataset = load_catalog(settings.catalog).dataset(dataset_id)
    places = settings.warehouse_url, settings.warehouse_schema, settings.staging_schema
    with progress_display() as observe:
        source = local_file(file, run_id="trial", observe=observe)
        return try_file(open_warehouse(*places, prepare=False), dataset, source, observe=observe), source


def _outcome_as_json(outcome: FileOutcome, source: CsvFile) -> dict[str, Any]:
    return {
        "dataset_id": outcome.dataset.id,
        "table": outcome.table,
        "rows": outcome.totals.rows,
        "table_rows": outcome.table_rows,
        "columns": _columns(outcome.contract),
        "sha256": source.sha256,
        "load_id": outcome.load_id,
        "replaced_load_id": outcome.replaced_load_id,
        "status": outcome.status.value,
        "changes": [str(change) for change in outcome.changes],
        "warnings": list(outcome.warnings),
        "seconds": {stage: round(took, 3) for stage, took in outcome.seconds.items()},
    }


def _trial_as_json(trial: Trial, source: CsvFile) -> dict[str, Any]:
    return {
        "dataset_id": trial.dataset.id,
        "table": trial.dataset.table,
        "rows": trial.rows,
        "columns": None if trial.contract is None else _columns(trial.contract),
        "sha256": source.sha256,
        "status": "would load" if trial.refusal is None else "would fail",
        "changes": [str(change) for change in trial.changes],
        "error": None if trial.refusal is None else trial.refusal.what,
        "misfits": _misfits(_misfits_of(trial.refusal)),
    }


def _error_as_json(error: PipelineError, dataset_id: str) -> dict[str, Any]:
    return {
        "dataset_id": error.dataset_id or dataset_id,
        "status": "failed",
        "error": error.what,
        "todo": error.todo,
        "misfits": _misfits(_misfits_of(error)),
    }


def _misfits_of(error: PipelineError | None) -> tuple[Misfit, ...]:
    return error.misfits if isinstance(error, DriftError) else ()


def _columns(contract: Contract) -> list[dict[str, str]]:
    return [{"source": c.header, "name": c.name, "type": str(c.type)} for c in contract.columns]


def _misfits(misfits: Iterable[Misfit]) -> list[dict[str, Any]]:
    return [{"line": m.line, "column": m.column, "expected": m.type, "value": m.value} for m in misfits]


def _tell(console: Console, outcome: FileOutcome) -> None:
    seconds = ", ".join(f"{stage} {took:.1f} s" for stage, took in outcome.seconds.items())
    rows = f"{outcome.totals.rows:,} rows"
    console.print(f"{escape(outcome.table)}: {outcome.status.value}, {rows}, load {outcome.load_id} ({seconds}).")
    for remark in [*map(str, outcome.changes), *outcome.warnings]:
        console.print(f"[yellow]Note:[/] {escape(remark)}")


def _tell_trial(console: Console, trial: Trial) -> None:
    console.print(f"{trial.rows:,} rows for the table {escape(trial.dataset.table)}. Nothing was written.")
    if trial.contract is not None:
        table = Table("column", "type", "header in the file")
        for column in trial.contract.columns:
            table.add_row(escape(column.name), str(column.type), escape(column.header))
        console.print(table)
        for change in trial.changes:
            console.print(f"[yellow]Would change:[/] {escape(str(change))}")
    if trial.refusal is not None:
        _tell_misfits(console, _misfits_of(trial.refusal))
        console.print(f"[red]Would fail:[/] {escape(str(trial.refusal))}")


def _tell_misfits(console: Console, misfits: tuple[Misfit, ...]) -> None:
    for misfit in misfits[:_SHOWN_MISFITS]:
        console.print(escape(str(misfit)))
    if len(misfits) > _SHOWN_MISFITS:
        console.print(f"... and {len(misfits) - _SHOWN_MISFITS} more values that do not fit.")
