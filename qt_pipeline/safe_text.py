"""Escapes untrusted text for a terminal, Rich, Markdown, chat messages and spreadsheets.

Untrusted text comes from a file, an event, the vendor or the catalog. Here: one function per medium.
Not here: which text is shown where, and whether it may be shown.
"""

import re
import unicodedata

# Control characters, direction marks, surrogates, and line separators.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# The thinnest space. A zero-width space would do for chats, but some programs accept it in a host name.
_BREAK = "\N{HAIR SPACE}"
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_LINKS = re.compile(
    r"""
    (?<=/)(?=/)                 # http://host, //host
    | (?<=www)(?=\.)
    | (?<=[^\s.])(?=\.[^\W\d_])(?!\.(?:yaml|csv|env|db)\b)  # host.example; neither 1.25 nor the project's file names
    | (?<=@)(?=\S)              # @channel, somebody@host
    | (?<=<)(?=\S)              # <@U1>, <http://host|text>, <img>
    | (?<=!)(?=\S)              # <!channel>, which may come without its bracket; ![text](address)
    | (?<=\])(?=[(\[:])         # [text](address), [text][name], [name]: address
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FORMULA = re.compile(r"(^|[;\t\r\n])([ \xa0]*)(?=[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20])")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|\.\d+)([eE][+-]?\d+)?")


def printable(text: str) -> str:
    """One line without terminal control: U+FFFD replaces control characters, line ends and direction marks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_REPLACEMENT if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def shortened(text: str, *, length: int = 80) -> str:
    """`printable` text cut to `length` characters, with an ellipsis if it was longer."""
    line = printable(text[: length + 1])
    return line if len(line) <= length else f"{line[: length - 1]}…"


def printable_lines(text: str) -> str:
    """`printable` for a text of several lines, such as a traceback: keeps line ends."""
    return "\n".join(map(printable, text.split("\n")))


def rich_markup(text: str) -> str:
    """`printable` text that Rich shows literally, on a console without emoji replacement."""
    from rich.markup import escape  # noqa: PLC0415  # runs do not use Rich, and every import delays them

    return escape(printable(text))


def chat_text(text: str) -> str:
    """`printable` text in which no chat or mail program finds a mention, a link or a picture.

    Services interpret plain text differently, and no escape works in all of them. So a hair space breaks the patterns
    that they look for; people read the text unchanged.
    """
    return _LINKS.sub(_BREAK, printable(text))


def markdown_text(text: str) -> str:
    """One line that Markdown shows literally, in a paragraph or a table cell.

    Escapes alone are not enough: programs look for bare addresses after the escapes are resolved.
    """
    return _PUNCTUATION.sub(r"\\\g<0>", chat_text(" ".join(text.split())))


def spreadsheet_text(text: str) -> str:
    """A cell of a CSV file that no spreadsheet interprets as a formula.

    An apostrophe precedes anything that could be one, also after characters that some spreadsheets take as separators.
    Plain numbers stay unchanged, including negative ones.
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1\2'", text)
