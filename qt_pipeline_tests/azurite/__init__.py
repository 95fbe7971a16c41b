"""A real Azure Storage for the tests: queues or blobs of Microsoft's Azurite, on a free port of 127.0.0.1, in memory.

`make test` installs it where npm is. It must not be killed and started again in a test: what it has just acknowledged
it may have forgotten.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest

_SERVICES = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src"
_START_SECONDS = 60
_LISTENING = re.compile(r"listens on (http://127\.0\.0\.1:\d+)")


@contextmanager
def running_azurite(service: Literal["queue", "blob"]) -> Generator[str]:
    """The address of a server that runs until the block ends. Skips the test where it is not installed."""
    node, main = shutil.which("node"), _SERVICES / service / "main.js"
    if node is None or not main.is_file():
        pytest.skip(f"Azurite is not installed (node, and `make test` or `npm ci` here): no {service} is tested")
    port = [f"--{service}Port", "0"]
    options = [*port, "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with subprocess.Popen(
        [node, main, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        # A server that says nothing is ended, and so is the wait for its words.
        watchdog = threading.Timer(_START_SECONDS, server.kill)
        watchdog.start()
        try:
            address = _address(server)
            watchdog.cancel()
            yield address
        finally:
            watchdog.cancel()
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.communicate(timeout=10)
            server.kill()


def _address(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    said = ""
    for line in server.stdout:
        said += line
        if listening := _LISTENING.search(line):
            return listening[1]
    raise AssertionError(f"Azurite did not start: {said}")
