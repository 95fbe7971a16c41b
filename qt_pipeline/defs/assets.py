"""The two assets of a dataset id: its landed file, and its table.

Here: their keys, partitions and descriptions. Not here: what landing and loading are (see ingest).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from qt_pipeline.defs import metadata
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import Patience
from qt_pipeline.defs.runs import note_failure
from qt_pipeline.errors import PipelineError, TransientError
from qt_pipeline.ingest import Ingest
from qt_pipeline.warehouse import VerificationError

EVENTS = dg.AssetSpec(
    ["quantemplate", "events"],
    group_name="quantemplate",
    kinds={"quantemplate"},
    description="The inbox of events, as the relay keeps them. `parked` ones wait for a person: `qt-pipeline events "
    "--state parked` shows them, `qt-pipeline replay --parked` tries them again.",
)
DATASET = dg.AssetKey(["quantemplate", "dataset"])
TABLE = dg.AssetKey(["warehouse", "table"])
COMPLETE = "complete"
FORCE_TAG = "qt/force"
"""`true` on a run loads its file even if the table shows it already."""
THROUGH_SEQ_TAG = "qt/through_seq"


@dg.asset(
    key=DATASET,
    deps=[EVENTS],
    partitions_def=datasets,
    group_name="quantemplate",
    kinds={"quantemplate", "csv"},
    description="The dataset's CSV as Quantemplate serves it, kept unchanged in the landing with its hash.",
)
def dataset(context: dg.AssetExecutionContext, ingest: dg.ResourceParam[Ingest]) -> dg.MaterializeResult[Any]:
    """Download the dataset of this partition and keep the file."""
    try:
        outcome = ingest.land(context.partition_key, run_id=context.run.run_id)
    except PipelineError as error:
        raise _failure(context, error) from None
    context.instance.add_run_tags(context.run.run_id, {THROUGH_SEQ_TAG: str(outcome.landed.manifest.through_seq)})
    return dg.MaterializeResult(metadata=metadata.of_landing(outcome))


@dg.asset(
    key=TABLE,
    deps=[DATASET],
    partitions_def=datasets,
    group_name="warehouse",
    kinds={"sql"},
    check_specs=[
        dg.AssetCheckSpec(
            COMPLETE,
            asset=TABLE,
            description="Rows, and the exact sum of every column of numbers, agree between file and table.",
        )
    ],
    description="The dataset as a SQL table: typed from the landed file, verified, replaced in one transaction.",
)
def table(
    context: dg.AssetExecutionContext, ingest: dg.ResourceParam[Ingest], patience: dg.ResourceParam[Patience]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Publish the landed file of this run, else the newest one, as the table of this partition's dataset."""
    try:
        force = context.run.tags.get(FORCE_TAG) == "true"
        outcome = ingest.load(context.partition_key, run_id=context.run.run_id, force=force)
    except VerificationError as error:
        yield dg.AssetCheckResult(passed=False, check_name=COMPLETE, metadata=metadata.of_difference(error))
        raise _failure(context, error) from None
    except TransientError as error:
        wait = patience.wait_after(context.retry_number + 1)
        if wait is None:
            raise _failure(context, error) from None
        # The download has patience of its own; the target gets some here.
        context.log.warning("%s The load is tried again in %.0f seconds.", error, wait)
        raise dg.RetryRequested(max_retries=patience.attempts, seconds_to_wait=wait) from None
    except PipelineError as error:
        raise _failure(context, error) from None
    yield dg.MaterializeResult(metadata=metadata.of_load(outcome))
    yield dg.AssetCheckResult(passed=True, check_name=COMPLETE, metadata=metadata.of_sums(outcome))


def _failure(context: dg.AssetExecutionContext, error: PipelineError) -> dg.Failure:
    note_failure(context.instance, context.run.run_id, error)
    return metadata.failure(error)
