"""The code location `qt_pipeline`: everything that Dagster loads. Needs no setting and no network."""

import dagster as dg

from qt_pipeline.defs.assets import EVENTS, dataset, table
from qt_pipeline.defs.refresh import polling_sensor, refresh_schedule
from qt_pipeline.defs.resources import dispatcher_resource, ingest_resource, patience_resource
from qt_pipeline.defs.sensors import quantemplate_events
from qt_pipeline.settings import load_settings


def build_defs(
    *, refresh_cron: str | None = None, poll_minutes: float | None = None, **resources: object
) -> dg.Definitions:
    """The definitions; `resources` replaces any by name, which is the seam that tests use."""
    return dg.Definitions(
        assets=[EVENTS, dataset, table],
        sensors=[quantemplate_events, *([polling_sensor(poll_minutes)] if poll_minutes else [])],
        schedules=[refresh_schedule(refresh_cron)] if refresh_cron else [],
        resources={
            "ingest": ingest_resource,
            "patience": patience_resource,
            "dispatcher": dispatcher_resource,
            **resources,
        },
        # One process for both assets: a second one would cost seconds at each step.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: when a code location begins, and again when it is reloaded."""
    settings = load_settings()
    return build_defs(refresh_cron=settings.refresh_cron, poll_minutes=settings.poll_minutes)
