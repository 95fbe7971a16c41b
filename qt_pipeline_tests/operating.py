"""The parts of docs/operating.md that are made from the code: alerts and commands.

Here: how each becomes Markdown. Not here: its words, which stand in `qt_pipeline` alone.
"""

import re

import typer
from typer.core import TyperGroup

from qt_pipeline.alerting import KINDS, AlertKind, AlertSpec
from qt_pipeline.cli import app
from qt_pipeline.settings import PROJECT_ROOT

OPERATING = PROJECT_ROOT / "docs" / "operating.md"

_SENTENCE = re.compile(r"(.+?[.])(?:\s|$)", re.DOTALL)


def operating_text() -> str:
    """The page as it is, with these parts as they should be."""
    written = OPERATING.read_text(encoding="utf-8")
    for name, text in (("alerts", _alerts()), ("commands", _commands())):
        begin, end = f"<!-- {name}, written by `make generated` -->", f"<!-- end of {name} -->"
        place = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        written = place.sub(lambda _, block=f"{begin}\n\n{text}\n\n{end}": block, written)
    return written


def command_line() -> TyperGroup:
    """The command `qt-pipeline` with all its commands."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def _alerts() -> str:
    return "\n\n".join(_alert(kind, explained) for kind, explained in KINDS.items())


def _alert(kind: AlertKind, explained: AlertSpec) -> str:
    subject = "" if explained.is_shared else "… "
    said = [f"*{subject}{words}*" for words in (explained.headline, explained.recovery) if words]
    return f"### {kind.value}\n\n{', later '.join(said)}. {explained.meaning}\n\n**Do:** {explained.hint}"


def _commands() -> str:
    lines = [
        f"| `{name}` | {_first_sentence(command.help or '')} |" for name, command in command_line().commands.items()
    ]
    return "\n".join(["| command | does |", "|---|---|", *lines])


def _first_sentence(text: str) -> str:
    found = _SENTENCE.match(" ".join(text.split()))
    return found[1] if found else text
