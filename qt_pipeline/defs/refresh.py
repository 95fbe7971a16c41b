"""Loads every dataset without an event: by a daily schedule, or by polling where the relay has no public endpoint.

Here: which datasets get a run. Not here: how a run handles an unchanged file (see warehouse).
"""

from collections.abc import Collection, Sequence

import dagster as dg

from qt_pipeline.defs.assets import DATASET, TABLE
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import Dispatcher
from qt_pipeline.defs.runs import DATASET_TAG, known_runs
from qt_pipeline.dispatch import due_for_refresh
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import missing
from qt_pipeline.safe_text import printable

_MAX_NAMED = 10
_TARGET = dg.AssetSelection.assets(DATASET, TABLE)


def refresh_schedule(cron: str) -> dg.ScheduleDefinition:
    """Build the schedule that requests a run of each known dataset at the times of `cron`, in UTC."""

    @dg.schedule(  # pyright: ignore[reportUnknownMemberType]  # its stub has a PathLike without a type argument
        name="quantemplate_refresh",
        cron_schedule=cron,
        target=_TARGET,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Downloads every dataset, in case an event was lost. An unchanged file is not loaded.",
    )
    def quantemplate_refresh(
        context: dg.ScheduleEvaluationContext, dispatcher: dg.ResourceParam[Dispatcher]
    ) -> Sequence[dg.RunRequest] | dg.SkipReason:
        return _requests(context.instance, dispatcher, "schedule")

    return quantemplate_refresh


def polling_sensor(minutes: float) -> dg.SensorDefinition:
    """Build the sensor that requests a run of each known dataset every `minutes`."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # as above
        name="quantemplate_polling",
        target=_TARGET,
        minimum_interval_seconds=round(minutes * 60),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Downloads every dataset periodically, instead of events. An unchanged file is not loaded.",
    )
    def quantemplate_polling(
        context: dg.SensorEvaluationContext, dispatcher: dg.ResourceParam[Dispatcher]
    ) -> Sequence[dg.RunRequest] | dg.SkipReason:
        return _requests(context.instance, dispatcher, "polling")

    return quantemplate_polling


def _skip_message(known: Sequence[str], restored: Collection[str]) -> str:
    if not restored:
        return f"{len(known)} datasets are known; each of them has a run in flight."
    names = ", ".join(sorted(restored)[:_MAX_NAMED])
    return (
        f"{len(known)} datasets are known; {len(restored)} show restored data until an event or a manual run "
        f"loads them ({names}); the others have a run in flight."
    )


def _requests(
    instance: dg.DagsterInstance, dispatcher: Dispatcher, reason: str
) -> Sequence[dg.RunRequest] | dg.SkipReason:
    if dispatcher.missing_credentials:
        return dg.SkipReason(f"Nothing can be downloaded. {missing(dispatcher.missing_credentials)}")
    known = [key for key in instance.get_dynamic_partitions(str(datasets.name)) if dispatcher.catalog.accepts(key)]
    try:
        newest = dispatcher.open_warehouse().newest_loads()
    except PipelineError as error:
        # Without the ledger, a run could replace data that a person has restored.
        return dg.SkipReason(f"No runs requested, because the ledger cannot be read. {printable(str(error))}")
    restored = {dataset_id for dataset_id in known if dataset_id in newest and newest[dataset_id].restores_load_id}
    due = due_for_refresh(known, known_runs(instance, dispatcher.locks, ()), restored)
    if not due:
        return dg.SkipReason(_skip_message(known, restored))
    return [
        dg.RunRequest(
            partition_key=dataset_id,
            tags={DATASET_TAG: printable(dispatcher.catalog.dataset(dataset_id).label), "qt/reason": reason},
        )
        for dataset_id in due
    ]
