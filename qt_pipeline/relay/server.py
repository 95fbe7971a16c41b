"""The relay's process.

Here: the port, the server's limits, and a graceful end.
Not here: routes and answers (see app).
"""

import contextlib
import logging
import socket
from collections.abc import Sequence

import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import Inbox
from qt_pipeline.relay.app import create_app
from qt_pipeline.values import is_loopback_host

_MAX_CONNECTIONS = 512
_GRACEFUL_SECONDS = 5

_log = logging.getLogger("qt_pipeline.relay")


def serve(inbox: Inbox, tokens: Sequence[SecretStr], *, host: str = "127.0.0.1", port: int = 8642) -> None:
    """Run the relay until SIGTERM or SIGINT; requests in progress are then answered, within seconds.

    Port 0 takes a free one; the log names it.

    Raises:
        ConfigurationError: the port cannot be had, or `host` is beyond this machine and there are no tokens.
    """
    if not tokens:
        if not is_loopback_host(host):
            raise ConfigurationError(
                f"The relay does not listen on {host} without a token.",
                todo="Set QT_RELAY_TOKENS, or listen on 127.0.0.1.",
            )
        _log.warning("No token is set: every program on this machine can post events. See QT_RELAY_TOKENS.")
    server = build_server(create_app(inbox, tokens))
    with _listen(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        _log.info("The relay listens on %s port %d.", *listener.getsockname()[:2])
        server.run([listener])


def build_server(app: ASGIApp) -> uvicorn.Server:
    """The server with the relay's limits, which never writes a path, and so no token, to a log."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            # Unlike the other parser, it bounds the size of a request's head.
            http="h11",
            # The path of an upgrade request would be logged.
            ws="none",
            lifespan="off",
            access_log=False,
            # Handlers are the caller's business; the level is ours, because TRACE would log each request's path.
            log_config=None,
            log_level="info",
            server_header=False,
            # No proxy is trusted to name the caller.
            proxy_headers=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"The relay cannot listen on {host} port {port}: {error.strerror}.",
            todo="End the program that holds the port, or choose another with --port.",
        ) from error
