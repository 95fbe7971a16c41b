"""The commands `datasets` and `history`: datasets and their loads, also without Dagster.

Here: the state labels of datasets, and both tables. Not here: reading the ledger and the inbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from qt_pipeline.catalog import Catalog, Dataset, catalog_for
from qt_pipeline.cli.failed_runs import FailedRuns
from qt_pipeline.cli.output import (
    console,
    format_age,
    format_timestamp,
    iso,
    pluralize,
    print_json,
    print_table,
    safe_markup,
)
from qt_pipeline.composition import inbox_of, warehouse_of
from qt_pipeline.dagster_api import Run
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import EventState
from qt_pipeline.ingest import stale
from qt_pipeline.settings import load_settings
from qt_pipeline.values import is_dataset_id, utc_now
from qt_pipeline.warehouse import LoadRecord, LoadStatus, Warehouse

_SHORT_HASH = 8
_MAX_SHOWN = 100_000
_REMARKS_WIDTH = 40

DatasetId = Annotated[str, typer.Argument(metavar="DATASET_ID", help="The dataset.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


@dataclass(frozen=True, slots=True)
class _DatasetStatus:
    """The status of a dataset from the catalog, the ledger or the inbox.

    `rules` is None if the catalog rejects it. `wrote` is the load that wrote the rows of the table, `current` the
    newest load that wrote them or found the file unchanged, `last` the newest load. `failed` is the newest run, if it
    failed and the ledger does not say so.
    """

    dataset_id: str
    rules: Dataset | None
    wrote: LoadRecord | None
    current: LoadRecord | None
    last: LoadRecord | None
    pending: int
    parked: int
    is_stale: bool
    failed: Run | None

    @property
    def state(self) -> str:
        """The outcome of the newest load."""
        if self.last is None:
            return "never loaded"
        match self.last.status:
            case LoadStatus.STAGING:
                return "loading"
            case LoadStatus.FAILED | LoadStatus.ABANDONED:
                return "failed"
            case _:
                return "restored" if self.last.restores_load_id else "loaded"

    @property
    def labels(self) -> list[str]:
        """The state, and everything else that needs attention."""
        return [
            "last load failed" if self.state == "failed" else self.state,
            *(["last run failed"] if self.failed else []),
            *(["stale"] if self.is_stale else []),
            *([pluralize(self.pending, "event") + " pending"] if self.pending else []),
            *([pluralize(self.parked, "event") + " parked"] if self.parked else []),
            *(["rejected by the catalog"] if self.rules is None else []),
        ]


def datasets(*, as_json: AsJson = False) -> None:
    """Show all datasets with table, newest load and state.

    If Dagster is reachable, also whether the newest run failed before it
    loaded anything.

    Examples:
        qt-pipeline datasets
        qt-pipeline datasets --json
    """
    settings = load_settings()
    catalog = catalog_for(settings)
    runs = FailedRuns(settings.dagster_url)
    statuses = _dataset_statuses(catalog, warehouse_of(settings, prepare=False), inbox_of(settings).open_counts(), runs)
    if as_json:
        for status in statuses:
            print_json(_status_as_json(status, runs))
        return
    if not statuses:
        console().print("No datasets yet: list one in the catalog, or wait for an event.")
        return
    table = Table("dataset", "id", "table", "rows", "load", "loaded (UTC)", "last checked", "state")
    table.columns[3].justify = table.columns[4].justify = "right"
    for column in (1, 2, 3, 4, 6):
        table.columns[column].no_wrap = True
    for status in statuses:
        load, checked = status.wrote, status.current
        table.add_row(
            safe_markup(status.rules.label if status.rules else ""),
            safe_markup(status.dataset_id),
            safe_markup(_table_name(status)),
            "" if load is None or load.table_rows is None else f"{load.table_rows:,}",
            "" if load is None else str(load.load_id),
            format_timestamp(load.finished_at) if load else "",
            format_age(checked.finished_at) if checked else "",
            ", ".join(status.labels),
        )
    print_table(table, spare=("loaded (UTC)", "table", "load", "rows", "dataset"))
    if any(label.endswith("failed") for status in statuses for label in status.labels):
        console().print("For the error: qt-pipeline history ID. The table keeps its previous rows.")


def history(
    dataset_id: DatasetId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=_MAX_SHOWN, help="Maximum number of loads, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the loads of a dataset from the ledger, newest first.

    If Dagster is reachable, also why the newest run failed, if it did.

    Examples:
        qt-pipeline history d-claims
        qt-pipeline history d-claims --limit 1 --json
    """
    settings = load_settings()
    if not is_dataset_id(dataset_id):
        catalog_for(settings).dataset(dataset_id)
    warehouse = warehouse_of(settings, prepare=False)
    loads = warehouse.loads(dataset_id=dataset_id, limit=limit) if warehouse.has_ledger() else []
    if as_json:
        for load in loads:
            print_json(_load_as_json(load))
    elif loads:
        _print_loads(loads)
    else:
        console().print(f"{safe_markup(dataset_id)} was never loaded.")
    runs = FailedRuns(settings.dagster_url)
    for run in runs.since({load.dataset_id: load for load in loads[:1]}, dataset_id=dataset_id).values():
        # With --json, standard output holds loads only.
        runs.print(run, console(err=as_json))


def _print_loads(loads: Sequence[LoadRecord]) -> None:
    table = Table(
        "load", "started (UTC)", "status", "rows", "in table", "file", "event", "run", "remarks", "landed file"
    )
    for column in (0, 3, 4, 6):
        table.columns[column].justify = "right"
    for column in (0, 2, 3, 4, 5, 6, 7, 9):
        table.columns[column].no_wrap = True
    table.columns[8].min_width = _REMARKS_WIDTH
    for load in loads:
        table.add_row(
            str(load.load_id),
            format_timestamp(load.started_at),
            "restored" if load.restores_load_id and load.is_current else load.status.value,
            _count(load.rows),
            _count(load.table_rows),
            load.sha256[:_SHORT_HASH],
            str(load.through_seq or ""),
            safe_markup(load.run_id),
            safe_markup("; ".join(_remarks(load))),
            safe_markup(load.landing_uri),
        )
    print_table(table, spare=("landed file", "run", "file", "event", "in table"))


def _dataset_statuses(
    catalog: Catalog, warehouse: Warehouse, events: Mapping[str, Mapping[EventState, int]], runs: FailedRuns
) -> list[_DatasetStatus]:
    has_ledger = warehouse.has_ledger()
    newest, last = (warehouse.newest_loads(), warehouse.last_loads()) if has_ledger else ({}, {})
    wrote = warehouse.newest_writes() if has_ledger else {}
    ids = sorted({*(dataset.id for dataset in catalog.datasets), *last, *events})
    rules = {dataset_id: _rules(catalog, dataset_id) for dataset_id in ids}
    listed = [dataset for dataset in rules.values() if dataset is not None]
    failed = runs.since(last) if ids else {}
    are_stale = {entry.dataset.id for entry in stale(listed, newest, utc_now())}
    return [
        _DatasetStatus(
            dataset_id=dataset_id,
            rules=rules[dataset_id],
            wrote=wrote.get(dataset_id),
            current=newest.get(dataset_id),
            last=last.get(dataset_id),
            pending=events.get(dataset_id, {}).get(EventState.PENDING, 0),
            parked=events.get(dataset_id, {}).get(EventState.PARKED, 0),
            is_stale=dataset_id in are_stale,
            failed=failed.get(dataset_id),
        )
        for dataset_id in ids
    ]


def _rules(catalog: Catalog, dataset_id: str) -> Dataset | None:
    try:
        return catalog.dataset(dataset_id)
    except PipelineError:
        return None


def _table_name(status: _DatasetStatus) -> str:
    if status.current is not None:
        parts = status.current.table_schema, status.current.table_name
    else:
        parts = (status.rules.table_schema, status.rules.table) if status.rules else (None, "")
    return ".".join(filter(None, parts))


def _remarks(load: LoadRecord) -> list[str]:
    restored = [f"restores load {load.restores_load_id}"] if load.restores_load_id else []
    return [*restored, *(load.changes or "").splitlines(), *([load.error] if load.error else [])]


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _status_as_json(status: _DatasetStatus, runs: FailedRuns) -> dict[str, object]:
    load, checked = status.wrote, status.current
    return {
        "dataset_id": status.dataset_id,
        "name": status.rules.label if status.rules else None,
        "table": _table_name(status),
        "state": status.state,
        "stale": status.is_stale,
        "rows": load and load.table_rows,
        "load_id": load and load.load_id,
        "loaded_at": iso(load.finished_at) if load else None,
        "looked_at": iso(checked.finished_at) if checked else None,
        "downloaded_at": iso(checked.landed_at) if checked else None,
        "last_load_id": status.last and status.last.load_id,
        "error": status.last and status.last.error,
        "last_run": status.failed and runs.as_json(status.failed),
        "pending": status.pending,
        "parked": status.parked,
    }


def _load_as_json(load: LoadRecord) -> dict[str, object]:
    return {
        "load_id": load.load_id,
        "dataset_id": load.dataset_id,
        "table": ".".join(filter(None, (load.table_schema, load.table_name))),
        "mode": load.mode,
        "status": load.status.value,
        "rows": load.rows,
        "table_rows": load.table_rows,
        "began_at": iso(load.started_at),
        "ended_at": iso(load.finished_at),
        "sha256": load.sha256,
        "bytes": load.bytes,
        "landed_at": iso(load.landed_at),
        "landed_file": load.landing_uri,
        "landing_run_id": load.landing_run_id,
        "run_id": load.run_id,
        "event_id": load.event_id,
        "through_seq": load.through_seq,
        "replaced_load_id": load.replaced_load_id,
        "restores_load_id": load.restores_load_id,
        "changes": (load.changes or "").splitlines(),
        "error": load.error,
    }
