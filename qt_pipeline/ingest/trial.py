"""What a load of a file would do, without doing it.

Here: the contract that would be used, and what would become different. Not here: any writing.
"""

from dataclasses import dataclass

from qt_pipeline.catalog import Dataset
from qt_pipeline.errors import about
from qt_pipeline.ingest.load import CsvFile, Reading, rules_of
from qt_pipeline.tabular import Change, Contract, DriftError, read_header
from qt_pipeline.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found. `contract` is None where the file breaks the present one; `drift` then tells how."""

    dataset: Dataset
    rows: int
    contract: Contract | None
    changes: tuple[Change, ...]
    drift: DriftError | None


def try_file(warehouse: Warehouse, dataset: Dataset, file: CsvFile) -> Trial:
    """Read a whole file and hold it against the contract of its dataset, if there is one.

    Raises:
        PipelineError: the file cannot be read as CSV, or the database refuses.
    """
    with about(dataset.id):
        header = read_header(file.open)
        rules = rules_of(dataset, max_name_bytes=warehouse.max_name_bytes)
        reading = Reading(file.open, header, warehouse.contract(dataset.id), rules, dataset.show_values)
        inspection = reading.inspect()
        try:
            settled = reading.settle(inspection)
        except DriftError as drift:
            return Trial(dataset, inspection.rows, None, (), reading.with_places(drift, inspection))
        return Trial(dataset, inspection.rows, settled.contract, settled.changes, None)
