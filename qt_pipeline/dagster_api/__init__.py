"""A client of a running Dagster, over the HTTP API of its UI. Does not import Dagster.

Here: requests and parsed responses. Not here: what a dataset is, when a run is due.
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
