"""Azure Storage Queue in front of the inbox, for a relay that cannot reach the inbox itself.

Here: events as messages, put by the relay and moved into the inbox by a process that can reach both; the poison queue.
Not here: what an event means, how the inbox keeps it (see store).

A message is deleted only after its event is committed in the inbox. A crash in between creates a duplicate, which is
harmless: an event is a hint, and a second one causes one more check. The order of events may change on the way: an
event gets its sequence number when it arrives in the inbox.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.queue import LinearRetry, QueueClient, QueueMessage
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox.database import InboxUnavailableError
from qt_pipeline.inbox.events import DrainResult, EventTooLargeError, NewEvent
from qt_pipeline.inbox.store import Inbox
from qt_pipeline.values import DATASET_ID_PATTERN, is_loopback_host

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""The maximum size of a message: https://learn.microsoft.com/rest/api/storageservices/put-message."""

POISON_SUFFIX: Final = "-poison"

_SETTING = "QT_RELAY_QUEUE_URL"
_CONNECT_SECONDS = 3
_READ_SECONDS = 5
_RETRIES = 1
_RETRY_SECONDS = 1
# By default, the queue drops a message after a week.
_NEVER_EXPIRES = -1
# The maximum of one receive request.
_PAGE = 32
_DELETING_THREADS = 8
# Messages that are not deleted by then are delivered again.
_VISIBILITY_SECONDS = 30
_SUSPICIOUS_AFTER = 5

_QUEUE_NAME = re.compile(rf"(?=.{{3,{63 - len(POISON_SUFFIX)}}}$)[a-z0-9]+(-[a-z0-9]+)*")
_SIGNATURE = re.compile(r"\bsig=[^&\s\"']*", re.IGNORECASE)
# The account of Azurite, and its key, which its documentation publishes:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_EMULATOR = "devstoreaccount1"
_EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_log = logging.getLogger(__name__)
# Azure's library logs some twenty lines per request to this logger, from INFO on.
_http_log = logging.getLogger(f"{__name__}.http")
_http_log.setLevel(logging.WARNING)

Result = TypeVar("Result")


def open_queue(url: str) -> "AzureEventQueue":
    """The queue at `url`. Sends nothing yet; the queue and its poison queue are created when first needed.

    `https://<account>.queue.core.windows.net/<queue>`, followed by `?` and a shared access signature; without one, the
    Azure identity of this process is used (`DefaultAzureCredential`). If the signature or the role does not allow
    creating queues, both queues must exist. On this machine, Azurite:
    `http://127.0.0.1:10001/devstoreaccount1/<queue>`, without a key, since its key is public.

    Raises:
        ConfigurationError: the URL does not name a queue.
    """
    # No cause: text that is not a URL may hold a secret anywhere.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refusal("The address of the event queue is not a URL.") from None
    is_local = is_loopback_host(host)
    if host is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_local)):
        raise _refusal("The address of the event queue must begin with https:// (http:// only on this machine).")
    *account, name = parts.path.strip("/").split("/")
    if len(account) > 1 or not _QUEUE_NAME.fullmatch(name):
        raise _refusal("The address of the event queue does not end in the name of a queue.")
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2] if port else host}"
    account_url = "/".join([server, *account])
    if parts.query:
        credential = AzureSasCredential(parts.query)
    elif is_local and account == [_EMULATOR]:
        credential = AzureNamedKeyCredential(_EMULATOR, _EMULATOR_KEY)
    elif parts.scheme == "https":
        # Importing it takes a second and starts a process.
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415

        credential = DefaultAzureCredential()
    else:
        raise _refusal("The address of the event queue has no signature.")

    def client(name: str) -> QueueClient:
        return QueueClient(
            account_url,
            name,
            credential=credential,
            connection_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retry_policy=LinearRetry(backoff=_RETRY_SECONDS, retry_total=_RETRIES, random_jitter_range=_RETRY_SECONDS),
            logger=_http_log,
        )

    # urllib3 logs complete addresses at DEBUG.
    logging.getLogger("urllib3.connectionpool").addFilter(_without_signature)
    return AzureEventQueue(client(name), client(name + POISON_SUFFIX), f"{account_url}/{name}")


class AzureEventQueue:
    """Events on their way to the inbox. Open with `open_queue`; safe to share between threads.

    Every method raises InboxUnavailableError within some twenty seconds if the queue does not respond or rejects it.
    """

    def __init__(self, queue: QueueClient, poison: QueueClient, address: str) -> None:
        self._queue = queue
        self._poison = poison
        self._address = address

    def put(self, event: NewEvent) -> None:
        """Return once the queue has stored the event. Messages never expire.

        Raises:
            EventTooLargeError: its message would exceed `MAX_MESSAGE_BYTES`: some 48 KiB of body.
        """
        message = _message_of(event)
        if len(message) > MAX_MESSAGE_BYTES:
            raise EventTooLargeError(
                f"The event takes {len(message)} bytes as a message, and the queue allows {MAX_MESSAGE_BYTES}.",
                hint="Let the relay write to an inbox (QT_INBOX_URL) instead of a queue.",
            )
        self._put(self._queue, message)

    def check(self) -> None:
        """Check that the queue is reachable and accepts the credentials."""
        with self._mapped_errors():
            try:
                _at(self._queue, self._queue.get_queue_properties)
            except HttpResponseError as error:
                # A signature may allow only putting messages; this response shows that it is valid.
                if getattr(error, "error_code", None) != "AuthorizationPermissionMismatch":
                    raise

    def drain_into(self, inbox: Inbox, *, limit: int, seconds: float) -> DrainResult:
        """Move messages into the inbox until none is left, `limit` are moved, or `seconds` have passed.

        Each page is one transaction of the inbox and is deleted after its commit. Messages that are not valid events go
        to the poison queue. So do those that were delivered repeatedly and that the inbox rejects while it accepts
        other writes: an inbox that is down for a while poisons nothing.

        Raises:
            InboxUnavailableError: the queue or the inbox is unavailable. Messages moved before stay moved.
        """
        deadline = time.monotonic() + seconds
        moved = poisoned = 0
        while (remaining := limit - moved - poisoned) > 0 and time.monotonic() < deadline:
            page = self._receive(min(_PAGE, remaining))
            if not page:
                break
            result = self._move(page, inbox)
            moved, poisoned = moved + result.moved, poisoned + result.poisoned
        return DrainResult(moved, poisoned)

    def close(self) -> None:
        """Close the connections."""
        self._queue.close()
        self._poison.close()

    def _receive(self, count: int) -> list[QueueMessage]:
        def receive() -> list[QueueMessage]:
            pages = self._queue.receive_messages(
                messages_per_page=count, max_messages=count, visibility_timeout=_VISIBILITY_SECONDS
            ).by_page()
            return list(next(pages, ()))

        with self._mapped_errors():
            return _at(self._queue, receive)

    def _move(self, page: Iterable[QueueMessage], inbox: Inbox) -> DrainResult:
        fresh: list[QueueMessage] = []
        events: list[NewEvent] = []
        suspicious: list[tuple[QueueMessage, NewEvent]] = []
        poison: list[QueueMessage] = []
        for message in page:
            event = _event_in(message.content)
            if event is None:
                poison.append(message)
            elif (message.dequeue_count or 0) > _SUSPICIOUS_AFTER:
                suspicious.append((message, event))
            else:
                fresh.append(message)
                events.append(event)
        inbox.append(events)
        self._delete(fresh)
        for message, event in suspicious:
            if _is_taken_alone(inbox, event):
                fresh.append(message)
                self._delete([message])
            else:
                poison.append(message)
        for message in poison:
            self._put(self._poison, message.content)
            self._delete([message])
            _log.error("The message %s of %s was moved to %s.", message.id, self._address, self._poison.queue_name)
        return DrainResult(len(fresh), len(poison))

    def _put(self, queue: QueueClient, message: str) -> None:
        with self._mapped_errors():
            _at(queue, lambda: queue.send_message(message, time_to_live=_NEVER_EXPIRES))

    def _delete(self, messages: list[QueueMessage]) -> None:
        def delete(message: QueueMessage) -> None:
            try:
                self._queue.delete_message(message)
            except AzureError as error:
                # Another process has it by now, or the queue is gone: at worst the event is duplicated.
                _log.info(
                    "The message %s was not deleted (%s) and may be delivered again.",
                    message.id,
                    _describe_error(error),
                )

        with ThreadPoolExecutor(_DELETING_THREADS) as threads:
            list(threads.map(delete, messages))

    @contextmanager
    def _mapped_errors(self) -> Generator[None]:
        try:
            yield
        except AzureError as error:
            # Without the cause, which may show the complete address.
            raise InboxUnavailableError(
                f"The event queue {self._address} is unavailable: {_describe_error(error)}.",
                hint=f"Check the address and the signature in {_SETTING}, or the role of this process's identity.",
            ) from None


class _Envelope(BaseModel):
    """An event as a message: its fields, and its raw body in base64."""

    model_config = ConfigDict(
        extra="forbid", strict=True, hide_input_in_errors=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    version: Literal[1] = 1
    event_id: "_Text"
    name: "_Text"
    dataset_id: Annotated[str, Field(pattern=f"^{DATASET_ID_PATTERN}$")] | None
    created: "_Text | None"
    body: bytes
    source_address: "_Text | None"
    received_at: AwareDatetime


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("is not printable")
    return text


_Text = Annotated[str, AfterValidator(_printable)]


def _message_of(event: NewEvent) -> str:
    """ASCII JSON, so that its length is its size, without characters that the XML around it would escape."""
    text = json.dumps(_Envelope(**asdict(event)).model_dump(mode="json"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _event_in(message: object) -> NewEvent | None:
    """The event in a message; None if it is not a valid event."""
    try:
        return NewEvent(**_Envelope.model_validate_json(str(message)).model_dump(exclude={"version"}))
    except ValidationError:
        return None


def _is_taken_alone(inbox: Inbox, event: NewEvent) -> bool:
    try:
        inbox.append([event])
    except InboxUnavailableError:
        inbox.check()
        return False
    return True


def _at(queue: QueueClient, call: Callable[[], Result]) -> Result:
    """Call the queue, and create it first if it is missing."""
    try:
        return call()
    except ResourceNotFoundError:
        try:
            queue.create_queue()
        except ResourceExistsError:
            _log.debug("Another process has created the queue %s.", queue.queue_name)
        return call()


def _describe_error(error: AzureError) -> str:
    """Describe an error of Azure's library without addresses, which may hold a signature."""
    if isinstance(error, HttpResponseError) and error.status_code:
        return f"{error.status_code} {getattr(error, 'error_code', None) or error.reason}"
    if isinstance(error, ServiceRequestError):
        return "it cannot be reached"
    if isinstance(error, ServiceResponseError):
        return "it did not respond"
    return f"{type(error).__name__}; this process may have no Azure identity"


def _without_signature(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_SIGNATURE.sub("sig=***", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _refusal(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        hint=f"Set {_SETTING} to https://<account>.queue.core.windows.net/<queue>, with ?<signature> if needed.",
    )
