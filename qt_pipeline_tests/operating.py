"""The generated parts of docs/operating.md: alerts and commands.

Here: their Markdown. Not here: their text (see `qt_pipeline`).
"""

import re

import typer
from typer.core import TyperGroup

from qt_pipeline.alerting import KINDS, AlertKind, AlertSpec
from qt_pipeline.cli import app
from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline_tests.blocks import fill_blocks

OPERATING = PROJECT_ROOT / "docs" / "operating.md"

_SENTENCE = re.compile(r"(.+?[.])(?:\s|$)", re.DOTALL)


def operating_text() -> str:
    """Return the text of the page with its current parts."""
    return fill_blocks(OPERATING, {"alerts": _alerts(), "commands": _commands()})


def command_line() -> TyperGroup:
    """Return the command `qt-pipeline` with all its commands."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def _alerts() -> str:
    return "\n\n".join(_alert(kind, spec) for kind, spec in KINDS.items())


def _alert(kind: AlertKind, spec: AlertSpec) -> str:
    subject = "" if spec.is_shared else "… "
    messages = [f"*{subject}{message}*" for message in (spec.headline, spec.recovery) if message]
    return f"### {kind.value}\n\n{', later '.join(messages)}. {spec.meaning}\n\n**Fix:** {spec.hint}"


def _commands() -> str:
    lines = [
        f"| `{name}` | {_first_sentence(command.help or '')} |" for name, command in command_line().commands.items()
    ]
    return "\n".join(["| command | does |", "|---|---|", *lines])


def _first_sentence(text: str) -> str:
    sentence = _SENTENCE.match(" ".join(text.split()))
    return sentence[1] if sentence else text
