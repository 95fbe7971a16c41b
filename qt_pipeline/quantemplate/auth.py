"""Access tokens: OAuth 2.0 client credentials (RFC 6749, 4.4), as the vendor's Keycloak wants them.

Here: fetching a token, keeping it until shortly before it expires, replacing one that was rejected.
Not here: what the token is good for (see client).
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

from qt_pipeline.errors import Concern, PermanentError
from qt_pipeline.quantemplate.transport import Timeouts, moment_of, refuse_unavailable, unreachable
from qt_pipeline.values import is_loopback_url, utc_now

_PEER: Final = "the token endpoint"
_LONGEST_MARGIN_SECONDS: Final = 60
# RFC 6750, 2.1. Anything else would end up, quoted, in the error of an illegal header.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Which of the two Keycloak refuses (RFC 6749, 5.2, knows no difference).
_REFUSED: Final = {
    "invalid_client": "does not know the client id",
    "unauthorized_client": "knows the client id and refuses the secret",
}


class CredentialsError(PermanentError):
    """The token endpoint refuses this client id and secret."""

    concerns = Concern.QUANTEMPLATE


class TokenAnswerError(PermanentError):
    """The token endpoint answered, but not with a token."""

    concerns = Concern.QUANTEMPLATE


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token; called by requests, it authorises a request. `renew_at` is on the monotonic clock."""

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
        TokenAnswerError: the answer holds no usable token.
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
        """How far this machine's clock was ahead of the endpoint's at its last answer; None where it told no time."""

    def current(self) -> AccessToken:
        """A token that is not about to expire."""
        with self._lock:
            if self._token is None or time.monotonic() >= self._token.renew_at:
                self._token = self._fetch()
            return self._token

    def replace(self, rejected: AccessToken) -> AccessToken:
        """Another token than `rejected`; a new one, unless another thread has fetched it already."""
        with self._lock:
            if self._token is None or self._token is rejected:
                self._token = self._fetch()
            return self._token

    def _fetch(self) -> AccessToken:
        asked_at = time.monotonic()
        # Any: Authlib is typed only in part.
        session: Any = OAuth2Session(
            self._client_id,
            self._client_secret.get_secret_value(),
            token_endpoint_auth_method="client_secret_post",  # noqa: S106  # the name of a method
        )
        session.trust_env = not is_loopback_url(self._url)
        session.register_compliance_hook("access_token_response", self._hear)
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
                # What Authlib raises for an answer that is no object or has an odd lifetime.
                _refuse_answer()

    def _hear(self, response: requests.Response) -> requests.Response:
        """Authlib's hook for an answer that it has not read yet; it would lose the status."""
        told = moment_of(response.headers.get("date", ""))
        self.clock_ahead_seconds = None if told is None else (utc_now() - told).total_seconds()
        _refuse_failures(response)
        return response


def _token(answer: dict[str, Any], asked_at: float) -> AccessToken:
    value = answer.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        _refuse_answer()
    # Without a stated lifetime nothing is assumed: the token serves one request.
    lifetime = max(0.0, float(answer.get("expires_in") or 0))
    return AccessToken(value, asked_at + lifetime - min(_LONGEST_MARGIN_SECONDS, lifetime / 2))


def _refuse_answer() -> NoReturn:
    raise TokenAnswerError(
        "The token endpoint answered with something that is not a token.", todo="Check QT_TOKEN_URL."
    ) from None


def _refuse_failures(response: requests.Response) -> None:
    refuse_unavailable(response, _PEER)
    status = response.status_code
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        refused = _REFUSED.get(_error_in(response), "refused the client id or secret")
        raise CredentialsError(
            f"The token endpoint {refused} (status {status}).",
            todo="Check QT_CLIENT_ID and QT_CLIENT_SECRET, and that the API user is still active.",
        )
    if status != HTTPStatus.OK:
        raise TokenAnswerError(f"The token endpoint answered {status}.", todo="Check QT_TOKEN_URL.")


def _error_in(response: requests.Response) -> str:
    try:
        answer: Any = response.json()
        return str(answer["error"])
    except (InvalidJSONError, LookupError, TypeError):
        return ""
