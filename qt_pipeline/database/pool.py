"""Whether the connections to a server stay open while nobody uses them.

Here: the options of SQLAlchemy that say so. Not here: how a connection is opened (see postgres, mssql).
"""

from typing import Any, Final

from sqlalchemy import NullPool

POOL_SECONDS: Final = 30
"""How long a caller waits for a connection while others use all of them."""


def pool_options(*, keep_connections: bool = True, pool_timeout: float = POOL_SECONDS) -> dict[str, Any]:
    """What `create_engine` is given for a pool of connections, or for none: each use opens one and closes it."""
    if not keep_connections:
        return {"poolclass": NullPool}
    # A server that was restarted, or a firewall, ends idle connections without a word.
    return {"pool_pre_ping": True, "pool_timeout": pool_timeout}
