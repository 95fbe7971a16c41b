"""Small value types and rules that every room may share.

Here: what a dataset id is, how a table can be written and changed, what a loopback address is, the clock.
Not here: anything that only one room needs.
"""

import ipaddress
import re
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

# Ids seen are a prefix and 24 of [a-z0-9-]; the vendor specifies nothing. Bounded and narrow, because an id arrives in
# an unsigned event and becomes a partition key, a folder and a part of a URL.
DATASET_ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,99}"


class WriteMode(StrEnum):
    """What a load does to the rows of its table.

    `REPLACE` takes them away, `APPEND` keeps them all, `UPSERT` takes away those whose key comes again.
    """

    REPLACE = "replace"
    APPEND = "append"
    UPSERT = "upsert"


class DriftPolicy(StrEnum):
    """What becomes of a file whose columns differ from those of its table.

    `ADDITIVE` adds new columns and widens within a family of types; all else fails. `EVOLVE` also lets a column become
    a wider type and a missing column NULL, each with a warning. `FREEZE` accepts no difference.
    """

    ADDITIVE = "additive"
    EVOLVE = "evolve"
    FREEZE = "freeze"


def is_dataset_id(text: str) -> bool:
    """Whether `text` can be the id of a dataset: 1 to 100 of letters, digits, `-` and `_`."""
    return re.fullmatch(DATASET_ID_PATTERN, text) is not None


def is_loopback_host(host: str | None) -> bool:
    """Whether `host` (a name or an address, without port) can only mean this machine."""
    if not host:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Whether the host of `url` can only mean this machine."""
    return is_loopback_host(urlsplit(url).hostname)


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)
