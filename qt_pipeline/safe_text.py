"""Untrusted text made inert for the medium that shows it: a terminal, Rich, Markdown, a chat message, a spreadsheet.

Untrusted is what comes from a file, an event, the vendor or the catalog. Here: one function for each medium.
Not here: which text is shown where, and whether it may be shown at all.
"""

import re
import unicodedata

# Controls, what turns the direction of text, halves of characters, and separators of lines.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# The thinnest of spaces. One without any width would do for chats, but some programs take it for a letter of a host.
_BREAK = "\N{HAIR SPACE}"
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_LINKS = re.compile(
    r"""
    (?<=/)(?=/)                 # http://host, //host
    | (?<=www)(?=\.)
    | (?<=[^\s.])(?=\.[^\W\d_])(?!\.(?:yaml|csv|env|db)\b)  # host.example; neither 1.25 nor the names of our files
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
    """One line that cannot steer a terminal: each control, line end and mark of direction is U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_REPLACEMENT if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def shortened(text: str, *, length: int = 80) -> str:
    """`printable` text that is no longer than `length` characters, and says so where it was."""
    line = printable(text[: length + 1])
    return line if len(line) <= length else f"{line[: length - 1]}…"


def printable_lines(text: str) -> str:
    """The same for a text of several lines, such as a traceback, whose line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def rich_markup(text: str) -> str:
    """`printable` text that Rich shows as it stands, on a console that replaces no emoji."""
    from rich.markup import escape  # noqa: PLC0415  # a run has no use for Rich, and waits for every import

    return escape(printable(text))


def chat_text(text: str) -> str:
    """`printable` text in which no chat or mail program finds a mention, a link or a picture.

    Services differ in what they make of plain text, and none has an escape that all know. So a hair space breaks what
    each of them looks for; a person reads the text as it was.
    """
    return _LINKS.sub(_BREAK, printable(text))


def markdown_text(text: str) -> str:
    """One line that Markdown shows as it stands, in a paragraph or in the cell of a table.

    Escapes alone do not do: programs that find bare addresses look for them after the escapes are resolved.
    """
    return _PUNCTUATION.sub(r"\\\g<0>", chat_text(" ".join(text.split())))


def spreadsheet_text(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula.

    An apostrophe stands before what could be one, also after a separator that some spreadsheets cut at. Plain numbers
    stay as they are, negative ones too.
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1\2'", text)
