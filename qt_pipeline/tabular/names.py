"""Column names and what they say about the values below them.

Here: names made unique, whole and short enough for a server; which headers name identifiers or dates.
Not here: quoting, which is the dialect's work (see the warehouse).
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

LOAD_COLUMN = "_qt_load"
"""The last but one column of each table: the ledger's number of the load a row came with."""
ROW_COLUMN = "_qt_row"
"""The last column of each table: the line of the landed file on which a row begins."""

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
_IDENTIFIER_ENDINGS = ("code", "number")
_DATE_WORDS = frozenset({"date", "dt", "dob", "inception", "expiry"})


def unique_names(headers: Sequence[str], *, max_bytes: int) -> tuple[str, ...]:
    """A column name for each header: the header verbatim where that is possible.

    Control characters become spaces, a blank header becomes `column_N` (N counts from 1), a name is cut to `max_bytes`
    bytes of UTF-8, and one that equals an earlier name but for case or Unicode form gets `_2`, `_3`, ... appended.
    """
    taken = {LOAD_COLUMN, ROW_COLUMN}
    names: list[str] = []
    for position, header in enumerate(headers, start=1):
        printable = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in header).strip()
        base = printable or f"column_{position}"
        name = _cut(base, max_bytes)
        count = 1
        while _folded(name) in taken:
            count += 1
            suffix = f"_{count}"
            name = _cut(base, max_bytes - len(suffix)) + suffix
        taken.add(_folded(name))
        names.append(name)
    return tuple(names)


def _cut(name: str, max_bytes: int) -> str:
    return name.encode()[:max_bytes].decode(errors="ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def is_identifier(header: str) -> bool:
    """Whether a header names references rather than quantities, so that its values stay text.

    `Policy Number`, `ClaimNo`, `GRCODE`, `Pol. #`, `Postcode` do; `Paid` and `Number of Vehicles` do not.
    """
    words = [word.lower() for word in _WORD.findall(header)]
    return any(
        (word in _IDENTIFIER_WORDS or word.endswith(_IDENTIFIER_ENDINGS)) and following != "of"
        for word, following in pairwise([*words, ""])
    )


def is_date(header: str) -> bool:
    """Whether a header says that `20260131` below it is a day and not a number."""
    return any(word.lower() in _DATE_WORDS for word in _WORD.findall(header))
