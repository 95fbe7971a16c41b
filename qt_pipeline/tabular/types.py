"""The types a column can have, and how what was seen in one part of a file joins what was seen in another.

Here: kinds, their formats, the lattice that joins them. Pure values.
Not here: looking at values (see infer), changing them (see drift).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

MAX_DIGITS = 38
"""Digits of the widest exact decimal (SQL Server, PostgreSQL and Arrow's decimal128 agree)."""
MAX_FORMAT = 400
"""The longest form of a declared type, in characters."""
ISO_DATE = "%Y-%m-%d"
COMPACT_DATE = "%Y%m%d"
ISO_TIMESTAMP = f"{ISO_DATE} %H:%M:%S"
_PLAIN_TIMESTAMP = re.compile(rf"{ISO_DATE}[ T]%H:%M:%S(\.%[1-6]f)?")


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
    OPEN = "open"


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
    def is_plain(self) -> bool:
        """Whether the file writes such values in the form that needs no declaration."""
        match self.kind:
            case Kind.DATE:
                return self.format in (ISO_DATE, COMPACT_DATE)
            case Kind.TIMESTAMP:
                return _PLAIN_TIMESTAMP.fullmatch(self.format) is not None
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
            case Kind.TEXT | Kind.OPEN:
                return pa.string()


TEXT = ColumnType(Kind.TEXT)
BARE_FORMATS: Mapping[Kind, str] = {Kind.DATE: ISO_DATE, Kind.TIMESTAMP: f"{ISO_DATE} %H:%M:%S"}
"""How a file writes days and moments whose type is declared or told by its name alone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the values of a column, or a part of it, have in common. No values seen: `kind` is None.

    `whole_digits` counts digits before the decimal point (a lone zero is none), `scale` those after it. `plain` is
    false when whole numbers were seen that no integer type gives back (`-0`, or more than 64 bits); a decimal is equal
    as a number. `length` is that of the longest value, in UTF-16 code units.
    """

    kind: Kind | None = None
    whole_digits: int = 0
    scale: int = 0
    format: str = ""
    plain: bool = True
    length: int = 0

    def join(self, other: "Seen") -> "Seen":
        """What both parts have in common; the order of the parts and where they were cut do not matter."""
        if self.kind is None or other.kind is None:
            return other if self.kind is None else self
        if self.kind is other.kind and self.format == other.format:
            return self.wider(other, self.kind)
        one, two = self.as_number(), other.as_number()
        if one.kind is two.kind is Kind.INTEGER:
            return one.wider(two, Kind.INTEGER)
        if {one.kind, two.kind} == {Kind.INTEGER, Kind.DECIMAL}:
            return one.wider(two, Kind.DECIMAL)
        return Seen(Kind.TEXT, length=max(self.length, other.length))

    def as_number(self) -> "Seen":
        """Days written as `20260131` are whole numbers too, when a neighbour is no day."""
        return Seen(Kind.INTEGER, whole_digits=8, length=8) if self.format == COMPACT_DATE else self

    def wider(self, other: "Seen", kind: Kind) -> "Seen":
        """Both, when they are of one kind, or numbers that meet in `kind`."""
        return Seen(
            kind,
            whole_digits=max(self.whole_digits, other.whole_digits),
            scale=max(self.scale, other.scale),
            format=self.format,
            plain=kind is Kind.DECIMAL or (self.plain and other.plain),
            length=max(self.length, other.length),
        )
