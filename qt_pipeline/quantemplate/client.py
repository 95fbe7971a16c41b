"""Client of the vendor's API: downloads a complete dataset, or raises an error that says why not.

Here: addresses, headers and the meaning of each status.
Not here: where the bytes go and what they contain; the caller provides a sink.
"""

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, Self, TypeAlias
from urllib.parse import quote

import requests
from pydantic import SecretStr

from qt_pipeline.errors import FailureScope, PermanentError, PipelineError, about
from qt_pipeline.quantemplate.auth import AccessToken, TokenSource
from qt_pipeline.quantemplate.body import Body, Limits
from qt_pipeline.quantemplate.retry import DownloadRetryPolicy, NotReadyError
from qt_pipeline.quantemplate.transport import REDIRECT_HOSTS, Timeouts, get, raise_if_unavailable

_HINTS: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "Check that the API user is active and belongs to QT_ORGANISATION_ID.",
    HTTPStatus.FORBIDDEN: (
        "Most often the dataset is not shared with the API user: share it with that user ('can edit') or with the "
        "whole organisation, in Quantemplate."
    ),
    HTTPStatus.NOT_FOUND: "Check the dataset's id, QT_ORGANISATION_ID, and that the dataset was not deleted.",
}


# What stores answer to a signature that has expired or does not fit.
_REFUSED_BY_TARGET: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class AccessDeniedError(PermanentError):
    """The API responded with a status that a retry will not change, such as 403 or 404."""


class RedirectTargetError(AccessDeniedError):
    """The redirect target rejects the request, most often because a signature has expired."""

    scope = FailureScope.QUANTEMPLATE


class UnauthorisedError(AccessDeniedError):
    """The API rejects an access token (401), even a fresh one."""

    scope = FailureScope.QUANTEMPLATE


class ByteSink(Protocol):
    """A sink for decoded bytes, such as a binary file."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""
        ...


OpenSink: TypeAlias = Callable[[], AbstractContextManager[ByteSink]]


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The API's address, credentials and limits. The settings of the same names describe the fields.

    `backoff_base_seconds` scales every wait between attempts.
    """

    api_url: str
    token_url: str
    organisation_id: str
    client_id: str
    client_secret: SecretStr
    connect_timeout_seconds: float = 10
    read_timeout_seconds: float = 60
    attempts: int = 5
    retry_after_cap_seconds: float = 120
    not_ready_seconds: float = 300
    allow_unverified_length: bool = False
    max_download_bytes: int = 50_000_000_000
    max_download_seconds: float = 10_800
    redirect_hosts: tuple[str, ...] = REDIRECT_HOSTS
    backoff_base_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Download:
    """A complete download.

    `bytes` counts the decoded CSV, `wire_bytes` the bytes transferred, `seconds` all attempts and waits.
    """

    bytes: int
    wire_bytes: int
    content_type: str | None
    attempts: int
    seconds: float
    trace_id: str


class QuantemplateClient:
    """Quantemplate's API as one API user. Its token is shared between threads."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._timeouts = Timeouts(config.connect_timeout_seconds, config.read_timeout_seconds)
        self._tokens = TokenSource(config.token_url, config.client_id, config.client_secret, self._timeouts)
        self._retry_policy = DownloadRetryPolicy(
            attempts=config.attempts,
            retry_after_cap_seconds=config.retry_after_cap_seconds,
            not_ready_seconds=config.not_ready_seconds,
            base_seconds=config.backoff_base_seconds,
        )

    def download_dataset(
        self, dataset_id: str, open_sink: OpenSink, *, trace_id: str, version: int | None = None
    ) -> Download:
        """Stream the dataset's CSV, by default its newest version, into a sink.

        Each attempt with a usable response calls `open_sink` again. A sink that an exception closes holds a partial
        download and must be discarded; the one that closes normally holds the complete file.

        Args:
            dataset_id: The dataset's id at the vendor.
            open_sink: Gives a context manager around a fresh sink. Its own errors are passed on as they are.
            trace_id: Sent as `X-QT-Trace-Id`, for the vendor's support.
            version: A version of the dataset, as the vendor counts.

        Raises:
            NotReadyError: 204 for longer than `not_ready_seconds`.
            EmptyBodyError: an answer of zero bytes.
            RequestFailedError: the last of several tries failed; `IncompleteBodyError` if its body was cut short.
            AccessDeniedError: 401 with a fresh token, 403, 404 or another status that no repeat changes.
            UnexpectedContentError, UnverifiedLengthError: what came is not CSV, or not provably all of it.
            DownloadLimitError: it is larger, or takes longer, than the settings allow.
            RedirectError, CredentialsError, InvalidTokenResponseError, ConfigurationError: a setting is wrong.
        """
        config = self._config
        url = self._url_of(dataset_id)
        if version is not None:
            url += f"?version={version:d}"
        headers = _headers(trace_id)
        started = time.monotonic()
        seconds = config.max_download_seconds
        limits = Limits(config.max_download_bytes, seconds, ends_at=started + seconds)
        tries = itertools.count(1)

        def attempt() -> Download:
            number = next(tries)
            try:
                body = self._receive_authorised(url, headers, open_sink, limits)
            except PipelineError as error:
                # The modules below know addresses and bytes, not datasets.
                error.dataset_id = error.dataset_id or dataset_id
                raise
            took = time.monotonic() - started
            return Download(body.decoded_bytes, body.wire_bytes, body.content_type, number, took, trace_id)

        return self._retry_policy.call(attempt, ends_at=limits.ends_at)

    def authenticate(self) -> float | None:
        """Get an access token, a new one if needed; one attempt.

        Returns:
            How many seconds this machine's clock is ahead of the token endpoint's; None if its response had no date.

        Raises:
            CredentialsError, InvalidTokenResponseError, RequestFailedError, ConfigurationError: there is none.
        """
        self._tokens.current()
        return self._tokens.clock_ahead_seconds

    def first_bytes(self, dataset_id: str, *, trace_id: str, limit: int, seconds: float) -> bytes:
        """The first bytes of the dataset's CSV, at most `limit`; then the connection is closed. One attempt.

        Raises:
            DownloadTooSlowError: they did not arrive within `seconds`.
            PipelineError: what `download_dataset` raises, without its retries.
        """
        limits = Limits(self._config.max_download_bytes, seconds, ends_at=time.monotonic() + seconds)
        beginning = _Beginning(limit)
        with about(dataset_id), suppress(_LimitReachedError):
            self._receive_authorised(self._url_of(dataset_id), _headers(trace_id), lambda: beginning, limits)
        return beginning.taken

    def _url_of(self, dataset_id: str) -> str:
        config = self._config
        organisation = f"{config.api_url}/organisations/{quote(config.organisation_id, safe='')}"
        return f"{organisation}/datasets/{quote(dataset_id, safe='')}"

    def _receive_authorised(self, url: str, headers: dict[str, str], open_sink: OpenSink, limits: Limits) -> Body:
        # A signed address may expire on the way: retry once with a new one.
        with suppress(RedirectTargetError):
            return self._receive_with_token(url, headers, open_sink, limits)
        return self._receive_with_token(url, headers, open_sink, limits)

    def _receive_with_token(self, url: str, headers: dict[str, str], open_sink: OpenSink, limits: Limits) -> Body:
        token = self._tokens.current()
        # A token may be revoked or expire on the way: retry once with a fresh one.
        with suppress(UnauthorisedError):
            return self._receive(url, headers, token, open_sink, limits)
        return self._receive(url, headers, self._tokens.replace(token), open_sink, limits)

    def _receive(
        self, url: str, headers: dict[str, str], token: AccessToken, open_sink: OpenSink, limits: Limits
    ) -> Body:
        hosts = self._config.redirect_hosts
        with get(url, authorise=token, headers=headers, timeouts=self._timeouts, redirect_hosts=hosts) as response:
            _raise_for_status(response)
            body = Body(response, limits, allow_unverified_length=self._config.allow_unverified_length)
            with open_sink() as sink:
                for piece in body:
                    sink.write(piece)
            return body


class _LimitReachedError(Exception):
    """The wanted number of bytes has arrived."""


class _Beginning:
    """A sink for the first bytes, which ends the download by raising an error."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def write(self, data: bytes) -> None:
        self.taken += data[: self._limit - len(self.taken)]
        if len(self.taken) == self._limit:
            raise _LimitReachedError


def _headers(trace_id: str) -> dict[str, str]:
    return {"Accept": "text/csv", "Accept-Encoding": "gzip", "X-QT-Trace-Id": trace_id}


def _raise_for_status(response: requests.Response) -> None:
    raise_if_unavailable(response, "Quantemplate")
    status = response.status_code
    if status == HTTPStatus.NO_CONTENT:
        raise NotReadyError(
            "Quantemplate has no content for it (204).", hint="It may be under way still: look at it in Quantemplate."
        )
    if response.history and status in _REFUSED_BY_TARGET:
        raise RedirectTargetError(
            f"The address that Quantemplate redirected to answered {status}.",
            hint="Its signature may have expired, or a proxy in between refuses it: try again, and check HTTPS_PROXY.",
        )
    if status != HTTPStatus.OK:
        refusal = UnauthorisedError if status == HTTPStatus.UNAUTHORIZED else AccessDeniedError
        raise refusal(f"Quantemplate answered {status}.", hint=_HINTS.get(status, "Check QT_API_URL."))
