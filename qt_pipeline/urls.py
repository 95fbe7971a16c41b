"""Addresses as people write and see them: which ones are clear, and how one is shown without its secrets.

Here: URLs as text, whoever answers there. Not here: SQLAlchemy's URLs (see database.redact), which setting is which.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_HIDDEN = "***"
_AUTHORITY = re.compile(r"[^/?#]*")
# What libraries drop, or take for the end of the host.
_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")

UNCLEAR_URL = (
    "does not say where its password ends: in a user or password, write @ as %40, / as %2F, ? as %3F, # as %23, "
    ": as %3A and % as %25"
)
"""What is wrong with a URL whose password holds such a character as it is. It holds nothing of the URL."""


def authority_of(url: str) -> str:
    """What stands between scheme and path: host and port, and user and password before them."""
    match = _AUTHORITY.match(_behind_scheme(url))
    return match[0] if match else ""


def is_unclear(url: str) -> bool:
    """Whether an `@` stands elsewhere than between user and host, so that a part of a password may pass for a host.

    To be asked of URLs that libraries split at the first `/`, `?` or `#`.
    """
    rest, authority = _behind_scheme(url), authority_of(url)
    return bool(authority) and (rest.count("@") > 1 or ("@" in rest and "@" not in authority))


def is_unclear_store(url: str) -> bool:
    """The same of a store's URL: an `@` in its path is fine where nothing can be a password."""
    authority = authority_of(url)
    return is_unclear(url) if ":" in authority else authority.count("@") > 1


def is_unclear_database(url: str) -> bool:
    """The same of a database's URL, which SQLAlchemy splits at the first `@` and nowhere before it."""
    return bool(authority_of(url)) and _behind_scheme(url).count("@") > 1


def is_server(url: str) -> bool:
    """Whether a URL names a server, and every library reads it alike."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not _UNSAFE.search(url)
    except ValueError:
        return False


def is_splittable(url: str) -> bool:
    """Whether a text is one of which libraries know host and port; a path is."""
    try:
        _ = urlsplit(url).port if "://" in url else None
    except ValueError:
        return False
    return True


def redacted_url(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment. What is no URL is a path, and stays."""
    if "://" not in url:
        return url
    rest = _behind_scheme(url)
    scheme, authority = url.partition("://")[0], authority_of(url)
    server = f"{scheme}://{authority.rpartition('@')[2]}"
    if is_unclear_store(url) or (authority and not is_server(server)):
        # What should be a host or a port may be a part of a password.
        return f"{scheme}://{_HIDDEN}"
    path = re.split("[?#]", rest[len(authority) :], maxsplit=1)[0]
    return f"{server}{path}"


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """A server's URL without user and password, and these two, as requests takes them, where it has them."""
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
    """The URL of a SQLite file, whatever characters its path has; SQLAlchemy decodes it."""
    return f"sqlite:///{quote(str(file), safe='/ ')}"


def _behind_scheme(url: str) -> str:
    return url.partition("://")[2]
