"""The command `load`: loads a local CSV file into its dataset's table, without Dagster and Quantemplate.

Here: options and output. Not here: the load (see ingest).
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
DatasetId = Annotated[str, typer.Option("--dataset-id", help="The dataset of the file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what a load would do; write nothing.")]
FirstLine = Annotated[
    bool, typer.Option("--first-line-is-header", help="Use the first line as the header, whatever it contains.")
]
Force = Annotated[bool, typer.Option("--force", help="Load the file even if the table is up to date with it.")]


def load(  # every option is a parameter
    file: File,
    *,
    dataset_id: DatasetId,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    force: Force = False,
    first_line_is_header: FirstLine = False,
) -> None:
    """Load a CSV file into its dataset's table by the catalog's rules: validated, typed, all rows or none.

    The file is first copied into the landing and kept there, even if it is
    rejected: show-row, diff and restore work with it as with a download.

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
            result, source, is_new = _dry_run(settings, catalog, file, dataset, force=force)
            if as_json:
                typer.echo(json.dumps(_dry_run_as_json(result, source)))
            else:
                _print_dry_run(console, result, redacted_database_url(settings.warehouse_url))
                _print_if_new(console, dataset_id, is_new=is_new)
            if result.error is not None:
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
                console.print("Dagster's UI shows the load.")


@contextmanager
def _failing(console: Console, dataset_id: str, *, as_json: bool) -> Generator[None]:
    """Print one JSON object also if a load fails for any reason."""
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
        # The message may contain values of rows.
        unexpected = PipelineError(
            f"Unexpected error: {type(error).__name__}.",
            hint="Run the command without --json for the traceback, and report it.",
        )
        typer.echo(json.dumps(_error_as_json(unexpected, dataset_id)))
        raise typer.Exit(1) from None


def _load(
    settings: Settings, catalog: Catalog, file: Path, dataset: Dataset, *, force: bool
) -> tuple[FileOutcome, Landed, bool]:
    run_id = f"{MANUAL}{uuid4()}"
    traced = telemetry.traces_to(settings.telemetry_endpoint, telemetry.RUN_SERVICE)
    with progress_display() as observe, traced, telemetry.run(run_id, dataset_id=dataset.id), telemetry.attempt():
        # Before the target is opened, as in a run: a file that cannot be stored is not loaded.
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
        metadata={"loaded manually from": source.uri} if source else {},
    )


def _dry_run(
    settings: Settings, catalog: Catalog, file: Path, dataset: Dataset, *, force: bool
) -> tuple[DryRunResult, CsvFile, bool]:
    with progress_display() as observe:
        source = local_file(file, run_id="trial", observe=observe)
        warehouse = warehouse_of(settings, prepare=False)
        is_new = _is_new(catalog, warehouse, dataset.id)
        result = dry_run(warehouse, dataset, source, force=force, max_rows=settings.max_rows, observe=observe)
        return result, source, is_new


def _is_new(catalog: Catalog, warehouse: Warehouse, dataset_id: str) -> bool:
    """Whether the dataset is neither listed nor loaded yet, which a typo in the id would cause."""
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


def _dry_run_as_json(result: DryRunResult, source: CsvFile) -> dict[str, Any]:
    return {
        "dataset_id": result.dataset.id,
        "table": result.dataset.table,
        "rows": result.rows,
        "columns": None if result.contract is None else _columns(result.contract),
        "sha256": source.sha256,
        "status": _status_of(result),
        "changes": [str(change) for change in result.changes],
        "warnings": list(result.warnings),
        "error": None if result.error is None else result.error.message,
        "invalid_values": _invalid_values_as_json(_invalid_values_in(result.error)),
    }


def _status_of(result: DryRunResult) -> str:
    if result.error is not None:
        return "would fail"
    return LoadStatus.UNCHANGED.value if result.unchanged else "would load"


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


def _invalid_values_as_json(invalid_values: Iterable[InvalidValue]) -> list[dict[str, Any]]:
    return [{"line": m.line, "column": m.column, "expected": m.type, "value": m.value} for m in invalid_values]


def _print_outcome(console: Console, outcome: FileOutcome, landed: Landed, target: str) -> None:
    seconds = ", ".join(f"{stage} {took:.1f} s" for stage, took in outcome.seconds.items())
    rows = pluralize(outcome.totals.rows, "row")
    table = f"{safe_markup(outcome.table)} in {safe_markup(target)}"
    console.print(f"{table}: {outcome.status.value}, {rows}, load {outcome.load_id} ({seconds}).")
    console.print(f"Landed file: {safe_markup(landed.uri)}")
    for remark in [*map(str, outcome.changes), *outcome.warnings]:
        console.print(f"[yellow]Note:[/] {safe_markup(remark)}")


def _print_if_new(console: Console, dataset_id: str, *, is_new: bool) -> None:
    if is_new:
        console.print(
            f"[yellow]Note:[/] The catalog does not list {safe_markup(dataset_id)}, and it was never loaded before: "
            "this is a new table. Check the id."
        )


def _print_dry_run(console: Console, result: DryRunResult, target: str) -> None:
    table_name = f"{safe_markup(result.dataset.table)} in {safe_markup(target)}"
    console.print(f"{pluralize(result.rows, 'row')} for the table {table_name}. Nothing was written.")
    if result.contract is not None:
        table = Table("column", "type", "header in the file")
        for column in result.contract.columns:
            table.add_row(safe_markup(column.name), str(column.type), safe_markup(column.header))
        console.print(table)
        for change in result.changes:
            console.print(f"[yellow]Would change:[/] {safe_markup(str(change))}")
        for warning in result.warnings:
            console.print(f"[yellow]Note:[/] {safe_markup(warning)}")
    if result.unchanged:
        console.print("The table is up to date with this file: a load would leave it unchanged.")
    if result.error is not None:
        _print_invalid_values(console, _invalid_values_in(result.error))
        console.print(f"[red]Would fail:[/] {safe_markup(str(result.error))}")


def _print_invalid_values(console: Console, invalid_values: tuple[InvalidValue, ...]) -> None:
    if len(invalid_values) <= DriftError.named:
        return  # The error lists all of them.
    for invalid_value in invalid_values[:_MAX_INVALID_SHOWN]:
        console.print(safe_markup(str(invalid_value)))
    if len(invalid_values) > _MAX_INVALID_SHOWN:
        console.print(f"... and {len(invalid_values) - _MAX_INVALID_SHOWN} more invalid values.")
