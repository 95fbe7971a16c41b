"""The open connections of the relay, and which one is closed if there are too many.

Here: the count for each address. Not here: how a connection is closed (see protocol).
"""

from typing import Final, Generic, Protocol, TypeVar

from qt_pipeline.relay.rate import client_of

# Below the 1,024 files that a process may have open by default.
MAX_CONNECTIONS: Final = 900


class Connection(Protocol):
    """A connection, as far as this module needs it."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        ...


T = TypeVar("T", bound=Connection)


class Connections(Generic[T]):
    """The open connections, oldest first.

    If there are too many, the oldest idle one of the address with the most is closed: a sender with very many
    connections loses its own, and never blocks another. A proxy, whose connections all come from one address, loses
    only idle ones, and only at the limit.
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
        idle = (member for share in by_share for member in share if member.is_idle)
        # The new connection is idle itself.
        over_limit = next(idle, connection)
        self.discard(over_limit)
        return over_limit

    def discard(self, connection: T) -> None:
        """Forget a connection, if it is known."""
        client = self._address_of.pop(connection, None)
        if client is None:
            return
        share = self._by_address[client]
        del share[connection]
        if not share:
            del self._by_address[client]
