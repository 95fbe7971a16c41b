"""Dagster's own commands `dev` and `webserver`, with a guard before the webserver.

As `python -m qt_pipeline.defs.guarded dev` with the options of `dagster dev`, or `... guarded webserver` with those of
`dagster-webserver`.

Dagster executes mutations by GET and by text/plain and checks neither Host nor Origin, so that any page in the browser
of whoever runs it could drive it. Here: where the guard is put in. Not here: what it refuses (see web_guard).
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
    """Dagster's webserver behind the guard, under the names that people reach it by."""
    return WebGuard(
        app, (urlsplit(settings.dagster_url).netloc.rpartition("@")[2], *settings.dagster_hosts), json_only=True
    )


def webserver() -> None:
    """`dagster-webserver`, guarded."""
    settings = load_settings()
    cli: Any = import_module("dagster_webserver.cli")
    # Dagster has no place for a layer of one's own: this is where its command makes the application.
    make_app = cli.create_app_from_workspace_process_context

    def make_guarded_app(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as Dagster calls it
        return guarded_app(make_app(*args, **options), settings)

    cli.create_app_from_workspace_process_context = make_guarded_app
    cli.main()


def dev() -> None:
    """`dagster dev`, whose webserver is ours."""
    dagster: Any = import_module("dagster._cli")
    command: Any = import_module("dagster._cli.dev")
    start = command.open_ipc_subprocess

    def start_guarded(parts: Sequence[str], **options: Any) -> Any:  # noqa: ANN401  # as Dagster calls it
        if _WEBSERVER in parts:
            place = parts.index(_WEBSERVER)
            parts = [*parts[:place], __spec__.name, "webserver", *parts[place + 1 :]]
        return start(list(parts), **options)

    command.open_ipc_subprocess = start_guarded
    sys.argv.insert(1, "dev")
    dagster.main()


if __name__ == "__main__":
    commands = {"dev": dev, "webserver": webserver}
    if sys.argv[1:2] == [] or sys.argv[1] not in commands:
        sys.exit(f"Specify a command: {' or '.join(commands)}.")
    commands[sys.argv.pop(1)]()
