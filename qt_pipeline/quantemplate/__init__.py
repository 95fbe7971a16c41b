"""The vendor's API and events. Not here: SQL, Dagster, files."""

from qt_pipeline.quantemplate.auth import CredentialsError, TokenAnswerError
from qt_pipeline.quantemplate.body import (
    BrokenBodyError,
    DownloadLimitError,
    DownloadTooSlowError,
    EmptyBodyError,
    UnexpectedContentError,
    UnprovenEndError,
)
from qt_pipeline.quantemplate.client import (
    ClientConfig,
    Download,
    OpenSink,
    QuantemplateClient,
    RefusedError,
    Sink,
    UnauthorisedError,
)
from qt_pipeline.quantemplate.events import DATASET_UPDATED, PIPELINE_COMPLETED, Event, NotAnEventError, parse_event
from qt_pipeline.quantemplate.retry import NotReadyError
from qt_pipeline.quantemplate.transport import RedirectError, RequestFailedError

__all__ = [
    "DATASET_UPDATED",
    "PIPELINE_COMPLETED",
    "BrokenBodyError",
    "ClientConfig",
    "CredentialsError",
    "Download",
    "DownloadLimitError",
    "DownloadTooSlowError",
    "EmptyBodyError",
    "Event",
    "NotAnEventError",
    "NotReadyError",
    "OpenSink",
    "QuantemplateClient",
    "RedirectError",
    "RefusedError",
    "RequestFailedError",
    "Sink",
    "TokenAnswerError",
    "UnauthorisedError",
    "UnexpectedContentError",
    "UnprovenEndError",
    "parse_event",
]
