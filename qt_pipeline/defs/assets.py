"""The assets: a dataset in Quantemplate, its events, its landed file and its table.

Here: keys, partitions and descriptions, and how a run materializes file and table. Not here: landing and loading (see
ingest), metadata and check results (see metadata, checks).
"""

from collections.abc import Collection, Iterator
from typing import Any

import dagster as dg

from qt_pipeline.defs import checks, metadata
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import LoadRetryPolicy
from qt_pipeline.defs.runs import tag_dataset, tag_failure
from qt_pipeline.errors import PipelineError, TransientError
from qt_pipeline.ingest import Ingest
from qt_pipeline.safe_text import printable

SOURCE = dg.AssetSpec(
    ["quantemplate", "source"],
    partitions_def=datasets,
    group_name="quantemplate",
    kinds={"quantemplate"},
    description="The dataset in Quantemplate, kept up to date there by its pipelines. Each download observes it.",
)
EVENTS = dg.AssetSpec(
    ["quantemplate", "events"],
    deps=[SOURCE],
    group_name="quantemplate",
    kinds={"quantemplate"},
    description="The inbox of events from the relay. `parked` events wait for a person: `qt-pipeline events "
    "--state parked` lists them, `qt-pipeline replay --parked` retries them.",
)
DATASET = dg.AssetKey(["quantemplate", "dataset"])
TABLE = dg.AssetKey(["warehouse", "table"])
FORCE_TAG = "qt/force"
"""`true` on a run loads its file even if the table is up to date with it."""
THROUGH_SEQ_TAG = "qt/through_seq"
_DATA_VERSION_TAG = "dagster/data_version"


@dg.asset(
    key=DATASET,
    deps=[SOURCE, EVENTS],
    partitions_def=datasets,
    group_name="quantemplate",
    kinds={"quantemplate", "csv"},
    description="The dataset's CSV as Quantemplate serves it, kept unchanged in the landing with its hash.",
)
def dataset(
    context: dg.AssetExecutionContext, ingest: dg.ResourceParam[Ingest]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetObservation | dg.AssetCheckEvaluation]:
    """Download the dataset of this partition and keep the file."""
    try:
        tag_dataset(context.instance, context.run, ingest.label(context.partition_key))
        outcome = ingest.land(context.partition_key, run_id=context.run.run_id)
    except PipelineError as error:
        yield from _not_evaluated(context)
        raise _failure(context, error) from None
    manifest = outcome.landed.manifest
    context.instance.add_run_tags(context.run.run_id, {THROUGH_SEQ_TAG: str(manifest.through_seq)})
    yield dg.AssetObservation(
        SOURCE.key,
        partition=context.partition_key,
        metadata=metadata.of_source(outcome),
        # The same bytes are the same data version: downstream assets are stale only after a change.
        tags={_DATA_VERSION_TAG: manifest.sha256},
    )
    yield dg.MaterializeResult(metadata=metadata.of_landing(outcome), data_version=dg.DataVersion(manifest.sha256))


@dg.asset(
    key=TABLE,
    deps=[DATASET],
    partitions_def=datasets,
    group_name="warehouse",
    kinds={"sql"},
    check_specs=checks.check_specs(TABLE),
    description="The dataset as a SQL table: typed from the landed file, verified, replaced in one transaction.",
)
def table(
    context: dg.AssetExecutionContext, ingest: dg.ResourceParam[Ingest], patience: dg.ResourceParam[LoadRetryPolicy]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """Publish the landed file of this run, else the newest download, as the table of this partition's dataset."""
    try:
        tag_dataset(context.instance, context.run, ingest.label(context.partition_key))
        force = context.run.tags.get(FORCE_TAG) == "true"
        outcome = ingest.load(context.partition_key, run_id=context.run.run_id, force=force)
    except TransientError as error:
        wait = patience.wait_after(context.retry_number + 1)
        if wait is None:
            yield from _results_of(context, error)
            raise _failure(context, error) from None
        # The download client has its own retries; a load is retried here.
        context.log.warning("%s Retrying the load in %.0f seconds.", printable(str(error)), wait)
        raise dg.RetryRequested(max_retries=patience.attempts, seconds_to_wait=wait) from None
    except PipelineError as error:
        yield from _results_of(context, error)
        raise _failure(context, error) from None
    yield dg.MaterializeResult(metadata=metadata.of_load(outcome, DATASET))
    yield from checks.of_load(outcome)


def _results_of(
    context: dg.AssetExecutionContext, error: PipelineError
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    decided = list(checks.of_error(error))
    yield from decided
    yield from _not_evaluated(context, but=[str(result.check_name) for result in decided])


def _not_evaluated(
    context: dg.AssetExecutionContext, *, but: Collection[str] = ()
) -> Iterator[dg.AssetCheckEvaluation]:
    """The evaluations of planned checks that this run does not reach."""
    if context.run.asset_selection is None or TABLE in context.run.asset_selection:
        yield from checks.not_evaluated(context.instance, TABLE, context.partition_key, but=but)


def _failure(context: dg.AssetExecutionContext, error: PipelineError) -> dg.Failure:
    tag_failure(context.instance, context.run.run_id, error)
    return metadata.failure(error)
