"""Parse and edit the CREATE TABLE statement of a SQLite table.

Here: finding the types and collations of its columns, and replacing types. Pure text.
Not here: creating the table (see sqlite_change).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from qt_pipeline.database import NameMatching

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\n\f\r]+|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|'(?:[^']|'')*')
    |(?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    |(?P<other>[0-9.]+[A-Za-z0-9_]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TABLE_CONSTRAINTS = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"})
_COLUMN_CONSTRAINTS = _TABLE_CONSTRAINTS | {"NOT", "NULL", "DEFAULT", "COLLATE", "REFERENCES", "AS", "DEFERRABLE"}
_SAME = NameMatching.ASCII_CASE


class UnreadableTableError(Exception):
    """A statement whose columns cannot be located with certainty."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper() in words

    @property
    def name(self) -> str:
        """The name that a word or quoted token denotes."""
        if self.kind == "word":
            return self.text
        quote = self.text[0]
        inner = self.text[1:-1]
        return inner if quote == "[" else inner.replace(quote * 2, quote)


def with_types(create_table: str, name: str, types: Mapping[str, str]) -> str:
    """The same statement for a table called `name`, with these types by column name. All else stays unchanged.

    Raises:
        UnreadableTableError: it is not a plain CREATE TABLE with a list of columns that has each of these once.
    """
    tokens = _tokens(create_table)
    table, opening = _table_name(tokens)
    wanted = {_SAME.fold(column): type_ for column, type_ in types.items()}
    quoted = '"' + name.replace('"', '""') + '"'
    edits = [(table.start, table.end, quoted)]
    for column in _columns(tokens[opening + 1 :]):
        type_ = wanted.pop(_SAME.fold(column[0].name), None)
        if type_ is not None:
            written = _type_tokens(column)
            start, end = (written[0].start, written[-1].end) if written else (column[0].end, column[0].end)
            edits.append((start, end, type_ if written else f" {type_}"))
    if wanted:
        _refuse(f"its columns {', '.join(wanted)} are not found in it")
    for start, end, text in sorted(edits, reverse=True):
        create_table = f"{create_table[:start]}{text}{create_table[end:]}"
    return create_table


def collations(create_table: str) -> dict[str, str]:
    """The collation of each column that has one, by column name.

    Raises:
        UnreadableTableError: it is not a plain CREATE TABLE with a list of columns.
    """
    tokens = _tokens(create_table)
    _, opening = _table_name(tokens)
    by_column: dict[str, str] = {}
    for column in _columns(tokens[opening + 1 :]):
        depth = 0
        for token, following in pairwise(column):
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0 and token.is_word("COLLATE"):
                by_column[column[0].name] = following.name
    return by_column


def _tokens(text: str) -> list[_Token]:
    matches = _TOKEN.finditer(text)
    tokens = [_Token(str(m.lastgroup), m[0], m.start(), m.end()) for m in matches if m.lastgroup != "space"]
    if any(token.kind == "other" and token.text in "\"'`[" for token in tokens):
        _refuse("a quoted name or text in it does not end")
    return tokens


def _table_name(tokens: Sequence[_Token]) -> tuple[_Token, int]:
    """The token of the table's name, and the position of the parenthesis that opens its columns."""
    if not tokens[0].is_word("CREATE"):
        _refuse("it does not begin with CREATE TABLE")
    at = 2 if tokens[1].is_word("TEMP", "TEMPORARY") else 1
    if not tokens[at].is_word("TABLE"):
        _refuse("it does not begin with CREATE TABLE")
    at += 1
    if [token.text.upper() for token in tokens[at : at + 3]] == ["IF", "NOT", "EXISTS"]:
        at += 3
    if len(tokens) > at + 2 and tokens[at + 1].text == ".":
        at += 2
    if len(tokens) <= at + 1 or tokens[at + 1].text != "(" or tokens[at].kind not in ("word", "quoted"):
        _refuse("it has no list of columns")
    return tokens[at], at + 1


def _columns(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """The tokens of each column, its name first; table constraints are left out."""
    parts: list[list[_Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.text == ")" and depth == 0:
            break
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    else:
        _refuse("its list of columns does not end")
    columns = [part for part in parts if part and not part[0].is_word(*_TABLE_CONSTRAINTS)]
    names = [_SAME.fold(column[0].name) for column in columns]
    if len(set(names)) < len(names) or any(column[0].kind not in ("word", "quoted") for column in columns):
        _refuse("its columns have no unique names")
    return columns


def _type_tokens(column: Sequence[_Token]) -> Sequence[_Token]:
    """The tokens between a column's name and its first constraint: words, and perhaps one or two numbers."""
    end = 1
    while end < len(column) and column[end].kind in ("word", "quoted"):
        following = column[end + 1] if end + 1 < len(column) else None
        generated = column[end].is_word("GENERATED") and following is not None and following.is_word("ALWAYS")
        if generated or column[end].is_word(*_COLUMN_CONSTRAINTS):
            break
        end += 1
    if end > 1 and end < len(column) and column[end].text == "(":
        closing = next((at for at in range(end, len(column)) if column[at].text == ")"), None)
        if closing is None:
            _refuse("a type in it does not end")
        end = closing + 1
    return column[1:end]


def _refuse(reason: str) -> NoReturn:
    raise UnreadableTableError(reason)
