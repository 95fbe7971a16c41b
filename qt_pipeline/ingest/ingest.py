"""The two steps as a run takes them: `land` the dataset's file, `load` a landed file into its table.

Here: which file a run takes, and what it is told about itself.
Not here: what a load does (see load), Dagster (see defs).
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from qt_pipeline.catalog import Catalog, Dataset
from qt_pipeline.errors import ConfigurationError, PipelineError, about
from qt_pipeline.inbox import Inbox
from qt_pipeline.ingest.loader import FileOutcome, load_landed
from qt_pipeline.landing import Draft, Landed, Landing, Manifest, Provenance
from qt_pipeline.quantemplate import Download, QuantemplateClient
from qt_pipeline.tabular import read_header
from qt_pipeline.telemetry import (
    LoadStage,
    ProgressCallback,
    ProgressLogger,
    ProgressTracker,
    attempt,
    link_event,
    log_context,
    span,
)
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse import Warehouse

OpenWarehouse = Callable[[], Warehouse]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LandOutcome:
    """A download that is landed. `headers` are the columns of the file; none if it has no header that can be read."""

    dataset: Dataset
    landed: Landed
    download: Download
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """A landed file that is in its table.

    `seconds_from_event` is the time from the arrival of the first event that waited for it; None if none did, or if the
    file was landed by another run.
    """

    landed: Landed
    file: FileOutcome
    seconds_from_event: float | None


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

    def label(self, dataset_id: str) -> str:
        """What people call a dataset.

        Raises:
            ConfigurationError: the catalog refuses it.
        """
        return self._catalog.dataset(dataset_id).label

    def land(self, dataset_id: str, *, run_id: str, observe: ProgressCallback | None = None) -> LandOutcome:
        """Download the dataset as it is now, and keep the file. `observe`: see `load_file`.

        Raises:
            PipelineError: see `QuantemplateClient.download_dataset`; nothing was landed.
        """
        dataset = self._catalog.dataset(dataset_id)
        with _explaining(dataset, run_id):
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
                waiting_since=self._inbox.oldest_pending_at(dataset_id=dataset_id),
            )
            link_event(provenance.event_id, through_seq=provenance.through_seq)
            with _covering(provenance), self._landing.draft(dataset_id, run_id) as draft:
                download = _download(self._client, dataset, draft, run_id, observe)
                with span("land"):
                    landed = draft.commit(provenance)
                _log.info("Dataset %s: landed %d bytes in %.1f s.", dataset.label, download.bytes, download.seconds)
            return LandOutcome(dataset=dataset, landed=landed, download=download, headers=_headers(landed))

    def load(
        self, dataset_id: str, *, run_id: str, force: bool = False, observe: ProgressCallback | None = None
    ) -> LoadOutcome:
        """Publish a landed file as the dataset's table: the one that this run made, else the newest download.

        `force`, `observe` and what is raised: see `load_landed`.
        """
        dataset = self._catalog.dataset(dataset_id)
        with _explaining(dataset, run_id):
            landed = self._landing.of_run(dataset_id, run_id) or self._landing.newest(dataset_id)
            with _covering(landed.manifest):
                file = load_landed(
                    self._open_warehouse(),
                    dataset,
                    landed,
                    run_id=run_id,
                    force=force,
                    max_rows=self._max_rows,
                    observe=observe,
                )
                _log_landed(file)
            return LoadOutcome(landed, file, _seconds_from_event(landed, run_id))


@contextmanager
def _explaining(dataset: Dataset, run_id: str) -> Generator[None]:
    with about(dataset.id), log_context(run_id=run_id, dataset_id=dataset.id, dataset=dataset.label), attempt():
        yield


def _covering(known: Provenance | Manifest) -> AbstractContextManager[None]:
    return log_context(event_id=known.event_id, sequence=known.through_seq or None)


def _download(
    client: QuantemplateClient, dataset: Dataset, draft: Draft, run_id: str, observe: ProgressCallback | None
) -> Download:
    meter = ProgressTracker(observe or ProgressLogger(f"Dataset {dataset.label}"))
    meter.enter(LoadStage.DOWNLOAD)
    with span("download", kind="CLIENT") as downloading:
        download = client.download_dataset(dataset.id, meter.sinking(draft.sink), trace_id=run_id)
        downloading.set_attributes(
            bytes=download.bytes,
            wire_bytes=download.wire_bytes,
            tries=download.attempts,
            vendor_trace_id=download.trace_id,
        )
    return download


def _log_landed(file: FileOutcome) -> None:
    with log_context(load_id=file.load_id):
        _log.info("Dataset %s: %s, %d rows, in %s.", file.dataset.label, file.status, file.totals.rows, file.table)


def _headers(landed: Landed) -> tuple[str, ...]:
    # A file that is no CSV is landed all the same; its load will say what is wrong with it.
    with suppress(PipelineError):
        return read_header(landed.open).names
    return ()


def _seconds_from_event(landed: Landed, run_id: str) -> float | None:
    since = landed.manifest.waiting_since
    return (utc_now() - since).total_seconds() if since and landed.manifest.run_id == run_id else None


def missing(credentials: Sequence[str]) -> ConfigurationError:
    """The error that says which settings are missing before anything can be downloaded."""
    return ConfigurationError(
        f"Not set: {', '.join(credentials)}.", hint="Set them in the environment or in .env; see .env.example."
    )
