"""Rate limit of the relay: a token bucket for each client address.

Here: the buckets. Not here: the response to a request over the limit (see app).
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import Final

_MAX_CLIENTS: Final = 4096
_IPV6_SITE_BITS: Final = 64


class RateLimit:
    """Allows each address `per_second` requests a second, and as many at once after a pause; 0 means no limit.

    A bounded number of recent addresses is kept. A dropped one starts over with a full bucket, so many other addresses
    can only loosen the limit for somebody, never tighten it.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Count a request of `address`. Returns 0 if it may be made, else the seconds until one may."""
        if not self._per_second:
            return 0
        client, now = client_of(address), self._clock()
        level, seen = self._buckets.pop(client, (self._most, now))
        level = min(self._most, level + (now - seen) * self._per_second)
        wait = 0 if level >= 1 else (1 - level) / self._per_second
        self._buckets[client] = (level if wait else level - 1, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


def client_of(address: str) -> str:
    """The client of an address: with IPv6, each site has a whole network of addresses."""
    if ":" not in address:
        return address
    site = IPv6Network((int(IPv6Address(address.partition("%")[0])), _IPV6_SITE_BITS), strict=False)
    return str(site)
