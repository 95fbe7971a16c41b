"""Looking whether the API would serve this API user, without a download."""

from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest

from qt_pipeline.quantemplate import (
    AccessDeniedError,
    ClientConfig,
    DownloadTooSlowError,
    EmptyBodyError,
    NotReadyError,
    QuantemplateClient,
    RequestFailedError,
    UnexpectedContentError,
)
from qt_pipeline.values import utc_now
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH

TOKEN = b'{"access_token": "token-1", "expires_in": 300}'


def first_bytes(config: ClientConfig, *, limit: int = 1000, seconds: float = 5) -> bytes:
    return QuantemplateClient(config).first_bytes(DATASET, trace_id="look", limit=limit, seconds=seconds)


def test_a_small_file_comes_whole(vendor: wire.WireServer, config: ClientConfig) -> None:
    vendor.on(PATH, wire.content(b"a,b\n1,2\n"))
    assert first_bytes(config) == b"a,b\n1,2\n"


def test_of_a_large_file_the_beginning_comes_and_the_rest_is_not_waited_for(
    vendor: wire.WireServer, config: ClientConfig
) -> None:
    # Silence follows, for longer than a test may take.
    vendor.on(PATH, wire.Answer(wire.head(200, Content_Length="99999999") + b"x" * 5000, end="silence"))
    config = replace(config, read_timeout_seconds=200)
    assert first_bytes(config, seconds=200) == b"x" * 1000


def test_what_does_not_come_in_time_is_not_waited_for(vendor: wire.WireServer, config: ClientConfig) -> None:
    vendor.on(PATH, wire.chunked(*[b"x"] * 10))
    with pytest.raises(DownloadTooSlowError) as slow:
        first_bytes(config, seconds=0)
    assert slow.value.dataset_id == DATASET


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (wire.status(204), NotReadyError),
        (wire.status(403), AccessDeniedError),
        (wire.status(404), AccessDeniedError),
        (wire.status(503), RequestFailedError),
        (wire.content(b""), EmptyBodyError),
        (wire.content(b"<html>", Content_Type="text/html"), UnexpectedContentError),
    ],
)
def test_what_is_no_file_is_told_at_the_first_try(
    vendor: wire.WireServer, config: ClientConfig, answer: wire.Answer, error: type[Exception]
) -> None:
    vendor.on(PATH, answer)
    with pytest.raises(error):
        first_bytes(replace(config, not_ready_seconds=60, attempts=5))
    assert len(vendor.seen_on(PATH)) == 1


def test_after_a_401_a_fresh_token_is_tried_once(vendor: wire.WireServer, config: ClientConfig) -> None:
    vendor.on(PATH, wire.status(401), wire.content(b"a\n"))
    assert first_bytes(config) == b"a\n"
    assert len(vendor.seen_on("/token")) == 2


@pytest.mark.parametrize("ahead", [-3600, 0, 3600])
def test_the_token_endpoint_tells_how_far_the_clock_is_off(
    vendor: wire.WireServer, config: ClientConfig, ahead: float
) -> None:
    date = format_datetime(utc_now() - timedelta(seconds=ahead), usegmt=True)
    vendor.on("/token", wire.content(TOKEN, Content_Type="application/json", Date=date))
    assert QuantemplateClient(config).authenticate() == pytest.approx(ahead, abs=60)


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_an_endpoint_that_tells_no_time_says_nothing_of_the_clock(
    vendor: wire.WireServer, config: ClientConfig, date: str | None
) -> None:
    vendor.on("/token", wire.content(TOKEN, Content_Type="application/json", **({"Date": date} if date else {})))
    assert QuantemplateClient(config).authenticate() is None
