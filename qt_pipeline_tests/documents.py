"""Rules for Markdown pages: broken links, invalid commands, unknown settings and names.

Here: links and anchors by GitHub's rules, commands, settings, names of tables.
Not here: which pages, commands and names exist (see test_documents).
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer import Exit, TyperException
from typer.core import TyperCommand, TyperGroup

_MARKDOWN = MarkdownIt("commonmark").enable("table")

_PROGRAM = "qt-pipeline"
_COMMAND = re.compile(rf"(?<![\w/.-])(?:\.venv/bin/)?{_PROGRAM}((?:[ ]+[^\s|;&#`]+)*)")
# A placeholder in a command: DATASET_ID, d-…, [NUMBER], <token>, N.
_PLACEHOLDER = re.compile(r"…|\.\.\.|[\[\]<>{}*]|^[A-Z][A-Z_]*$")
_MAKE = re.compile(r"(?:^|(?<=[\s`(]))make ([a-z]+)\b")
_SETTING = re.compile(r"\b(?:QT|OTEL)_[A-Z][A-Z0-9_]*\b")
_OWN_NAME = re.compile(r"(?<!\w)_qt_[a-z0-9_]+")
_NOT_IN_AN_ANCHOR = re.compile(r"[^\w\- ]")
_URL_LETTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")


@dataclass(frozen=True, slots=True)
class Target:
    """The address of a link or picture, and the first line of its paragraph."""

    address: str
    line: int
    is_picture: bool = False


class Page:
    """One Markdown file. `path` is relative to the project's root."""

    def __init__(self, path: PurePosixPath, text: str) -> None:
        self.path = path
        self.text = text
        self._tokens = _MARKDOWN.parse(text)

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors that a link can name after `#`, by GitHub's rules."""
        seen: Counter[str] = Counter()
        found: set[str] = set()
        for heading, title in zip(self._tokens, self._tokens[1:], strict=False):
            if heading.type == "heading_open":
                plain = anchor_of("".join(part.content for part in title.children or ()))
                found.add(f"{plain}-{seen[plain]}" if seen[plain] else plain)
                seen[plain] += 1
        return found | {value for tag in self._html for name, value in tag if name in ("id", "name")}

    @cached_property
    def targets(self) -> list[Target]:
        """Every link and picture."""
        found: list[Target] = []
        for line, token in self._leaves():
            if token.type == "link_open":
                found.append(Target(str(token.attrs["href"]), line))
            elif token.type == "image":
                found.append(Target(str(token.attrs["src"]), line, is_picture=True))
        for tag in self._html:
            found += [Target(value, 0, name != "href") for name, value in tag if name in ("href", "src", "srcset")]
        return found

    @cached_property
    def code(self) -> list[tuple[int, str]]:
        """Every code span and block, with the first line of its paragraph or block."""
        return [(line, token.content) for line, token in self._leaves() if token.type in ("code_inline", "fence")]

    def blocks(self, language: str) -> list[tuple[int, str]]:
        """The fenced blocks in a language."""
        return [(line, token.content) for line, token in self._leaves() if token.info.strip() == language]

    def rows(self, heading: str) -> list[list[str]]:
        """The rows of the tables between a heading and the next one, as the text of each cell."""
        found: list[list[str]] = []
        title, inside = "", False
        for token, following in zip(self._tokens, self._tokens[1:], strict=False):
            match token.type:
                case "heading_open":
                    title = following.content
                case "tbody_open" | "tbody_close":
                    inside = token.type == "tbody_open" and title == heading
                case "tr_open" if inside:
                    found.append([])
                case "td_open" if inside:
                    found[-1].append("".join(part.content for part in following.children or ()))
                case _:
                    pass
        return found

    @cached_property
    def _html(self) -> list[list[tuple[str, str]]]:
        tags = _Tags()
        for _, token in self._leaves():
            if token.type in ("html_inline", "html_block"):
                tags.feed(token.content)
        return tags.found

    def _leaves(self) -> Iterator[tuple[int, Token]]:
        line = 0
        for token in self._tokens:
            line = token.map[0] + 1 if token.map else line
            for part in token.children or (token,):
                yield line, part


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[tuple[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # inherited
        self.found.append([(name, value or "") for name, value in attrs])


def anchor_of(heading: str) -> str:
    """GitHub's anchor for a heading."""
    return _NOT_IN_AN_ANCHOR.sub("", heading.strip().lower()).replace(" ", "-")


def broken_links(pages: Mapping[PurePosixPath, Page], exists: Callable[[PurePosixPath], bool]) -> list[str]:
    """Broken links of pages. `exists` says whether a file of the project exists."""
    return [
        f"{page.path}:{target.line}: {target.address} {fault}"
        for page in pages.values()
        for target in page.targets
        if (fault := _fault_of_link(page, target, pages, exists))
    ]


def _fault_of_link(
    page: Page, target: Target, pages: Mapping[PurePosixPath, Page], exists: Callable[[PurePosixPath], bool]
) -> str | None:
    parts = urlsplit(target.address)
    if parts.scheme:
        names_a_server = parts.scheme == "https" and "." in (parts.hostname or "")
        return None if names_a_server and _URL_LETTERS.fullmatch(target.address) else "is no https address"
    named = PurePosixPath(unquote(parts.path)) if parts.path else PurePosixPath(page.path.name)
    place = _without_dots(page.path.parent / named)
    if place is None or not exists(place):
        return "does not exist"
    if target.is_picture and place.suffix not in (".png", ".svg"):
        return "is no picture"
    if not parts.fragment:
        return None
    if place not in pages:
        return "names a place in what is no page"
    return None if unquote(parts.fragment) in pages[place].anchors else "names a heading that is not there"


def _without_dots(path: PurePosixPath) -> PurePosixPath | None:
    kept: list[str] = []
    for part in path.parts:
        if part == ".." and not kept:
            return None
        kept = kept[:-1] if part == ".." else [*kept, part]
    return PurePosixPath(*kept)


def wrong_commands(page: Page, program: TyperGroup) -> list[str]:
    """Invalid `qt-pipeline` commands in the page's code."""
    return [
        f"{page.path}:{line}: {_PROGRAM}{words}: {fault}"
        for line, code in page.code
        for words in _COMMAND.findall(code)
        if (fault := _fault_of_command(words, program))
    ]


def _fault_of_command(words: str, program: TyperGroup) -> str | None:
    name, *arguments = shlex.split(words) or [""]
    if not name or _PLACEHOLDER.search(name):
        return None
    if name.startswith("-"):
        return _unknown_option(program, [name])
    command = program.commands.get(name)
    if command is None:
        return "there is no such command"
    if not arguments or any(_PLACEHOLDER.search(argument) for argument in arguments):
        # Only the name and options of a described command can be checked.
        return _unknown_option(command, arguments)
    return _refusal(command, name, arguments)


def _refusal(command: TyperCommand | TyperGroup, name: str, arguments: list[str]) -> str | None:
    try:
        command.make_context(name, arguments)
    except Exit:
        # --help exits.
        return None
    except TyperException as error:
        return error.format_message()
    return None


def _unknown_option(command: TyperCommand | TyperGroup, arguments: Iterable[str]) -> str | None:
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    unknown = [word for word in (argument.partition("=")[0].strip("[]") for argument in arguments) if word[:1] == "-"]
    return next((f"there is no option {word}" for word in unknown if word not in known), None)


def wrong_verbs(page: Page, verbs: Collection[str]) -> list[str]:
    """Targets of `make` in the page's code that the Makefile lacks."""
    found = {(line, verb) for line, code in page.code for verb in _MAKE.findall(code)}
    return [f"{page.path}:{line}: make {verb}" for line, verb in sorted(found) if verb not in verbs]


def unknown_settings(page: Page, known: Collection[str]) -> list[str]:
    """Variables that look like settings and are unknown."""
    return [f"{page.path}: {name}" for name in sorted(set(_SETTING.findall(page.text))) if name not in known]


def unknown_names(page: Page, known: Collection[str]) -> list[str]:
    """Tables and columns that look like the project's own and are unknown."""
    return [f"{page.path}: {name}" for name in sorted(set(_OWN_NAME.findall(page.text))) if name not in known]


def markdown_in(root: Path) -> dict[PurePosixPath, Page]:
    """Every page of the project, except in hidden folders and node_modules."""
    found = (path for path in sorted(root.rglob("*.md")))
    relative = ((PurePosixPath(path.relative_to(root).as_posix()), path) for path in found)
    return {
        place: Page(place, path.read_text(encoding="utf-8"))
        for place, path in relative
        if not any(part.startswith(".") or part == "node_modules" for part in place.parts)
    }
