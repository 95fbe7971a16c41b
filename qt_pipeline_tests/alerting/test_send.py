"""Sending through Apprise to real services on this machine that accept, reject or hang."""

import logging
import socket
import time

import pytest
from pydantic import SecretStr

from qt_pipeline.alerting import TEST, Message, Sender, SendResult, Severity, addresses_of
from qt_pipeline_tests.alerting.services import SECRET, Service

MESSAGE = Message("[qt_pipeline] Claims does not load", "It broke.\nHow to fix: Fix it.", Severity.FAILURE)


@pytest.fixture
def refusing() -> SecretStr:
    """A URL of a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return SecretStr(f"json://127.0.0.1:{closed.getsockname()[1]}/{SECRET}")


def send(*urls: SecretStr, sender: Sender | None = None, message: Message = MESSAGE) -> list[SendResult]:
    return (sender or Sender()).deliver(dict.fromkeys(addresses_of(urls), message))


def test_a_message_arrives_with_title_text_and_severity(service: Service) -> None:
    [result] = send(service.url)
    assert result.delivered
    [received] = service.received
    assert received["title"] == MESSAGE.title
    assert received["message"] == MESSAGE.body
    assert received["type"] == "failure"


@pytest.mark.parametrize("severity", Severity)
def test_every_severity_is_sent_as_a_type_that_services_know(service: Service, severity: Severity) -> None:
    send(service.url, message=Message("A title", "A text", severity))
    assert service.received[0]["type"] == severity.value


def test_a_failing_address_does_not_affect_the_others(
    service: Service, other_service: Service, refusing: SecretStr
) -> None:
    other_service.status = 500
    results = send(refusing, other_service.url, SecretStr(f"nonsense://{SECRET}"), service.url)
    assert [result.delivered for result in results] == [False, False, False, True]
    assert [result.address.label for result in results] == [
        "address 1 (JSON)",
        "address 2 (JSON)",
        "address 3",
        "address 4 (JSON)",
    ]
    assert results[1].problem == "it did not accept the message"
    assert results[2].problem == "Apprise does not recognize it"
    assert len(service.received) == 1


def test_a_repeated_address_gets_one_message(service: Service) -> None:
    assert len(send(service.url, service.url)) == 1


def test_an_address_keeps_its_key_when_another_comes_before_it(service: Service, refusing: SecretStr) -> None:
    [alone] = addresses_of([service.url])
    assert addresses_of([refusing, service.url])[1].key == alone.key
    assert addresses_of([refusing])[0].key != alone.key


def test_a_service_that_hangs_blocks_nothing_and_gets_no_other_message_meanwhile(
    service: Service, other_service: Service
) -> None:
    service.hang()
    sender = Sender(seconds=0.3)
    send(other_service.url)  # The first use of Apprise takes a second.
    begun = time.monotonic()
    hanging, healthy = send(service.url, other_service.url, sender=sender)
    assert time.monotonic() - begun < 3
    assert hanging.problem == "it did not answer within 0.3 seconds"
    assert healthy.delivered
    assert not send(service.url, sender=sender, message=TEST)[0].delivered
    assert service.requests == 1
    service.answer.set()
    send_until_delivered(service, sender, TEST)
    assert service.titles == [MESSAGE.title, TEST.title]


def test_a_message_delivered_late_is_not_sent_again(service: Service) -> None:
    service.hang()
    sender = Sender(seconds=0.3)
    assert not send(service.url, sender=sender)[0].delivered
    service.answer.set()
    await_late(sender)
    assert send(service.url, sender=sender)[0].delivered
    assert service.titles == [MESSAGE.title]
    assert send(service.url, sender=sender)[0].delivered
    assert service.titles == [MESSAGE.title] * 2


def test_a_message_rejected_late_is_sent_again(service: Service) -> None:
    service.hang()
    service.status = 500
    sender = Sender(seconds=0.3)
    assert not send(service.url, sender=sender)[0].delivered
    service.answer.set()
    await_late(sender)
    service.status = 200
    assert send(service.url, sender=sender)[0].delivered
    assert service.titles == [MESSAGE.title]


def await_late(sender: Sender) -> None:
    for sending in sender._late.values():
        sending.thread.join(30)


def send_until_delivered(service: Service, sender: Sender, message: Message) -> None:
    deadline = time.monotonic() + 30
    while not send(service.url, sender=sender, message=message)[0].delivered:
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Exploding:
    key = label = "exploding"

    def send(self, message: Message) -> bool:
        raise ValueError(f"{SECRET} in {message.title}")


def test_an_error_while_sending_is_reported_by_its_type_only() -> None:
    [result] = Sender().deliver({Exploding(): MESSAGE})
    assert result.problem == "ValueError while sending"


def test_no_log_or_result_contains_an_address(
    service: Service,
    other_service: Service,
    refusing: SecretStr,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.NOTSET)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.DEBUG)
    other_service.status = 500
    urls = [service.url, other_service.url, refusing, SecretStr(f"nonsense://{SECRET}"), SecretStr(f"json://:{SECRET}")]
    logging.getLogger("qt_pipeline.canary").debug("this log is seen")
    results = send(*urls)
    output = capfd.readouterr()
    assert "this log is seen" in caplog.text
    for text in (caplog.text, repr(results), repr(addresses_of(urls)), output.out, output.err):
        assert SECRET not in text
    assert not any(SECRET in result.address.label + result.address.key for result in results)


def test_logs_of_other_code_are_kept(caplog: pytest.LogCaptureFixture, service: Service) -> None:
    caplog.set_level(logging.DEBUG)
    send(service.url)
    logging.getLogger("urllib3.connectionpool").debug("somebody else's request")
    assert "somebody else's request" in caplog.text


def test_a_message_longer_than_the_service_allows_is_split() -> None:
    [address] = addresses_of([SecretStr("discord://1234567890/abcdefghijklmnopqrstuvwxyz")])
    [truncating] = addresses_of([SecretStr("discord://1234567890/abcdefghijklmnopqrstuvwxyz?overflow=truncate")])
    assert [getattr(url._service, "overflow_mode", None) for url in (address, truncating)] == [
        "split",
        "truncate",
    ]


def test_the_test_message_says_what_it_is() -> None:
    assert "test" in TEST.title.lower()
