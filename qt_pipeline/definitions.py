"""The code location `qt_pipeline`: everything that Dagster loads. Needs no setting and no network."""

import dagster as dg

from qt_pipeline.defs.assets import dataset, table
from qt_pipeline.defs.resources import dispatcher_resource, ingest_resource
from qt_pipeline.defs.sensors import quantemplate_events


def build_defs(**resources: object) -> dg.Definitions:
    """The definitions; `resources` replaces any by name, which is the seam that tests use."""
    return dg.Definitions(
        assets=[dataset, table],
        sensors=[quantemplate_events],
        resources={"ingest": ingest_resource, "dispatcher": dispatcher_resource, **resources},
        # One process for both assets: a second one would cost seconds at each step.
        executor=dg.in_process_executor,
    )


defs = build_defs()
