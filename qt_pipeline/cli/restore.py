"""The command `restore`: loads the file of an earlier load again.

Here: options, confirmation, output, and the report to Dagster's UI. Not here: the restore (see ingest).
"""

from contextlib import suppress
from typing import Annotated
from uuid import uuid4

import typer

from qt_pipeline.catalog import Dataset, catalog_for
from qt_pipeline.cli.output import console, error_as_json, format_timestamp, pluralize, print_json, safe_markup
from qt_pipeline.cli.report import report_to_dagster
from qt_pipeline.composition import dagster_of, landing_of, warehouse_of
from qt_pipeline.dagster_api import DagsterApi
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import Restored, check_restorable, find_load
from qt_pipeline.ingest import restore as restore_load
from qt_pipeline.settings import Settings, load_settings

DatasetId = Annotated[str, typer.Argument(metavar="DATASET_ID", help="The dataset.", show_default=False)]
LoadId = Annotated[int, typer.Argument(metavar="LOAD", help="The load's number, from `history`.", show_default=False)]
_ANSWER_SECONDS = 10


def restore(
    dataset_id: DatasetId,
    load: LoadId,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; requires --yes.")] = False,
) -> None:
    """Publish the file of an earlier load again, verified and in one transaction like any load.

    The restored data stays until an event of the dataset, or a manual run,
    loads newer data: daily refresh and polling skip a restored dataset.

    Examples:
        qt-pipeline history d-claims
        qt-pipeline restore d-claims 17
    """
    if as_json and not yes:
        raise typer.BadParameter("--json requires --yes, because it cannot ask for confirmation.")
    settings = load_settings()
    dataset = catalog_for(settings).dataset(dataset_id)
    try:
        warehouse = warehouse_of(settings)
        record = find_load(warehouse, dataset.id, load)
        landing = landing_of(settings)
        check_restorable(landing, dataset, record)
        if not yes:
            when = f"{format_timestamp(record.finished_at)} UTC"
            rows = pluralize(record.rows or 0, "row")
            typer.confirm(f"Replace the rows of {dataset.table} by the {rows} of load {load} ({when})?", abort=True)
        _print_runs_in_flight(settings, dataset)
        run_id = f"restore-{uuid4()}"
        done = restore_load(warehouse, landing, dataset, load, run_id=run_id, max_rows=settings.max_rows)
    except PipelineError as error:
        if not as_json:
            raise
        print_json(error_as_json(error))
        raise typer.Exit(1) from None
    in_dagster = _report(settings, done, load)
    if as_json:
        print_json(_as_json(done, load, in_dagster=in_dagster))
    else:
        _print_restored(done, load, in_dagster=in_dagster)


def _print_runs_in_flight(settings: Settings, dataset: Dataset) -> None:
    """Warn about runs in flight: one that has already downloaded would replace the restored data."""
    with suppress(PipelineError):
        runs = _dagster(settings).runs_of(dataset.id, in_flight=True)
        if runs:
            typer.secho(
                f"Note: {pluralize(len(runs), 'run')} of {dataset.id} in flight, which may replace the restored data.",
                fg=typer.colors.YELLOW,
                err=True,
            )


def _report(settings: Settings, done: Restored, load: int) -> bool:
    """Report the restore to Dagster; whether its UI shows it."""
    file = done.outcome
    if file is None:
        return False
    return report_to_dagster(
        _dagster(settings),
        file,
        done.landed,
        description=f"Load {load} was restored by qt-pipeline restore.",
        metadata={"status": "restored", "restored load": load},
    )


def _dagster(settings: Settings) -> DagsterApi:
    return dagster_of(settings, answer_seconds=_ANSWER_SECONDS)


def _as_json(done: Restored, load: int, *, in_dagster: bool) -> dict[str, object]:
    file = done.outcome
    return {
        "dataset_id": done.current.dataset_id,
        "status": "unchanged" if file is None else "restored",
        "restored_load_id": load,
        "load_id": done.current.load_id if file is None else file.load_id,
        "replaced_load_id": None if file is None else file.replaced_load_id,
        "table": done.current.table_name if file is None else file.table,
        "rows": done.current.rows if file is None else file.totals.rows,
        "changes": [] if file is None else [str(change) for change in file.changes],
        "in_dagster": in_dagster,
    }


def _print_restored(done: Restored, load: int, *, in_dagster: bool) -> None:
    file = done.outcome
    if file is None:
        console().print(
            f"{safe_markup(done.current.table_name)} already shows the file of load {load} (by load "
            f"{done.current.load_id}). Nothing changed."
        )
        return
    rows = pluralize(file.totals.rows, "row")
    console().print(f"{safe_markup(file.table)}: load {load} is restored, {rows}, as load {file.load_id}.")
    for remark in [*map(str, file.changes), *file.warnings]:
        console().print(f"[yellow]Note:[/] {safe_markup(remark)}")
    console().print("It stays until an event, or a manual run, loads newer data.")
    if not in_dagster:
        console().print("Dagster is unreachable or does not know the dataset: only the ledger shows this restore.")
