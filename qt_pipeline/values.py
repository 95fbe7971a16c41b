"""Small value types and rules that all packages share.

Here: dataset ids, write modes, drift policies, loopback addresses, the clock.
Not here: anything that only one package needs.
"""

import ipaddress
import re
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

# Known ids are a prefix and 24 of [a-z0-9-]; the vendor specifies no format. The pattern is strict, because an id comes
# from an unsigned event and becomes a partition key, a folder and part of a URL.
DATASET_ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,99}"


class WriteMode(StrEnum):
    """How a load writes to its table.

    `REPLACE` deletes all existing rows, `APPEND` keeps them, `UPSERT` replaces rows with the same key.
    """

    REPLACE = "replace"
    APPEND = "append"
    UPSERT = "upsert"


class DriftPolicy(StrEnum):
    """How a load handles a file whose columns differ from those of its table.

    `ADDITIVE` adds new columns and widens within a family of types; other differences fail. `EVOLVE` also converts a
    column to a wider type and fills a missing column with NULL, each with a warning. `FREEZE` accepts no difference.
    """

    ADDITIVE = "additive"
    EVOLVE = "evolve"
    FREEZE = "freeze"


def is_dataset_id(text: str) -> bool:
    """Whether `text` is a valid dataset id: 1 to 100 letters, digits, `-` and `_`."""
    return re.fullmatch(DATASET_ID_PATTERN, text) is not None


def is_loopback_host(host: str | None) -> bool:
    """Whether `host` (a name or an address, without port) is a loopback host."""
    if not host:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Whether the host of `url` is a loopback host."""
    return is_loopback_host(urlsplit(url).hostname)


def utc_now() -> datetime:
    """The current time, as an aware datetime in UTC."""
    return datetime.now(UTC)
