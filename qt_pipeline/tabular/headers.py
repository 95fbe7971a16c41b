"""Which headers name the same column: those that are equal, and after them those that look the same.

Here: what a header looks like, and headers matched with those of a contract, a declaration or another file.
Not here: the names that columns get in a table (see names).
"""

import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value")

# What Unicode calls default ignorable beyond its format characters (DerivedCoreProperties).
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_INVISIBLE = "Cf"
_CONTROL = "Cc"


def without_invisible(text: str) -> str:
    """The text without byte order marks, soft hyphens, joiners and all else that takes no room on a page."""
    if text.isascii():
        return text
    return "".join(c for c in _IGNORABLE.sub("", text) if unicodedata.category(c) != _INVISIBLE)


def header_key(header: str) -> str:
    """What a header looks like: equal for two headers that a reader cannot tell apart.

    Unicode form, invisible characters, kinds and numbers of blanks do not matter; case does.
    """
    visible = without_invisible(header)
    spaced = "".join(" " if unicodedata.category(c) == _CONTROL else c for c in visible)
    return unicodedata.normalize("NFC", " ".join(spaced.split()))


def match_headers(wanted: Sequence[str], headers: Sequence[str]) -> tuple[int | None, ...]:
    """For each wanted header the position in `headers` of the same column, where there is one.

    Equal headers are matched first, then those that look the same among the rest; several of one kind in turn.
    """
    places = {key: position for position, key in enumerate(_numbered(headers))}
    matched = [places.get(key) for key in _numbered(wanted)]
    if None not in matched:
        return tuple(matched)
    taken = set(matched)
    rest: defaultdict[str, deque[int]] = defaultdict(deque)
    for position, header in enumerate(headers):
        if position not in taken:
            rest[header_key(header)].append(position)
    return tuple(
        (left.popleft() if (left := rest.get(header_key(header))) else None) if position is None else position
        for header, position in zip(wanted, matched, strict=True)
    )


class ByHeader(Generic[Value]):
    """What is said of columns, by headers that a person wrote: an equal one is found, else one that looks the same."""

    def __init__(self, said: Mapping[str, Value]) -> None:
        self._said = said
        self._by_key = {header_key(header): value for header, value in reversed(list(said.items()))}

    def get(self, header: str) -> Value | None:
        """What is said of a column with this header, if anything is."""
        if header in self._said:
            return self._said[header]
        return self._by_key.get(header_key(header)) if self._by_key else None


def header_keys(headers: Iterable[str]) -> frozenset[str]:
    """What these headers look like."""
    return frozenset(map(header_key, headers))


def _numbered(headers: Sequence[str]) -> list[tuple[str, int]]:
    """Each header with how many equal ones came before it."""
    count: Counter[str] = Counter()
    result: list[tuple[str, int]] = []
    for header in headers:
        result.append((header, count[header]))
        count[header] += 1
    return result
