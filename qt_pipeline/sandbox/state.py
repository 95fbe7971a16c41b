"""The state of the sandbox: datasets and their versions, faults, recent downloads, tokens, the webhook.

Here: the state, shared by the server's thread and a test's thread. Not here: HTTP (see app and control).
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import RLock

from qt_pipeline.errors import ConfigurationError, PermanentError
from qt_pipeline.sandbox.change import changed_csv
from qt_pipeline.sandbox.datasets import SANDBOX_DATASETS, DatasetVersion, first_version
from qt_pipeline.sandbox.faults import Fault, FaultQueue
from qt_pipeline.sandbox.pipelines import Pipeline
from qt_pipeline.sandbox.tokens import TokenOffice
from qt_pipeline.sandbox.webhook import Envelope, NoWebhookError, WebhookResponse, dataset_updated, post_event
from qt_pipeline.values import is_dataset_id, is_loopback_url

ORGANISATION_ID = "c-sandbox-insurance-000001"

_VERSIONS_KEPT = 4
_DOWNLOADS_KEPT = 1000
_ALERTS_KEPT = 1000


class NotServedError(PermanentError):
    """The sandbox has no such dataset, or no such version of it any more."""


@dataclass(frozen=True, slots=True)
class ServedDownload:
    """One download as the sandbox saw it; `version` is None where none was served, `fault` where none was due."""

    dataset_id: str
    version: int | None
    trace_id: str | None
    status: int
    fault: str | None


@dataclass(slots=True)
class _Dataset:
    name: str
    versions: deque[DatasetVersion] = field(default_factory=lambda: deque[DatasetVersion](maxlen=_VERSIONS_KEPT))
    faults: FaultQueue = field(default_factory=FaultQueue)


class SandboxState:
    """The sandbox's state. Every method is safe to call from any thread.

    With `gzip` set, clients that accept it get compressed downloads; off at first, as the vendor does not document any.
    """

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        token_seconds: int = 60,
        webhook_url: str | None = None,
    ) -> None:
        self.organisation_id = ORGANISATION_ID
        self.tokens = TokenOffice(client_id=client_id, client_secret=client_secret, lifetime_seconds=token_seconds)
        self.pipeline = Pipeline()
        self.gzip = False
        self._lock = RLock()
        self._datasets: dict[str, _Dataset] = {}
        self._downloads: deque[ServedDownload] = deque(maxlen=_DOWNLOADS_KEPT)
        self._alerts: deque[dict[str, str]] = deque(maxlen=_ALERTS_KEPT)
        self.set_webhook(webhook_url)
        for dataset in SANDBOX_DATASETS:
            self._datasets[dataset.id] = served = _Dataset(dataset.name)
            served.versions.append(first_version(dataset))

    def names(self) -> dict[str, str]:
        """The name of every dataset by its id."""
        with self._lock:
            return {dataset_id: dataset.name for dataset_id, dataset in self._datasets.items()}

    def version(self, dataset_id: str, number: int | None = None) -> DatasetVersion:
        """One version of a dataset, the newest by default. Only the last few are kept.

        Raises:
            NotServedError: there is no such dataset or version.
        """
        with self._lock:
            versions = self._dataset(dataset_id).versions
            for version in reversed(versions):
                if number in (None, version.number):
                    return version
        raise NotServedError(
            f"There is no version {number} here.", hint="Ask for one of the last few versions.", dataset_id=dataset_id
        )

    def put(self, dataset_id: str, csv: bytes) -> DatasetVersion:
        """Make `csv` the newest version of a dataset, a new dataset if need be.

        Raises:
            NotServedError: the text cannot be the id of a dataset.
        """
        if not is_dataset_id(dataset_id):
            raise NotServedError("This cannot be the id of a dataset.", hint="Use letters, digits, - and _.")
        with self._lock:
            dataset = self._datasets.setdefault(dataset_id, _Dataset(name=dataset_id))
            number = dataset.versions[-1].number + 1 if dataset.versions else 1
            version = DatasetVersion.of(number, csv)
            dataset.versions.append(version)
            return version

    def change(self, dataset_id: str) -> DatasetVersion:
        """Make the next version of a dataset by a small edit of the newest.

        Raises:
            NotServedError: there is no such dataset.
        """
        with self._lock:
            newest = self.version(dataset_id)
            return self.put(dataset_id, changed_csv(newest.csv, newest.number + 1))

    def set_faults(self, dataset_id: str, faults: Iterable[Fault]) -> None:
        """Replace the pending faults of a dataset; without any, its downloads succeed.

        Raises:
            NotServedError: there is no such dataset.
        """
        with self._lock:
            self._dataset(dataset_id).faults = FaultQueue(faults)

    def next_fault(self, dataset_id: str) -> Fault | None:
        """Consume the fault of the download that begins now, if one is due."""
        with self._lock:
            return self._dataset(dataset_id).faults.next()

    def record(self, download: ServedDownload) -> None:
        """Record a download."""
        with self._lock:
            self._downloads.append(download)

    def downloads(self) -> tuple[ServedDownload, ...]:
        """The recent downloads, oldest first."""
        with self._lock:
            return tuple(self._downloads)

    def take_alert(self, alert: dict[str, str]) -> None:
        """Keep an alert, as the chat or the mailbox would that the demo does not have."""
        with self._lock:
            self._alerts.append(alert)

    def alerts(self) -> list[dict[str, str]]:
        """The alerts, oldest first."""
        with self._lock:
            return list(self._alerts)

    def set_webhook(self, url: str | None) -> None:
        """Set the URL that events are posted to.

        Raises:
            ConfigurationError: the URL leads beyond this machine.
        """
        if url is not None and not (url.startswith(("http://", "https://")) and is_loopback_url(url)):
            # The URL may hold a token: it is not repeated.
            raise ConfigurationError("The webhook is not on this machine.", hint="Use a URL on 127.0.0.1.")
        with self._lock:
            self._webhook_url = url

    def webhook_url(self) -> str:
        """The URL that events are posted to.

        Raises:
            NoWebhookError: nobody has said.
        """
        with self._lock:
            if self._webhook_url is None:
                raise NoWebhookError("The sandbox knows no webhook.", hint="PUT its URL to /_control/webhook first.")
            return self._webhook_url

    def fire(self, dataset_id: str, envelope: Envelope = "guide") -> WebhookResponse:
        """Post a `DatasetUpdated` event for a dataset to the webhook and return its answer.

        Raises:
            NotServedError: there is no such dataset.
            NoWebhookError: nobody has said where to.
            WebhookUnreachableError: nobody answered in time.
        """
        self.version(dataset_id)
        return self.fire_raw(json.dumps(dataset_updated(dataset_id, envelope)).encode())

    def fire_raw(self, body: bytes) -> WebhookResponse:
        """Post `body`, an event or not, to the webhook and return its answer.

        Raises:
            NoWebhookError: nobody has said where to.
            WebhookUnreachableError: nobody answered in time.
        """
        return post_event(self.webhook_url(), body)

    def _dataset(self, dataset_id: str) -> _Dataset:
        try:
            return self._datasets[dataset_id]
        except KeyError:
            raise NotServedError(
                "The sandbox has no such dataset.", hint="PUT it to /_control/datasets/.", dataset_id=dataset_id
            ) from None
