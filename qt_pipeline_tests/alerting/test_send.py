"""Sending through Apprise to real services on this machine: those that take it, and those that do not."""

import logging
import socket
import time

import pytest
from pydantic import SecretStr

from qt_pipeline.alerting import TEST, Message, Sender, SendResult, Severity, addresses_of
from qt_pipeline_tests.alerting.services import SECRET, Service

MESSAGE = Message("[qt_pipeline] Claims does not load", "It broke.\nWhat to do: Mend it.", Severity.FAILURE)


@pytest.fixture
def refusing() -> SecretStr:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return SecretStr(f"json://127.0.0.1:{taken.getsockname()[1]}/{SECRET}")


def send(*urls: SecretStr, courier: Sender | None = None, message: Message = MESSAGE) -> list[SendResult]:
    return (courier or Sender()).deliver(dict.fromkeys(addresses_of(urls), message))


def test_a_message_arrives_with_title_text_and_tone(service: Service) -> None:
    [outcome] = send(service.url)
    assert outcome.taken
    [received] = service.received
    assert received["title"] == MESSAGE.title
    assert received["message"] == MESSAGE.body
    assert received["type"] == "failure"


@pytest.mark.parametrize("tone", Severity)
def test_every_tone_is_one_that_services_know(service: Service, tone: Severity) -> None:
    send(service.url, message=Message("A title", "A text", tone))
    assert service.received[0]["type"] == tone.value


def test_each_address_is_told_whatever_becomes_of_the_others(
    service: Service, other_service: Service, refusing: SecretStr
) -> None:
    other_service.status = 500
    outcomes = send(refusing, other_service.url, SecretStr(f"nonsense://{SECRET}"), service.url)
    assert [outcome.taken for outcome in outcomes] == [False, False, False, True]
    assert [outcome.address.label for outcome in outcomes] == [
        "address 1 (JSON)",
        "address 2 (JSON)",
        "address 3",
        "address 4 (JSON)",
    ]
    assert outcomes[1].problem == "it did not take the message"
    assert outcomes[2].problem == "it is not an address that Apprise knows"
    assert len(service.received) == 1


def test_an_address_that_is_named_twice_is_told_once(service: Service) -> None:
    assert len(send(service.url, service.url)) == 1


def test_an_address_keeps_its_key_when_another_comes_before_it(service: Service, refusing: SecretStr) -> None:
    [alone] = addresses_of([service.url])
    assert addresses_of([refusing, service.url])[1].key == alone.key
    assert addresses_of([refusing])[0].key != alone.key


def test_a_service_that_hangs_holds_nobody_up_and_gets_nothing_more_meanwhile(
    service: Service, other_service: Service
) -> None:
    service.hang()
    courier = Sender(seconds=0.3)
    send(other_service.url)  # Apprise's own beginning takes a second.
    begun = time.monotonic()
    hanging, well = send(service.url, other_service.url, courier=courier)
    assert time.monotonic() - begun < 3
    assert hanging.problem == "it did not answer within 0.3 seconds"
    assert well.taken
    assert not send(service.url, courier=courier, message=TEST)[0].taken
    assert service.requests == 1
    service.answer.set()
    until_taken(service, courier, TEST)
    assert service.titles == [MESSAGE.title, TEST.title]


def test_what_a_service_took_late_is_not_sent_again(service: Service) -> None:
    service.hang()
    courier = Sender(seconds=0.3)
    assert not send(service.url, courier=courier)[0].taken
    service.answer.set()
    await_late(courier)
    assert send(service.url, courier=courier)[0].taken
    assert service.titles == [MESSAGE.title]
    assert send(service.url, courier=courier)[0].taken
    assert service.titles == [MESSAGE.title] * 2


def test_what_a_service_refused_late_is_sent_again(service: Service) -> None:
    service.hang()
    service.status = 500
    courier = Sender(seconds=0.3)
    assert not send(service.url, courier=courier)[0].taken
    service.answer.set()
    await_late(courier)
    service.status = 200
    assert send(service.url, courier=courier)[0].taken
    assert service.titles == [MESSAGE.title]


def await_late(courier: Sender) -> None:
    for sending in courier._late.values():
        sending.thread.join(30)


def until_taken(service: Service, courier: Sender, message: Message) -> None:
    deadline = time.monotonic() + 30
    while not send(service.url, courier=courier, message=message)[0].taken:
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Exploding:
    key = label = "exploding"

    def send(self, message: Message) -> bool:
        raise ValueError(f"{SECRET} in {message.title}")


def test_an_error_on_the_way_is_told_by_its_kind_alone() -> None:
    [outcome] = Sender().deliver({Exploding(): MESSAGE})
    assert outcome.problem == "ValueError on the way"


def test_no_address_gets_into_a_log_or_an_outcome(
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
    outcomes = send(*urls)
    told = capfd.readouterr()
    assert "this log is seen" in caplog.text
    for text in (caplog.text, repr(outcomes), repr(addresses_of(urls)), told.out, told.err):
        assert SECRET not in text
    assert not any(SECRET in outcome.address.label + outcome.address.key for outcome in outcomes)


def test_others_still_get_into_the_log(caplog: pytest.LogCaptureFixture, service: Service) -> None:
    caplog.set_level(logging.DEBUG)
    send(service.url)
    logging.getLogger("urllib3.connectionpool").debug("somebody else's request")
    assert "somebody else's request" in caplog.text


def test_a_message_that_is_long_for_a_service_comes_in_parts() -> None:
    [address] = addresses_of([SecretStr("discord://1234567890/abcdefghijklmnopqrstuvwxyz")])
    [bound] = addresses_of([SecretStr("discord://1234567890/abcdefghijklmnopqrstuvwxyz?overflow=truncate")])
    assert [getattr(one._service, "overflow_mode", None) for one in (address, bound)] == ["split", "truncate"]


def test_the_test_message_says_what_it_is() -> None:
    assert "test" in TEST.title.lower()
