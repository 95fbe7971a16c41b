"""Adds catalog information to the assets for Dagster's UI.

Here: owners, kinds and descriptions of the assets, for all datasets. Not here: the metadata of one dataset's runs (see
metadata).
"""

import re
from collections.abc import Iterable

import dagster as dg

from qt_pipeline.catalog import Catalog, Dataset
from qt_pipeline.safe_text import markdown_text

_MAX_LISTED = 200
# The owners that Dagster accepts; an invalid owner makes it reject all definitions.
_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:\S+")
_KINDS = {"mssql": "sqlserver", "postgresql": "postgresql", "sqlite": "sqlite"}


def described(spec: dg.AssetSpec, catalog: Catalog, backend: str) -> dg.AssetSpec:
    """An asset with owners, kinds and description from the catalog and the target database."""
    if spec.partitions_def is None:
        return spec
    kinds = {_KINDS.get(backend, backend) if kind == "sql" else kind for kind in spec.kinds}
    return spec.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # its stub has an untyped policy
        owners=_owners(catalog.datasets),
        kinds=kinds,
        description=f"{spec.description}\n\n{_overview(catalog.datasets)}",
    )


def _owners(datasets: Iterable[Dataset]) -> list[str]:
    """The owners of datasets that Dagster accepts: mail addresses, or `team:name`."""
    return sorted({dataset.owner for dataset in datasets if dataset.owner and _OWNER.fullmatch(dataset.owner)})


def _overview(datasets: tuple[Dataset, ...]) -> str:
    if not datasets:
        return "The catalog lists no datasets: each dataset's table is named after its id."
    lines = ["| dataset | id (the partition) | table | owner | description |", "|---|---|---|---|---|"]
    lines += [
        f"| {_cell(dataset.label)} | `{dataset.id}` | {_cell(_table(dataset))} | {_cell(dataset.owner)} "
        f"| {_cell(dataset.description)} |"
        for dataset in datasets[:_MAX_LISTED]
    ]
    more = [f"\n... and {len(datasets) - _MAX_LISTED} more."] if len(datasets) > _MAX_LISTED else []
    return "\n".join([*lines, *more])


def _table(dataset: Dataset) -> str:
    return f"{dataset.table_schema}.{dataset.table}" if dataset.table_schema else dataset.table


def _cell(text: str | None) -> str:
    return markdown_text(text or "")
