"""Sends alert messages through Apprise, to all addresses at once and within a time limit.

Here: addresses and send results. Not here: message texts (see messages), rate limits (see contacts).
An address is a secret: it is never logged, nor are error messages, which may contain it.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from qt_pipeline.alerting.messages import Message, Severity

if TYPE_CHECKING:
    from apprise import NotifyBase

SEND_SECONDS = 15.0
"""The time limit for all addresses together, so that one that hangs does not block the caller."""
_THREAD = "qt-alert"
_KEY_LETTERS = 16
# Loggers that write addresses: Apprise always, the others while a message is being sent.
_APPRISE_LOG = "apprise"
_HTTP_LOGS = ("urllib3.connectionpool", "urllib3.util.retry", "requests_oauthlib.oauth1_session")


class Address(Protocol):
    """A recipient of alerts."""

    @property
    def key(self) -> str:
        """An identifier that does not reveal the address."""
        ...

    @property
    def label(self) -> str:
        """A label for people: its position among the addresses, and its service."""
        ...

    def send(self, message: Message) -> bool:
        """Send the message; False if the service did not accept it."""
        ...


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of a message to one address; `problem` is empty if it was delivered."""

    address: Address
    problem: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the service accepted the message."""
        return not self.problem


class AppriseAddress:
    """One Apprise URL; `number` is its position in the setting."""

    def __init__(self, url: SecretStr, number: int) -> None:
        self._url = url
        self._number = number

    @property
    def key(self) -> str:
        """A hash, independent of the other addresses."""
        return hashlib.sha256(self._url.get_secret_value().encode()).hexdigest()[:_KEY_LETTERS]

    @property
    def label(self) -> str:
        """Its number and, if Apprise recognizes it, its service."""
        service = getattr(self._service, "service_name", None)
        return f"address {self._number} ({service})" if service else f"address {self._number}"

    @property
    def is_known(self) -> bool:
        """Whether Apprise recognizes the URL. Sends nothing."""
        return self._service is not None

    def send(self, message: Message) -> bool:
        """See Address.

        Raises:
            UnknownServiceError: Apprise does not recognize the URL.
        """
        from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415  # see `_service`

        if not self.is_known:
            raise UnknownServiceError
        apprise = Apprise(self._service)
        types = {
            Severity.FAILURE: NotifyType.FAILURE,
            Severity.WARNING: NotifyType.WARNING,
            Severity.SUCCESS: NotifyType.SUCCESS,
        }
        return bool(
            apprise.notify(
                body=message.body,
                title=message.title,
                notify_type=types.get(message.severity, NotifyType.INFO),
                body_format=NotifyFormat.TEXT,
            )
        )

    @cached_property
    def _service(self) -> "NotifyBase | None":
        # The import takes 1.5 s, so only a process with an address pays for it.
        from apprise import Apprise, AppriseAsset, OverflowMode  # noqa: PLC0415

        _keep_quiet()
        asset = AppriseAsset(app_id="qt_pipeline", app_desc="qt_pipeline", async_mode=False)
        url = self._url.get_secret_value()
        service: NotifyBase | None = Apprise.instantiate(url, asset=asset)  # pyright: ignore[reportUnknownMemberType]  # of a dict
        if service is not None and "overflow=" not in url:
            # By default a service with a lower length limit would reject the message.
            service.overflow_mode = OverflowMode.SPLIT
        return service


class UnknownServiceError(Exception):
    """Apprise does not recognize the address."""


def addresses_of(urls: Sequence[SecretStr]) -> tuple[AppriseAddress, ...]:
    """The distinct addresses of the setting."""
    unique = {url.get_secret_value(): url for url in urls}
    return tuple(AppriseAddress(url, number) for number, url in enumerate(unique.values(), 1))


class Sender:
    """Sends each message in a separate thread and waits at most `seconds` for all of them.

    A message still being sent by then counts as failed. Its address gets no other message until that thread ends, so an
    address that hangs costs one thread. A message that was delivered late is not sent again.
    """

    def __init__(self, seconds: float = SEND_SECONDS) -> None:
        self.seconds = seconds
        self._late: dict[str, _Sending] = {}

    def deliver(self, messages: Mapping[Address, Message]) -> list[SendResult]:
        """Send each address its message, concurrently. Never raises."""
        _keep_quiet()
        sendings = {address: self._send(address, message) for address, message in messages.items()}
        deadline = time.monotonic() + self.seconds
        for sending in sendings.values():
            sending.thread.join(max(0.0, deadline - time.monotonic()))
        return [SendResult(address, self._problem(sending, messages[address])) for address, sending in sendings.items()]

    def _send(self, address: Address, message: Message) -> "_Sending":
        """Start sending, unless an earlier sending is unfinished or has delivered this very message."""
        late = self._late.pop(address.key, None)
        if late is not None and (late.thread.is_alive() or (late.message == message and not late.problem)):
            return late
        return _Sending(address, message)

    def _problem(self, sending: "_Sending", message: Message) -> str:
        if sending.thread.is_alive():
            self._late[sending.address.key] = sending
            return f"it did not answer within {self.seconds:g} seconds"
        return sending.problem if sending.message == message else "it was busy with an earlier message"


class _Sending:
    """A message being sent, and the result once its thread has ended."""

    def __init__(self, address: Address, message: Message) -> None:
        self.address = address
        self.message = message
        self.problem = ""
        # A daemon thread does not delay the end of the process.
        self.thread = threading.Thread(target=self._run, name=f"{_THREAD}-{address.key}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.problem = "" if self.address.send(self.message) else "it did not accept the message"
        except UnknownServiceError:
            self.problem = "Apprise does not recognize it"
        except Exception as error:  # noqa: BLE001  # any service's error; its message may contain keys
            self.problem = f"{type(error).__name__} while sending"


def _keep_quiet() -> None:
    """Keep addresses out of logs."""
    for name, quiet in ((_APPRISE_LOG, _never), *((name, _not_from_here) for name in _HTTP_LOGS)):
        # addFilter ignores a filter that was added before.
        logging.getLogger(name).addFilter(quiet)


def _never(_record: logging.LogRecord) -> bool:
    return False


def _not_from_here(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith(_THREAD)
