"""The checks of a table: what a load that went well says of each, and which of them an error fails.

Here: names, descriptions and results. Not here: the checking, which comes before anything is published (see ingest and
warehouse); how long a table may go without a load (see freshness).
"""

import warnings
from collections.abc import Iterator, Sequence

import dagster as dg

from qt_pipeline.catalog import Dataset
from qt_pipeline.defs import metadata
from qt_pipeline.defs.metadata import Metadata
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import LoadOutcome, NoRowsError, RequiredValueError, TooFewRowsError
from qt_pipeline.safe_text import markdown_text, printable
from qt_pipeline.tabular import DriftError
from qt_pipeline.warehouse import DuplicateKeyError, VerificationError

COMPLETE = "complete"
NO_DRIFT = "no_drift"
ENOUGH_ROWS = "enough_rows"
UNIQUE_KEY = "unique_key"
REQUIRED_VALUES = "required_values"
FRESH = "fresh"

DESCRIPTIONS = {
    COMPLETE: "Rows, and the exact sum of every column of numbers, agree between file and table.",
    NO_DRIFT: "The file has the columns and types of its table. A difference that the dataset's policy accepts is a "
    "warning; any other fails the load.",
    ENOUGH_ROWS: "The file has as many rows as `min_rows`, `max_drop_percent` and `empty` in the catalog want.",
    UNIQUE_KEY: "No two rows of the file share the `key` that the catalog declares, and no row lacks it.",
    REQUIRED_VALUES: "Every row has a value in each column that the catalog declares as `required`.",
    FRESH: "A download was loaded, or found unchanged, within `fresh_within_hours` of the catalog.",
}
"""What each check says, by its name."""

_FAILED_BY: dict[type[PipelineError], str] = {
    VerificationError: COMPLETE,
    DriftError: NO_DRIFT,
    NoRowsError: ENOUGH_ROWS,
    TooFewRowsError: ENOUGH_ROWS,
    DuplicateKeyError: UNIQUE_KEY,
    RequiredValueError: REQUIRED_VALUES,
}
_UNDECIDED = "Not decided: the load failed before."
_NOT_DECLARED = "The catalog declares none for this dataset."


def check_specs(table: dg.AssetKey) -> Sequence[dg.AssetCheckSpec]:
    """The checks of a table. Each has a result for each dataset: one that is well must not hide one that is not."""
    with warnings.catch_warnings():
        # Partitions of checks are a preview in the release of Dagster that this project holds fast.
        warnings.filterwarnings("ignore", message="Specifying a partitions_def on an AssetCheckSpec")
        return [
            dg.AssetCheckSpec(name, asset=table, description=description, partitions_def=datasets)
            for name, description in DESCRIPTIONS.items()
        ]


def of_load(outcome: LoadOutcome) -> Iterator[dg.AssetCheckResult]:
    """The results of a load whose file is in its table."""
    dataset, file = outcome.file.dataset, outcome.file
    yield _passed(COMPLETE, metadata.of_sums(outcome))
    if file.changes:
        changes = {"changes": metadata.of_lines("change", list(map(str, file.changes)))}
        yield dg.AssetCheckResult(
            check_name=NO_DRIFT, passed=False, severity=dg.AssetCheckSeverity.WARN, metadata=changes
        )
    else:
        yield _passed(NO_DRIFT, {"columns": dg.MetadataValue.int(len(file.contract.columns))})
    yield _passed(ENOUGH_ROWS, {"rows": dg.MetadataValue.int(file.totals.rows), **_limits(dataset)})
    yield _declared(UNIQUE_KEY, dataset.key)
    yield _declared(REQUIRED_VALUES, dataset.required)
    yield _passed(FRESH, {"within hours": _hours(dataset)})


def of_error(error: PipelineError) -> Iterator[dg.AssetCheckResult]:
    """The results of a load that fails: the check that it fails, and that the others were not decided.

    Without a result, Dagster would show each of them as failed, and hide which one is.
    """
    failed = _FAILED_BY.get(type(error))
    for name in DESCRIPTIONS:
        if name != failed:
            yield dg.AssetCheckResult(
                check_name=name, passed=False, severity=dg.AssetCheckSeverity.WARN, description=_UNDECIDED
            )
            continue
        details = metadata.of_difference(error) if isinstance(error, VerificationError) else metadata.of_error(error)
        yield dg.AssetCheckResult(
            check_name=name, passed=False, description=markdown_text(error.what), metadata=details
        )


def _passed(name: str, details: Metadata) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=True, metadata=details)


def _declared(name: str, headers: Sequence[str]) -> dg.AssetCheckResult:
    declared = dg.MetadataValue.text(printable(", ".join(headers)) if headers else _NOT_DECLARED)
    return _passed(name, {"declared": declared})


def _limits(dataset: Dataset) -> Metadata:
    limits = {
        "at least": dataset.min_rows,
        "largest drop in percent": dataset.max_drop_percent,
    }
    return {name: dg.MetadataValue.float(float(limit)) for name, limit in limits.items() if limit is not None}


def _hours(dataset: Dataset) -> dg.MetadataValue:
    hours = dataset.fresh_within_hours
    return dg.MetadataValue.text(_NOT_DECLARED) if hours is None else dg.MetadataValue.float(hours)
