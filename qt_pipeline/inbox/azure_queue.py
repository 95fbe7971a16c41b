"""The front door on Azure: a Storage Queue that takes events where the inbox itself is out of reach.

Here: events as messages, put by the relay and moved into the inbox by whoever can reach both; the poison queue.
Not here: what an event means, how the inbox keeps it (see store).

A message is deleted only after its event is committed in the inbox. So a crash in between makes a duplicate, which is
harmless: an event is a hint, and a second one asks for one more look. The order of events may change on the way: an
event has its sequence number from the inbox, when it arrives there.
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
"""The most that a message may have: https://learn.microsoft.com/rest/api/storageservices/put-message."""

POISON_SUFFIX: Final = "-poison"

_SETTING = "QT_RELAY_QUEUE_URL"
_CONNECT_SECONDS = 3
_READ_SECONDS = 5
_RETRIES = 1
_RETRY_SECONDS = 1
# Unless told otherwise, the queue drops a message after a week.
_NEVER_EXPIRES = -1
# The most that one request can receive.
_PAGE = 32
_DELETING_THREADS = 8
# A page that is neither committed nor deleted by then comes again.
_VISIBILITY_SECONDS = 30
_SUSPICIOUS_AFTER = 5

_QUEUE_NAME = re.compile(rf"(?=.{{3,{63 - len(POISON_SUFFIX)}}}$)[a-z0-9]+(-[a-z0-9]+)*")
_SIGNATURE = re.compile(r"\bsig=[^&\s\"']*", re.IGNORECASE)
# The account of Azurite, and its key, which its documentation publishes:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_EMULATOR = "devstoreaccount1"
_EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_log = logging.getLogger(__name__)
# Azure's library writes some twenty lines for each request into this one, from INFO on.
_http_log = logging.getLogger(f"{__name__}.http")
_http_log.setLevel(logging.WARNING)

Answer = TypeVar("Answer")


def open_queue(url: str) -> "AzureEventQueue":
    """The queue at `url`. Nothing is sent yet; the queue and its poison queue are made when they are missed.

    `https://<account>.queue.core.windows.net/<queue>`, followed by `?` and a shared access signature, or without one:
    then whatever Azure identity this process has is used (`DefaultAzureCredential`). Where the signature or the role
    does not allow queues to be made, both must be there. On this machine, Azurite:
    `http://127.0.0.1:10001/devstoreaccount1/<queue>`, without a key, since its key is public.

    Raises:
        ConfigurationError: no queue can be at this URL.
    """
    # What is not a URL may hold a secret anywhere: no cause is shown.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refusal("The address of the event queue is not a URL.") from None
    is_local = is_loopback_host(host)
    if host is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_local)):
        raise _refusal("The address of the event queue must begin with https:// (plain http is only for this machine).")
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
        # To import it takes a second and starts a process.
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

    # The library below Azure's shows whole addresses at DEBUG.
    logging.getLogger("urllib3.connectionpool").addFilter(_without_signature)
    return AzureEventQueue(client(name), client(name + POISON_SUFFIX), f"{account_url}/{name}")


class AzureEventQueue:
    """Events on their way to the inbox. Open with `open_queue`; safe to share between threads.

    Every method raises InboxUnavailableError when the queue does not do what is asked, within some twenty seconds.
    """

    def __init__(self, queue: QueueClient, poison: QueueClient, address: str) -> None:
        self._queue = queue
        self._poison = poison
        self._address = address

    def put(self, event: NewEvent) -> None:
        """Return when the queue keeps the event. It keeps it until it is deleted, however long that takes.

        Raises:
            EventTooLargeError: its message would have more than `MAX_MESSAGE_BYTES`: some 48 KiB of body.
        """
        message = _message_of(event)
        if len(message) > MAX_MESSAGE_BYTES:
            raise EventTooLargeError(
                f"The event takes {len(message)} bytes as a message, and the queue takes {MAX_MESSAGE_BYTES}.",
                hint="Let the relay write to an inbox (QT_INBOX_URL) in place of a queue.",
            )
        self._put(self._queue, message)

    def check(self) -> None:
        """Return if the queue is there and knows who asks."""
        with self._errors_explained():
            try:
                _at(self._queue, self._queue.get_queue_properties)
            except HttpResponseError as error:
                # Who may only put messages may not look at the queue: but who is told so is known there.
                if getattr(error, "error_code", None) != "AuthorizationPermissionMismatch":
                    raise

    def drain_into(self, inbox: Inbox, *, limit: int, seconds: float) -> DrainResult:
        """Move messages into the inbox until there is none, or `limit` are moved, or `seconds` are over.

        A page of them is one transaction of the inbox, and deleted after its commit. What cannot be understood goes to
        the poison queue. So does what has come again and again and what the inbox refuses alone while it takes
        other writes: an inbox that is down for a while makes no poison.

        Raises:
            InboxUnavailableError: the queue or the inbox is. What was moved before stays moved, nothing is lost.
        """
        deadline = time.monotonic() + seconds
        moved = poisoned = 0
        while (left := limit - moved - poisoned) > 0 and time.monotonic() < deadline:
            page = self._receive(min(_PAGE, left))
            if not page:
                break
            one = self._move(page, inbox)
            moved, poisoned = moved + one.moved, poisoned + one.poisoned
        return DrainResult(moved, poisoned)

    def close(self) -> None:
        """Give the connections back to the system."""
        self._queue.close()
        self._poison.close()

    def _receive(self, count: int) -> list[QueueMessage]:
        def receive() -> list[QueueMessage]:
            pages = self._queue.receive_messages(
                messages_per_page=count, max_messages=count, visibility_timeout=_VISIBILITY_SECONDS
            ).by_page()
            return list(next(pages, ()))

        with self._errors_explained():
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
            _log.error("The message %s of %s was set aside in %s.", message.id, self._address, self._poison.queue_name)
        return DrainResult(len(fresh), len(poison))

    def _put(self, queue: QueueClient, message: str) -> None:
        with self._errors_explained():
            _at(queue, lambda: queue.send_message(message, time_to_live=_NEVER_EXPIRES))

    def _delete(self, messages: list[QueueMessage]) -> None:
        def delete(message: QueueMessage) -> None:
            try:
                self._queue.delete_message(message)
            except AzureError as error:
                # Somebody else has it by now, or the queue is gone: at worst the event comes twice.
                _log.info("The message %s was not deleted (%s) and may come again.", message.id, _describe_error(error))

        with ThreadPoolExecutor(_DELETING_THREADS) as threads:
            list(threads.map(delete, messages))

    @contextmanager
    def _errors_explained(self) -> Generator[None]:
        try:
            yield
        except AzureError as error:
            # Without the cause, which may show the whole address.
            raise InboxUnavailableError(
                f"The event queue {self._address} is not available: {_describe_error(error)}.",
                hint=f"Check the address and the signature in {_SETTING}, or the role of this process's identity.",
            ) from None


class _Envelope(BaseModel):
    """An event as a message: what the relay knows of it, and its raw body in base64."""

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
    """As ASCII, so that its length is its size, and without what XML, in which it travels, would write otherwise."""
    text = json.dumps(_Envelope(**asdict(event)).model_dump(mode="json"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _event_in(message: object) -> NewEvent | None:
    """The event that a message holds; None for a message that is none of ours."""
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


def _at(queue: QueueClient, call: Callable[[], Answer]) -> Answer:
    """The answer to a call, for which the queue is made if it is missing."""
    try:
        return call()
    except ResourceNotFoundError:
        try:
            queue.create_queue()
        except ResourceExistsError:
            _log.debug("Another process has made the queue %s.", queue.queue_name)
        return call()


def _describe_error(error: AzureError) -> str:
    """What Azure's library says, without addresses, which may hold a signature."""
    if isinstance(error, HttpResponseError) and error.status_code:
        return f"{error.status_code} {getattr(error, 'error_code', None) or error.reason}"
    if isinstance(error, ServiceRequestError):
        return "it cannot be reached"
    if isinstance(error, ServiceResponseError):
        return "it did not answer"
    return f"{type(error).__name__}, this process may have no identity that Azure knows"


def _without_signature(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_SIGNATURE.sub("sig=***", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _refusal(what: str) -> ConfigurationError:
    return ConfigurationError(
        what, hint=f"Set {_SETTING} to https://<account>.queue.core.windows.net/<queue>, with ?<signature> if needed."
    )
