"""What a load of a file would do, without doing it.

Here: what is found on the way. Not here: the steps and their checks, which are those of a load (see load).
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
    """What was found. `refusal` says why the file would fail; `contract` is None where it breaks the present one.

    `rows` are those that were read: all of them, unless a refusal came first. `unchanged`: the table shows the file
    already, and would be left as it is. `changes` and `warnings` are for a person to read.
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
    """Take a file through every step of a load, and write nothing. `force`, `max_rows`, `observe`: see `load_file`.

    What only the database knows of rows is not found: constraints of somebody's, and keys that its collation takes for
    the same.

    Raises:
        PipelineError: the file cannot be read as CSV, the table is not ours, or the database refuses.
    """
    with about(dataset.id):
        meter = ProgressTracker(observe or ProgressLogger(f"Dataset {dataset.label}"), total_bytes=file.bytes)
        load = warehouse.dry_run(load_job_for(dataset, file), table_spec_for(dataset))
        loading = FileLoader(load, dataset, file, force=force, max_rows=max_rows, meter=meter)
        try:
            with about(dataset.id):
                outcome = loading.run()
        except BadCsvError:
            raise
        except PermanentError as refusal:
            settled = loading.settled
            if settled is None and not loading.rows:
                raise
            contract, changes = (settled.contract, settled.changes) if settled else (None, ())
            return DryRunResult(dataset, loading.rows, contract, changes, refusal)
        unchanged = outcome.status is LoadStatus.UNCHANGED
        rows = outcome.totals.rows
        return DryRunResult(dataset, rows, outcome.contract, outcome.changes, None, outcome.warnings, unchanged)
