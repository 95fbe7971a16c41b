"""Watches how long each dataset has gone without a load: the check `fresh` fails when it is too long.

Here: when the check is told. Not here: the rule (see ingest), that a load makes a table fresh again (see checks).
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
    """Fails the check of stale datasets, every so many seconds."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # its stub leaves a PathLike open
        name="quantemplate_freshness",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails the check `fresh` of a dataset that was not downloaded for longer than its catalog allows.",
    )
    def quantemplate_freshness(
        context: dg.SensorEvaluationContext, dispatcher: dg.ResourceParam[Dispatcher]
    ) -> dg.SensorResult | dg.SkipReason:
        """One look. A dataset that becomes stale is told once; its next load tells that it is fresh again."""
        try:
            found = stale_now(dispatcher)
        except PipelineError as error:
            return dg.SkipReason(f"Nobody knows how fresh the tables are. {printable(str(error))}")
        told: list[str] = json.loads(context.cursor) if context.cursor else []
        return dg.SensorResult(
            asset_events=[_failed(one) for one in found if one.dataset.id not in told],
            skip_reason=f"{len(found)} datasets are stale." if found else "No dataset is stale.",
            cursor=json.dumps([one.dataset.id for one in found]),
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


def _failed(one: Stale) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        TABLE,
        FRESH,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=markdown_text(str(one)),
        partition=one.dataset.id,
        metadata={
            "name": dg.MetadataValue.text(printable(one.dataset.label)),
            "hours": dg.MetadataValue.float(round(one.age.total_seconds() / 3600, 2)),
            "load": dg.MetadataValue.int(one.load.load_id),
        },
    )
