"""One dataset on its whole way, from a sandbox that may do wrong to a table that may not be there, and what is left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from pydantic import SecretStr

from qt_pipeline.ingest import Ingest
from qt_pipeline.landing import Landing
from qt_pipeline.quantemplate import ClientConfig, QuantemplateClient
from qt_pipeline.sandbox import Fault
from qt_pipeline.sandbox.state import ServedDownload
from qt_pipeline.warehouse import LoadRecord, LoadStatus
from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline, Run
from qt_pipeline_tests.warehouse.cells import assert_holds
from qt_pipeline_tests.warehouse.engines import Engine

TABLE = DATASET_ID.replace("-", "_")
ATTEMPTS = 3


def bordereau(rows: int, paid: str) -> bytes:
    """Rows whose ends are within quotes, so that a file which is cut shows it."""
    lines = (f'{number:010d},{number}.{paid},"Insured {number}, of London and elsewhere"' for number in range(rows))
    return "\n".join(["Policy Number,Paid,Insured", *lines, ""]).encode()


OLD, NEW = bordereau(300, "25"), bordereau(400, "75")


class Outcome(Enum):
    """How a run ends. `PASSING`: it fails, and its events are tried again; `LASTING`: it fails, once and for all."""

    PUBLISHED = auto()
    PASSING = auto()
    LASTING = auto()


@dataclass(frozen=True)
class Took:
    """A run that is over, with the seconds that it took and the downloads that it asked for."""

    run: Run
    seconds: float
    downloads: list[ServedDownload]

    @property
    def outcome(self) -> Outcome:
        if self.run.success:
            return Outcome.PUBLISHED
        return Outcome.LASTING if self.run.tags.get("qt/failure") == "permanent" else Outcome.PASSING

    @property
    def loads_tried(self) -> int:
        """How often the step that loads was begun."""
        return 1 + sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in self.run.result.all_events)


@dataclass(frozen=True)
class Place(LocalPipeline):
    """A pipeline whose target is any engine, opened anew by each run, as the process of a run does."""

    engine: Engine
    settings: dict[str, float] = field(default_factory=dict)
    watching: list[type] = field(default_factory=list)
    """What the targets of runs are also of the type of, see `watched_by`."""

    def ingest(self, *, with_credentials: bool = True) -> Ingest:  # noqa: ARG002  # see LocalPipeline
        return Ingest(
            client=self._client(),
            missing_credentials=(),
            inbox=self.inbox,
            landing=Landing(str(self.landing)),
            open_warehouse=lambda: self.engine.open(*self.watching),
            catalog=self._catalog(),
            max_rows=int(self.settings["max_rows"]) if "max_rows" in self.settings else None,
        )

    def spoil(self, *faults: Fault) -> None:
        self.sandbox.state.set_faults(DATASET_ID, faults)

    def timed_run(self, **settings: float) -> Took:
        """A run of both assets under these settings."""
        self.settings.clear()
        self.settings.update(settings)
        began = time.monotonic()
        run = self.run()
        took = time.monotonic() - began
        return Took(run, took, [d for d in self.sandbox.state.downloads() if d.trace_id == run.id])

    def loads(self) -> list[LoadRecord]:
        """The lines of the ledger, the newest first."""
        return self.engine.open().loads(dataset_id=DATASET_ID)

    def assert_table_is(self, csv: bytes) -> None:
        """The table is the file, cell by cell, and nothing else is left of any load."""
        contract = self.warehouse.contract(DATASET_ID)
        assert contract is not None
        assert_holds(self.engine, csv, contract, TABLE)
        [(loads,)] = self.engine.query(f'SELECT count(DISTINCT "_qt_load") FROM {self.engine.table(TABLE)}')
        assert loads == 1

    def assert_nothing_is_left_over(self) -> None:
        """No draft of a landing, no staging table, no load that has not said how it ended."""
        assert self.drafts() == []
        assert self.engine.stages() == set()
        assert LoadStatus.STAGING not in {load.status for load in self.loads()}

    def drafts(self) -> list[Path]:
        return [folder for folder in self.landing.glob("*/*") if not (folder / "manifest.json").exists()]

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    def _client(self) -> QuantemplateClient:
        client: Mapping[str, float] = {name: value for name, value in self.settings.items() if name != "max_rows"}
        patience = {"attempts": ATTEMPTS, "not_ready_seconds": 0, "backoff_base_seconds": 0.01, **client}
        return QuantemplateClient(
            ClientConfig(
                api_url=self.sandbox.api_url,
                token_url=self.sandbox.token_url,
                organisation_id=self.sandbox.organisation_id,
                client_id=self.sandbox.client_id,
                client_secret=SecretStr(self.sandbox.client_secret),
                **patience,
            )
        )
