import gzip
import math
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from qt_pipeline.errors import TransientError
from qt_pipeline.quantemplate import (
    ClientConfig,
    Download,
    EmptyBodyError,
    IncompleteBodyError,
    QuantemplateClient,
    UnexpectedContentError,
    UnverifiedLengthError,
)
from qt_pipeline.quantemplate.body import Body, Limits
from qt_pipeline.quantemplate.transport import Timeouts, get
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH, Sinks

BODY = b"Policy Number,Premium\n" + b"".join(b"%05d,1234.56\n" % line for line in range(500))
GZIPPED = gzip.compress(BODY)
GZIP = {"Content_Encoding": "gzip"}
NO_LIMITS = Limits(bytes=1 << 40, seconds=3600, ends_at=math.inf)
Downloader = Callable[..., Download]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(wire.content(BODY), id="length"),
        pytest.param(wire.chunked(BODY[:10], BODY[10:]), id="chunked"),
        pytest.param(wire.chunked(*(bytes([byte]) for byte in BODY)), id="chunks of one byte"),
        pytest.param(wire.content(GZIPPED, **GZIP), id="length, gzip"),
        pytest.param(wire.content(GZIPPED, Content_Encoding="X-GZIP"), id="length, x-gzip"),
        pytest.param(wire.chunked(GZIPPED[:7], GZIPPED[7:], **GZIP), id="chunked, gzip"),
        pytest.param(wire.chunked(*(bytes([byte]) for byte in GZIPPED), **GZIP), id="gzip in chunks of one byte"),
        pytest.param(
            wire.content(gzip.compress(BODY[:99]) + gzip.compress(BODY[99:]), **GZIP), id="gzip in two members"
        ),
        pytest.param(wire.unframed(GZIPPED, **GZIP), id="gzip proves its own end"),
        pytest.param(wire.content(BODY, Content_Type="application/octet-stream"), id="content type of any file"),
        pytest.param(wire.content(BODY, Content_Encoding="identity"), id="identity"),
    ],
)
def test_a_whole_body_is_accepted_at_once(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, answer: wire.Answer
) -> None:
    vendor.on(PATH, answer)
    done = download()
    assert sinks.kept == [BODY]
    assert done.attempts == 1
    assert done.bytes == len(BODY)


def test_travelled_and_decoded_bytes_are_counted_apart(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.chunked(GZIPPED, **GZIP))
    done = download()
    assert (done.wire_bytes, done.bytes) == (len(GZIPPED), len(BODY))


BROKEN = [
    pytest.param(wire.Answer(wire.content(BODY).wire[:-1]), id="shorter than its length"),
    pytest.param(wire.content(b"", Content_Length="9"), id="nothing of its length"),
    pytest.param(wire.Answer(wire.content(BODY).wire[:-1], end="reset"), id="reset"),
    pytest.param(wire.chunked(BODY, last=b""), id="no last chunk"),
    pytest.param(wire.chunked(BODY, last=b"1f4\r\nhalf a chunk"), id="cut in a chunk"),
    pytest.param(wire.chunked(BODY, last=b"1f"), id="cut in a chunk's length"),
    pytest.param(wire.chunked(BODY, last=b"0123,secret-row\r\n"), id="no chunk's length"),
    pytest.param(wire.content(GZIPPED[:-1], **GZIP), id="gzip cut within its trailer, in a whole body"),
    pytest.param(wire.chunked(GZIPPED[:-9], **GZIP), id="gzip cut within its data, in whole chunks"),
    pytest.param(wire.unframed(GZIPPED[:-1], **GZIP), id="gzip cut, without length"),
    pytest.param(wire.content(GZIPPED + gzip.compress(BODY)[:-1], **GZIP), id="second gzip member cut"),
    pytest.param(wire.content(GZIPPED + b"more", **GZIP), id="something behind the gzip"),
    pytest.param(wire.content(GZIPPED[:-8] + b"\0" * 8, **GZIP), id="gzip checksum wrong"),
    pytest.param(wire.content(BODY, **GZIP), id="not gzip at all"),
]


@pytest.mark.parametrize("answer", BROKEN)
def test_a_broken_body_is_noticed_and_fetched_anew(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, answer: wire.Answer
) -> None:
    vendor.on(PATH, answer, wire.content(BODY))
    assert download().attempts == 2
    assert sinks.kept == [BODY]
    assert len(sinks.opened) == 2


def test_a_body_that_stays_broken_is_given_up(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.chunked(BODY, last=b""))
    with pytest.raises(IncompleteBodyError, match=r"broke off after \d+ bytes .* Tried 3 times"):
        download()


def test_a_broken_body_is_not_quoted_even_by_its_traceback(vendor: wire.WireServer) -> None:
    vendor.on(PATH, wire.chunked(BODY, last=b"0123,secret-row\r\n"))
    exchange = get(f"{vendor.url}{PATH}", authorise=lambda request: request, headers={}, timeouts=Timeouts(5, 5))
    with exchange as response, pytest.raises(IncompleteBodyError) as failure:
        list(Body(response, NO_LIMITS, allow_unverified_length=False))
    assert "secret-row" not in "".join(traceback.format_exception(failure.value))


def test_a_body_that_falls_silent_is_given_up(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.Answer(wire.content(BODY).wire[:-1], end="silence"))
    with pytest.raises(IncompleteBodyError, match="ReadTimeoutError"):
        download(read_timeout_seconds=0.3, attempts=2)
    assert len(vendor.seen_on(PATH)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(wire.unframed(BODY), id="CSV"),
        pytest.param(wire.unframed(b""), id="nothing"),
        pytest.param(wire.unframed(b"", **GZIP), id="nothing, said to be gzip"),
    ],
)
def test_an_end_that_cannot_be_proven_is_refused(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, answer: wire.Answer
) -> None:
    vendor.on(PATH, answer)
    with pytest.raises(UnverifiedLengthError, match="QT_ALLOW_UNVERIFIED_LENGTH"):
        download()
    assert sinks.kept == []
    assert len(vendor.seen_on(PATH)) == 1


def test_an_unreadable_length_proves_nothing(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.unframed(BODY, Content_Length="many"))
    with pytest.raises(UnverifiedLengthError):
        download()


def test_an_end_that_cannot_be_proven_is_accepted_when_a_person_says_so(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(PATH, wire.unframed(BODY))
    download(allow_unverified_length=True)
    assert sinks.kept == [BODY]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(wire.content(b""), id="length"),
        pytest.param(wire.chunked(), id="chunked"),
        pytest.param(wire.content(b"", **GZIP), id="said to be gzip"),
        pytest.param(wire.content(gzip.compress(b""), **GZIP), id="gzip of nothing"),
    ],
)
def test_a_body_of_zero_bytes_is_an_outcome_of_its_own(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, answer: wire.Answer
) -> None:
    vendor.on(PATH, answer)
    with pytest.raises(EmptyBodyError) as outcome:
        download()
    assert isinstance(outcome.value, TransientError)
    assert sinks.kept == []
    assert len(vendor.seen_on(PATH)) == 1


def test_a_header_alone_is_a_download_like_any_other(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(PATH, wire.content(b"Policy Number,Premium\n"))
    download()
    assert sinks.kept == [b"Policy Number,Premium\n"]


PAGE = b"<!DOCTYPE html><title>Sign in, Jane Doe</title>"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(wire.content(PAGE, Content_Type="text/html; charset=utf-8"), id="HTML by type"),
        pytest.param(wire.content(BODY, Content_Type="application/xhtml+xml"), id="XHTML by type"),
        pytest.param(wire.content(b'{"Jane": 1}', Content_Type="application/problem+json"), id="JSON by type"),
        pytest.param(wire.content(PAGE), id="HTML that claims to be CSV"),
        pytest.param(wire.content(b"\xef\xbb\xbf \r\n<HTML lang=en>Jane"), id="HTML behind blanks"),
        pytest.param(wire.content(b"<!-- proxy -->\n" * 100 + b"<html>Jane"), id="HTML behind comments"),
        pytest.param(wire.content(b"\n" * 3000 + b"\xef\xbb\xbf\n<html>Jane"), id="HTML behind many blanks and a mark"),
        pytest.param(wire.content(b"<!DOCTYPE x SYSTEM 'y'>\n<html>Jane"), id="HTML behind another document type"),
        pytest.param(wire.content(b"<script>Jane</script>"), id="a script"),
        pytest.param(wire.chunked(*(bytes([byte]) for byte in PAGE)), id="HTML in chunks of one byte"),
        pytest.param(wire.content(gzip.compress(PAGE), **GZIP), id="HTML in gzip"),
        pytest.param(wire.unframed(PAGE), id="HTML without length"),
        pytest.param(wire.content(b"<?xml version='1.0'?><Error>Jane</Error>"), id="XML that claims to be CSV"),
        pytest.param(wire.content(b' {"Jane": 1}', Content_Type="text/plain"), id="JSON as plain text"),
        pytest.param(
            wire.Answer(wire.head(200, Content_Length="11") + b'["Jane", 1]'), id="JSON without a content type"
        ),
        pytest.param(wire.content(BODY, Content_Encoding="br"), id="an encoding not asked for"),
        pytest.param(wire.content(GZIPPED, Content_Encoding="gzip, gzip"), id="two encodings"),
    ],
)
def test_what_is_not_csv_is_refused_without_quoting_it(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, answer: wire.Answer
) -> None:
    vendor.on(PATH, answer)
    with pytest.raises(UnexpectedContentError, match="proxy") as refusal:
        download()
    assert "Jane" not in str(refusal.value)
    assert sinks.kept == []
    assert all(sink.getvalue() == b"" for sink in sinks.opened)
    assert len(vendor.seen_on(PATH)) == 1


@pytest.mark.parametrize("body", [b"[Ref],Premium\n1,2\n", b"{id}\n1\n", b"<5,>5\n1,2\n", b"<htmlish>\n1\n"])
def test_a_csv_header_may_begin_with_a_bracket(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, body: bytes
) -> None:
    vendor.on(PATH, wire.content(body))
    download()
    assert sinks.kept == [body]


def test_memory_stays_flat_however_much_a_small_answer_unpacks_to(
    vendor: wire.WireServer, config: ClientConfig
) -> None:
    megabytes = 64
    vendor.on(PATH, wire.content(gzip.compress(b"0" * (megabytes << 20)), **GZIP))

    class Abyss:
        def write(self, data: bytes, /) -> None:
            pass

    @contextmanager
    def abyss() -> Iterator[Abyss]:
        yield Abyss()

    tracemalloc.start()
    done = QuantemplateClient(config).download_dataset(DATASET, abyss, trace_id="run-1")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.bytes == megabytes << 20
    assert peak < 8 << 20
