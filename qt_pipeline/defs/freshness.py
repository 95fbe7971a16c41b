"""The freshness sensor: fails the check `fresh` of datasets without a recent load.

Here: when the check is reported. Not here: the rule (see ingest), the check result of a load (see checks).
"""

import json

import dagster as dg

from qt_pipeline.defs.assets import TABLE
from qt_pipeline.defs.checks import FRESH
from qt_pipeline.defs.resources import Dispatcher
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import Stale, stale
from qt_pipeline.safe_text import markdown_text, printable
from qt_pipeline.values import utc_now

_SECONDS = 60


def freshness_sensor(interval_seconds: int = _SECONDS) -> dg.SensorDefinition:
    """Build the sensor that fails the check `fresh` of stale datasets."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # its stub has a PathLike without a type argument
        name="quantemplate_freshness",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails the check `fresh` of a dataset whose last download is older than the catalog allows.",
    )
    def quantemplate_freshness(
        context: dg.SensorEvaluationContext, dispatcher: dg.ResourceParam[Dispatcher]
    ) -> dg.SensorResult | dg.SkipReason:
        """Evaluate one tick. A stale dataset is reported once; its next load passes the check again."""
        try:
            stale_datasets = stale_now(dispatcher)
        except PipelineError as error:
            return dg.SkipReason(f"Freshness unknown: {printable(str(error))}")
        reported: list[str] = json.loads(context.cursor) if context.cursor else []
        return dg.SensorResult(
            asset_events=[_failed(entry) for entry in stale_datasets if entry.dataset.id not in reported],
            skip_reason=f"{len(stale_datasets)} datasets are stale." if stale_datasets else "No dataset is stale.",
            cursor=json.dumps([entry.dataset.id for entry in stale_datasets]),
        )

    return quantemplate_freshness


def stale_now(dispatcher: Dispatcher) -> list[Stale]:
    """The datasets that are stale now.

    Raises:
        PipelineError: the ledger cannot be read.
    """
    newest = dispatcher.open_warehouse().newest_loads()
    catalog = dispatcher.catalog
    accepted = [catalog.dataset(dataset_id) for dataset_id in newest if catalog.accepts(dataset_id)]
    return list(stale(accepted, newest, utc_now()))


def _failed(entry: Stale) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        TABLE,
        FRESH,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=markdown_text(str(entry)),
        partition=entry.dataset.id,
        metadata={
            "name": dg.MetadataValue.text(printable(entry.dataset.label)),
            "hours": dg.MetadataValue.float(round(entry.age.total_seconds() / 3600, 2)),
            "load": dg.MetadataValue.int(entry.load.load_id),
        },
    )
