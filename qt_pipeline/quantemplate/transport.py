"""One exchange with the vendor over HTTP: who is asked, how long to wait, where a redirect may lead.

Here: timeouts, proxies, redirects, interim responses, and what a failed exchange is called.
Not here: what an answer means (see client), its body (see body), how often to try (see retry).
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
"""Where a download may be redirected besides the host that was asked: the vendor's domain, and the stores of clouds."""
_CAUSES: Final = (
    (socket.gaierror, "the name cannot be resolved"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was cut off"),
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class RequestFailedError(TransientError):
    """An exchange failed in a way that a repeat may mend: no connection, no answer, a server under load.

    `retry_after_seconds` is the wait that the server asked for, if it did.
    """

    scope = FailureScope.QUANTEMPLATE
    retry_after_seconds: float | None = None


class RedirectError(PermanentError):
    """A redirect leads where this project does not follow: without https, or to a host that is not listed."""

    scope = FailureScope.QUANTEMPLATE


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The longest wait for a connection, and the longest silence within an answer, in seconds."""

    connect: float
    read: float


class _OneHop(requests.Session):
    # Even when told not to follow a redirect, requests reads its body whole and prepares the next request.
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
    """The answer to a GET, its body not read yet; it is closed at the end of the `with` block.

    Up to three redirects are followed, from loopback to loopback, or by https to the host of `url` and to those of
    `redirect_hosts` (`*.example.com` is every host below it); the responses that redirected are the answer's `history`.
    Once a redirect has left the scheme, host and port of `url`, nothing is authorised any more. Cookies are not kept.
    Proxy and certificates come from the environment, except for loopback.

    Raises:
        RequestFailedError: there is no answer.
        RedirectError: a redirect leads elsewhere, or there is one too many.
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
    # Not None: for None, requests would look into ~/.netrc.
    return request


def session_to(url: str, session: requests.Session | None = None) -> requests.Session:
    """A session for one exchange with the server of `url`, which skips interim responses."""
    session = session or requests.Session()
    # A proxy of the environment must not be asked for what is on this machine.
    session.trust_env = not is_loopback_url(url)
    for scheme in ("http://", "https://"):
        session.mount(scheme, FinalResponseAdapter())
    return session


def _location(response: requests.Response) -> str:
    """The header as it was meant: bytes beyond ASCII are UTF-8, or else stay the bytes that they are."""
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
    """What to raise, `from None`, for an exchange with `peer` that ended in `error`.

    The words of `error` are left out, and it must not be chained: it may quote a proxy's password or the answer.
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
    """Why there is no connection, from the network's own errors beneath those of the libraries."""
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
    """Raise for the statuses that mean "later": 408, 429 and 5xx.

    Raises:
        RequestFailedError: with the wait that the server asked for (`Retry-After`).
    """
    status = response.status_code
    later = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    if status in later or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        error = RequestFailedError(f"{_capital(peer)} answered {status}.")
        error.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after", ""))
        raise error


def retry_after_seconds(value: str) -> float | None:
    """The wait that a `Retry-After` header asks for, in seconds or as a date (RFC 9110, 10.2.3); None for neither."""
    if value.strip().isdecimal():
        return float(value)
    moment = parse_http_date(value)
    return None if moment is None else max(0.0, (moment - utc_now()).total_seconds())


def parse_http_date(value: str) -> datetime | None:
    """The moment that a header names as an HTTP date (RFC 9110, 5.6.7); None for what is none."""
    try:
        moment = parsedate_to_datetime(value)
        # A date "-0000" comes back naive; HTTP dates are always UTC.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
