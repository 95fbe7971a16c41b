"""Column types, and how the profiles of two parts of a file are joined.

Here: kinds, their formats, the lattice that joins them. Pure values.
Not here: inferring kinds (see infer), changing types (see drift).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pyarrow as pa

MAX_DIGITS = 38
"""Digits of the widest exact decimal (SQL Server, PostgreSQL and Arrow's decimal128 agree)."""
MAX_FORMAT = 400
"""The longest format of a declared type, in characters."""
ISO_DATE = "%Y-%m-%d"
COMPACT_DATE = "%Y%m%d"
ISO_TIMESTAMP = f"{ISO_DATE} %H:%M:%S"
ANY_FRACTION = "[.%f]"
"""The end of a timestamp format if some values have fractional seconds and others do not."""
_CANONICAL_TIMESTAMP = re.compile(rf"({ISO_DATE}[ T]%H:%M:%S)(\.%[1-6]f|\[\.%f\])?")
MAX_SECTIONS = 1000
"""A column with more distinct decimals than this holds quantities, not section numbers of a document."""


class Kind(StrEnum):
    """The kind of values in a column. `TEXT` can hold anything; the others only values that convert without loss.

    `UNKNOWN` is the kind of a column whose values are all NULL so far: its first value decides.
    """

    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TEXT = "text"
    UNKNOWN = "open"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column in the contract.

    `precision` and `scale` count decimal digits; an integer with a precision has at most that many digits, without one
    64 bits. `length` bounds a text in UTF-16 code units, as SQL Server counts; 0 is unbounded. `format` is how the file
    writes a value: as for strftime (with `%3f` for milliseconds) for dates and timestamps, such as `1,234.56` for
    numbers, such as `Y/N` for booleans; empty is canonical. Formatting a stored value by it restores the file's text.
    """

    kind: Kind
    precision: int = 0
    scale: int = 0
    length: int = 0
    format: str = ""

    def __str__(self) -> str:
        match self.kind:
            case Kind.DECIMAL:
                name = f"decimal({self.precision},{self.scale})"
            case Kind.TEXT if self.length:
                name = f"text({self.length})"
            case _:
                name = self.kind.value
        return name if self.format in ("", BARE_FORMATS.get(self.kind)) else f"{name} {self.format}"

    @property
    def is_canonical(self) -> bool:
        """Whether the file writes such values in the format that needs no declaration."""
        match self.kind:
            case Kind.DATE:
                return self.format in (ISO_DATE, COMPACT_DATE)
            case Kind.TIMESTAMP:
                return _CANONICAL_TIMESTAMP.fullmatch(self.format) is not None
            case _:
                return not self.format

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type for such values."""
        match self.kind:
            case Kind.BOOLEAN:
                return pa.bool_()
            case Kind.INTEGER:
                return pa.int64()
            case Kind.DECIMAL:
                return pa.decimal128(self.precision, self.scale)
            case Kind.DATE:
                return pa.date32()
            case Kind.TIMESTAMP:
                return pa.timestamp("us")
            case Kind.TEXT | Kind.UNKNOWN:
                return pa.string()


TEXT = ColumnType(Kind.TEXT)
BARE_FORMATS: Mapping[Kind, str] = {Kind.DATE: ISO_DATE, Kind.TIMESTAMP: f"{ISO_DATE} %H:%M:%S"}
"""The formats of dates and timestamps if a type is declared or described by its name alone."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What the values of a column, or of a part of it, have in common. `kind` is None if there were no values.

    `whole_digits` counts digits before the decimal point (a lone zero counts as none), `scale` those after it.
    `canonical` is false if integers were seen that no integer type reproduces (`-0`, or more than 64 bits); decimals
    only need to be equal as numbers. `length` is that of the longest value, in UTF-16 code units. `decimal_texts` are
    the distinct values with a decimal point; None if not requested, or if too many for section numbers.
    `negative_zero`: a zero with a minus sign was seen among numbers, which no SQL number reproduces.
    """

    kind: Kind | None = None
    whole_digits: int = 0
    scale: int = 0
    format: str = ""
    canonical: bool = True
    length: int = 0
    decimal_texts: frozenset[str] | None = field(default=frozenset(), compare=False, repr=False)
    negative_zero: bool = False

    @property
    def needs_text(self) -> bool:
        """Whether a new column would lose a spelling if it held these values as numbers."""
        return self.kind in (Kind.INTEGER, Kind.DECIMAL) and (self.negative_zero or self.may_be_sections)

    @property
    def may_be_sections(self) -> bool:
        """Whether numbers such as 3.1 and 3.10 were seen: different as section numbers, equal as numbers.

        5.0 and 5.00 do not count: they are the same section.
        """
        bare = [text.rstrip("0") for text in self.decimal_texts or ()]
        fractions = [text for text in bare if not text.endswith(".")]
        return len(set(fractions)) < len(fractions)

    def join(self, other: "ColumnProfile") -> "ColumnProfile":
        """What both parts have in common; independent of the order of the parts and of where they were cut."""
        if self.kind is None or other.kind is None:
            return other if self.kind is None else self
        if self.kind is other.kind and self.format == other.format:
            return self.wider(other, self.kind)
        if self.kind is other.kind is Kind.TIMESTAMP and (shared := _shared_format(self.format, other.format)):
            return replace(self, format=shared).wider(other, self.kind)
        left, right = self.as_number(), other.as_number()
        if left.kind is right.kind is Kind.INTEGER:
            return left.wider(right, Kind.INTEGER)
        if {left.kind, right.kind} == {Kind.INTEGER, Kind.DECIMAL}:
            return left.wider(right, Kind.DECIMAL)
        return ColumnProfile(Kind.TEXT, length=max(self.length, other.length))

    def as_number(self) -> "ColumnProfile":
        """Dates written as `20260131` count as integers if other values are not dates."""
        return ColumnProfile(Kind.INTEGER, whole_digits=8, length=8) if self.format == COMPACT_DATE else self

    def wider(self, other: "ColumnProfile", kind: Kind) -> "ColumnProfile":
        """The join of both, if they are of one kind, or numbers that meet in `kind`."""
        return ColumnProfile(
            kind,
            whole_digits=max(self.whole_digits, other.whole_digits),
            scale=max(self.scale, other.scale),
            format=self.format,
            canonical=kind is Kind.DECIMAL or (self.canonical and other.canonical),
            length=max(self.length, other.length),
            decimal_texts=_bounded_union(self.decimal_texts, other.decimal_texts),
            negative_zero=self.negative_zero or other.negative_zero,
        )


def _bounded_union(left: frozenset[str] | None, right: frozenset[str] | None) -> frozenset[str] | None:
    """The union; None beyond `MAX_SECTIONS`, so that memory stays bounded."""
    if left is None or right is None:
        return None
    union = left | right
    return union if len(union) <= MAX_SECTIONS else None


def _shared_format(left: str, right: str) -> str | None:
    """The common format of two canonical timestamp formats that differ only in their fractions."""
    first, second = (_CANONICAL_TIMESTAMP.fullmatch(format_) for format_ in (left, right))
    return f"{first[1]}{ANY_FRACTION}" if first and second and first[1] == second[1] else None
