"""Column names: made from headers, and what a header says about the values below it.

Here: unique names within a server's length limit; which headers name identifiers or dates.
Not here: quoting, which is up to the SQL dialect (see warehouse).
"""

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from qt_pipeline.tabular.headers import header_key, without_invisible

LOAD_COLUMN = "_qt_load"
"""The second-to-last column of each table: the ledger's number of the load a row came with."""
ROW_COLUMN = "_qt_row"
"""The last column of each table: the line of the landed file on which the row begins."""
LOADED_AT_COLUMN = "_qt_loaded_at"
"""In tables that keep every load: when the row's file was landed, in UTC."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|#")
_IDENTIFIER_WORDS = frozenset(
    {
        "#",
        "code",
        "id",
        "identifier",
        "key",
        "no",
        "nr",
        "num",
        "number",
        "phone",
        "postcode",
        "ref",
        "reference",
        "tel",
        "uuid",
        "zip",
        "zipcode",
    }
)
# PostgreSQL reserves these names in every table (its documentation, 5.6).
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_BMP = 0xFFFF
_MAX_SUFFIX = len("_4194304")
# Katakana to hiragana: both blocks have the same order, 96 code points apart.
_KANA = {code: code - 96 for code in range(0x30A1, 0x30F7)}
_IDENTIFIER_ENDINGS = ("code", "number")
_DATE_WORDS = frozenset({"date", "dt", "dob", "inception", "expiry"})


class Naming(StrEnum):
    """How a column is named after its header.

    `VERBATIM` keeps the header. `SNAKE_CASE` makes lower-case words joined by `_`: `GrossPremium (GBP)` becomes
    `gross_premium_gbp`. Letters of any script are kept.
    """

    VERBATIM = "verbatim"
    SNAKE_CASE = "snake_case"


def unique_names(
    headers: Sequence[str], *, max_bytes: int, naming: Naming = Naming.VERBATIM, taken: Sequence[str] = ()
) -> tuple[str, ...]:
    """A unique column name for each header: verbatim where possible, or in snake case.

    Invisible characters are removed and control characters become spaces. A header of which nothing is left becomes
    `column_N` (N counts from 1), and a name is cut to `max_bytes` bytes of UTF-8. A name that equals an earlier one, or
    one already `taken`, ignoring case and Unicode form, gets `_2`, `_3`, ... appended.
    """
    named = _snake_case if naming is Naming.SNAKE_CASE else _printable
    used = {LOAD_COLUMN, ROW_COLUMN, LOADED_AT_COLUMN, *_SYSTEM_COLUMNS, *map(_folded, taken)}
    # Where the search for a free number continues: starting at 2 for thousands of equal headers would take hours.
    last_numbers: dict[str, int] = {}
    names: list[str] = []
    for position, header in enumerate(headers, start=1):
        base = named(without_invisible(header)) or f"column_{position}"
        name = _cut(base, max_bytes)
        if _folded(name) in used:
            stem = _folded(_cut(base, max_bytes - _MAX_SUFFIX))
            count = last_numbers.get(stem, 1)
            while _folded(name) in used:
                count += 1
                suffix = f"_{count}"
                name = _cut(base, max_bytes - len(suffix)) + suffix
            last_numbers[stem] = count
        used.add(_folded(name))
        names.append(name)
    return tuple(names)


def _printable(header: str) -> str:
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in header).strip()


def _snake_case(header: str) -> str:
    text = unicodedata.normalize("NFKC", header)
    spaced = ""
    for before, character, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if character.isupper() and (not before.isupper() or after.islower()):
            spaced += f" {character}"
        elif character.isalnum() or (spaced[-1:].strip() and unicodedata.category(character) in ("Mn", "Mc")):
            # Marks belong to the preceding letter: Hindi words are unreadable without their vowel signs.
            spaced += character
        else:
            spaced += " "
    name = "_".join(spaced.lower().split())
    return name if not name or name[0].isalpha() else f"_{name}"


def _cut(name: str, max_bytes: int) -> str:
    return name.encode()[:max_bytes].decode(errors="ignore")


def _folded(name: str) -> str:
    """The comparison key of the least strict server: SQL Server ignores invisible characters and emoji."""
    if name.isascii():
        return name.casefold()
    kept = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf" and ord(c) <= _BMP)
    return "".join(kept).translate(_KANA).casefold()


def is_identifier(header: str) -> bool:
    """Whether a header names references rather than quantities, so that its values stay text.

    True for `Policy Number`, `ClaimNo`, `GRCODE`, `Pol. #`, `Postcode`; false for `Paid` and `Number of Vehicles`.
    """
    words = [word.lower() for word in _WORD.findall(header_key(header))]
    return any(
        (word in _IDENTIFIER_WORDS or word.endswith(_IDENTIFIER_ENDINGS)) and following != "of"
        for word, following in pairwise([*words, ""])
    )


def is_date(header: str) -> bool:
    """Whether a header says that `20260131` below it is a date and not a number."""
    return any(word.lower() in _DATE_WORDS for word in _WORD.findall(header_key(header)))
