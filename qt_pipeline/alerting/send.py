"""Sending: one message to one address each, through Apprise, all at once and within a bounded time.

Here: addresses, and what became of a message. Not here: which message (see messages), how often (see contacts).
An address is a secret: neither it nor the words of what goes wrong on the way are told, since those may repeat it.
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
"""How long all addresses together may take, so that one that hangs does not hold up who sends."""
_THREAD = "qt-alert"
_KEY_LETTERS = 16
# What writes the addresses it meets into its log: Apprise always, the others while a message is on its way.
_APPRISE_LOG = "apprise"
_HTTP_LOGS = ("urllib3.connectionpool", "urllib3.util.retry", "requests_oauthlib.oauth1_session")


class Address(Protocol):
    """Somebody to be told."""

    @property
    def key(self) -> str:
        """Which address it is, without telling it."""
        ...

    @property
    def label(self) -> str:
        """What a person calls it: its place among the addresses, and its service."""
        ...

    def send(self, message: Message) -> bool:
        """Whether the service took the message."""
        ...


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a message to one address; `problem` is empty where it was taken."""

    address: Address
    problem: str = ""

    @property
    def taken(self) -> bool:
        """Whether the service took it."""
        return not self.problem


class AppriseAddress:
    """One Apprise URL, the `number`th of the setting."""

    def __init__(self, url: SecretStr, number: int) -> None:
        self._url = url
        self._number = number

    @property
    def key(self) -> str:
        """A hash: it stays the same when other addresses come or go."""
        return hashlib.sha256(self._url.get_secret_value().encode()).hexdigest()[:_KEY_LETTERS]

    @property
    def label(self) -> str:
        """Its number and, where Apprise knows it, its service."""
        service = getattr(self._service, "service_name", None)
        return f"address {self._number} ({service})" if service else f"address {self._number}"

    @property
    def is_known(self) -> bool:
        """Whether Apprise can make something of the URL. Nothing is sent."""
        return self._service is not None

    def send(self, message: Message) -> bool:
        """See Address.

        Raises:
            UnknownServiceError: Apprise can make nothing of the URL.
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
        # A second and a half, most of it for services that nobody has named: for those alone who have named one.
        from apprise import Apprise, AppriseAsset, OverflowMode  # noqa: PLC0415

        _keep_quiet()
        asset = AppriseAsset(app_id="qt_pipeline", app_desc="qt_pipeline", async_mode=False)
        url = self._url.get_secret_value()
        service: NotifyBase | None = Apprise.instantiate(url, asset=asset)  # pyright: ignore[reportUnknownMemberType]  # of a dict
        if service is not None and "overflow=" not in url:
            # By default a service that takes less would refuse the message.
            service.overflow_mode = OverflowMode.SPLIT
        return service


class UnknownServiceError(Exception):
    """An address that Apprise can make nothing of."""


def addresses_of(urls: Sequence[SecretStr]) -> tuple[AppriseAddress, ...]:
    """The addresses of the setting, each once."""
    different = {url.get_secret_value(): url for url in urls}
    return tuple(AppriseAddress(url, number) for number, url in enumerate(different.values(), 1))


class Sender:
    """Sends messages, each in a thread of its own, and waits for all of them no longer than `seconds`.

    What is not over by then counts as not taken. Its address gets nothing more until it is, so that one that hangs for
    ever costs one thread; and what it took late is not sent again.
    """

    def __init__(self, seconds: float = SEND_SECONDS) -> None:
        self.seconds = seconds
        self._late: dict[str, _Sending] = {}

    def deliver(self, messages: Mapping[Address, Message]) -> list[SendResult]:
        """Send each address its message, all at once; never raises."""
        _keep_quiet()
        under_way = {address: self._send(address, message) for address, message in messages.items()}
        deadline = time.monotonic() + self.seconds
        for sending in under_way.values():
            sending.thread.join(max(0.0, deadline - time.monotonic()))
        return [
            SendResult(address, self._problem(sending, messages[address])) for address, sending in under_way.items()
        ]

    def _send(self, address: Address, message: Message) -> "_Sending":
        """The sending of this message; or of an earlier one that is not over, or was this very message."""
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
    """A message on its way, and what became of it once its thread has ended."""

    def __init__(self, address: Address, message: Message) -> None:
        self.address = address
        self.message = message
        self.problem = ""
        # A daemon: it is not waited for when the process ends.
        self.thread = threading.Thread(target=self._run, name=f"{_THREAD}-{address.key}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.problem = "" if self.address.send(self.message) else "it did not take the message"
        except UnknownServiceError:
            self.problem = "it is not an address that Apprise knows"
        except Exception as error:  # noqa: BLE001  # a hundred services with errors of their own, whose words may show keys
            self.problem = f"{type(error).__name__} on the way"


def _keep_quiet() -> None:
    """Let no address get into a log."""
    for name, quiet in ((_APPRISE_LOG, _never), *((name, _not_from_here) for name in _HTTP_LOGS)):
        # A filter that is there already is not added again.
        logging.getLogger(name).addFilter(quiet)


def _never(_record: logging.LogRecord) -> bool:
    return False


def _not_from_here(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith(_THREAD)
