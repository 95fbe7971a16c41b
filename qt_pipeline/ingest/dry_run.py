"""Dry run: every step and check of a load, without a write.

Here: the result of a dry run. Not here: the steps and their checks, which are those of a load (see loader).
"""

from dataclasses import dataclass

from qt_pipeline.catalog import Dataset
from qt_pipeline.errors import PermanentError, PipelineError, about
from qt_pipeline.ingest.files import CsvFile
from qt_pipeline.ingest.loader import FileLoader, load_job_for, table_spec_for
from qt_pipeline.tabular import BadCsvError, Contract, SchemaChange
from qt_pipeline.telemetry import ProgressCallback, ProgressLogger, ProgressTracker
from qt_pipeline.warehouse import LoadStatus, Warehouse


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The result of a dry run. `error` is the error that a load would raise.

    `contract` is None if the file breaks the present one. `rows` counts the rows read: all, unless an error came first.
    `unchanged`: the table already shows the file, so a load would leave it alone. `changes` and `warnings` are for
    people to read.
    """

    dataset: Dataset
    rows: int
    contract: Contract | None
    changes: tuple[SchemaChange, ...]
    error: PipelineError | None
    warnings: tuple[str, ...] = ()
    unchanged: bool = False


def dry_run(
    warehouse: Warehouse,
    dataset: Dataset,
    file: CsvFile,
    *,
    force: bool = False,
    max_rows: int | None = None,
    observe: ProgressCallback | None = None,
) -> DryRunResult:
    """Run every step of a load and write nothing. `force`, `max_rows`, `observe`: see `load_file`.

    A dry run cannot check what only the database knows: constraints that somebody added to the table, and keys that
    its collation treats as equal.

    Raises:
        PipelineError: the file is not valid CSV, the table is not ours, or the database rejects the load.
    """
    with about(dataset.id):
        tracker = ProgressTracker(observe or ProgressLogger(f"Dataset {dataset.label}"), total_bytes=file.bytes)
        load = warehouse.dry_run(load_job_for(dataset, file), table_spec_for(dataset))
        loader = FileLoader(load, dataset, file, force=force, max_rows=max_rows, tracker=tracker)
        try:
            with about(dataset.id):
                outcome = loader.run()
        except BadCsvError:
            raise
        except PermanentError as error:
            resolved = loader.resolved
            if resolved is None and not loader.rows:
                raise
            contract, changes = (resolved.contract, resolved.changes) if resolved else (None, ())
            return DryRunResult(dataset, loader.rows, contract, changes, error)
        unchanged = outcome.status is LoadStatus.UNCHANGED
        rows = outcome.totals.rows
        return DryRunResult(dataset, rows, outcome.contract, outcome.changes, None, outcome.warnings, unchanged)
