"""The commands `datasets` and `history`: what is known of datasets and their loads, also without Dagster.

Here: what a dataset's state is called, and both tables. Not here: what the ledger and the inbox mean by it.
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
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@dataclass(frozen=True, slots=True)
class _Known:
    """A dataset that the catalog, the ledger or the inbox knows.

    `rules` is None where the catalog refuses it. `wrote` is the load that wrote the rows of the table, `shown` the
    newest that wrote them or found them there, `last` the newest of all. `failed` is the newest run, where that failed
    and the ledger does not tell.
    """

    dataset_id: str
    rules: Dataset | None
    wrote: LoadRecord | None
    shown: LoadRecord | None
    last: LoadRecord | None
    pending: int
    parked: int
    is_stale: bool
    failed: Run | None

    @property
    def state(self) -> str:
        """In one word or two: how its newest load ended."""
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
    def words(self) -> list[str]:
        """Its state, and what else a person should know."""
        return [
            "last load failed" if self.state == "failed" else self.state,
            *(["last run failed"] if self.failed else []),
            *(["stale"] if self.is_stale else []),
            *([pluralize(self.pending, "event") + " pending"] if self.pending else []),
            *([pluralize(self.parked, "event") + " parked"] if self.parked else []),
            *(["refused by the catalog"] if self.rules is None else []),
        ]


def datasets(*, as_json: AsJson = False) -> None:
    """Show every dataset that is known: its table, its newest load, its state.

    Where Dagster answers, also whether its newest run failed before it came to
    a load.

    Examples:
        qt-pipeline datasets
        qt-pipeline datasets --json
    """
    settings = load_settings()
    catalog = catalog_for(settings)
    runs = FailedRuns(settings.dagster_url)
    found = _known(catalog, warehouse_of(settings, prepare=False), inbox_of(settings).open_counts(), runs)
    if as_json:
        for known in found:
            print_json(_known_as_json(known, runs))
        return
    if not found:
        console().print("No dataset is known yet: list one in the catalog, or let an event come.")
        return
    table = Table("dataset", "id", "table", "rows", "load", "loaded (UTC)", "last look", "state")
    table.columns[3].justify = table.columns[4].justify = "right"
    for column in (1, 2, 3, 4, 6):
        table.columns[column].no_wrap = True
    for known in found:
        load, look = known.wrote, known.shown
        table.add_row(
            safe_markup(known.rules.label if known.rules else ""),
            safe_markup(known.dataset_id),
            safe_markup(_table_name(known)),
            "" if load is None or load.table_rows is None else f"{load.table_rows:,}",
            "" if load is None else str(load.load_id),
            format_timestamp(load.finished_at) if load else "",
            format_age(look.finished_at) if look else "",
            ", ".join(known.words),
        )
    print_table(table, spare=("loaded (UTC)", "table", "load", "rows", "dataset"))
    if any(word.endswith("failed") for known in found for word in known.words):
        console().print("Why it failed: qt-pipeline history ID. The table keeps the rows that it had.")


def history(
    dataset_id: DatasetId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=_MAX_SHOWN, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the loads of a dataset as the ledger tells them, newest first.

    Where Dagster answers, also why its newest run failed, if it did.

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
        # Each line of JSON is a load.
        runs.print(run, console(err=as_json))


def _print_loads(loads: Sequence[LoadRecord]) -> None:
    table = Table("load", "began (UTC)", "status", "rows", "in table", "file", "event", "run", "remarks", "landed file")
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


def _known(
    catalog: Catalog, warehouse: Warehouse, events: Mapping[str, Mapping[EventState, int]], runs: FailedRuns
) -> list[_Known]:
    has_ledger = warehouse.has_ledger()
    newest, last = (warehouse.newest_loads(), warehouse.last_loads()) if has_ledger else ({}, {})
    wrote = warehouse.newest_writes() if has_ledger else {}
    ids = sorted({*(dataset.id for dataset in catalog.datasets), *last, *events})
    rules = {dataset_id: _rules(catalog, dataset_id) for dataset_id in ids}
    listed = [dataset for dataset in rules.values() if dataset is not None]
    failed = runs.since(last) if ids else {}
    are_stale = {found.dataset.id for found in stale(listed, newest, utc_now())}
    return [
        _Known(
            dataset_id=dataset_id,
            rules=rules[dataset_id],
            wrote=wrote.get(dataset_id),
            shown=newest.get(dataset_id),
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


def _table_name(known: _Known) -> str:
    if known.shown is not None:
        place = known.shown.table_schema, known.shown.table_name
    else:
        place = (known.rules.table_schema, known.rules.table) if known.rules else (None, "")
    return ".".join(filter(None, place))


def _remarks(load: LoadRecord) -> list[str]:
    restored = [f"restores load {load.restores_load_id}"] if load.restores_load_id else []
    return [*restored, *(load.changes or "").splitlines(), *([load.error] if load.error else [])]


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _known_as_json(known: _Known, runs: FailedRuns) -> dict[str, object]:
    load, look = known.wrote, known.shown
    return {
        "dataset_id": known.dataset_id,
        "name": known.rules.label if known.rules else None,
        "table": _table_name(known),
        "state": known.state,
        "stale": known.is_stale,
        "rows": load and load.table_rows,
        "load_id": load and load.load_id,
        "loaded_at": iso(load.finished_at) if load else None,
        "looked_at": iso(look.finished_at) if look else None,
        "downloaded_at": iso(look.landed_at) if look else None,
        "last_load_id": known.last and known.last.load_id,
        "error": known.last and known.last.error,
        "last_run": known.failed and runs.as_json(known.failed),
        "pending": known.pending,
        "parked": known.parked,
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
