"""Access tokens: OAuth 2.0 client credentials (RFC 6749, 4.4), as the vendor's Keycloak expects them.

Here: fetching a token, caching it until shortly before it expires, replacing a rejected one.
Not here: what the token is used for (see client).
"""

import re
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, NoReturn

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from pydantic import SecretStr
from requests.exceptions import InvalidJSONError
from urllib3.exceptions import HTTPError

from qt_pipeline.errors import FailureScope, PermanentError
from qt_pipeline.quantemplate.interim import FinalResponseAdapter
from qt_pipeline.quantemplate.transport import (
    RequestFailedError,
    Timeouts,
    parse_http_date,
    raise_if_unavailable,
    unreachable,
)
from qt_pipeline.values import is_loopback_url, utc_now

_PEER: Final = "the token endpoint"
_MAX_MARGIN_SECONDS: Final = 60
# RFC 6750, 2.1. Anything else would be quoted in the error for an illegal header.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_CHECK_CLIENT: Final = "Check QT_CLIENT_ID and QT_CLIENT_SECRET, and that the API user is still active."
_CHECK_URL: Final = "Check QT_TOKEN_URL."
_ASK: Final = "Id and secret need no change: ask Quantemplate to let this API user have tokens by client credentials."
# Errors of RFC 6749, 5.2. `unauthorized_client` is not among them: see `_refusal`.
_REFUSALS: Final = {
    "invalid_client": ("does not know the client id, or refuses its secret", _CHECK_CLIENT),
    "invalid_grant": ("refuses what it was given (invalid_grant)", _CHECK_CLIENT),
    "invalid_scope": ("refuses the scope of this client (invalid_scope)", _ASK),
    "unsupported_grant_type": ("gives no tokens by client credentials (unsupported_grant_type)", _CHECK_URL),
    "invalid_request": ("does not understand the request (invalid_request)", _CHECK_URL),
}
# Other errors of Keycloak about a client, in the description.
_DISABLED: Final = re.compile(r"\bdisabled\b", re.IGNORECASE)
_NO_SERVICE_ACCOUNT: Final = re.compile(
    r"service account|not enabled|not allowed|bearer.only|public client", re.IGNORECASE
)
_OF_SECRET: Final = re.compile(r"secret|credential", re.IGNORECASE)
_LATER: Final = ("temporarily_unavailable", "server_error")


class CredentialsError(PermanentError):
    """The token endpoint rejects this client: its id, its secret, or its kind of request."""

    scope = FailureScope.QUANTEMPLATE


class InvalidTokenResponseError(PermanentError):
    """The token endpoint responded, but not with a token."""

    scope = FailureScope.QUANTEMPLATE


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token that authorises requests; `renew_at` is on the monotonic clock."""

    value: str = field(repr=False)
    renew_at: float

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on `request`."""
        request.headers["Authorization"] = f"Bearer {self.value}"
        return request


class TokenSource:
    """The access token of one API user, shared by all threads that use this object.

    A token is renewed 60 seconds before it expires, or after half of its life if that is shorter.

    Raises (both methods):
        CredentialsError: client id or secret are refused.
        InvalidTokenResponseError: the answer holds no usable token.
        RequestFailedError: the endpoint cannot be reached or asks to come back later.
    """

    def __init__(self, token_url: str, client_id: str, client_secret: SecretStr, timeouts: Timeouts) -> None:
        self._url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._timeouts = timeouts
        self._token: AccessToken | None = None
        self._lock = threading.Lock()
        self.clock_ahead_seconds: float | None = None
        """How far this machine's clock is ahead of the endpoint's; None if its last response had no date."""

    def current(self) -> AccessToken:
        """A token that is not about to expire."""
        with self._lock:
            if self._token is None or time.monotonic() >= self._token.renew_at:
                self._token = self._fetch()
            return self._token

    def replace(self, rejected: AccessToken) -> AccessToken:
        """Another token than `rejected`: a new one, unless another thread has already fetched it."""
        with self._lock:
            if self._token is None or self._token is rejected:
                self._token = self._fetch()
            return self._token

    def _fetch(self) -> AccessToken:
        asked_at = time.monotonic()
        # Any: Authlib is only partly typed.
        session: Any = OAuth2Session(
            self._client_id,
            self._client_secret.get_secret_value(),
            token_endpoint_auth_method="client_secret_post",  # noqa: S106  # the name of a method
        )
        session.trust_env = not is_loopback_url(self._url)
        for scheme in ("http://", "https://"):
            session.mount(scheme, FinalResponseAdapter())
        session.register_compliance_hook("access_token_response", self._on_token_response)
        with session:
            try:
                answer = session.fetch_token(
                    self._url,
                    grant_type="client_credentials",
                    allow_redirects=False,
                    timeout=(self._timeouts.connect, self._timeouts.read),
                )
                return _token(answer, asked_at)
            except (AuthlibBaseError, InvalidJSONError):
                _refuse_answer()
            except (OSError, HTTPError) as error:
                raise unreachable(error, _PEER) from None
            except (ArithmeticError, TypeError, ValueError):
                # Authlib raises these for a response that is not an object, or has an invalid lifetime.
                _refuse_answer()

    def _on_token_response(self, response: requests.Response) -> requests.Response:
        """Authlib's hook that sees the response first; Authlib itself would drop the status."""
        date = parse_http_date(response.headers.get("date", ""))
        self.clock_ahead_seconds = None if date is None else (utc_now() - date).total_seconds()
        _refuse_failures(response)
        return response


def _token(answer: dict[str, Any], asked_at: float) -> AccessToken:
    value = answer.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        _refuse_answer()
    # Without a stated lifetime, the token serves one request.
    lifetime = max(0.0, float(answer.get("expires_in") or 0))
    return AccessToken(value, asked_at + lifetime - min(_MAX_MARGIN_SECONDS, lifetime / 2))


def _refuse_answer() -> NoReturn:
    raise InvalidTokenResponseError(
        "The token endpoint answered with something that is not a token.", hint="Check QT_TOKEN_URL."
    ) from None


def _refuse_failures(response: requests.Response) -> None:
    raise_if_unavailable(response, _PEER)
    status = response.status_code
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        error, description = _text_in(response, "error"), _text_in(response, "error_description")
        if error in _LATER:
            raise RequestFailedError(f"The token endpoint is not available for the moment (status {status}, {error}).")
        if not error:
            raise InvalidTokenResponseError(
                f"The token endpoint, or a proxy before it, answered {status} without saying why.",
                hint="Check QT_TOKEN_URL and HTTPS_PROXY; then QT_CLIENT_ID and QT_CLIENT_SECRET.",
            )
        refused, hint = _refusal(error, description)
        raise CredentialsError(f"The token endpoint {refused} (status {status}).", hint=hint)
    if status != HTTPStatus.OK:
        raise InvalidTokenResponseError(f"The token endpoint answered {status}.", hint="Check QT_TOKEN_URL.")


def _refusal(error: str, description: str) -> tuple[str, str]:
    """What Keycloak rejects, and how to fix it. Nothing of its own text is repeated.

    Keycloak reports `unauthorized_client`, and some versions `invalid_client`, both for a wrong secret and for a client
    without this grant; the description distinguishes them.
    """
    if _DISABLED.search(description):
        return "has disabled this client", "Ask Quantemplate to enable the API user; its id and secret need no change."
    if _NO_SERVICE_ACCOUNT.search(description):
        return "lets this client have no tokens by client credentials", _ASK
    if error == "unauthorized_client":
        if _OF_SECRET.search(description):
            return "knows the client id and refuses the secret", _CHECK_CLIENT
        return "does not let this client have tokens this way (unauthorized_client)", _ASK
    return _REFUSALS.get(error, ("refuses to give a token, for a reason that is not among the usual ones", _CHECK_URL))


def _text_in(response: requests.Response, key: str) -> str:
    try:
        answer: Any = response.json()
        return str(answer[key])
    except (InvalidJSONError, LookupError, TypeError):
        return ""
