"""The queue on the way to the inbox, on a real Azurite."""

import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from azure.storage.queue import AccountSasPermissions, QueueClient, ResourceTypes, generate_account_sas
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import EventTooLargeError, Inbox, InboxUnavailableError, NewEvent, azure_queue, open_inbox
from qt_pipeline.inbox.azure_queue import MAX_MESSAGE_BYTES, AzureEventQueue, DrainResult, open_queue
from qt_pipeline_tests.examples import few_examples

ACCOUNT = "devstoreaccount1"
KEY = azure_queue._EMULATOR_KEY
EVENT = NewEvent(
    "e-1", "DatasetUpdated", "d-one", "yesterday", b'{"x": "\\u00e9 <&>"}\r\n\xff', "127.0.0.1", datetime.now(UTC)
)
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = open_inbox(f"sqlite:///{tmp_path}/inbox.db")
    yield opened
    opened.close()


@pytest.fixture
def queue(queue_url: str) -> Iterator[AzureEventQueue]:
    opened = open_queue(queue_url)
    yield opened
    opened.close()


@pytest.fixture
def client(queue_url: str) -> Callable[[str], QueueClient]:
    """Azure's own client of the queue, or of the poison queue."""

    def make(suffix: str = "") -> QueueClient:
        return QueueClient.from_queue_url(queue_url + suffix, {"account_name": ACCOUNT, "account_key": KEY})

    return make


@pytest.fixture
def signed(queue_url: str) -> Callable[[str, timedelta], str]:
    """The queue's address with a signature for some permissions."""

    def sign(permissions: str, lasting: timedelta = timedelta(hours=1)) -> str:
        signature = generate_account_sas(
            ACCOUNT,
            KEY,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions.from_string(permissions),
            datetime.now(UTC) + lasting,
        )
        return f"{queue_url}?{signature}"

    return sign


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is received and not deleted is seen again a second later, the shortest time there is, and soon suspected."""
    monkeypatch.setattr(azure_queue, "_VISIBILITY_SECONDS", 1)
    monkeypatch.setattr(azure_queue, "_SUSPICIOUS_AFTER", 2)


def received(queue: AzureEventQueue, times: int) -> None:
    """Somebody receives everything and never deletes it, several times."""
    for _ in range(times):
        deadline = time.monotonic() + 20
        while not queue._receive(32):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def moved_in_the_end(queue: AzureEventQueue, inbox: Inbox) -> DrainResult:
    """What is moved as soon as there is something to move."""
    deadline = time.monotonic() + 20
    while (moved := queue.drain_into(inbox, limit=100, seconds=10)) == DrainResult(0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return moved


def as_new(inbox: Inbox) -> list[NewEvent]:
    names = ("event_id", "name", "dataset_id", "created", "body", "source_address", "received_at")
    return [NewEvent(*(getattr(one, name) for name in names)) for one in reversed(inbox.events(limit=1000))]


def test_an_event_arrives_as_it_was_put_and_is_gone_from_the_queue(queue: AzureEventQueue, inbox: Inbox) -> None:
    queue.put(EVENT)
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 0)
    assert as_new(inbox) == [EVENT]
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(0, 0)


@few_examples()
@given(
    st.builds(
        NewEvent,
        event_id=TEXTS,
        name=TEXTS,
        dataset_id=st.none() | st.from_regex("[A-Za-z0-9][A-Za-z0-9_-]{0,99}", fullmatch=True),
        created=st.none() | TEXTS,
        body=st.binary(max_size=500),
        source_address=st.none() | TEXTS,
        received_at=st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # a zone follows
    )
)
def test_every_event_that_can_be_arrives_as_it_was_put(queue: AzureEventQueue, inbox: Inbox, event: NewEvent) -> None:
    queue.put(event)
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 0)
    assert as_new(inbox)[-1] == event


def test_a_message_never_expires(queue: AzureEventQueue, client: Callable[..., QueueClient]) -> None:
    queue.put(EVENT)
    [message] = client().peek_messages(max_messages=5)
    assert message.expires_on is not None
    assert message.expires_on.year == 9999


def test_many_messages_are_moved_up_to_the_limit(queue: AzureEventQueue, inbox: Inbox) -> None:
    for number in range(40):
        queue.put(NewEvent(str(number), "DatasetUpdated", "d-one", None, b"{}"))
    assert queue.drain_into(inbox, limit=35, seconds=30) == DrainResult(35, 0)
    assert queue.drain_into(inbox, limit=35, seconds=30) == DrainResult(5, 0)
    assert sorted(int(one.event_id) for one in inbox.events(limit=1000)) == list(range(40))


def test_no_message_is_taken_when_there_is_no_time(queue: AzureEventQueue, inbox: Inbox) -> None:
    queue.put(EVENT)
    assert queue.drain_into(inbox, limit=10, seconds=0) == DrainResult(0, 0)
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 0)


def test_a_queue_that_is_not_there_is_made_when_it_is_missed(
    queue: AzureEventQueue, inbox: Inbox, client: Callable[..., QueueClient]
) -> None:
    queue.check()
    client().delete_queue()
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(0, 0)
    client().delete_queue()
    queue.put(EVENT)
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 0)


def test_the_largest_event_fits_and_a_larger_one_is_refused_before_it_is_sent(
    queue: AzureEventQueue, inbox: Inbox
) -> None:
    empty = len(azure_queue._message_of(NewEvent("e", "n", None, None, b"", None, EVENT.received_at)))
    most = (MAX_MESSAGE_BYTES - empty) // 4 * 3
    assert most > 48_000
    queue.put(NewEvent("e", "n", None, None, b"x" * most, None, EVENT.received_at))
    with pytest.raises(EventTooLargeError, match="QT_INBOX_URL"):
        queue.put(NewEvent("e", "n", None, None, b"x" * (most + 1), None, EVENT.received_at))
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 0)
    assert len(inbox.events()[0].body) == most


def test_a_crash_between_commit_and_delete_makes_a_duplicate_and_nothing_worse(
    queue: AzureEventQueue, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)

    class KilledError(Exception):
        pass

    def killed(_: object) -> None:
        raise KilledError

    queue.put(EVENT)
    with monkeypatch.context() as patched:
        patched.setattr(queue, "_delete", killed)
        with pytest.raises(KilledError):
            queue.drain_into(inbox, limit=10, seconds=10)
    assert moved_in_the_end(queue, inbox) == DrainResult(1, 0)
    assert as_new(inbox) == [EVENT, EVENT]


def test_a_message_that_somebody_else_has_by_now_is_not_deleted_and_does_no_harm(
    queue: AzureEventQueue, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    append = inbox.append

    def slowly(events: list[NewEvent]) -> list[int]:
        received(queue, 1)
        return append(events)

    queue.put(EVENT)
    with monkeypatch.context() as patched:
        patched.setattr(inbox, "append", slowly)
        assert queue.drain_into(inbox, limit=1, seconds=10) == DrainResult(1, 0)
    assert moved_in_the_end(queue, inbox) == DrainResult(1, 0)
    assert as_new(inbox) == [EVENT, EVENT]


def test_an_inbox_that_refuses_keeps_messages_in_the_queue_and_makes_no_poison_of_them(
    queue: AzureEventQueue, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    queue.put(EVENT)
    received(queue, azure_queue._SUSPICIOUS_AFTER + 1)

    def refuse(*given: list[NewEvent]) -> list[int]:
        if given == ([],):
            return []
        raise InboxUnavailableError("It is down.")

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "append", refuse)
        patched.setattr(inbox, "check", refuse)
        with pytest.raises(InboxUnavailableError, match="down"):
            moved_in_the_end(queue, inbox)
    assert moved_in_the_end(queue, inbox) == DrainResult(1, 0)


def test_what_comes_again_and_again_and_the_inbox_alone_refuses_is_poison_and_hinders_no_other(
    queue: AzureEventQueue, inbox: Inbox, client: Callable[..., QueueClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    append = inbox.append

    def refuse_one(events: list[NewEvent]) -> list[int]:
        if any(event.event_id == "bad" for event in events):
            raise InboxUnavailableError("Not this one.")
        return append(events)

    monkeypatch.setattr(inbox, "append", refuse_one)
    queue.put(NewEvent("bad", "DatasetUpdated", "d-one", None, b"{}"))
    received(queue, azure_queue._SUSPICIOUS_AFTER)
    queue.put(EVENT)
    deadline = time.monotonic() + 20
    seen = DrainResult(0, 0)
    while seen.moved + seen.poisoned < 2:
        assert time.monotonic() < deadline
        one = queue.drain_into(inbox, limit=10, seconds=10)
        seen = DrainResult(seen.moved + one.moved, seen.poisoned + one.poisoned)
    assert seen == DrainResult(1, 1)
    assert as_new(inbox) == [EVENT]
    [message] = client("-poison").peek_messages(max_messages=5)
    assert '"bad"' in message.content


@pytest.mark.parametrize(
    "content",
    [
        "canary",
        "{}",
        "[]",
        '{"version": 2}',
        azure_queue._message_of(EVENT).replace('"d-one"', '"../canary"'),
        azure_queue._message_of(EVENT).replace('"version": 1', '"version": 9'),
        azure_queue._message_of(EVENT).replace('"DatasetUpdated"', '"Data\\nset canary"'),
        azure_queue._message_of(EVENT).replace('"body": "', '"body": "*'),
    ],
)
def test_what_cannot_be_understood_is_set_aside_whole_and_named_without_its_content(
    queue: AzureEventQueue,
    inbox: Inbox,
    client: Callable[..., QueueClient],
    caplog: pytest.LogCaptureFixture,
    content: str,
) -> None:
    queue.check()
    sent = client().send_message(content)
    queue.put(EVENT)
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 1)
    assert as_new(inbox) == [EVENT]
    [message] = client("-poison").peek_messages(max_messages=5)
    assert (message.content, message.expires_on and message.expires_on.year) == (content, 9999)
    assert str(sent.id) in caplog.text
    assert "-poison" in caplog.text
    assert "canary" not in caplog.text
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(0, 0)


def test_a_signature_that_may_only_put_can_put_and_be_checked(
    signed: Callable[..., str], queue: AzureEventQueue, inbox: Inbox
) -> None:
    queue.check()
    only_put = open_queue(signed("a"))
    only_put.check()
    only_put.put(EVENT)
    with pytest.raises(InboxUnavailableError, match=r"40[13] Auth"):
        only_put.drain_into(inbox, limit=1, seconds=10)
    assert queue.drain_into(inbox, limit=10, seconds=10) == DrainResult(1, 0)


def test_a_queue_that_is_missing_and_may_not_be_made_is_unavailable(signed: Callable[..., str]) -> None:
    with pytest.raises(InboxUnavailableError, match=r"403 AuthorizationPermissionMismatch.*QT_RELAY_QUEUE_URL"):
        open_queue(signed("a")).put(EVENT)


def test_a_signature_that_has_expired_is_unavailable_and_is_not_told(
    signed: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = signed("rwacup", -timedelta(hours=1))
    queue = open_queue(url)
    for ask in (queue.check, lambda: queue.put(EVENT)):
        with pytest.raises(InboxUnavailableError, match="403") as caught:
            ask()
        assert "sig=" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__suppress_context__
    assert "sig=***" in caplog.text
    assert urlsplit(url).query.partition("sig=")[2][:20] not in caplog.text


@pytest.mark.parametrize("does_answer", [False, True])
def test_a_queue_that_cannot_be_reached_is_unavailable_soon_and_no_secret_is_told(
    inbox: Inbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, does_answer: bool
) -> None:
    monkeypatch.setattr(azure_queue, "_READ_SECONDS", 0.1)
    monkeypatch.setattr(azure_queue, "_RETRIES", 0)
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/{ACCOUNT}/events?sig=canary"
        queue = open_queue(address)
        if not does_answer:
            silent.close()
        for ask in (queue.check, lambda: queue.put(EVENT), lambda: queue.drain_into(inbox, limit=1, seconds=10)):
            with pytest.raises(InboxUnavailableError, match=r"cannot be reached|did not respond") as caught:
                ask()
            assert "canary" not in "".join([*traceback.format_exception(caught.value), repr(queue)])
    assert "canary" not in caplog.text


def test_a_request_is_no_line_in_the_log(queue: AzureEventQueue, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    queue.put(EVENT)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "url",
    [
        *("canary", "", "https://", "https:///canary", "http://example.org/canary?sig=canary", "https://[canary/x"),
        *("https://a.queue.core.windows.net/", "https://a.queue.core.windows.net/Ca_nary?sig=canary"),
        *("https://a.queue.core.windows.net/a/b/canary", f"https://a.queue.core.windows.net/{'x' * 57}"),
        *("http://127.0.0.1:1/other/canary", "ftp://127.0.0.1/x?sig=canary", "https://a.example:canary/queue"),
    ],
)
def test_only_the_address_of_a_queue_is_one(url: str) -> None:
    with pytest.raises(ConfigurationError, match="QT_RELAY_QUEUE_URL") as caught:
        open_queue(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("query", ["", "?sv=2024&sig=canary"])
def test_a_queue_on_azure_is_known_by_its_address_and_opening_it_sends_nothing(query: str) -> None:
    queue = open_queue(f"https://u:canary@nowhere.queue.core.windows.net/events{query}")
    assert queue._address == "https://nowhere.queue.core.windows.net/events"
    assert (queue._queue.account_name, queue._queue.queue_name) == ("nowhere", "events")
    assert queue._poison.queue_name == "events-poison"
    queue.close()
