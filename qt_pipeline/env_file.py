"""Reads and writes variables in a settings file such as `.env`.

Here: the file's lines and its mode. Not here: the meaning of variables (see settings).
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

_ASSIGNMENT: Final = re.compile(r"(?P<before>[ \t]*(?:export[ \t]+)?)(?P<name>\w+)[ \t]*=")
_NEEDS_NO_QUOTES: Final = re.compile(r"[A-Za-z0-9_./:@%+,=?&~-]*")
_EXPANSION: Final = re.compile(r"\$\{[^}]*\}")
_OWNER_ONLY: Final = 0o600


class ValueNotKeptError(ValueError):
    """A value that cannot be stored unchanged: it contains `${NAME}`, or the file has multi-line values."""


def read_env_file(file: Path) -> dict[str, str]:
    """The variables that a file sets, as the settings read them; empty if the file is missing.

    Raises:
        OSError, UnicodeDecodeError: the file cannot be read.
    """
    variables = DotEnvSettingsSource(BaseSettings, env_file=file, case_sensitive=True, env_ignore_empty=False).env_vars
    return {name: value or "" for name, value in variables.items()}


def expanded_in(file: Path) -> dict[str, str]:
    """The raw values of variables that reading changes, because they contain `${NAME}`.

    Raises:
        OSError, UnicodeDecodeError: the file cannot be read.
    """
    raw = dotenv_values(file, interpolate=False, encoding="utf-8") if file.is_file() else {}
    return {name.upper(): value for name, value in raw.items() if value and _EXPANSION.search(value)}


def write_env_file(file: Path, values: Mapping[str, str], *, heading: str = "") -> None:
    """Set variables in a file atomically, and make it readable by its owner only.

    All other lines stay unchanged. A new file begins with `heading`.

    Raises:
        ValueNotKeptError: the file cannot store a value unchanged; the message names the variable.
        OSError, UnicodeDecodeError: the file cannot be read or written.
    """
    # Keep a symbolic link.
    file = file.resolve()
    part = file.with_name(f"{file.name}.{uuid4().hex}.part")
    try:
        wanted = read_env_file(file) | dict(values)
        text = file.read_text(encoding="utf-8") if file.exists() else heading
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a descriptor, to set the mode
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
    remaining = dict(values)
    for line in text.splitlines():
        assignment = _ASSIGNMENT.match(line)
        if assignment is not None and assignment["name"] in values:
            lines.append(f"{assignment['before']}{assignment['name']}={_quoted(values[assignment['name']])}")
            remaining.pop(assignment["name"], None)
        else:
            lines.append(line)
    lines += [f"{name}={_quoted(value)}" for name, value in remaining.items()]
    return "\n".join([*lines, ""])


def _quoted(value: str) -> str:
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check(file: Path, wanted: Mapping[str, str], written: Mapping[str, str]) -> None:
    # The format changes some values, such as those with ${NAME}, and existing lines may have any form.
    wrong = sorted(name for name in {*wanted, *written} if wanted.get(name) != written.get(name))
    if wrong:
        raise ValueNotKeptError(f"The file {file} cannot store the value of {', '.join(wrong)}.")
