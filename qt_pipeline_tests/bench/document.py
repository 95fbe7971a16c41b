"""The document of figures: one section for each benchmark, written anew by it alone.

Here: how a section is put in its place, and what stands at the head of each. Not here: any figure.
"""

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from qt_pipeline.values import utc_now

_HEAD = """# Benchmarks

Figures of one machine. `make bench` measures yours and rewrites the sections below, each with its date, machine and
method.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A benchmark's part of the document. `name` marks its place, and so stays the same; `text` is Markdown."""

    name: str
    title: str
    text: str


def write_section(document: Path, section: Section) -> None:
    """Put a section into the document, in its old place or at the end; other sections stay as they are."""
    written = document.read_text(encoding="utf-8") if document.exists() else _HEAD
    begin, end = f"<!-- {section.name} -->", f"<!-- end of {section.name} -->"
    block = f"{begin}\n\n## {section.title}\n\n{_circumstances()}\n\n{section.text.strip()}\n\n{end}\n"
    old = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    written = old.sub(lambda _: block, written) if old.search(written) else f"{written}\n{block}"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(written, encoding="utf-8")


def _circumstances() -> str:
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    machine = f"{cores} cores, {memory:.0f} GiB of memory, {platform.system()} on {platform.machine()}"
    return f"{utc_now():%d %B %Y} · {machine} · Python {platform.python_version()} · Dagster {version('dagster')}"
