"""Header matching: headers name the same column if they are equal, or else if they look the same.

Here: the comparison key of a header, and headers matched with those of a contract, a declaration or another file.
Not here: the names that columns get in a table (see names).
"""

import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value")

# Unicode's default ignorable characters that are not format characters (DerivedCoreProperties).
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_INVISIBLE = "Cf"
_CONTROL = "Cc"


def without_invisible(text: str) -> str:
    """The text without byte order marks, soft hyphens, joiners and other characters of zero width."""
    if text.isascii():
        return text
    return "".join(c for c in _IGNORABLE.sub("", text) if unicodedata.category(c) != _INVISIBLE)


def header_key(header: str) -> str:
    """The comparison key of a header: equal for two headers that a person cannot distinguish.

    Unicode form, invisible characters, kinds and numbers of blanks do not matter; case does.
    """
    visible = without_invisible(header)
    spaced = "".join(" " if unicodedata.category(c) == _CONTROL else c for c in visible)
    return unicodedata.normalize("NFC", " ".join(spaced.split()))


def match_headers(wanted: Sequence[str], headers: Sequence[str]) -> tuple[int | None, ...]:
    """For each wanted header, the position of the same column in `headers`, or None.

    Equal headers are matched first, then those that look the same among the rest. Duplicates are matched in order.
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
    """A mapping by header: `get` finds the value of an equal header, else of one that looks the same."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self._by_key = {header_key(header): value for header, value in reversed(list(values.items()))}

    def get(self, header: str) -> Value | None:
        """The value for a column with this header, or None."""
        if header in self._values:
            return self._values[header]
        return self._by_key.get(header_key(header)) if self._by_key else None


def header_keys(headers: Iterable[str]) -> frozenset[str]:
    """The comparison keys of these headers."""
    return frozenset(map(header_key, headers))


def _numbered(headers: Sequence[str]) -> list[tuple[str, int]]:
    """Each header with the number of equal headers before it."""
    count: Counter[str] = Counter()
    result: list[tuple[str, int]] = []
    for header in headers:
        result.append((header, count[header]))
        count[header] += 1
    return result
