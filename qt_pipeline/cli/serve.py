"""The commands `demo`, `dev`, `relay` and `sandbox`, which run until they are stopped.

Here: their options. Not here: what they run.
"""

import os
from typing import Annotated

import typer

from qt_pipeline import demo as local_demo
from qt_pipeline import relay as event_relay
from qt_pipeline import sandbox as local_sandbox
from qt_pipeline.composition import inbox_of
from qt_pipeline.ingest import missing
from qt_pipeline.settings import PROJECT_ROOT, Settings, load_settings
from qt_pipeline.telemetry import RELAY_SERVICE, traces_to

Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any free port.")]


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Run one round, print a table and exit.")] = False,
    port: Annotated[int, typer.Option(help="The port of Dagster's UI.")] = 3000,
) -> None:
    """Run the whole pipeline on this machine with a Quantemplate sandbox: events, runs, tables and Dagster's UI.

    Its state is in .qt/demo, separate from your own; QT_ENV_FILE makes other
    commands use it.

    Examples:
        qt-pipeline demo --once
        QT_ENV_FILE=.qt/demo/demo.env qt-pipeline datasets
    """
    ports = local_demo.Ports(sandbox=8641, relay=8642, dagster=port)
    local_demo.run_demo(local_demo.DEMO_FOLDER, ports, once=once)


def dev(*, port: Annotated[int, typer.Option(help="The port of Dagster's UI.")] = 3000) -> None:
    """Run Dagster's UI and daemon with your settings, without the relay.

    For development: in production, run them as separate services.

    Examples:
        qt-pipeline dev --port 3001
    """
    settings = load_settings()
    home = settings.state_dir / "dagster"
    local_demo.prepare_dagster_home(home)
    os.chdir(PROJECT_ROOT)
    command = local_demo.dagster_dev(port)
    os.execve(command[0], command, {"DAGSTER_HOME": str(home), **os.environ})  # noqa: S606  # a fixed command


def relay(
    *,
    host: str = "127.0.0.1",
    port: Port = 8642,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port of /metrics on 127.0.0.1; 0 for any free port.")
    ] = None,
) -> None:
    """Receive Quantemplate's events over HTTP and store them in the inbox.

    The relay serves plain HTTP: put a TLS proxy in front of it.

    Examples:
        qt-pipeline relay --metrics-port 9642
    """
    settings = load_settings()
    metrics = event_relay.Metrics()
    with traces_to(settings.telemetry_endpoint, RELAY_SERVICE):
        event_relay.serve(
            _event_sink(settings, metrics),
            settings.relay_tokens,
            metrics,
            host=host,
            port=port,
            metrics_port=settings.relay_metrics_port if metrics_port is None else metrics_port,
            events_per_second=settings.relay_events_per_second,
        )


def _event_sink(settings: Settings, metrics: event_relay.Metrics) -> event_relay.EventSink:
    if settings.relay_queue_url is not None:
        # Azure's library is slow to import, and most relays do not need it.
        from qt_pipeline.inbox.azure_queue import open_queue  # noqa: PLC0415

        return event_relay.QueueSink(open_queue(settings.relay_queue_url), metrics)
    if settings.keep_connections:
        metrics.watch(inbox_of(settings))
    # Otherwise, reading the metrics would keep the database awake.
    inbox = inbox_of(settings)
    return event_relay.GroupCommitWriter(inbox, metrics)


def sandbox(*, port: Port = 8641, webhook_url: str | None = None, token_seconds: int = 60) -> None:
    """Run a Quantemplate sandbox for the client QT_CLIENT_ID with QT_CLIENT_SECRET, for development only.

    It posts events to the webhook, and accepts commands below /_control.

    Examples:
        qt-pipeline sandbox --webhook-url http://127.0.0.1:8642/webhooks/quantemplate/<token>
    """
    settings = load_settings()
    if settings.client_id is None or settings.client_secret is None:
        raise missing([name for name in settings.missing_credentials if name != "QT_ORGANISATION_ID"])
    local_sandbox.serve(
        "127.0.0.1",
        port,
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        webhook_url=webhook_url,
        token_seconds=token_seconds,
    )
