"""The two steps of a dataset's way, in order: `land` its file, `load` the landed file into its table.

Here: which room does what, when, and what each step can tell about itself.
Not here: Dagster (see defs), the rules of any one room.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from qt_pipeline.catalog import Catalog, Dataset
from qt_pipeline.errors import ConfigurationError, PermanentError, about
from qt_pipeline.inbox import Inbox
from qt_pipeline.landing import Landed, Landing, Provenance
from qt_pipeline.quantemplate import Download, QuantemplateClient
from qt_pipeline.tabular import (
    Contract,
    DriftError,
    Inspection,
    find_misfits,
    first_contract,
    inspect,
    read_text,
    read_typed,
)
from qt_pipeline.warehouse import LoadJob, PublishedLoad, Warehouse

OpenWarehouse = Callable[[], Warehouse]

_PREVIEW_ROWS = 10
_MISFITS = 100


class NoRowsError(PermanentError):
    """The file has a header and no rows, and the catalog does not say that this empties the table."""


@dataclass(frozen=True, slots=True)
class LandOutcome:
    """A download that is landed."""

    dataset: Dataset
    landed: Landed
    download: Download


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows as text, under the names of the table's columns. Only where the catalog shows values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """A landed file that is published."""

    dataset: Dataset
    landed: Landed
    contract: Contract
    load: PublishedLoad
    inspect_seconds: float
    preview: Preview | None


class Ingest:
    """The steps, over the rooms they use. `client` is None as long as `missing_credentials` names what it needs.

    The target is opened by the step that writes to it: a file can be landed while the target is down.
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
    ) -> None:
        self._client = client
        self._missing_credentials = missing_credentials
        self._inbox = inbox
        self._landing = landing
        self._open_warehouse = open_warehouse
        self._catalog = catalog

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

    def load(self, dataset_id: str, *, run_id: str) -> LoadOutcome:
        """Publish a landed file as the dataset's table: the one that this run made, else the newest there is.

        Raises:
            PipelineError: the table keeps its rows; the message says why and what to do.
        """
        dataset = self._catalog.dataset(dataset_id)
        with about(dataset_id):
            landed = self._landing.of_run(dataset_id, run_id) or self._landing.newest(dataset_id)
            began = time.monotonic()
            inspection = inspect(landed.open)
            if inspection.rows == 0 and dataset.empty == "keep":
                raise NoRowsError(
                    "The file has a header and no rows. The table keeps its rows.",
                    todo="If that is right for this dataset, set 'empty: replace' for it in the catalog.",
                )
            warehouse = self._open_warehouse()
            contract = _contract(warehouse, dataset, landed, inspection)
            inspect_seconds = time.monotonic() - began
            load = warehouse.load(
                _job(dataset, landed, run_id=run_id, rows=inspection.rows),
                contract,
                read_typed(landed.open, inspection, contract),
            )
            return LoadOutcome(
                dataset=dataset,
                landed=landed,
                contract=contract,
                load=load,
                inspect_seconds=inspect_seconds,
                preview=_preview(landed, inspection, contract) if dataset.show_values else None,
            )


def missing(credentials: Sequence[str]) -> ConfigurationError:
    """The error that says which settings are missing before anything can be downloaded."""
    return ConfigurationError(
        f"Not set: {', '.join(credentials)}.", todo="Set them in the environment or in .env; see .env.example."
    )


def _job(dataset: Dataset, landed: Landed, *, run_id: str, rows: int) -> LoadJob:
    manifest = landed.manifest
    return LoadJob(
        dataset_id=dataset.id,
        table_name=dataset.table,
        run_id=run_id,
        landing_run_id=manifest.run_id,
        landing_uri=landed.uri,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        inbox_id=manifest.inbox_id,
        through_seq=manifest.through_seq,
        event_id=manifest.event_id,
        rows=rows,
    )


def _preview(landed: Landed, inspection: Inspection, contract: Contract) -> Preview:
    positions = contract.positions(inspection.header.names)
    batch = next(read_text(landed.open, inspection.header, block_size=inspection.block_size, checked=True), None)
    columns = [batch.columns[position][:_PREVIEW_ROWS].to_pylist() for position in positions] if batch else []
    rows = tuple(islice(zip(*columns, strict=True), _PREVIEW_ROWS))
    return Preview(columns=tuple(column.name for column in contract.columns), rows=rows)


def _contract(warehouse: Warehouse, dataset: Dataset, landed: Landed, inspection: Inspection) -> Contract:
    contract = warehouse.contract(dataset.id)
    headers, seen = inspection.header.names, inspection.seen
    if contract is None:
        return first_contract(headers, seen, max_name_bytes=warehouse.max_name_bytes)
    try:
        return contract.follow(headers, seen)
    except DriftError as drift:
        if not drift.columns_of_another_type:
            raise
        misfits = find_misfits(landed.open, inspection, contract, limit=_MISFITS, show_values=dataset.show_values)
        raise DriftError(columns_of_another_type=drift.columns_of_another_type, misfits=misfits) from None
