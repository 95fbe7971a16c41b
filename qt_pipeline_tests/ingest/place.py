"""The rooms below the steps, as one test has them, and files on their way through both steps."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from qt_pipeline.catalog import load_catalog
from qt_pipeline.inbox import Inbox, NewEvent, open_inbox
from qt_pipeline.ingest import Ingest, LandOutcome, LoadOutcome
from qt_pipeline.landing import Landing
from qt_pipeline.quantemplate import ClientConfig, QuantemplateClient
from qt_pipeline.sandbox import Fault, SandboxServer
from qt_pipeline.warehouse import LoadProgress, LoadStatus, Warehouse, open_warehouse
from qt_pipeline_tests.compare import assert_table_equals_csv

DATASET = "d-small"
CSV = b"Reference,Paid,Paid Date\n007,1.25,20260131\n008,,20260201\n009,-3.50,\n"
CANARY = "canary-4711"


@dataclass
class Place:
    """The rooms below the steps, as one test has them."""

    server: SandboxServer
    folder: Path
    inbox: Inbox
    landing: Landing
    warehouse: Warehouse

    @classmethod
    @contextmanager
    def opened(cls, server: SandboxServer, folder: Path) -> Iterator[Self]:
        """A place whose inbox, landing and table are in this folder, until the block ends."""
        inbox = open_inbox(f"sqlite:///{folder}/inbox.db")
        warehouse = open_warehouse(f"sqlite:///{folder}/warehouse.db")
        yield cls(server, folder, inbox, Landing(str(folder / "landing")), warehouse)
        inbox.close()

    @property
    def file(self) -> Path:
        return self.folder / "warehouse.db"

    def ingest(self, catalog: dict[str, object] | None = None, *, missing: tuple[str, ...] = ()) -> Ingest:
        (self.folder / "datasets.yaml").write_text(json.dumps(catalog or {}))
        return Ingest(
            client=None if missing else self._client(),
            missing_credentials=missing,
            inbox=self.inbox,
            landing=self.landing,
            open_warehouse=lambda: self.warehouse,
            catalog=load_catalog(self.folder / "datasets.yaml"),
        )

    def _client(self) -> QuantemplateClient:
        return QuantemplateClient(
            ClientConfig(
                api_url=self.server.api_url,
                token_url=self.server.token_url,
                organisation_id=self.server.organisation_id,
                client_id=self.server.client_id,
                client_secret=SecretStr(self.server.client_secret),
                attempts=1,
                not_ready_seconds=0,
                backoff_base_seconds=0.001,
            )
        )

    def serve(self, csv: bytes, *faults: Fault) -> None:
        self.server.state.put(DATASET, csv)
        self.server.state.set_faults(DATASET, faults)

    def event(self, dataset_id: str = DATASET) -> int:
        [seq] = self.inbox.append([NewEvent(f"event-{dataset_id}", "DatasetUpdated", dataset_id, None, b"{}")])
        return seq

    def through(self) -> int:
        return self.warehouse.reached(self.inbox.inbox_id, [DATASET]).get(DATASET, LoadProgress()).checked_through

    def assert_table_is(self, csv: bytes, loaded: LoadOutcome) -> None:
        file = loaded.file
        # A file that was there already came with an earlier load.
        load_id = file.load_id if file.status is LoadStatus.PUBLISHED else None
        assert_table_equals_csv(self.file, file.dataset.table, csv, file.contract, load_id=load_id)


def both(ingest: Ingest, run_id: str, dataset_id: str = DATASET) -> tuple[LandOutcome, LoadOutcome]:
    return ingest.land(dataset_id, run_id=run_id), ingest.load(dataset_id, run_id=run_id)


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a reader that knows nothing of this project is answered; a statement that writes is carried out."""
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(sql).fetchall()
