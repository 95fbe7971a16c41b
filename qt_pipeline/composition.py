"""The composition root: the parts of the pipeline, opened as the settings say.

Here: settings → inbox, landing, warehouse, vendor client, Dagster's API. Not here: what a setting means (see settings),
and how long a part is kept open, which each process decides for itself.
"""

from qt_pipeline.dagster_api import DagsterApi
from qt_pipeline.inbox import Inbox, open_inbox
from qt_pipeline.landing import Landing
from qt_pipeline.quantemplate import ClientConfig, QuantemplateClient
from qt_pipeline.settings import Settings
from qt_pipeline.warehouse import Warehouse, open_warehouse


def inbox_of(settings: Settings) -> Inbox:
    """The event inbox.

    Raises:
        InboxUnavailableError: its database cannot be reached, or refuses.
    """
    return open_inbox(settings.inbox_url, keep_connections=settings.keep_connections)


def landing_of(settings: Settings) -> Landing:
    """The landing store. Nothing is read or written yet."""
    return Landing(settings.landing_url)


def warehouse_of(settings: Settings, *, prepare: bool = True) -> Warehouse:
    """The target database; `prepare` makes the schemas and ledger tables that are missing.

    Raises:
        TargetUnavailableError, TargetRefusedError: it cannot be reached, or refuses.
        ConfigurationError: its URL cannot be used.
    """
    return open_warehouse(
        settings.warehouse_url,
        settings.warehouse_schema,
        settings.staging_schema,
        prepare=prepare,
        keep_connections=settings.keep_connections,
    )


def client_config_of(settings: Settings) -> ClientConfig | None:
    """How the vendor is reached; None without a client id and its secret."""
    if not (settings.client_id and settings.client_secret):
        return None
    return ClientConfig(
        api_url=settings.api_url,
        token_url=settings.token_url,
        organisation_id=settings.organisation_id or "",
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        read_timeout_seconds=settings.read_timeout_seconds,
        attempts=settings.request_attempts,
        retry_after_cap_seconds=settings.retry_after_cap_seconds,
        not_ready_seconds=settings.not_ready_seconds,
        allow_unverified_length=settings.allow_unverified_length,
        max_download_bytes=settings.max_download_bytes,
        redirect_hosts=settings.redirect_hosts,
        max_download_seconds=settings.max_download_seconds,
    )


def client_of(settings: Settings) -> QuantemplateClient | None:
    """The vendor's client; None where a credential is missing."""
    config = client_config_of(settings)
    return None if config is None or settings.missing_credentials else QuantemplateClient(config)


def dagster_of(settings: Settings, *, answer_seconds: float | None = None) -> DagsterApi:
    """Dagster's GraphQL API, which gets `answer_seconds` for each answer. Nothing is asked yet."""
    if answer_seconds is None:
        return DagsterApi(settings.dagster_url)
    return DagsterApi(settings.dagster_url, answer_seconds=answer_seconds)
