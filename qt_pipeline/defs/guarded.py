"""Dagster's commands `dev` and `webserver`, with a guard against cross-site requests.

As `python -m qt_pipeline.defs.guarded dev` with the options of `dagster dev`, or `... guarded webserver` with those of
`dagster-webserver`.

Dagster executes mutations sent by GET or as text/plain and checks neither Host nor Origin, so any page in its user's
browser could control it. Here: installing the guard. Not here: what the guard rejects (see web_guard).
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from qt_pipeline.settings import Settings, load_settings
from qt_pipeline.web_guard import WebGuard

_WEBSERVER = "dagster_webserver"


def guarded_app(app: ASGIApp, settings: Settings) -> WebGuard:
    """Dagster's webserver behind the guard, which accepts the configured host names."""
    return WebGuard(
        app, (urlsplit(settings.dagster_url).netloc.rpartition("@")[2], *settings.dagster_hosts), json_only=True
    )


def webserver() -> None:
    """`dagster-webserver`, guarded."""
    settings = load_settings()
    cli: Any = import_module("dagster_webserver.cli")
    # Dagster has no hook for middleware, so its command's application factory is replaced.
    make_app = cli.create_app_from_workspace_process_context

    def make_guarded_app(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as Dagster calls it
        return guarded_app(make_app(*args, **options), settings)

    cli.create_app_from_workspace_process_context = make_guarded_app
    cli.main()


def dev() -> None:
    """`dagster dev` with the guarded webserver."""
    dagster: Any = import_module("dagster._cli")
    command: Any = import_module("dagster._cli.dev")
    start = command.open_ipc_subprocess

    def start_guarded(parts: Sequence[str], **options: Any) -> Any:  # noqa: ANN401  # as Dagster calls it
        if _WEBSERVER in parts:
            position = parts.index(_WEBSERVER)
            parts = [*parts[:position], __spec__.name, "webserver", *parts[position + 1 :]]
        return start(list(parts), **options)

    command.open_ipc_subprocess = start_guarded
    sys.argv.insert(1, "dev")
    dagster.main()


if __name__ == "__main__":
    commands = {"dev": dev, "webserver": webserver}
    if sys.argv[1:2] == [] or sys.argv[1] not in commands:
        sys.exit(f"Specify a command: {' or '.join(commands)}.")
    commands[sys.argv.pop(1)]()
