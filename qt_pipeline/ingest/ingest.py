"""The two steps of a run: `land` downloads the dataset's file, `load` publishes a landed file as its table.

Here: which file a run takes, and its log context.
Not here: how a file is loaded (see loader), Dagster (see defs).
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
    """A landed download. `headers` are the file's columns; empty if the header is unreadable."""

    dataset: Dataset
    landed: Landed
    download: Download
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """A landed file that was loaded.

    `seconds_from_event` is the time since the first event that this file covers arrived. It is None if no event was
    pending, or if another run landed the file.
    """

    landed: Landed
    file: FileOutcome
    seconds_from_event: float | None


class Ingest:
    """The steps and the parts they use. `client` is None while `missing_credentials` names the settings it needs.

    Only `load` opens the target: a file can be landed while the target is down. A file of more than `max_rows` rows is
    not loaded.
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
        """The dataset's display name.

        Raises:
            ConfigurationError: the catalog does not accept the dataset.
        """
        return self._catalog.dataset(dataset_id).label

    def land(self, dataset_id: str, *, run_id: str, observe: ProgressCallback | None = None) -> LandOutcome:
        """Download the current dataset and keep the file. `observe`: see `load_file`.

        Raises:
            PipelineError: see `QuantemplateClient.download_dataset`; nothing was landed.
        """
        dataset = self._catalog.dataset(dataset_id)
        with _work_context(dataset, run_id):
            if self._client is None:
                raise missing(self._missing_credentials)
            # Before the first byte: the file may lack what is announced from now on.
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
            with _event_context(provenance), self._landing.draft(dataset_id, run_id) as draft:
                download = _download(self._client, dataset, draft, run_id, observe)
                with span("land"):
                    landed = draft.commit(provenance)
                _log.info("Dataset %s: landed %d bytes in %.1f s.", dataset.label, download.bytes, download.seconds)
            return LandOutcome(dataset=dataset, landed=landed, download=download, headers=_headers(landed))

    def load(
        self, dataset_id: str, *, run_id: str, force: bool = False, observe: ProgressCallback | None = None
    ) -> LoadOutcome:
        """Publish a landed file as the dataset's table: this run's own, else the newest download.

        `force`, `observe` and errors: see `load_landed`.
        """
        dataset = self._catalog.dataset(dataset_id)
        with _work_context(dataset, run_id):
            landed = self._landing.of_run(dataset_id, run_id) or self._landing.newest(dataset_id)
            with _event_context(landed.manifest):
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
def _work_context(dataset: Dataset, run_id: str) -> Generator[None]:
    with about(dataset.id), log_context(run_id=run_id, dataset_id=dataset.id, dataset=dataset.label), attempt():
        yield


def _event_context(source: Provenance | Manifest) -> AbstractContextManager[None]:
    return log_context(event_id=source.event_id, sequence=source.through_seq or None)


def _download(
    client: QuantemplateClient, dataset: Dataset, draft: Draft, run_id: str, observe: ProgressCallback | None
) -> Download:
    tracker = ProgressTracker(observe or ProgressLogger(f"Dataset {dataset.label}"))
    tracker.enter(LoadStage.DOWNLOAD)
    with span("download", kind="CLIENT") as downloading:
        download = client.download_dataset(dataset.id, tracker.sinking(draft.sink), trace_id=run_id)
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
    # A file that is not CSV is landed too; its load reports what is wrong with it.
    with suppress(PipelineError):
        return read_header(landed.open).names
    return ()


def _seconds_from_event(landed: Landed, run_id: str) -> float | None:
    since = landed.manifest.waiting_since
    return (utc_now() - since).total_seconds() if since and landed.manifest.run_id == run_id else None


def missing(credentials: Sequence[str]) -> ConfigurationError:
    """The error that names the settings a download needs."""
    return ConfigurationError(
        f"Not set: {', '.join(credentials)}.", hint="Set them in the environment or in .env; see .env.example."
    )
