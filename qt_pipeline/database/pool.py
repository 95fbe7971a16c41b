"""SQLAlchemy's pool options: whether idle connections to a server stay open."""

from typing import Any, Final

from sqlalchemy import NullPool

POOL_SECONDS: Final = 30
"""How long a caller waits for a free connection."""


def pool_options(*, keep_connections: bool = True, pool_timeout: float = POOL_SECONDS) -> dict[str, Any]:
    """The options of `create_engine` for a connection pool, or for a new connection on each use."""
    if not keep_connections:
        return {"poolclass": NullPool}
    # A restarted server or a firewall ends idle connections silently.
    return {"pool_pre_ping": True, "pool_timeout": pool_timeout}
