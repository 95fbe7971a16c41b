import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from qt_pipeline.quantemplate import (
    ClientConfig,
    CredentialsError,
    Download,
    InvalidTokenResponseError,
    QuantemplateClient,
    RequestFailedError,
    UnauthorisedError,
)
from qt_pipeline.quantemplate.auth import TokenSource
from qt_pipeline.quantemplate.transport import Timeouts
from qt_pipeline_tests.quantemplate import wire
from qt_pipeline_tests.quantemplate.conftest import DATASET, PATH, SECRET, Sinks

CSV = wire.content(b"a,b\n1,2\n")


@pytest.fixture
def tokens(vendor: wire.WireServer) -> TokenSource:
    return TokenSource(f"{vendor.url}/token", "api-user", SecretStr(SECRET), Timeouts(5, 5))


def bearers(vendor: wire.WireServer) -> list[str | None]:
    return [request.headers.get("authorization") for request in vendor.seen_on(PATH)]


def test_a_token_is_asked_for_by_form_with_the_client_in_the_body(vendor: wire.WireServer, tokens: TokenSource) -> None:
    tokens.current()
    [request] = vendor.seen
    assert request.method == "POST"
    assert request.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert "authorization" not in request.headers
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["api-user"],
        "client_secret": [SECRET],
    }


def test_a_token_serves_many_downloads(vendor: wire.WireServer, config: ClientConfig, sinks: Sinks) -> None:
    vendor.on(PATH, CSV)
    client = QuantemplateClient(config)
    for _ in range(3):
        client.download_dataset(DATASET, sinks.open, trace_id="run-1")
    assert bearers(vendor) == ["Bearer token-1"] * 3
    assert len(vendor.seen_on("/token")) == 1


def test_threads_share_one_token(vendor: wire.WireServer, tokens: TokenSource) -> None:
    with ThreadPoolExecutor(8) as pool:
        used = set(pool.map(lambda _: tokens.current(), range(32)))
    assert len(used) == 1
    assert len(vendor.seen) == 1


def test_threads_whose_token_was_rejected_fetch_one_new_token(vendor: wire.WireServer, tokens: TokenSource) -> None:
    rejected = tokens.current()
    with ThreadPoolExecutor(8) as pool:
        used = set(pool.map(lambda _: tokens.replace(rejected), range(32)))
    assert {token.value for token in used} == {"token-2"}
    assert len(vendor.seen) == 2


@pytest.mark.parametrize(("expires_in", "margin"), [(300, 60), (60, 30), (10, 5), ("300", 60)])
def test_a_token_is_renewed_a_margin_before_it_expires(
    vendor: wire.WireServer, tokens: TokenSource, expires_in: object, margin: float
) -> None:
    vendor.on("/token", wire.token(expires_in=expires_in))
    before = time.monotonic()
    renew_at = tokens.current().renew_at
    assert before <= renew_at - float(str(expires_in)) + margin <= time.monotonic()


@pytest.mark.parametrize("expires_in", [0, -5, None])
def test_a_token_without_lifetime_is_used_once(
    vendor: wire.WireServer, tokens: TokenSource, expires_in: object
) -> None:
    vendor.on("/token", wire.token("token-1", expires_in=expires_in), wire.token("token-2"))
    assert [tokens.current().value, tokens.current().value] == ["token-1", "token-2"]


def test_after_a_401_a_fresh_token_is_tried_once(vendor: wire.WireServer, download: Callable[..., Download]) -> None:
    vendor.on(PATH, wire.status(401), CSV)
    assert download().attempts == 1
    assert bearers(vendor) == ["Bearer token-1", "Bearer token-2"]


def test_a_401_with_a_fresh_token_is_permanent(vendor: wire.WireServer, download: Callable[..., Download]) -> None:
    vendor.on(PATH, wire.status(401))
    with pytest.raises(UnauthorisedError, match="API user"):
        download()
    assert bearers(vendor) == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("status", [400, 401])
def test_refused_credentials_are_permanent_and_name_the_settings(
    vendor: wire.WireServer, download: Callable[..., Download], status: int
) -> None:
    error = b'{"error": "invalid_client", "error_description": "Invalid client or Invalid client credentials"}'
    vendor.on("/token", wire.Answer(wire.head(status, Content_Length=str(len(error))) + error))
    with pytest.raises(CredentialsError, match="QT_CLIENT_ID and QT_CLIENT_SECRET"):
        download()
    assert len(vendor.seen) == 1


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(wire.status(503), id="503"),
        pytest.param(wire.status(429, Retry_After="0"), id="429"),
        pytest.param(wire.Answer(b"", end="reset"), id="reset"),
        pytest.param(wire.Answer(wire.head(200, Content_Length="99") + b"{"), id="cut"),
    ],
)
def test_a_failing_token_endpoint_is_tried_again(
    vendor: wire.WireServer, download: Callable[..., Download], failure: wire.Answer
) -> None:
    vendor.on("/token", failure, wire.token())
    vendor.on(PATH, CSV)
    assert download().attempts == 2


def test_a_silent_token_endpoint_is_given_up(vendor: wire.WireServer, download: Callable[..., Download]) -> None:
    vendor.on("/token", wire.Answer(b"", end="silence"))
    with pytest.raises(RequestFailedError, match="token endpoint did not answer in time"):
        download(read_timeout_seconds=0.3)
    assert len(vendor.seen) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Sign in</html>",
        b"[]",
        b"{}",
        b'{"access_token": null}',
        b'{"access_token": 5}',
        b'{"access_token": "two words"}',
        b'{"access_token": "line\\r\\nbreak"}',
        b'{"error": "invalid_scope"}',
        b'{"access_token": "t", "expires_in": "soon"}',
        b'{"access_token": "t", "expires_in": [1]}',
        b'{"access_token": "t", "expires_in": Infinity}',
        b'{"access_token": "t", "expires_at": [1]}',
    ],
)
def test_an_answer_without_a_usable_token_says_so(vendor: wire.WireServer, tokens: TokenSource, answer: bytes) -> None:
    vendor.on("/token", wire.content(answer))
    with pytest.raises(InvalidTokenResponseError, match="QT_TOKEN_URL"):
        tokens.current()


def test_the_token_request_follows_no_redirect(
    vendor: wire.WireServer, elsewhere: wire.WireServer, tokens: TokenSource
) -> None:
    vendor.on("/token", wire.status(307, Location=f"{elsewhere.url}/token"))
    elsewhere.on("/token", wire.token())
    with pytest.raises(InvalidTokenResponseError, match="307"):
        tokens.current()
    assert elsewhere.seen == []


def test_neither_secret_nor_token_is_shown(
    vendor: wire.WireServer, config: ClientConfig, tokens: TokenSource, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.on("/token", wire.token("token-1"))
    vendor.on(PATH, wire.status(503))
    with pytest.raises(RequestFailedError) as failure, caplog.at_level("DEBUG"):
        QuantemplateClient(config).download_dataset(DATASET, Sinks().open, trace_id="run-1")
    shown = f"{config!r}{tokens.current()!r}{failure.value!r}{failure.value}{caplog.text}"
    assert SECRET not in shown
    assert "token-1" not in shown
