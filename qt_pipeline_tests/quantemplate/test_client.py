import socket
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.errors import PermanentError, TransientError
from qt_pipeline.quantemplate import (
    AccessDeniedError,
    ClientConfig,
    Download,
    NotReadyError,
    QuantemplateClient,
    RequestFailedError,
)
from qt_pipeline.quantemplate.transport import retry_after_seconds
from qt_pipeline.values import utc_now
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH, Sinks

BODY = b"Policy Number,Premium\n00123,1234.56\n"
CSV = wire.content(BODY, Content_Type="text/csv; charset=utf-8")

Downloader = Callable[..., Download]


def test_a_download_brings_the_bytes_and_says_what_it_did(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(PATH, CSV)
    done = download()
    assert sinks.kept == [BODY]
    assert done.bytes == done.wire_bytes == len(BODY)
    assert done.content_type == "text/csv; charset=utf-8"
    assert (done.attempts, done.trace_id) == (1, "run-1")
    assert done.seconds > 0


def test_a_request_asks_for_gzipped_csv_and_carries_the_trace_id(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, CSV)
    download()
    [request] = vendor.seen_on(PATH)
    assert request.target == PATH
    assert request.headers["accept"] == "text/csv"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["x-qt-trace-id"] == "run-1"


def test_a_version_is_asked_for_by_number(vendor: wire.WireServer, config: ClientConfig, sinks: Sinks) -> None:
    vendor.on(PATH, CSV)
    QuantemplateClient(config).download_dataset(DATASET, sinks.open, trace_id="run-1", version=7)
    assert vendor.seen_on(PATH)[0].target == f"{PATH}?version=7"


def test_an_id_cannot_leave_its_place_in_the_path(vendor: wire.WireServer, config: ClientConfig, sinks: Sinks) -> None:
    path = "/v1/organisations/c-org/datasets/d%2F..%2F..%3Fversion%3D1%23"
    vendor.on(path, CSV)
    QuantemplateClient(config).download_dataset("d/../..?version=1#", sinks.open, trace_id="run-1")
    assert len(vendor.seen_on(path)) == 1


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(wire.status(408), id="408"),
        pytest.param(wire.status(429), id="429"),
        pytest.param(wire.status(500), id="500"),
        pytest.param(wire.status(503), id="503"),
        pytest.param(wire.Answer(b"", end="reset"), id="reset"),
        pytest.param(wire.Answer(b""), id="closed without an answer"),
        pytest.param(wire.Answer(b"nonsense\r\n\r\n"), id="not HTTP"),
    ],
)
def test_a_passing_failure_is_tried_again(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, failure: wire.Answer
) -> None:
    vendor.on(PATH, failure, failure, CSV)
    assert download().attempts == 3
    assert sinks.kept == [BODY]
    assert len(sinks.opened) == 1


def test_a_lasting_failure_is_given_up_with_dataset_cause_and_number_of_tries(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(PATH, wire.status(503))
    with pytest.raises(RequestFailedError) as failure:
        download()
    assert str(failure.value).startswith(f"Dataset {DATASET}: Quantemplate answered 503. Tried 3 times in ")
    assert len(vendor.seen_on(PATH)) == 3
    assert sinks.opened == []


def test_a_server_that_is_silent_is_given_up(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.Answer(b"", end="silence"))
    with pytest.raises(RequestFailedError, match="did not answer in time"):
        download(read_timeout_seconds=0.3, attempts=2)
    assert len(vendor.seen_on(PATH)) == 2


def test_a_server_that_is_not_there_is_given_up(download: Downloader) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RequestFailedError, match="No connection to Quantemplate: the connection was refused"):
        download(api_url=f"http://127.0.0.1:{port}/v1")


def test_every_wait_is_logged_with_dataset_and_cause(
    vendor: wire.WireServer, download: Downloader, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.on(PATH, wire.status(503), wire.status(429), CSV)
    with caplog.at_level("INFO", "qt_pipeline"):
        download()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"Dataset {DATASET}: Quantemplate answered 503. Try 1; the next in ")
    assert second.startswith(f"Dataset {DATASET}: Quantemplate answered 429. Try 2; the next in ")


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed_in_both_forms_and_capped(
    vendor: wire.WireServer, download: Downloader, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    an_hour = {"seconds": "3600", "date": format_datetime(utc_now() + timedelta(hours=1), usegmt=True)}[form]
    vendor.on(PATH, wire.status(429, Retry_After=an_hour), CSV)
    with caplog.at_level("INFO", "qt_pipeline"):
        done = download(retry_after_cap_seconds=0.3)
    assert done.seconds >= 0.3
    assert "the next in 0.3 s" in caplog.text


def test_a_retry_after_that_is_over_shortens_no_wait(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.status(429, Retry_After="0"), CSV)
    assert download(backoff_base_seconds=0.1).seconds >= 0.1


@given(st.text() | st.integers().map(str) | st.datetimes().map(format_datetime))
def test_any_retry_after_header_is_a_wait_or_nothing(value: str) -> None:
    seconds = retry_after_seconds(value)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("status", "advice"),
    [(403, "share it with that user"), (404, "dataset's id"), (400, "QT_API_URL"), (206, "QT_API_URL"), (430, "")],
)
def test_a_refusal_is_permanent_and_says_what_to_do(
    vendor: wire.WireServer, download: Downloader, status: int, advice: str
) -> None:
    vendor.on(PATH, wire.status(status))
    with pytest.raises(AccessDeniedError) as refusal:
        download()
    assert isinstance(refusal.value, PermanentError)
    assert refusal.value.dataset_id == DATASET
    assert str(status) in refusal.value.message
    assert advice in refusal.value.hint
    assert len(vendor.seen_on(PATH)) == 1


def test_a_204_is_waited_for(vendor: wire.WireServer, download: Downloader, sinks: Sinks) -> None:
    vendor.on(PATH, *[wire.Answer(wire.head(204))] * 4, CSV)
    # More 204s than attempts: being not ready is no failure.
    assert download(not_ready_seconds=60, attempts=1).attempts == 5
    assert sinks.kept == [BODY]


def test_a_204_that_stays_is_not_ready_in_the_end(vendor: wire.WireServer, download: Downloader, sinks: Sinks) -> None:
    vendor.on(PATH, wire.Answer(wire.head(204)))
    with pytest.raises(NotReadyError, match=r"204.*Tried \d+ times") as outcome:
        download(not_ready_seconds=1)
    assert isinstance(outcome.value, TransientError)
    assert len(vendor.seen_on(PATH)) > 1
    assert sinks.opened == []


def test_a_204_is_not_waited_for_when_patience_is_zero(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.Answer(wire.head(204)))
    with pytest.raises(NotReadyError, match="Tried once"):
        download(not_ready_seconds=0)
    assert len(vendor.seen_on(PATH)) == 1


def test_an_error_of_the_sink_is_passed_on_as_it_is(vendor: wire.WireServer, config: ClientConfig) -> None:
    @contextmanager
    def full_disk():  # noqa: ANN202  # never yields
        raise OSError(28, "No space left on device")
        yield

    vendor.on(PATH, CSV)
    with pytest.raises(OSError, match="No space left"):
        QuantemplateClient(config).download_dataset(DATASET, full_disk, trace_id="run-1")
    assert len(vendor.seen_on(PATH)) == 1
