"""The types a column can have, and how what was seen in one part of a file joins what was seen in another.

Here: kinds, their formats, the lattice that joins them. Pure values.
Not here: looking at values (see infer), changing them (see drift).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pyarrow as pa

MAX_DIGITS = 38
"""Digits of the widest exact decimal (SQL Server, PostgreSQL and Arrow's decimal128 agree)."""
MAX_FORMAT = 400
"""The longest form of a declared type, in characters."""
ISO_DATE = "%Y-%m-%d"
COMPACT_DATE = "%Y%m%d"
ISO_TIMESTAMP = f"{ISO_DATE} %H:%M:%S"
ANY_FRACTION = "[.%f]"
"""The end of a timestamp's format where some values have a fraction of a second and others have none."""
_CANONICAL_TIMESTAMP = re.compile(rf"({ISO_DATE}[ T]%H:%M:%S)(\.%[1-6]f|\[\.%f\])?")
MAX_SECTIONS = 1000
"""A column with more different decimals than this holds quantities, not the sections of a document."""


class Kind(StrEnum):
    """What a column holds. `TEXT` can hold anything; the others only values that lose nothing by the conversion.

    `OPEN` is the kind of a column that was blank so far: its first value decides.
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
    """The type of a column as the contract writes it.

    `precision` and `scale` count decimal digits; an integer with a precision has at most so many, without one 64 bits.
    `length` bounds a text in UTF-16 code units, as SQL Server counts; 0 is no bound. `format` is how the file writes a
    value: as of strftime (with `%3f` for milliseconds) for dates and timestamps, `1,234.56` or the like for numbers,
    `Y/N` or the like for booleans; empty is the plain form. Formatted by it, a stored value is the file's text again.
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
        """Whether the file writes such values in the form that needs no declaration."""
        match self.kind:
            case Kind.DATE:
                return self.format in (ISO_DATE, COMPACT_DATE)
            case Kind.TIMESTAMP:
                return _CANONICAL_TIMESTAMP.fullmatch(self.format) is not None
            case _:
                return not self.format

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that carries such values."""
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
"""How a file writes days and moments whose type is declared or told by its name alone."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What the values of a column, or a part of it, have in common. No values seen: `kind` is None.

    `whole_digits` counts digits before the decimal point (a lone zero is none), `scale` those after it. `plain` is
    false when whole numbers were seen that no integer type gives back (`-0`, or more than 64 bits); a decimal is equal
    as a number. `length` is that of the longest value, in UTF-16 code units. `decimal_texts` are the different values
    with a decimal point; None where nobody asked for them, or where they are too many for the sections of a document.
    `negative_zero`: a zero with a minus sign was seen among numbers, which no number of SQL gives back.
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
        """Whether numbers such as 3.1 and 3.10 were seen: different as sections of a document, equal as numbers.

        5.0 and 5.00 are one number only.
        """
        bare = [text.rstrip("0") for text in self.decimal_texts or ()]
        fractions = [text for text in bare if not text.endswith(".")]
        return len(set(fractions)) < len(fractions)

    def join(self, other: "ColumnProfile") -> "ColumnProfile":
        """What both parts have in common; the order of the parts and where they were cut do not matter."""
        if self.kind is None or other.kind is None:
            return other if self.kind is None else self
        if self.kind is other.kind and self.format == other.format:
            return self.wider(other, self.kind)
        if self.kind is other.kind is Kind.TIMESTAMP and (shared := _shared_format(self.format, other.format)):
            return replace(self, format=shared).wider(other, self.kind)
        one, two = self.as_number(), other.as_number()
        if one.kind is two.kind is Kind.INTEGER:
            return one.wider(two, Kind.INTEGER)
        if {one.kind, two.kind} == {Kind.INTEGER, Kind.DECIMAL}:
            return one.wider(two, Kind.DECIMAL)
        return ColumnProfile(Kind.TEXT, length=max(self.length, other.length))

    def as_number(self) -> "ColumnProfile":
        """Days written as `20260131` are whole numbers too, when a neighbour is no day."""
        return ColumnProfile(Kind.INTEGER, whole_digits=8, length=8) if self.format == COMPACT_DATE else self

    def wider(self, other: "ColumnProfile", kind: Kind) -> "ColumnProfile":
        """Both, when they are of one kind, or numbers that meet in `kind`."""
        return ColumnProfile(
            kind,
            whole_digits=max(self.whole_digits, other.whole_digits),
            scale=max(self.scale, other.scale),
            format=self.format,
            canonical=kind is Kind.DECIMAL or (self.canonical and other.canonical),
            length=max(self.length, other.length),
            decimal_texts=_few(self.decimal_texts, other.decimal_texts),
            negative_zero=self.negative_zero or other.negative_zero,
        )


def _few(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Both; None beyond `MAX_SECTIONS`, so that memory stays bounded."""
    if one is None or other is None:
        return None
    both = one | other
    return both if len(both) <= MAX_SECTIONS else None


def _shared_format(one: str, two: str) -> str | None:
    """The plain format of timestamps of two plain formats that differ by their fractions alone."""
    seconds, others = (_CANONICAL_TIMESTAMP.fullmatch(format_) for format_ in (one, two))
    return f"{seconds[1]}{ANY_FRACTION}" if seconds and others and seconds[1] == others[1] else None
