"""A file of settings, such as `.env`: reading it as the settings do, and setting variables in it.

Here: the lines of such a file, and who may read it. Not here: what any variable means (see settings).
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from dotenv import dotenv_values
from pydantic_settings import BaseSettings, DotEnvSettingsSource

_SETS: Final = re.compile(r"(?P<before>[ \t]*(?:export[ \t]+)?)(?P<name>\w+)[ \t]*=")
_NEEDS_NO_QUOTES: Final = re.compile(r"[A-Za-z0-9_./:@%+,=?&~-]*")
_EXPANSION: Final = re.compile(r"\$\{[^}]*\}")
_FOR_ITS_USER_ALONE: Final = 0o600


class ValueNotKeptError(ValueError):
    """A value that such a file would change: with `${NAME}` in it, or beside lines that go over several."""


def read_env_file(file: Path) -> dict[str, str]:
    """The variables that a file sets, as the settings read them; none of a file that is not there.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    found = DotEnvSettingsSource(BaseSettings, env_file=file, case_sensitive=True, env_ignore_empty=False).env_vars
    return {name: value or "" for name, value in found.items()}


def expanded_in(file: Path) -> dict[str, str]:
    """The variables of a file that are not read as they stand there, because of a `${NAME}`; each as it stands.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    raw = dotenv_values(file, interpolate=False, encoding="utf-8") if file.is_file() else {}
    return {name.upper(): value for name, value in raw.items() if value and _EXPANSION.search(value)}


def write_env_file(file: Path, values: Mapping[str, str], *, heading: str = "") -> None:
    """Set variables in a file, which is then for its user alone to read: all of them at one moment, or none.

    Every other line stays as it is. A file that is not there begins with `heading`.

    Raises:
        ValueNotKeptError: a value cannot be kept in such a file; the message names its variable.
        OSError, UnicodeDecodeError: the file cannot be read or written.
    """
    # A link stays one.
    file = file.resolve()
    part = file.with_name(f"{file.name}.{uuid4().hex}.part")
    try:
        wanted = read_env_file(file) | dict(values)
        text = file.read_text(encoding="utf-8") if file.exists() else heading
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FOR_ITS_USER_ALONE)
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123  # as a descriptor, for its mode
            stream.write(_with(text, values))
            stream.flush()
            os.fsync(descriptor)
        _check(file, wanted, read_env_file(part))
        part.replace(file)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            part.unlink()


def _with(text: str, values: Mapping[str, str]) -> str:
    lines: list[str] = []
    left = dict(values)
    for line in text.splitlines():
        sets = _SETS.match(line)
        if sets is not None and sets["name"] in values:
            lines.append(f"{sets['before']}{sets['name']}={_quoted(values[sets['name']])}")
            left.pop(sets["name"], None)
        else:
            lines.append(line)
    lines += [f"{name}={_quoted(value)}" for name, value in left.items()]
    return "\n".join([*lines, ""])


def _quoted(value: str) -> str:
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check(file: Path, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    # The format has ideas of its own, such as ${NAME} within any value, and lines of a person may have any form.
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        raise ValueNotKeptError(f"The file {file} cannot keep the value of {', '.join(wrong)}.")
