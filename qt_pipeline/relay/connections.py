"""All open connections of the relay, and which of them is closed when there are too many.

Here: the count for each address. Not here: how a connection is closed (see protocol).
"""

from typing import Final, Generic, Protocol, TypeVar

from qt_pipeline.relay.rate import client_of

# Below the 1,024 files that a process may have open by default.
MAX_CONNECTIONS: Final = 900


class Connection(Protocol):
    """What is known of a connection."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        ...


T = TypeVar("T", bound=Connection)


class Connections(Generic[T]):
    """The open connections, in the order in which they were made.

    When there are too many, the oldest idle one of the address that has most is closed: a sender with very many
    connections loses its own, and never keeps another from being served. A proxy, whose connections all come from one
    address, loses idle ones alone, and only where the limit is reached.
    """

    def __init__(self) -> None:
        self._address_of: dict[T, str] = {}
        self._by_address: dict[str, dict[T, None]] = {}

    def add(self, connection: T, address: str) -> T | None:
        """Count a new connection. Returns the one to close now, which may be this one, or None."""
        client = client_of(address)
        self._address_of[connection] = client
        self._by_address.setdefault(client, {})[connection] = None
        if len(self._address_of) <= MAX_CONNECTIONS:
            return None
        by_share = sorted(self._by_address.values(), key=len, reverse=True)
        idle = (one for share in by_share for one in share if one.is_idle)
        # The new one is idle itself.
        surplus = next(idle, connection)
        self.discard(surplus)
        return surplus

    def discard(self, connection: T) -> None:
        """Forget a connection, if it is known."""
        client = self._address_of.pop(connection, None)
        if client is None:
            return
        share = self._by_address[client]
        del share[connection]
        if not share:
            del self._by_address[client]
