"""Checks of landing, inbox and target database, by realistic operations.

Here: these checks. Not here: the probes (see the packages themselves).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import make_url

from qt_pipeline.composition import warehouse_of
from qt_pipeline.database import redacted_database_url
from qt_pipeline.doctor.check import CheckContext
from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.doctor.local import driver_fault
from qt_pipeline.doctor.mounts import network_file_system
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import EventState, open_inbox
from qt_pipeline.landing import Landing
from qt_pipeline.urls import redacted_url
from qt_pipeline.warehouse import TargetRefusedError, Warehouse

_LITTLE_BYTES = 2_000_000_000
_GIGA = 1_000_000_000
_DDL = "Let an administrator run the output of `qt-pipeline ddl`, or grant this login the right to create tables."
_DDL_OF_TABLE = (
    "Let an administrator run the output of `qt-pipeline ddl FILE --dataset-id ID` before a dataset's first load."
)


def landing(case: CheckContext) -> Iterator[Finding]:
    """Check that a file can be written to the landing, read back and deleted."""
    url = case.settings.landing_url
    finding: Callable[..., Finding] = partial(Finding, Area.LANDING, redacted_url(url))
    try:
        free = Landing(url).probe()
    except PipelineError as error:
        yield finding(FindingState.FAILURE, error.message, error.hint)
        return
    if url.startswith("memory://"):
        yield finding(
            FindingState.WARNING,
            "Landed files are in memory and are lost when the process ends.",
            "Set QT_LANDING_URL to a folder.",
        )
    elif free is not None and free < _LITTLE_BYTES:
        yield finding(
            FindingState.WARNING, f"Only {free / _GIGA:.1f} GB are free there.", "Free space, or move the landing."
        )
    else:
        space = "" if free is None else f", {free / _GIGA:,.0f} GB are free"
        yield finding(FindingState.OK, f"A file was written, read back and deleted{space}.")


def inbox(case: CheckContext) -> Iterator[Finding]:
    """Check that the inbox opens and commits a write, and that the queue before it, if any, responds."""
    settings = case.settings
    yield from _inbox(settings.inbox_url)
    if settings.relay_queue_url:
        yield from _queue(settings.relay_queue_url)


def _inbox(url: str) -> Iterator[Finding]:
    finding: Callable[..., Finding] = partial(Finding, Area.INBOX, redacted_database_url(url))
    if driver_fault(url):
        yield finding(FindingState.SKIPPED, "Its driver must be installed first.")
        return
    try:
        opened = open_inbox(url)
        try:
            opened.check()
            counts = opened.counts()
        finally:
            opened.close()
    except PipelineError as error:
        yield finding(FindingState.FAILURE, error.message, error.hint)
        return
    waiting = f"events pending: {counts[EventState.PENDING]:,}, parked: {counts[EventState.PARKED]:,}"
    yield finding(FindingState.OK, f"It commits writes; {waiting}.")
    yield from _on_a_share(url, finding, "QT_INBOX_URL")


def _queue(url: str) -> Iterator[Finding]:
    # Azure's libraries are imported only if needed.
    from qt_pipeline.inbox.azure_queue import open_queue  # noqa: PLC0415

    finding: Callable[..., Finding] = partial(Finding, Area.INBOX, f"queue {redacted_url(url)}")
    try:
        queue = open_queue(url)
        try:
            queue.check()
        finally:
            queue.close()
    except PipelineError as error:
        yield finding(FindingState.FAILURE, error.message, error.hint)
    else:
        yield finding(FindingState.OK, "It responds and accepts the credentials.")


def target(case: CheckContext) -> Iterator[Finding]:
    """Check that the target responds and that a test load works in each schema in use."""
    settings = case.settings
    url = settings.warehouse_url
    finding: Callable[..., Finding] = partial(Finding, Area.TARGET, redacted_database_url(url))
    if driver_fault(url):
        yield finding(FindingState.SKIPPED, "Its driver must be installed first.")
        return
    try:
        warehouse_of(settings, prepare=False).check()
    except PipelineError as error:
        yield finding(FindingState.FAILURE, error.message, error.hint)
        return
    try:
        warehouse = warehouse_of(settings, prepare=True)
    except TargetRefusedError as error:
        yield finding(FindingState.FAILURE, f"The ledger does not exist and cannot be created: {error.message}", _DDL)
        return
    except PipelineError as error:
        yield finding(FindingState.FAILURE, error.message, error.hint)
        return
    yield finding(FindingState.OK, "It responds, and the ledger exists.")
    yield from (
        finding(FindingState.WARNING, warning, "Ask the database administrator; docs/targets.md explains it.")
        for warning in warehouse.warnings
    )
    listed = case.catalog.datasets if case.catalog else ()
    for schema in dict.fromkeys([None, *(dataset.table_schema for dataset in listed)]):
        yield from _steps(warehouse, schema)
    yield from _on_a_share(url, finding, "QT_WAREHOUSE_URL")


def _steps(warehouse: Warehouse, schema: str | None) -> Iterator[Finding]:
    where = f" in the schema {schema}" if schema else ""
    finding: Callable[..., Finding] = partial(Finding, Area.TARGET, f"a load{where}")
    staged = False
    try:
        with warehouse.probe(schema) as probe:
            probe.stage()
            staged = True
            probe.publish()
    except TargetRefusedError as error:
        # A login that may only load existing tables is a valid setup.
        state, hint = (FindingState.WARNING, _DDL_OF_TABLE) if staged else (FindingState.FAILURE, _DDL)
        step = "Tables cannot be created" if staged else "Staging tables cannot be created and filled"
        yield finding(state, f"{step}{where}: {error.message}", hint)
    except PipelineError as error:
        yield finding(FindingState.FAILURE, error.message, error.hint)
    else:
        yield finding(FindingState.OK, "A test load succeeded and was cleaned up.")


def _on_a_share(url: str, finding: Callable[..., Finding], setting: str) -> Iterator[Finding]:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return
    if kind := network_file_system(Path(str(parsed.database))):
        found = f"SQLite's locks do not work on a network share ({kind}): data can be lost."
        yield finding(FindingState.WARNING, found, f"Set {setting} to a file on a local disk, or to a server.")
