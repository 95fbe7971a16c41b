"""A dataset's landed files and their loads, made without a vendor and without Dagster."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from qt_pipeline.catalog import Dataset, load_catalog
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import open_inbox
from qt_pipeline.ingest import Ingest
from qt_pipeline.landing import Landed, Landing, Provenance
from qt_pipeline.warehouse import LoadRecord, Warehouse, open_warehouse

DATASET = "d-kept"
TABLE = "d_kept"
INBOX = "inbox-1"


@dataclass
class Archive:
    """One place: a landing, a catalog, a target and an inbox in a folder; the target may be elsewhere."""

    folder: Path
    warehouse_url: str = ""
    schema: str | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.warehouse_url = self.warehouse_url or f"sqlite:///{self.file}"
        self._runs = 0

    @property
    def file(self) -> Path:
        return self.folder / "warehouse.db"

    @property
    def landing(self) -> Landing:
        return Landing(str(self.folder / "landing"))

    @property
    def warehouse(self) -> Warehouse:
        return open_warehouse(self.warehouse_url, self.schema)

    def rules(self, dataset_id: str = DATASET, **entry: Any) -> Dataset:
        """What the catalog says of the dataset from now on."""
        (self.folder / "datasets.yaml").write_text(json.dumps({"datasets": {dataset_id: entry}}))
        return load_catalog(self.folder / "datasets.yaml").dataset(dataset_id)

    def land(self, csv: bytes, *, through_seq: int = 0, dataset_id: str = DATASET) -> Landed:
        """Keep a file as a run of its own would."""
        self._runs += 1
        run_id = f"{self._runs:08d}-run"
        with self.landing.draft(dataset_id, run_id) as draft:
            with draft.sink() as sink:
                sink.write(csv)
            return draft.commit(Provenance(run_id, run_id, INBOX, through_seq, None))

    def load(self, landed: Landed, *, force: bool = False) -> LoadRecord:
        """Load a landed file as its run would; the newest line of the ledger since."""
        manifest = landed.manifest
        ingest = Ingest(
            client=None,
            missing_credentials=(),
            inbox=open_inbox(f"sqlite:///{self.folder}/inbox.db"),
            landing=self.landing,
            open_warehouse=lambda: self.warehouse,
            catalog=load_catalog(self.folder / "datasets.yaml"),
        )
        ingest.load(manifest.dataset_id, run_id=manifest.run_id, force=force)
        return self.warehouse.loads(dataset_id=manifest.dataset_id, limit=1)[0]

    def bring(
        self, csv: bytes, *, through_seq: int = 0, dataset_id: str = DATASET, fails: bool = False, force: bool = False
    ) -> LoadRecord:
        """Land a file and load it."""
        landed = self.land(csv, through_seq=through_seq, dataset_id=dataset_id)
        try:
            load = self.load(landed, force=force)
            assert not fails
        except PipelineError:
            assert fails
            load = self.warehouse.loads(dataset_id=dataset_id, limit=1)[0]
        return load

    def make_old(self, since: datetime) -> None:
        """Let everything that is there have happened at a moment."""
        for manifest in (self.folder / "landing").glob("*/*/manifest.json"):
            known = json.loads(manifest.read_text())
            manifest.write_text(json.dumps(known | {"landed_at": since.isoformat()}))
        with closing(sqlite3.connect(self.file)) as connection, connection:
            stored = since.strftime("%Y-%m-%d %H:%M:%S.%f")
            connection.execute("UPDATE _qt_loads SET landed_at = ?, started_at = ?, finished_at = ?", (stored,) * 3)
