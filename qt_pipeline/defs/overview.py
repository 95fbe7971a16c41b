"""What the catalog says of datasets, where the Dagster UI shows what it knows of an asset.

Here: the owners, kinds and descriptions of the assets that stand for all datasets. Not here: what a run tells of one
dataset (see metadata).
"""

import re
from collections.abc import Iterable

import dagster as dg

from qt_pipeline.catalog import Catalog, Dataset
from qt_pipeline.safe_text import markdown_text

_SHOWN = 200
# What Dagster takes; it refuses all definitions for an owner that it does not take.
_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:\S+")
_KINDS = {"mssql": "sqlserver", "postgresql": "postgresql", "sqlite": "sqlite"}


def described(spec: dg.AssetSpec, catalog: Catalog, backend: str) -> dg.AssetSpec:
    """An asset as the catalog and the kind of target make it look. It is read when Dagster loads the definitions."""
    if spec.partitions_def is None:
        return spec
    kinds = {_KINDS.get(backend, backend) if kind == "sql" else kind for kind in spec.kinds}
    return spec.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # its stub leaves a policy open
        owners=_owners(catalog.datasets),
        kinds=kinds,
        description=f"{spec.description}\n\n{_overview(catalog.datasets)}",
    )


def _owners(datasets: Iterable[Dataset]) -> list[str]:
    """Those who answer for a dataset, as far as Dagster can show them: by mail address, or as `team:name`."""
    return sorted({dataset.owner for dataset in datasets if dataset.owner and _OWNER.fullmatch(dataset.owner)})


def _overview(datasets: tuple[Dataset, ...]) -> str:
    if not datasets:
        return "The catalog lists no dataset: each goes to a table that is named like its id."
    lines = ["| dataset | id (the partition) | table | owner | what it is |", "|---|---|---|---|---|"]
    lines += [
        f"| {_cell(dataset.label)} | `{dataset.id}` | {_cell(_table(dataset))} | {_cell(dataset.owner)} "
        f"| {_cell(dataset.description)} |"
        for dataset in datasets[:_SHOWN]
    ]
    more = [f"\n... and {len(datasets) - _SHOWN} more."] if len(datasets) > _SHOWN else []
    return "\n".join([*lines, *more])


def _table(dataset: Dataset) -> str:
    return f"{dataset.table_schema}.{dataset.table}" if dataset.table_schema else dataset.table


def _cell(text: str | None) -> str:
    return markdown_text(text or "")
