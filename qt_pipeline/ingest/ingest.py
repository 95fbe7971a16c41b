"""The two steps as a run takes them: `land` the dataset's file, `load` a landed file into its table.

Here: which file a run takes, and what it is told about itself.
Not here: what a load does (see load), Dagster (see defs).
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qt_pipeline.catalog import Catalog, Dataset
from qt_pipeline.errors import ConfigurationError, about
from qt_pipeline.inbox import Inbox
from qt_pipeline.ingest.load import CsvFile, FileOutcome, load_file
from qt_pipeline.landing import Landed, Landing, Provenance
from qt_pipeline.quantemplate import Download, QuantemplateClient
from qt_pipeline.tabular import DriftError, Misfit
from qt_pipeline.warehouse import Warehouse

OpenWarehouse = Callable[[], Warehouse]


@dataclass(frozen=True, slots=True)
class LandOutcome:
    """A download that is landed."""

    dataset: Dataset
    landed: Landed
    download: Download


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """A landed file that is in its table."""

    landed: Landed
    file: FileOutcome


class Ingest:
    """The steps, over the rooms they use. `client` is None as long as `missing_credentials` names what it needs.

    The target is opened by the step that writes to it: a file can be landed while the target is down. A file of more
    than `max_rows` is not loaded.
    """

    def __init__(
        self,
        *,
        client: QuantemplateClient | None,
        missing_credentials: Sequence[str],
        inbox: Inbox,
        landing: Landing,
        open_warehouse: OpenWarehouse,
        catalog: Catalog,
        max_rows: int | None = None,
    ) -> None:
        self._client = client
        self._missing_credentials = missing_credentials
        self._inbox = inbox
        self._landing = landing
        self._open_warehouse = open_warehouse
        self._catalog = catalog
        self._max_rows = max_rows

    def land(self, dataset_id: str, *, run_id: str) -> LandOutcome:
        """Download the dataset as it is now, and keep the file.

        Raises:
            PipelineError: see `QuantemplateClient.download_dataset`; nothing was landed.
        """
        dataset = self._catalog.dataset(dataset_id)
        with about(dataset_id):
            if self._client is None:
                raise missing(self._missing_credentials)
            # Before the first byte: what arrives from now on may be missing in the file.
            newest = next(iter(self._inbox.events(dataset_id=dataset_id, limit=1)), None)
            provenance = Provenance(
                run_id=run_id,
                trace_id=run_id,
                inbox_id=self._inbox.inbox_id,
                through_seq=newest.seq if newest else 0,
                event_id=newest.event_id if newest else None,
            )
            with self._landing.draft(dataset_id, run_id) as draft:
                download = self._client.download_dataset(dataset_id, draft.sink, trace_id=run_id)
                return LandOutcome(dataset=dataset, landed=draft.commit(provenance), download=download)

    def load(self, dataset_id: str, *, run_id: str, force: bool = False) -> LoadOutcome:
        """Publish a landed file as the dataset's table: the one that this run made, else the newest there is.

        Raises:
            DriftError: the file breaks the contract. The values that do so are listed beside the landed file.
            PipelineError: the table keeps its rows; the message says why and what to do.
        """
        dataset = self._catalog.dataset(dataset_id)
        with about(dataset_id):
            landed = self._landing.of_run(dataset_id, run_id) or self._landing.newest(dataset_id)
            try:
                csv_file = _csv_file(landed, run_id)
                file = load_file(self._open_warehouse(), dataset, csv_file, force=force, max_rows=self._max_rows)
            except DriftError as drift:
                if drift.misfits:
                    landed.write_beside(f"misfits-{run_id}.csv", _as_csv(drift.misfits))
                raise
            return LoadOutcome(landed, file)


def _csv_file(landed: Landed, run_id: str) -> CsvFile:
    manifest = landed.manifest
    return CsvFile(
        open=landed.open,
        uri=landed.uri,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        landed_at=manifest.landed_at,
        run_id=run_id,
        landing_run_id=manifest.run_id,
        inbox_id=manifest.inbox_id,
        through_seq=manifest.through_seq,
        event_id=manifest.event_id,
    )


def _as_csv(misfits: Sequence[Misfit]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["line", "column", "expected", "value"])
    writer.writerows([misfit.line, misfit.column, misfit.type, misfit.value] for misfit in misfits)
    return text.getvalue()


def missing(credentials: Sequence[str]) -> ConfigurationError:
    """The error that says which settings are missing before anything can be downloaded."""
    return ConfigurationError(
        f"Not set: {', '.join(credentials)}.", todo="Set them in the environment or in .env; see .env.example."
    )
