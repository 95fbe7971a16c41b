"""Where a download ends that does not end by itself."""

import contextlib
import gzip
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from qt_pipeline.errors import PermanentError
from qt_pipeline.quantemplate import Download, DownloadLimitError, NotReadyError, QuantemplateClient, RequestFailedError
from qt_pipeline.quantemplate.client import ClientConfig
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH, Sinks

BODY = b"Policy Number,Premium\n" + b"007,1.25\n" * 100
GZIP = {"Content_Encoding": "gzip"}
Downloader = Callable[..., Download]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(wire.content(BODY), id="length"),
        pytest.param(wire.chunked(BODY[:100], BODY[100:]), id="chunked"),
        pytest.param(wire.content(gzip.compress(BODY), **GZIP), id="gzip"),
    ],
)
def test_a_download_may_have_as_many_bytes_as_the_limit_and_not_one_more(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, answer: wire.Answer
) -> None:
    vendor.on(PATH, answer)
    assert download(max_download_bytes=len(BODY)).bytes == len(BODY)
    with pytest.raises(DownloadLimitError) as refusal:
        download(max_download_bytes=len(BODY) - 1)
    assert isinstance(refusal.value, PermanentError)
    assert refusal.value.dataset_id == DATASET
    assert f"{len(BODY) - 1:,} bytes" in refusal.value.message
    assert "QT_MAX_DOWNLOAD_BYTES" in refusal.value.hint
    assert sinks.kept == [BODY]
    assert len(vendor.seen_on(PATH)) == 2


def test_a_length_beyond_the_limit_is_refused_before_the_first_byte(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(PATH, wire.content(BODY))
    with pytest.raises(DownloadLimitError):
        download(max_download_bytes=len(BODY) - 1)
    assert sinks.opened == []


def test_bytes_that_unpack_to_nothing_count_too(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.chunked(*[gzip.compress(b"")] * 1000, **GZIP))
    with pytest.raises(DownloadLimitError, match="5,000 bytes"):
        download(max_download_bytes=5000)


def test_a_small_answer_that_unpacks_to_very_much_is_left_with_flat_memory(
    vendor: wire.WireServer, config: ClientConfig
) -> None:
    limit, taken = 16 << 20, 0
    vendor.on(PATH, wire.content(gzip.compress(b"0" * (64 << 20)), **GZIP))

    class Abyss:
        def write(self, data: bytes, /) -> None:
            nonlocal taken
            taken += len(data)

    @contextmanager
    def abyss() -> Iterator[Abyss]:
        yield Abyss()

    tracemalloc.start()
    with pytest.raises(DownloadLimitError):
        QuantemplateClient(replace(config, max_download_bytes=limit)).download_dataset(DATASET, abyss, trace_id="r")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert limit - (1 << 20) < taken <= limit
    assert peak < 8 << 20


class Dripping(wire.WireServer):
    """Sends a byte of one long chunk now and then: never silent for long, never done."""

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(wire.head(200, Content_Type="text/csv", Transfer_Encoding="chunked") + b"ffff\r\n")
            while not self._over.wait(0.02):
                connection.sendall(b"7")


def test_a_drip_that_is_never_silent_ends_at_the_limit_of_time_and_is_not_tried_again(
    download: Downloader, sinks: Sinks
) -> None:
    with Dripping() as dripping:
        began = time.monotonic()
        with pytest.raises(DownloadLimitError, match="not over after 1 seconds") as refusal:
            download(api_url=f"{dripping.url}/v1", max_download_seconds=0.7, read_timeout_seconds=30)
    assert 0.7 <= time.monotonic() - began < 5
    assert "QT_MAX_DOWNLOAD_SECONDS" in refusal.value.hint
    assert isinstance(refusal.value, PermanentError)
    assert (len(sinks.opened), sinks.kept) == (1, [])


def test_no_wait_goes_beyond_the_limit_of_time(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.status(429, Retry_After="60"))
    with pytest.raises(RequestFailedError, match="Tried once"):
        download(retry_after_cap_seconds=120, max_download_seconds=30)
    vendor.on(PATH, wire.Answer(wire.head(204)))
    with pytest.raises(NotReadyError, match="Tried once"):
        download(not_ready_seconds=3600, backoff_base_seconds=10, max_download_seconds=30)


def test_tries_that_fail_share_one_limit_of_time(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.status(503))
    with pytest.raises(RequestFailedError, match=r"Tried [2-9] times"):
        download(attempts=20, backoff_base_seconds=0.1, max_download_seconds=0.8)
    assert 2 <= len(vendor.seen_on(PATH)) < 10
