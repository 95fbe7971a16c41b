"""The asset checks of a table: their results after a successful load, and which check an error fails.

Here: names, descriptions and results. Not here: the verification, which precedes publishing (see ingest, warehouse);
staleness (see freshness).
"""

import warnings
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from qt_pipeline.catalog import Dataset
from qt_pipeline.defs import metadata
from qt_pipeline.defs.metadata import Metadata
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import LoadOutcome, NoRowsError, RequiredValueError, TooFewRowsError
from qt_pipeline.safe_text import markdown_text, printable
from qt_pipeline.tabular import DeclarationError, DriftError
from qt_pipeline.warehouse import DuplicateKeyError, VerificationError

COMPLETE = "complete"
NO_DRIFT = "no_drift"
ENOUGH_ROWS = "enough_rows"
UNIQUE_KEY = "unique_key"
REQUIRED_VALUES = "required_values"
FRESH = "fresh"

DESCRIPTIONS = {
    COMPLETE: "Row counts, and the exact sum of every numeric column, agree between file and table.",
    NO_DRIFT: "The file has the columns and types of its table. A difference that the dataset's policy accepts is a "
    "warning; any other difference fails the load.",
    ENOUGH_ROWS: "The file has enough rows by `min_rows`, `max_drop_percent` and `empty` in the catalog.",
    UNIQUE_KEY: "The `key` that the catalog declares is unique and set in every row of the file.",
    REQUIRED_VALUES: "Every row has a value in each column that the catalog declares as `required`.",
    FRESH: "A download was loaded, or found unchanged, within `fresh_within_hours` of the catalog.",
}
"""The description of each check, by its name."""

_FAILED_BY: dict[type[PipelineError], str] = {
    VerificationError: COMPLETE,
    DriftError: NO_DRIFT,
    DeclarationError: NO_DRIFT,
    NoRowsError: ENOUGH_ROWS,
    TooFewRowsError: ENOUGH_ROWS,
    DuplicateKeyError: UNIQUE_KEY,
    RequiredValueError: REQUIRED_VALUES,
}
_BLOCKING = frozenset(DESCRIPTIONS) - {FRESH}
_NOT_EVALUATED = "Not evaluated in this run"
_NEVER = "or any earlier run"
_LAST = "last evaluated"
_CONCLUDED = frozenset({AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED})
_NOT_DECLARED = "The catalog declares none for this dataset."


def check_specs(table: dg.AssetKey) -> Sequence[dg.AssetCheckSpec]:
    """The checks of a table, partitioned by dataset: a passed check hides no failed one of another dataset."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview feature of the pinned Dagster release.
        warnings.filterwarnings("ignore", message="Specifying a partitions_def on an AssetCheckSpec")
        return [
            dg.AssetCheckSpec(
                name, asset=table, description=description, partitions_def=datasets, blocking=name in _BLOCKING
            )
            for name, description in DESCRIPTIONS.items()
        ]


def of_load(outcome: LoadOutcome) -> Iterator[dg.AssetCheckResult]:
    """The check results of a successful load."""
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
    """The result of the check that an error fails, if any. For the other checks, see `not_evaluated`."""
    failed = _FAILED_BY.get(type(error))
    if failed is not None:
        details = metadata.of_difference(error) if isinstance(error, VerificationError) else metadata.of_error(error)
        description = markdown_text(error.message)
        yield dg.AssetCheckResult(check_name=failed, passed=False, description=description, metadata=details)


def not_evaluated(
    instance: dg.DagsterInstance, table: dg.AssetKey, dataset_id: str, *, but: Collection[str] = ()
) -> Iterator[dg.AssetCheckEvaluation]:
    """Repeat the last result, marked as such, of each check that a run did not reach.

    A requested run plans its checks. Dagster shows a planned check without a result as failed, and hides its previous
    result. A check without any result becomes a warning, the mildest state that Dagster has.
    """
    for name in DESCRIPTIONS:
        if name not in but:
            yield _last_result(instance, table, name, dataset_id)


def _last_result(
    instance: dg.DagsterInstance, table: dg.AssetKey, name: str, dataset_id: str
) -> dg.AssetCheckEvaluation:
    records = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(table, name), 1, status=set(_CONCLUDED), partition_filter=PartitionKeyFilter(key=dataset_id)
    )
    last = records[0].evaluation if records else None
    if last is None or (_NEVER in (last.description or "")):
        return dg.AssetCheckEvaluation(
            table,
            name,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{_NOT_EVALUATED} {_NEVER}.",
            partition=dataset_id,
        )
    event = records[0].event
    evaluated_at = datetime.fromtimestamp(event.timestamp if event else records[0].create_timestamp, UTC)
    where = f", by run {records[0].run_id}" if records[0].run_id else ""
    return dg.AssetCheckEvaluation(
        table,
        name,
        passed=last.passed,
        severity=last.severity,
        description=f"{_NOT_EVALUATED}: showing the last result.",
        blocking=name in _BLOCKING,
        partition=dataset_id,
        # A repeated result already has the time and run of the original one.
        metadata={_LAST: f"{evaluated_at:%Y-%m-%d %H:%M} UTC{where}", **last.metadata},
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
