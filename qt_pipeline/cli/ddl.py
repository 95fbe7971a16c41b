"""The command `ddl`: prints the statements that prepare the target for a login without DDL rights.

Here: options and output. Not here: the statements (see warehouse).
"""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import make_url

from qt_pipeline.catalog import catalog_for
from qt_pipeline.composition import warehouse_of
from qt_pipeline.ingest import dry_run, local_file, table_spec_for
from qt_pipeline.settings import load_settings

File = Annotated[Path | None, typer.Argument(help="A CSV file of the dataset, which defines the columns.")]
DatasetId = Annotated[str | None, typer.Option("--dataset-id", help="The dataset whose table to prepare.")]
Login = Annotated[str, typer.Option(help="The login that loads.")]


def ddl(file: File = None, *, dataset_id: DatasetId = None, login: Login = "qt_pipeline") -> None:
    """Print the statements for tables and rights that a login without DDL rights needs. Executes nothing.

    Without a dataset, these prepare the ledger and the staging schema.

    Examples:
        qt-pipeline ddl --login loader
        qt-pipeline ddl claims.csv --dataset-id d-claims --login loader
    """
    if (file is None) is not (dataset_id is None):
        raise typer.BadParameter("Specify both a file and --dataset-id, or neither.")
    settings = load_settings()
    warehouse = warehouse_of(settings, prepare=False)
    table = contract = None
    if file is not None and dataset_id is not None:
        dataset = catalog_for(settings).dataset(dataset_id)
        trial = dry_run(warehouse, dataset, local_file(file, run_id="ddl"))
        if trial.contract is None and trial.error is not None:
            raise trial.error
        table, contract = table_spec_for(dataset), trial.contract
    tables, rights = warehouse.preparation(table, contract, login=login)
    # SQL Server requires a separate batch for each CREATE SCHEMA.
    end = ";\nGO" if make_url(settings.warehouse_url).get_backend_name() == "mssql" else ";"
    for statement in (*tables, *rights):
        typer.echo(f"{statement}{end}")
    if not rights:
        typer.echo("-- This database has no rights to grant.")
