"""The Dagster code location: assets, sensors, schedules and resources. Loads without settings and without network."""

from contextlib import suppress

import dagster as dg
from sqlalchemy import make_url

from qt_pipeline.catalog import Catalog, catalog_for
from qt_pipeline.defs.alerts import alerts_sensor
from qt_pipeline.defs.assets import EVENTS, SOURCE, dataset, table
from qt_pipeline.defs.freshness import freshness_sensor
from qt_pipeline.defs.overview import described
from qt_pipeline.defs.refresh import polling_sensor, refresh_schedule
from qt_pipeline.defs.resources import (
    alert_monitor_resource,
    dispatcher_resource,
    ingest_resource,
    load_retry_policy_resource,
)
from qt_pipeline.defs.sensors import events_sensor
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.private import keep_private
from qt_pipeline.settings import Settings, load_settings


def build_defs(
    *,
    refresh_cron: str | None = None,
    poll_minutes: float | None = None,
    sensor_interval_minutes: float | None = None,
    catalog: Catalog | None = None,
    backend: str = "sql",
    **resources: object,
) -> dg.Definitions:
    """Build the Dagster definitions; `resources` replaces resources by name, for tests.

    `sensor_interval_minutes` replaces the default tick interval of each sensor except the polling sensor.
    `catalog` and `backend` (the database of the target) only affect the descriptions of the assets.
    """
    assets = dg.map_asset_specs(
        lambda spec: spec if catalog is None else described(spec, catalog, backend), [SOURCE, EVENTS, dataset, table]
    )
    interval = None if sensor_interval_minutes is None else round(sensor_interval_minutes * 60)
    return dg.Definitions(
        assets=assets,
        sensors=[
            *(
                make() if interval is None else make(interval)
                for make in (events_sensor, freshness_sensor, alerts_sensor)
            ),
            *([polling_sensor(poll_minutes)] if poll_minutes else []),
        ],
        schedules=[refresh_schedule(refresh_cron)] if refresh_cron else [],
        resources={
            "ingest": ingest_resource,
            "patience": load_retry_policy_resource,
            "dispatcher": dispatcher_resource,
            "monitor": alert_monitor_resource,
            **resources,
        },
        # One process for both assets: a process per step would add seconds.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions that Dagster loads when a code location starts or is reloaded."""
    settings = load_settings()
    # Dagster's code server and run processes start here, not in the `qt-pipeline` command.
    keep_private()
    return build_defs(
        refresh_cron=settings.refresh_cron,
        poll_minutes=settings.poll_minutes,
        sensor_interval_minutes=settings.sensor_interval_minutes,
        catalog=_catalog(settings),
        backend=make_url(settings.warehouse_url).get_backend_name(),
    )


def _catalog(settings: Settings) -> Catalog | None:
    # An invalid catalog must not make the UI unavailable: each run and sensor tick reports the error.
    with suppress(ConfigurationError):
        return catalog_for(settings)
    return None
