"""Checks URLs for ambiguous passwords, and redacts their secrets.

Here: URLs as text. Not here: SQLAlchemy URLs (see database.redact), the settings that hold URLs.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_HIDDEN = "***"
_AUTHORITY = re.compile(r"[^/?#]*")
# Characters that libraries drop, or take for the end of the host.
_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")

UNCLEAR_URL = (
    "has an ambiguous password: in a user or password, write @ as %40, / as %2F, ? as %3F, # as %23, "
    ": as %3A and % as %25"
)
"""The reason for rejecting a URL with an unescaped character in its password. Contains no part of the URL."""


def authority_of(url: str) -> str:
    """The part between scheme and path: user, password, host and port."""
    match = _AUTHORITY.match(_behind_scheme(url))
    return match[0] if match else ""


def is_unclear(url: str) -> bool:
    """Whether an `@` occurs elsewhere than between user and host, so that part of a password could be read as the host.

    For URLs that libraries split at the first `/`, `?` or `#`.
    """
    rest, authority = _behind_scheme(url), authority_of(url)
    return bool(authority) and (rest.count("@") > 1 or ("@" in rest and "@" not in authority))


def is_unclear_store(url: str) -> bool:
    """Like `is_unclear`, for a blob store's URL: an `@` in the path is allowed if the URL cannot have a password."""
    authority = authority_of(url)
    return is_unclear(url) if ":" in authority else authority.count("@") > 1


def is_unclear_database(url: str) -> bool:
    """Like `is_unclear`, for a database URL, which SQLAlchemy splits at the first `@` and nowhere before it."""
    return bool(authority_of(url)) and _behind_scheme(url).count("@") > 1


def is_server(url: str) -> bool:
    """Whether a URL names a server, and all libraries parse it alike."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not _UNSAFE.search(url)
    except ValueError:
        return False


def is_splittable(url: str) -> bool:
    """Whether libraries can parse host and port of a text; true for a path."""
    try:
        _ = urlsplit(url).port if "://" in url else None
    except ValueError:
        return False
    return True


def redacted_url(url: str) -> str:
    """A URL without user, password, query and fragment, safe to show. A path stays unchanged."""
    if "://" not in url:
        return url
    rest = _behind_scheme(url)
    scheme, authority = url.partition("://")[0], authority_of(url)
    server = f"{scheme}://{authority.rpartition('@')[2]}"
    if is_unclear_store(url) or (authority and not is_server(server)):
        # The apparent host or port may be part of a password.
        return f"{scheme}://{_HIDDEN}"
    path = re.split("[?#]", rest[len(authority) :], maxsplit=1)[0]
    return f"{server}{path}"


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """A server's URL without credentials, and the credentials (user, password) as `requests` expects them, or None."""
    rest = _behind_scheme(url)
    authority = authority_of(url)
    before, at, host = authority.rpartition("@")
    if not at:
        return url, None
    user, _, password = before.partition(":")
    bare = f"{url.partition('://')[0]}://{host}{rest[len(authority) :]}"
    return bare, (_for_basic(user), _for_basic(password))


def _for_basic(text: str) -> str:
    # RFC 7617, 2.1: servers expect UTF-8, and requests writes text as Latin-1.
    return unquote(text).encode().decode("latin-1")


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file; any characters of the path are escaped for SQLAlchemy."""
    return f"sqlite:///{quote(str(file), safe='/ ')}"


def _behind_scheme(url: str) -> str:
    return url.partition("://")[2]
