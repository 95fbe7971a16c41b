"""What a load of a file would do, without doing it.

Here: the contract that would be used, and what would become different. Not here: any writing.
"""

from dataclasses import dataclass

from qt_pipeline.catalog import Dataset
from qt_pipeline.errors import PipelineError, about
from qt_pipeline.ingest.load import CsvFile, Reading, guard, rules_of, table_of
from qt_pipeline.tabular import Change, Contract, DriftError
from qt_pipeline.warehouse import LoadRecord, Warehouse


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found. `refusal` says why the file would fail; `contract` is None where it breaks the present one."""

    dataset: Dataset
    rows: int
    contract: Contract | None
    changes: tuple[Change, ...]
    refusal: PipelineError | None


def try_file(warehouse: Warehouse, dataset: Dataset, file: CsvFile) -> Trial:
    """Read a whole file and hold it against the contract and the guards of its dataset.

    Raises:
        PipelineError: the file cannot be read as CSV, the table is not ours, or the database refuses.
    """
    with about(dataset.id):
        expected = warehouse.expectation(dataset.id, table_of(dataset))
        rules = rules_of(dataset, max_name_bytes=warehouse.max_name_bytes)
        reading = Reading.of(file.open, dataset, expected.contract, rules, takes_over=expected.takes_over)
        inspection = reading.inspect()
        try:
            settled = reading.settle(inspection)
        except DriftError as drift:
            return Trial(dataset, inspection.rows, None, (), reading.with_places(drift, inspection))
        return Trial(
            dataset,
            inspection.rows,
            settled.contract,
            settled.changes,
            _guarded(dataset, inspection.rows, expected.last),
        )


def _guarded(dataset: Dataset, rows: int, last: LoadRecord | None) -> PipelineError | None:
    try:
        guard(dataset, rows, last)
    except PipelineError as error:
        return error
    return None
