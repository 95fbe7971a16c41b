"""The relay's process.

Here: the ports, the server configuration, and a graceful shutdown.
Not here: routes and answers (see app), the limits of a connection (see protocol).
"""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Sequence
from typing import Final

import uvicorn
from pydantic import SecretStr

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.relay.app import RelayApp
from qt_pipeline.relay.metrics import Metrics
from qt_pipeline.relay.protocol import bounded
from qt_pipeline.relay.rejections import Rejections
from qt_pipeline.relay.sinks import EventSink
from qt_pipeline.telemetry import end_traces
from qt_pipeline.values import is_loopback_host

_IDLE_SECONDS: Final = 10
_GRACEFUL_SECONDS: Final = 5
# Simultaneous connections are all accepted before the first one over the limit is closed.
_OPEN_FILES: Final = 4096

_log = logging.getLogger("qt_pipeline.relay")


def serve(
    intake: EventSink,
    tokens: Sequence[SecretStr],
    metrics: Metrics,
    *,
    host: str = "127.0.0.1",
    port: int = 8642,
    metrics_port: int = 8643,
    events_per_second: float = 0,
) -> None:
    """Run the relay until SIGTERM or SIGINT; requests in progress are then completed within seconds.

    Port 0 takes a free one; the log names it. `metrics` are served on 127.0.0.1 only. `events_per_second` limits each
    address; 0 means no limit.

    Raises:
        ConfigurationError: a port is not available, or `host` is beyond this machine and there are no tokens.
    """
    if not tokens:
        if not is_loopback_host(host):
            raise ConfigurationError(
                f"The relay does not listen on {host} without a token.",
                hint="Set QT_RELAY_TOKENS, or listen on 127.0.0.1.",
            )
        _log.warning("No token is set: every program on this machine can post events. See QT_RELAY_TOKENS.")
    _allow_open_files()
    server = build_server(RelayApp(intake, tokens, Rejections(metrics), events_per_second=events_per_second))
    with (
        _listen(host, port) as listener,
        metrics.listening(metrics_port) as its_port,
        contextlib.suppress(KeyboardInterrupt),
    ):
        _log.info("Metrics are at http://127.0.0.1:%d/metrics.", its_port)
        _log.info("The relay listens on %s port %d.", *listener.getsockname()[:2])
        server.run([listener])


def build_server(app: RelayApp) -> uvicorn.Server:
    """The server with the relay's limits. It never logs a path, which may hold a token."""
    return _Server(
        uvicorn.Config(
            app,
            http=bounded(app.refusals),
            # The path of an upgrade request would be logged.
            ws="none",
            lifespan="off",
            access_log=False,
            # The caller sets the handlers; the level is fixed, because TRACE would log each request's path.
            log_config=None,
            log_level="info",
            server_header=False,
            # No proxy is trusted to name the caller.
            proxy_headers=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
    )


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Afterwards the process ends, by the signal that ended the server.
        await asyncio.to_thread(end_traces)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"The relay cannot listen on {host} port {port}: {error.strerror}.",
            hint="End the program that holds the port, or choose another with --port.",
        ) from error
