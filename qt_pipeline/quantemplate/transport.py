"""One HTTP exchange with the vendor: timeouts, proxies, allowed redirects.

Here: timeouts, proxies, redirects, interim responses, and the errors of a failed exchange.
Not here: what a response means (see client), its body (see body), retries (see retry).
"""

import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, RequestException
from urllib3.exceptions import HTTPError

from qt_pipeline.errors import ConfigurationError, FailureScope, PermanentError, PipelineError, TransientError
from qt_pipeline.quantemplate.interim import FinalResponseAdapter
from qt_pipeline.safe_text import shortened
from qt_pipeline.values import is_loopback_url, utc_now

Authorise: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]

_MAX_REDIRECTS: Final = 3
REDIRECT_HOSTS: Final = (
    "*.quantemplate.com",
    "*.amazonaws.com",
    "*.blob.core.windows.net",
    "storage.googleapis.com",
)
"""Allowed redirect targets besides the requested host: the vendor's domain, and the stores of cloud providers."""
_CAUSES: Final = (
    (socket.gaierror, "the name cannot be resolved"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was cut off"),
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class RequestFailedError(TransientError):
    """An exchange failed in a way that a retry may fix: no connection, no response, an overloaded server.

    `retry_after_seconds` is the wait that the server requested, if any.
    """

    scope = FailureScope.QUANTEMPLATE
    retry_after_seconds: float | None = None


class RedirectError(PermanentError):
    """A redirect leads to a forbidden target: without https, or to a host that is not listed."""

    scope = FailureScope.QUANTEMPLATE


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The longest wait for a connection, and the longest silence within a response, in seconds."""

    connect: float
    read: float


class _OneHop(requests.Session):
    # Even with allow_redirects=False, requests reads the body of a redirect and prepares the next request.
    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  # the signature of requests
        return None


@contextmanager
def get(
    url: str,
    *,
    authorise: Authorise,
    headers: Mapping[str, str],
    timeouts: Timeouts,
    redirect_hosts: Sequence[str] = REDIRECT_HOSTS,
) -> Generator[requests.Response]:
    """The response to a GET, its body not read yet; it is closed at the end of the `with` block.

    Up to three redirects are followed: from loopback to loopback, or by https to the host of `url` and to those of
    `redirect_hosts` (`*.example.com` is every host below it); the redirecting responses are in `history`. Once a
    redirect has left the scheme, host and port of `url`, requests are no longer authorised. Cookies are not kept. Proxy
    and certificates come from the environment, except for loopback.

    Raises:
        RequestFailedError: there is no response.
        RedirectError: a redirect leads to a forbidden target, or there is one too many.
        ConfigurationError: the address, the proxy or the certificates of the environment cannot be used.
    """
    allowed = (urlsplit(url).hostname or "", *redirect_hosts)
    history: list[requests.Response] = []
    for _ in range(1 + _MAX_REDIRECTS):
        with session_to(url, _OneHop()) as session:
            try:
                response = session.get(
                    url,
                    headers=dict(headers),
                    auth=authorise,
                    stream=True,
                    allow_redirects=False,
                    timeout=(timeouts.connect, timeouts.read),
                )
            except (OSError, HTTPError) as error:
                raise unreachable(error, "Quantemplate") from None
            with response:
                if not response.is_redirect:
                    response.history = history
                    yield response
                    return
                history.append(response)
                target = _redirect_target(response, allowed)
                if _origin(target) != _origin(url):
                    authorise = _unauthorised
                url = target
    raise RedirectError(f"Quantemplate redirected more than {_MAX_REDIRECTS} times.", hint="Check QT_API_URL.")


def _unauthorised(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Not None: then requests would look for credentials in ~/.netrc.
    return request


def session_to(url: str, session: requests.Session | None = None) -> requests.Session:
    """A session for one exchange with the server of `url`, which skips interim responses."""
    session = session or requests.Session()
    # Do not use a proxy of the environment for an address on this machine.
    session.trust_env = not is_loopback_url(url)
    for scheme in ("http://", "https://"):
        session.mount(scheme, FinalResponseAdapter())
    return session


def _location(response: requests.Response) -> str:
    """The decoded header: bytes beyond ASCII are UTF-8, else they are percent-encoded."""
    raw = response.headers["location"].encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return quote(raw, safe="".join(map(chr, range(0x21, 0x7F))))


def _redirect_target(response: requests.Response, allowed: Sequence[str]) -> str:
    try:
        target = urljoin(response.url, _location(response))
        scheme, host, _ = _origin(target)
    except ValueError:
        raise RedirectError(
            "Quantemplate redirected to something that is no address.", hint="Check QT_API_URL."
        ) from None
    if scheme in ("http", "https") and is_loopback_url(response.url) and is_loopback_url(target):
        return target
    if scheme != "https":
        raise RedirectError("Quantemplate redirected to an address without https.", hint="Check QT_API_URL.")
    if not any(_is_host(host or "", pattern) for pattern in allowed):
        raise RedirectError(
            f"Quantemplate redirected to {shortened(host or '')}, which is no host that a download may come from.",
            hint="If that is where Quantemplate keeps its files, add it to QT_REDIRECT_HOSTS; else check QT_API_URL.",
        )
    return target


def _is_host(host: str, pattern: str) -> bool:
    host, pattern = host.rstrip(".").lower(), pattern.lower()
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def unreachable(error: Exception, peer: str) -> PipelineError:
    """The error to raise, `from None`, for an exchange with `peer` that ended in `error`.

    The message of `error` is left out, and it must not be chained: it may quote a proxy's password or the response.
    """
    kind = type(error).__name__
    if isinstance(error, InvalidURL | InvalidSchema | MissingSchema):
        return ConfigurationError(
            f"The address of {peer}, or of a proxy, cannot be used ({kind}).",
            hint="Check QT_API_URL, QT_TOKEN_URL and HTTPS_PROXY.",
        )
    if isinstance(error, OSError) and not isinstance(error, RequestException):
        # The only plain OSError of requests: it looks for the file before it connects.
        return ConfigurationError("The file of trusted certificates is missing.", hint="Check REQUESTS_CA_BUNDLE.")
    if isinstance(error, requests.exceptions.SSLError):
        return RequestFailedError(
            f"No trusted connection to {peer} ({kind}).",
            hint="Behind a proxy that inspects TLS, set REQUESTS_CA_BUNDLE to a file with its certificate.",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return RequestFailedError(
            f"No way through the proxy to {peer}: {_cause(error)}.", hint="Check HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, requests.Timeout):
        return RequestFailedError(f"{_capital(peer)} did not answer in time ({kind}).")
    return RequestFailedError(f"No connection to {peer}: {_cause(error)}.")


def _cause(error: Exception) -> str:
    """Why there is no connection, from the network error beneath the libraries' errors."""
    beneath: BaseException | None = error
    while beneath is not None:
        for kind, words in _CAUSES:
            if isinstance(beneath, kind):
                return words
        beneath = beneath.__cause__ or beneath.__context__
    return type(error).__name__


def _capital(peer: str) -> str:
    return peer[:1].upper() + peer[1:]


def raise_if_unavailable(response: requests.Response, peer: str) -> None:
    """Raise for the statuses that ask for a retry: 408, 429 and 5xx.

    Raises:
        RequestFailedError: with the wait that the server requested (`Retry-After`).
    """
    status = response.status_code
    later = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    if status in later or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        error = RequestFailedError(f"{_capital(peer)} answered {status}.")
        error.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after", ""))
        raise error


def retry_after_seconds(value: str) -> float | None:
    """The wait that a `Retry-After` header requests, in seconds or as a date (RFC 9110, 10.2.3); None if invalid."""
    if value.strip().isdecimal():
        return float(value)
    date = parse_http_date(value)
    return None if date is None else max(0.0, (date - utc_now()).total_seconds())


def parse_http_date(value: str) -> datetime | None:
    """The timestamp of an HTTP date (RFC 9110, 5.6.7); None if it is invalid."""
    try:
        timestamp = parsedate_to_datetime(value)
        # A date with "-0000" is returned naive; HTTP dates are always UTC.
        return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
