"""What a load of a file would do, without doing it.

Here: the contract that would be used, and what would become different. Not here: any writing.
"""

from collections import deque
from dataclasses import dataclass

from qt_pipeline.catalog import Dataset
from qt_pipeline.errors import PipelineError, about
from qt_pipeline.ingest.files import CsvFile
from qt_pipeline.ingest.guards import absent_columns, check_headers, check_rows, guarded
from qt_pipeline.ingest.load import Reading, rules_of, table_of
from qt_pipeline.tabular import Change, Contract, DriftError, Inspection, read_rows
from qt_pipeline.telemetry import Meter, Observer, Ticker
from qt_pipeline.warehouse import LoadRecord, Warehouse, try_key


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found. `refusal` says why the file would fail; `contract` is None where it breaks the present one.

    `changes` and `warnings` are for a person to read.
    """

    dataset: Dataset
    rows: int
    contract: Contract | None
    changes: tuple[Change, ...]
    refusal: PipelineError | None
    warnings: tuple[str, ...] = ()


def try_file(
    warehouse: Warehouse,
    dataset: Dataset,
    file: CsvFile,
    *,
    max_rows: int | None = None,
    observe: Observer | None = None,
) -> Trial:
    """Read a whole file and hold it against the contract, the guards and the key of its dataset.

    Keys are compared by `try_key`, not by the target, which may find more that are equal. `observe`: see `load_file`.

    Raises:
        PipelineError: the file cannot be read as CSV, the table is not ours, or the database refuses.
    """
    with about(dataset.id):
        expected = warehouse.expectation(dataset.id, table_of(dataset))
        rules = rules_of(dataset, max_name_bytes=warehouse.max_name_bytes)
        open_ = Meter(observe or Ticker(f"Dataset {dataset.label}"), total_bytes=file.bytes).opening(file.open)
        reading = Reading.of(
            open_,
            dataset,
            expected.contract,
            rules,
            max_columns=warehouse.max_columns,
            takes_over=expected.takes_over,
        )
        inspection = reading.inspect()
        try:
            settled = reading.settle(inspection)
        except DriftError as drift:
            return Trial(dataset, inspection.rows, None, (), reading.with_places(drift, inspection))
        refusal = _refusal(dataset, reading, inspection, settled.contract, last=expected.last, max_rows=max_rows)
        warnings = absent_columns(dataset, settled.contract)
        return Trial(dataset, inspection.rows, settled.contract, settled.changes, refusal, warnings)


def _refusal(
    dataset: Dataset,
    reading: Reading,
    inspection: Inspection,
    contract: Contract,
    *,
    last: LoadRecord | None,
    max_rows: int | None,
) -> PipelineError | None:
    try:
        check_headers(dataset, contract)
        check_rows(dataset, inspection.rows, last)
        rows = guarded(dataset, max_rows, read_rows(reading.open, inspection, contract))
        if dataset.key:
            try_key(dataset.key, contract, rows, dataset.id)
        else:
            deque(rows, maxlen=0)
    except PipelineError as error:
        return error
    return None
