"""HTTP as it is found in the wild: interim responses, odd headers, redirects to stores, pages that pass."""

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest

from qt_pipeline.quantemplate import (
    AccessDeniedError,
    ClientConfig,
    Download,
    QuantemplateClient,
    RedirectError,
    RequestFailedError,
    UnexpectedContentError,
)
from qt_pipeline.quantemplate.transport import _is_host
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH, Sinks

BODY = b"a,b\n1,2\n"
CSV = wire.content(BODY)
Downloader = Callable[..., Download]


def interim(status: int, times: int = 1) -> bytes:
    return f"HTTP/1.1 {status} Interim\r\nLink: </style.css>; rel=preload\r\n\r\n".encode() * times


@pytest.mark.parametrize(
    "before",
    [interim(100), interim(102), interim(103), interim(103, 3) + interim(102) + interim(100), interim(199)],
    ids=["100", "102", "103", "several", "unknown"],
)
def test_interim_responses_are_skipped(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, before: bytes
) -> None:
    vendor.on("/token", wire.Answer(before + wire.token().wire))
    vendor.on(PATH, wire.Answer(before + wire.status(302, Location="/file").wire))
    vendor.on("/file", wire.Answer(before + CSV.wire))
    assert download().attempts == 1
    assert sinks.kept == [BODY]


def test_interim_responses_without_end_are_given_up(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.Answer(interim(103, 10_000) + CSV.wire))
    with pytest.raises(RequestFailedError, match="No connection"):
        download(attempts=1)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/dateien/prämie €.csv".encode(), "/dateien/pr%C3%A4mie%20%E2%82%AC.csv"),
        (b"/dateien/pr%C3%A4mie.csv", "/dateien/pr%C3%A4mie.csv"),
        ("/dateien/prämie.csv".encode("latin-1"), "/dateien/pr%E4mie.csv"),
        ("/dateien/x.csv?name=ž&sig=a%2Bb%3D".encode(), "/dateien/x.csv?name=%C5%BE&sig=a%2Bb%3D"),
    ],
    ids=["UTF-8", "encoded", "Latin-1", "query"],
)
def test_a_redirect_leads_where_its_raw_bytes_say(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, location: bytes, target: str
) -> None:
    vendor.on(PATH, wire.Answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % location))
    vendor.on(target.partition("?")[0], CSV)
    download()
    assert vendor.seen[-1].target == target
    assert sinks.kept == [BODY]


@pytest.mark.parametrize("coding", ["utf-8", "UTF8", "aws-chunked", "identity", "none", "binary", "aws-chunked, utf-8"])
def test_what_is_no_coding_is_read_as_it_is(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, coding: str
) -> None:
    vendor.on(PATH, wire.content(BODY, Content_Encoding=coding))
    download()
    assert sinks.kept == [BODY]


def test_a_real_coding_beside_one_that_is_none_is_undone(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(PATH, wire.content(gzip.compress(BODY), Content_Encoding="gzip, aws-chunked"))
    download()
    assert sinks.kept == [BODY]


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, br", "x-canary"])
def test_another_coding_is_named(vendor: wire.WireServer, download: Downloader, coding: str) -> None:
    vendor.on(PATH, wire.content(BODY, Content_Encoding=coding))
    with pytest.raises(UnexpectedContentError, match=f"content encoding '{coding}'"):
        download(not_ready_seconds=60)
    assert len(vendor.seen_on(PATH)) == 1


def test_a_body_that_is_in_chunks_of_s3_is_not_read_as_csv(vendor: wire.WireServer, download: Downloader) -> None:
    body = b"8;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + BODY
    vendor.on(PATH, wire.content(body, Content_Encoding="aws-chunked"))
    with pytest.raises(UnexpectedContentError, match="aws-chunked"):
        download()


@pytest.mark.parametrize("header", ["Content_Type", "Content_Encoding"])
def test_a_header_of_three_thousand_letters_is_not_repeated_whole(
    vendor: wire.WireServer, download: Downloader, header: str
) -> None:
    vendor.on(PATH, wire.content(BODY, **{header: "text/html" + "x" * 3000}))
    with pytest.raises(UnexpectedContentError) as refused:
        download()
    assert len(str(refused.value)) < 400


def test_a_content_type_cannot_steer_a_terminal_and_is_bounded_where_it_is_kept(
    vendor: wire.WireServer, download: Downloader
) -> None:
    vendor.on(PATH, wire.content(BODY, Content_Type="text/csv; name=\x1b[31m" + "x" * 3000))
    done = download()
    assert done.content_type is not None
    assert len(done.content_type) <= 200
    assert done.content_type.isprintable()


def test_an_expired_address_is_asked_for_again_from_the_start_once(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader, sinks: Sinks
) -> None:
    vendor.on(
        PATH,
        wire.status(302, Location=f"{elsewhere.url}/file?sig=1"),
        wire.status(302, Location=f"{elsewhere.url}/file?sig=2"),
    )
    elsewhere.on("/file", wire.status(403), CSV)
    assert download().attempts == 1
    assert [request.target for request in elsewhere.seen] == ["/file?sig=1", "/file?sig=2"]
    assert sinks.kept == [BODY]


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_target_that_refuses_again_is_not_called_a_dataset_that_is_not_shared(
    vendor: wire.WireServer, elsewhere: wire.WireServer, download: Downloader, status: int
) -> None:
    vendor.on(PATH, wire.status(302, Location=f"{elsewhere.url}/file"))
    elsewhere.on("/file", wire.status(status))
    with pytest.raises(AccessDeniedError, match=f"redirected to answered {status}") as refused:
        download()
    assert "shared" not in str(refused.value)
    assert len(elsewhere.seen) == 2


def test_a_dataset_that_is_not_shared_is_still_called_so(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.status(403))
    with pytest.raises(AccessDeniedError, match="not shared"):
        download()
    assert len(vendor.seen_on(PATH)) == 1


PAGE = wire.content(b"<html>We will be back soon</html>", Content_Type="text/html")


@pytest.mark.parametrize(
    "page",
    [PAGE, wire.content(b"<!DOCTYPE html>"), wire.content(b'{"error": 1}', Content_Type="application/json")],
    ids=["page", "page that claims to be CSV", "document"],
)
def test_a_page_in_place_of_csv_is_tried_again(
    vendor: wire.WireServer, download: Downloader, sinks: Sinks, page: wire.Answer
) -> None:
    vendor.on(PATH, page, page, page, page, page, page, CSV)
    assert download(not_ready_seconds=60).attempts == 7
    assert sinks.kept == [BODY]


def test_a_page_that_stays_is_permanent_after_a_while(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, PAGE)
    with pytest.raises(UnexpectedContentError, match=r"'text/html'\. Tried \d+ times in \d+ s\..*proxy"):
        download(not_ready_seconds=0.5)
    assert len(vendor.seen_on(PATH)) > 1


def test_a_first_look_does_not_wait_for_a_page_to_pass(vendor: wire.WireServer, config: ClientConfig) -> None:
    vendor.on(PATH, PAGE)
    client = QuantemplateClient(replace(config, not_ready_seconds=3600))
    with pytest.raises(UnexpectedContentError):
        client.first_bytes(DATASET, trace_id="doctor", limit=100, seconds=5)
    assert len(vendor.seen_on(PATH)) == 1


@pytest.mark.parametrize("host", ["evil.example", "quantemplate.com.evil.example", "169.254.169.254", "amazonaws.com"])
def test_a_redirect_to_a_host_that_is_not_listed_is_not_followed(
    vendor: wire.WireServer, download: Downloader, host: str
) -> None:
    vendor.on(PATH, wire.status(302, Location=f"https://{host}/file"))
    with pytest.raises(RedirectError, match=f"redirected to {host}, .*QT_REDIRECT_HOSTS"):
        download()


def test_a_host_that_a_redirect_names_is_bounded_and_inert(vendor: wire.WireServer, download: Downloader) -> None:
    vendor.on(PATH, wire.status(302, Location=f"https://\x1b[31m{'x' * 3000}.example/file"))
    with pytest.raises(RedirectError) as refused:
        download()
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


def test_a_redirect_to_a_listed_host_is_followed(vendor: wire.WireServer, download: Downloader) -> None:
    # Nobody answers there, which shows that it was asked.
    vendor.on(PATH, wire.status(302, Location="https://files.invalid/file"))
    with pytest.raises(RequestFailedError, match="No connection"):
        download(attempts=1, redirect_hosts=("*.invalid",))


@pytest.mark.parametrize(
    ("host", "pattern", "fits"),
    [
        ("files.quantemplate.com", "*.quantemplate.com", True),
        ("A.B.Quantemplate.com.", "*.quantemplate.com", True),
        ("quantemplate.com", "*.quantemplate.com", False),
        ("evilquantemplate.com", "*.quantemplate.com", False),
        ("storage.googleapis.com", "Storage.googleapis.com", True),
        ("x.storage.googleapis.com", "storage.googleapis.com", False),
        ("", "*.quantemplate.com", False),
    ],
)
def test_a_pattern_is_a_host_or_every_host_below_one(host: str, pattern: str, fits: bool) -> None:
    assert _is_host(host, pattern) is fits
