"""Files of this machine on their way into a table, with a catalog and a SQLite target and nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from qt_pipeline.catalog import Dataset, load_catalog
from qt_pipeline.ingest import FileOutcome, load_file, local_file
from qt_pipeline.ingest.files import CsvFile
from qt_pipeline.warehouse import LoadRecord, Warehouse, open_warehouse
from qt_pipeline_tests.compare import assert_table_equals_csv
from qt_pipeline_tests.ingest.place import query

DATASET = "d-small"
TABLE = "d_small"


@dataclass
class Loading:
    """One dataset: its catalog entry, its target, and how often its files were opened."""

    folder: Path
    entry: dict[str, Any] = field(default_factory=dict)
    opened: int = 0
    open_target: Callable[[str], Warehouse] = open_warehouse

    @property
    def database(self) -> Path:
        return self.folder / "warehouse.db"

    @property
    def warehouse(self) -> Warehouse:
        return self.open_target(f"sqlite:///{self.database}")

    @property
    def dataset(self) -> Dataset:
        catalog = self.folder / "datasets.yaml"
        catalog.write_text(json.dumps({"datasets": {DATASET: self.entry}}))
        return load_catalog(catalog).dataset(DATASET)

    def file(self, data: bytes, run_id: str = "run-1") -> CsvFile:
        path = self.folder / "file.csv"
        path.write_bytes(data)

        def opened() -> BinaryIO:
            self.opened += 1
            return path.open("rb")

        return replace(local_file(path, run_id=run_id), open=opened)

    def load(self, data: bytes, *, force: bool = False, **entry: Any) -> FileOutcome:
        """Load a file; what is said of the dataset from now on is `entry` beside what was said before."""
        self.entry |= entry
        self.opened = 0
        return load_file(self.warehouse, self.dataset, self.file(data), force=force)

    @property
    def ledger(self) -> list[LoadRecord]:
        """Its lines, the oldest first."""
        return self.warehouse.loads()[::-1]

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return query(self.database, f'SELECT {columns} FROM "{self.dataset.table}"')

    def types(self) -> dict[str, str]:
        contract = self.warehouse.contract(DATASET)
        assert contract is not None
        return {column.name: str(column.type) for column in contract.columns}

    def assert_table_is(self, data: bytes, outcome: FileOutcome) -> None:
        assert_table_equals_csv(self.database, outcome.dataset.table, data, outcome.contract, load_id=outcome.load_id)
