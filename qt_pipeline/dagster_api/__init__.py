"""A running Dagster, over the HTTP API that its own UI speaks. No Dagster is imported.

Here: what is asked of it, and what its answers mean. Not here: what a dataset is, when a run is due.
"""

from qt_pipeline.dagster_api.client import DagsterApi
from qt_pipeline.dagster_api.model import (
    Backfill,
    CodeLocation,
    Daemon,
    DagsterRefusedError,
    DagsterUnavailableError,
    Failure,
    Run,
    RunEvents,
    RunStatus,
    Stage,
    TableReport,
)

__all__ = [
    "Backfill",
    "CodeLocation",
    "Daemon",
    "DagsterApi",
    "DagsterRefusedError",
    "DagsterUnavailableError",
    "Failure",
    "Run",
    "RunEvents",
    "RunStatus",
    "Stage",
    "TableReport",
]
