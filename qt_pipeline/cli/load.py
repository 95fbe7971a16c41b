"""`qt-pipeline load`: a CSV file of this machine into its dataset's table, without Dagster and without Quantemplate.

Here: the command's options, and what it prints. Not here: what a load is (see ingest).
"""

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Table

from qt_pipeline import telemetry
from qt_pipeline.catalog import Catalog, Dataset, catalog_for
from qt_pipeline.cli.output import console as output_console
from qt_pipeline.cli.output import pluralize, safe_markup
from qt_pipeline.cli.progress import progress_display
from qt_pipeline.cli.report import report_to_dagster
from qt_pipeline.composition import dagster_of, landing_of, warehouse_of
from qt_pipeline.database import redacted_database_url
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import CsvFile, DryRunResult, FileOutcome, dry_run, land_manually, load_landed, local_file
from qt_pipeline.landing import MANUAL, Landed
from qt_pipeline.settings import Settings, load_settings
from qt_pipeline.tabular import Contract, DriftError, InvalidValue
from qt_pipeline.warehouse import LoadStatus, Warehouse

_MAX_INVALID_SHOWN = 10
_ANSWER_SECONDS = 2

File = Annotated[Path, typer.Argument(help="The CSV file.", show_default=False)]
DatasetId = Annotated[str, typer.Option("--dataset-id", help="The dataset whose table the file is for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what a load would do; write nothing.")]
FirstLine = Annotated[
    bool, typer.Option("--first-line-is-header", help="Take the first line for the header, whatever it looks like.")
]
Force = Annotated[bool, typer.Option("--force", help="Load the file even if the table shows it already.")]


def load(  # the options of the command
    file: File,
    *,
    dataset_id: DatasetId,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    force: Force = False,
    first_line_is_header: FirstLine = False,
) -> None:
    """Load a CSV file into its dataset's table, by the rules of the catalog: checked, typed, all of it or nothing.

    It is copied into the landing first and kept there, also if it is refused:
    line, diff and restore know it as they know a download.

    Examples:
        qt-pipeline load claims.csv --dataset-id d-claims --dry-run
        qt-pipeline load claims.csv --dataset-id d-claims
    """
    console = output_console()
    with _failing(console, dataset_id, as_json=as_json):
        settings = load_settings()
        catalog = catalog_for(settings)
        dataset = catalog.dataset(dataset_id)
        if first_line_is_header:
            dataset = dataset.model_copy(update={"first_line_is_header": True})
        if dry_run:
            trial, source, is_new = _dry_run(settings, catalog, file, dataset, force=force)
            if as_json:
                typer.echo(json.dumps(_dry_run_as_json(trial, source)))
            else:
                _print_dry_run(console, trial, redacted_database_url(settings.warehouse_url))
                _print_if_new(console, dataset_id, is_new=is_new)
            if trial.error is not None:
                raise typer.Exit(1)
            return
        outcome, landed, is_new = _load(settings, catalog, file, dataset, force=force)
        in_dagster = _report_to_dagster(settings, outcome, landed)
        if as_json:
            typer.echo(json.dumps(_outcome_as_json(outcome, landed) | {"in_dagster": in_dagster}))
        else:
            _print_outcome(console, outcome, landed, redacted_database_url(settings.warehouse_url))
            _print_if_new(console, dataset_id, is_new=is_new)
            if in_dagster:
                console.print("Dagster's UI shows it too.")


@contextmanager
def _failing(console: Console, dataset_id: str, *, as_json: bool) -> Generator[None]:
    """Answer with one JSON object also where a load fails, for whatever reason."""
    try:
        yield
    except PipelineError as error:
        if as_json:
            typer.echo(json.dumps(_error_as_json(error, dataset_id)))
            raise typer.Exit(1) from None
        _print_invalid_values(console, _invalid_values_in(error))
        raise
    except typer.Exit:
        raise
    except Exception as error:
        if not as_json:
            raise
        # Its text may hold values of rows.
        unforeseen = PipelineError(
            f"An error occurred that this program does not handle: {type(error).__name__}.",
            hint="Run the command without --json to see where, and report it.",
        )
        typer.echo(json.dumps(_error_as_json(unforeseen, dataset_id)))
        raise typer.Exit(1) from None


def _load(
    settings: Settings, catalog: Catalog, file: Path, dataset: Dataset, *, force: bool
) -> tuple[FileOutcome, Landed, bool]:
    run_id = f"{MANUAL}{uuid4()}"
    traced = telemetry.traces_to(settings.telemetry_endpoint, telemetry.RUN_SERVICE)
    with progress_display() as observe, traced, telemetry.run(run_id, dataset_id=dataset.id), telemetry.attempt():
        # Before the target is asked, as a run does it: what cannot be kept is not loaded.
        landed = land_manually(landing_of(settings), dataset.id, file, run_id=run_id, observe=observe)
        warehouse = warehouse_of(settings)
        is_new = _is_new(catalog, warehouse, dataset.id)
        outcome = load_landed(
            warehouse, dataset, landed, run_id=run_id, force=force, max_rows=settings.max_rows, observe=observe
        )
        return outcome, landed, is_new


def _report_to_dagster(settings: Settings, outcome: FileOutcome, landed: Landed) -> bool:
    if outcome.status is not LoadStatus.PUBLISHED:
        return False
    source = landed.manifest.source
    return report_to_dagster(
        dagster_of(settings, answer_seconds=_ANSWER_SECONDS),
        outcome,
        landed,
        description="Loaded by qt-pipeline load.",
        metadata={"loaded by hand from": source.uri} if source else {},
    )


def _dry_run(
    settings: Settings, catalog: Catalog, file: Path, dataset: Dataset, *, force: bool
) -> tuple[DryRunResult, CsvFile, bool]:
    with progress_display() as observe:
        source = local_file(file, run_id="trial", observe=observe)
        warehouse = warehouse_of(settings, prepare=False)
        is_new = _is_new(catalog, warehouse, dataset.id)
        trial = dry_run(warehouse, dataset, source, force=force, max_rows=settings.max_rows, observe=observe)
        return trial, source, is_new


def _is_new(catalog: Catalog, warehouse: Warehouse, dataset_id: str) -> bool:
    """Whether nobody has named the dataset before, as it would be with a slip in its id."""
    return dataset_id not in {listed.id for listed in catalog.datasets} and warehouse.contract(dataset_id) is None


def _outcome_as_json(outcome: FileOutcome, landed: Landed) -> dict[str, Any]:
    return {
        "dataset_id": outcome.dataset.id,
        "table": outcome.table,
        "rows": outcome.totals.rows,
        "table_rows": outcome.table_rows,
        "columns": _columns(outcome.contract),
        "sha256": landed.manifest.sha256,
        "landed_file": landed.uri,
        "load_id": outcome.load_id,
        "replaced_load_id": outcome.replaced_load_id,
        "status": outcome.status.value,
        "changes": [str(change) for change in outcome.changes],
        "warnings": list(outcome.warnings),
        "seconds": {stage: round(took, 3) for stage, took in outcome.seconds.items()},
    }


def _dry_run_as_json(trial: DryRunResult, source: CsvFile) -> dict[str, Any]:
    return {
        "dataset_id": trial.dataset.id,
        "table": trial.dataset.table,
        "rows": trial.rows,
        "columns": None if trial.contract is None else _columns(trial.contract),
        "sha256": source.sha256,
        "status": _status_of(trial),
        "changes": [str(change) for change in trial.changes],
        "warnings": list(trial.warnings),
        "error": None if trial.error is None else trial.error.message,
        "invalid_values": _invalid_values_as_json(_invalid_values_in(trial.error)),
    }


def _status_of(trial: DryRunResult) -> str:
    if trial.error is not None:
        return "would fail"
    return LoadStatus.UNCHANGED.value if trial.unchanged else "would load"


def _error_as_json(error: PipelineError, dataset_id: str) -> dict[str, Any]:
    return {
        "dataset_id": error.dataset_id or dataset_id,
        "status": "failed",
        "error": error.message,
        "hint": error.hint,
        "invalid_values": _invalid_values_as_json(_invalid_values_in(error)),
    }


def _invalid_values_in(error: PipelineError | None) -> tuple[InvalidValue, ...]:
    return error.invalid_values if isinstance(error, DriftError) else ()


def _columns(contract: Contract) -> list[dict[str, str]]:
    return [{"source": c.header, "name": c.name, "type": str(c.type)} for c in contract.columns]


def _invalid_values_as_json(misfits: Iterable[InvalidValue]) -> list[dict[str, Any]]:
    return [{"line": m.line, "column": m.column, "expected": m.type, "value": m.value} for m in misfits]


def _print_outcome(console: Console, outcome: FileOutcome, landed: Landed, target: str) -> None:
    seconds = ", ".join(f"{stage} {took:.1f} s" for stage, took in outcome.seconds.items())
    rows = pluralize(outcome.totals.rows, "row")
    where = f"{safe_markup(outcome.table)} in {safe_markup(target)}"
    console.print(f"{where}: {outcome.status.value}, {rows}, load {outcome.load_id} ({seconds}).")
    console.print(f"The file is kept: {safe_markup(landed.uri)}")
    for remark in [*map(str, outcome.changes), *outcome.warnings]:
        console.print(f"[yellow]Note:[/] {safe_markup(remark)}")


def _print_if_new(console: Console, dataset_id: str, *, is_new: bool) -> None:
    if is_new:
        console.print(
            f"[yellow]Note:[/] The catalog does not list {safe_markup(dataset_id)}, and no load of it was published "
            "before: this is a new table. Is the id right?"
        )


def _print_dry_run(console: Console, trial: DryRunResult, target: str) -> None:
    table_name = f"{safe_markup(trial.dataset.table)} in {safe_markup(target)}"
    console.print(f"{pluralize(trial.rows, 'row')} for the table {table_name}. Nothing was written.")
    if trial.contract is not None:
        table = Table("column", "type", "header in the file")
        for column in trial.contract.columns:
            table.add_row(safe_markup(column.name), str(column.type), safe_markup(column.header))
        console.print(table)
        for change in trial.changes:
            console.print(f"[yellow]Would change:[/] {safe_markup(str(change))}")
        for warning in trial.warnings:
            console.print(f"[yellow]Note:[/] {safe_markup(warning)}")
    if trial.unchanged:
        console.print("The table shows this file already: a load would leave it unchanged.")
    if trial.error is not None:
        _print_invalid_values(console, _invalid_values_in(trial.error))
        console.print(f"[red]Would fail:[/] {safe_markup(str(trial.error))}")


def _print_invalid_values(console: Console, misfits: tuple[InvalidValue, ...]) -> None:
    if len(misfits) <= DriftError.named:
        return  # The error names them all.
    for misfit in misfits[:_MAX_INVALID_SHOWN]:
        console.print(safe_markup(str(misfit)))
    if len(misfits) > _MAX_INVALID_SHOWN:
        console.print(f"... and {len(misfits) - _MAX_INVALID_SHOWN} more values that do not fit.")
