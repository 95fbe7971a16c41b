"""The vendor's API and events. Not here: SQL, Dagster, files."""

from qt_pipeline.quantemplate.auth import CredentialsError, InvalidTokenResponseError
from qt_pipeline.quantemplate.body import (
    DownloadLimitError,
    DownloadTooSlowError,
    EmptyBodyError,
    IncompleteBodyError,
    UnexpectedContentError,
    UnverifiedLengthError,
)
from qt_pipeline.quantemplate.client import (
    AccessDeniedError,
    ByteSink,
    ClientConfig,
    Download,
    OpenSink,
    QuantemplateClient,
    UnauthorisedError,
)
from qt_pipeline.quantemplate.events import DATASET_UPDATED, PIPELINE_COMPLETED, Event, InvalidEventError, parse_event
from qt_pipeline.quantemplate.retry import NotReadyError
from qt_pipeline.quantemplate.transport import RedirectError, RequestFailedError

__all__ = [
    "DATASET_UPDATED",
    "PIPELINE_COMPLETED",
    "AccessDeniedError",
    "ByteSink",
    "ClientConfig",
    "CredentialsError",
    "Download",
    "DownloadLimitError",
    "DownloadTooSlowError",
    "EmptyBodyError",
    "Event",
    "IncompleteBodyError",
    "InvalidEventError",
    "InvalidTokenResponseError",
    "NotReadyError",
    "OpenSink",
    "QuantemplateClient",
    "RedirectError",
    "RequestFailedError",
    "UnauthorisedError",
    "UnexpectedContentError",
    "UnverifiedLengthError",
    "parse_event",
]
