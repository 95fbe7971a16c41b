"""The resources of assets and sensors, built from the settings with the lower packages.

Here: construction. Not here: what the objects do.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Protocol

import dagster as dg
from pydantic import SecretStr

from qt_pipeline import telemetry
from qt_pipeline.alerting import AlertRouting, AlertStore, Sender, addresses_of, open_store
from qt_pipeline.catalog import Catalog, catalog_for
from qt_pipeline.composition import client_of, inbox_of, landing_of, warehouse_of
from qt_pipeline.defs.partitions import PARTITION_TAG
from qt_pipeline.defs.runs import tag_failure
from qt_pipeline.dispatch import Policy
from qt_pipeline.errors import PipelineError
from qt_pipeline.inbox import DrainResult, Inbox
from qt_pipeline.ingest import Ingest, OpenWarehouse
from qt_pipeline.liveness import RunLocks
from qt_pipeline.settings import Settings, load_settings
from qt_pipeline.urls import redacted_url


@dataclass(frozen=True, slots=True)
class LoadRetryPolicy:
    """How often a run retries a load while the target database is unavailable. The delay doubles each time."""

    attempts: int = 4
    delay_seconds: float = 10

    def wait_after(self, attempts_made: int) -> float | None:
        """The seconds to wait after so many attempts; None if no attempts are left."""
        return None if attempts_made >= self.attempts else self.delay_seconds * 2 ** (attempts_made - 1)


@dataclass(frozen=True, slots=True)
class AlertMonitor:
    """The dependencies of the alerts sensor. Each tick opens the databases, which may be unavailable.

    `dagster_url` is the URL of Dagster's UI, for links.
    """

    routing: AlertRouting
    open_inbox: Callable[[], Inbox]
    open_store: Callable[[], AlertStore]
    open_warehouse: OpenWarehouse
    read_catalog: Callable[[], Catalog]
    dagster_url: str


class Queue(Protocol):
    """A queue in front of the inbox, for a relay that cannot reach the inbox."""

    def drain_into(self, inbox: Inbox, *, limit: int, seconds: float) -> DrainResult:
        """See `qt_pipeline.inbox.azure_queue`."""
        ...


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The dependencies of the events sensor, to plan deliveries and to execute a plan.

    `queue` is the queue in front of the inbox, if any. `max_datasets` limits the partitions that events can add.
    `retention` is how long settled events are kept; None for ever. `wait_seconds` is how long a tick without requests
    waits for the next event.
    """

    inbox: Inbox
    queue: Queue | None
    open_warehouse: OpenWarehouse
    catalog: Catalog
    locks: RunLocks
    policy: Policy
    max_datasets: int
    retention: timedelta | None
    missing_credentials: Sequence[str]
    wait_seconds: float


_REQUESTS = 50
# Most of the daemon's 5 seconds between two ticks, so that an event seldom waits for the next tick. The rest is for the
# tick itself: the daemon skips a tick while the previous one is still running.
_WAIT_SECONDS = 4.0


def _open_queue(url: str) -> Queue:
    # Azure's libraries are imported only if needed.
    from qt_pipeline.inbox.azure_queue import open_queue  # noqa: PLC0415

    return open_queue(url)


# A code server evaluates the sensor every few seconds: databases are opened once, settings and catalog read each time.
_inbox = cache(inbox_of)
_warehouse = cache(warehouse_of)
_queue = cache(_open_queue)
_alert_store = cache(open_store)


@cache
def _alert_routing(urls: tuple[SecretStr, ...], per_hour: int) -> AlertRouting:
    # One sender: it remembers which address hangs since an earlier tick.
    return AlertRouting(addresses_of(urls), Sender(), per_hour)


@dg.resource(description="The two steps of a run: land the dataset's file, load it into the table.")
def ingest_resource(context: dg.InitResourceContext) -> Generator[Ingest]:
    """The steps; in a run, also the lock that shows its process is alive, its log lines and its trace."""
    try:
        settings = load_settings()
        if context.run is not None:
            _locks(settings).acquire(context.run.run_id)
        ingest = _ingest(settings)
    except PipelineError as error:
        if context.run is not None and context.instance is not None:
            tag_failure(context.instance, context.run.run_id, error)
        raise
    with _run_telemetry(context.run, settings):
        yield ingest


@contextmanager
def _run_telemetry(run: dg.DagsterRun | None, settings: Settings) -> Generator[None]:
    if run is None:
        yield
        return
    with (
        telemetry.json_lines(settings.log_format),
        telemetry.traces_to(settings.telemetry_endpoint, telemetry.RUN_SERVICE),
        telemetry.run(run.run_id, dataset_id=run.tags.get(PARTITION_TAG)),
    ):
        yield


@dg.resource(description="How often a run retries a load.")
def load_retry_policy_resource() -> LoadRetryPolicy:
    """The retry policy from the settings."""
    settings = load_settings()
    return LoadRetryPolicy(settings.load_attempts, settings.load_delay_seconds)


def _ingest(settings: Settings) -> Ingest:
    return Ingest(
        client=client_of(settings),
        missing_credentials=settings.missing_credentials,
        inbox=_inbox(settings),
        landing=landing_of(settings),
        open_warehouse=partial(_warehouse, settings),
        catalog=catalog_for(settings),
        max_rows=settings.max_rows,
    )


@dg.resource(description="The inbox of events, the ledger, and the retry rules.")
def dispatcher_resource() -> Dispatcher:
    """The dependencies of the events sensor, from the settings."""
    settings = load_settings()
    return Dispatcher(
        inbox=_inbox(settings),
        queue=_queue(settings.relay_queue_url) if settings.relay_queue_url else None,
        open_warehouse=partial(_warehouse, settings),
        catalog=catalog_for(settings),
        locks=_locks(settings),
        policy=Policy(
            attempts=settings.delivery_attempts,
            delay=timedelta(seconds=settings.delivery_delay_seconds),
            rechecks=tuple(timedelta(minutes=minutes) for minutes in settings.recheck_delays_minutes),
            # With a long interval, a tick requests all runs at once.
            requests=_REQUESTS if settings.keep_connections else settings.max_datasets,
        ),
        max_datasets=settings.max_datasets,
        retention=timedelta(days=settings.inbox_retention_days) if settings.inbox_retention_days else None,
        missing_credentials=settings.missing_credentials,
        wait_seconds=_WAIT_SECONDS if settings.keep_connections else 0,
    )


@dg.resource(description="Alert routing and the incident store.")
def alert_monitor_resource() -> AlertMonitor:
    """The dependencies of the alerts sensor, from the settings."""
    settings = load_settings()
    return AlertMonitor(
        routing=_alert_routing(settings.alert_urls, settings.alerts_per_hour),
        open_inbox=partial(_inbox, settings),
        open_store=partial(_alert_store, settings.inbox_url, keep_connections=settings.keep_connections),
        open_warehouse=partial(_warehouse, settings),
        read_catalog=partial(catalog_for, settings),
        dagster_url=redacted_url(settings.dagster_url),
    )


def _locks(settings: Settings) -> RunLocks:
    return RunLocks(settings.state_dir / "runs")
