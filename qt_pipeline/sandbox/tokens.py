"""Access tokens of the sandbox: random, short-lived, really checked.

Here: issuing and checking tokens. Not here: the format of the token endpoint's responses (see app).
"""

import hmac
import secrets
import time
from threading import Lock

ACCESS_TOKEN_PREFIX = "sandbox-access-token."  # noqa: S105  # its beginning, by which a search finds any that got away


class TokenOffice:
    """Issues tokens to the only client it knows, and checks whether a token is valid. Safe between threads."""

    def __init__(self, *, client_id: str, client_secret: str, lifetime_seconds: int) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self.lifetime_seconds = lifetime_seconds
        self._ends: dict[str, float] = {}
        self._lock = Lock()

    def knows_client(self, client_id: str) -> bool:
        """Whether a client of this id exists."""
        return hmac.compare_digest(client_id.encode(), self._client_id.encode())

    def accepts(self, client_secret: str) -> bool:
        """Whether this is the client's secret."""
        return hmac.compare_digest(client_secret.encode(), self._client_secret.encode())

    def issue(self) -> str:
        """A new token that is valid for `lifetime_seconds`."""
        token = ACCESS_TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            self._ends = {known: end for known, end in self._ends.items() if end > now}
            self._ends[token] = now + self.lifetime_seconds
        return token

    def holds(self, token: str) -> bool:
        """Whether the token was issued here and has not expired."""
        with self._lock:
            return time.monotonic() < self._ends.get(token, 0.0)

    def expire(self, token: str) -> None:
        """End one token now."""
        with self._lock:
            self._ends.pop(token, None)

    def expire_all(self) -> None:
        """End every token now."""
        with self._lock:
            self._ends.clear()
