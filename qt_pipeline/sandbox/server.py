"""Run the sandbox: in a thread for tests, or in the foreground for the command line.

Here: sockets, threads, uvicorn. Not here: what it answers (see app and control).
"""

import asyncio
import secrets
import socket
import time
from threading import Thread
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from qt_pipeline.errors import ConfigurationError, TransientError
from qt_pipeline.sandbox.app import API_PATH, TOKEN_PATH, create_app
from qt_pipeline.sandbox.downloads import TRANSPORT
from qt_pipeline.sandbox.state import SandboxState
from qt_pipeline.values import is_loopback_host
from qt_pipeline.web_guard import WebGuard

_STOP_SECONDS = 1


class SandboxServer:
    """A sandbox in a thread of this process, on a free port of 127.0.0.1; use it in a `with` block.

    Client id and secret are generated if not given. `state` is the sandbox's state, safe to use while it runs.
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        token_seconds: int = 60,
        webhook_url: str | None = None,
    ) -> None:
        self.client_id = client_id or f"sandbox-{secrets.token_hex(4)}"
        self.client_secret = client_secret or secrets.token_urlsafe(24)
        self.state = SandboxState(
            client_id=self.client_id,
            client_secret=self.client_secret,
            token_seconds=token_seconds,
            webhook_url=webhook_url,
        )
        self.organisation_id = self.state.organisation_id
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.api_url = self.base_url + API_PATH
        self.token_url = self.base_url + TOKEN_PATH
        self._server = uvicorn.Server(_config(self.state))
        self._thread = Thread(target=self._server.run, args=([self._socket],), name=self.base_url, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise TransientError("The sandbox did not start.", hint="The log above this message says why.")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def serve(
    host: str,
    port: int,
    *,
    client_id: str,
    client_secret: str,
    webhook_url: str | None = None,
    token_seconds: int = 60,
) -> None:
    """Run a sandbox in the foreground until it is interrupted.

    Raises:
        ConfigurationError: `host` or the webhook lies beyond this machine.
        SystemExit: the port is taken; the log says so.
    """
    if not is_loopback_host(host):
        raise ConfigurationError(
            "The sandbox only listens on this machine: its control routes ask for no password.",
            hint="Use 127.0.0.1 as its host.",
        )
    state = SandboxState(
        client_id=client_id, client_secret=client_secret, token_seconds=token_seconds, webhook_url=webhook_url
    )
    uvicorn.Server(_config(state, host=host, port=port)).run()


class _Protocol(H11Protocol):
    """The implementation that is always installed, so that the same bytes are on the wire everywhere.

    It passes its connection to the application: some faults are below HTTP.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app = _with_transport(self.app, transport)


def _with_transport(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {TRANSPORT: transport}}, receive, send)

    return with_transport


def _config(state: SandboxState, *, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    return uvicorn.Config(
        WebGuard(create_app(state)),
        host=host,
        port=port,
        http=_Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,  # the program around it says how it logs
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
