"""The types a column can have, and how what was seen in one part of a file joins what was seen in another.

Here: kinds, their formats, the lattice that joins them. Pure values.
Not here: looking at values (see infer), changing them (see typed).
"""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

MAX_DIGITS = 38
"""Digits of the widest exact decimal (SQL Server, PostgreSQL and Arrow's decimal128 agree)."""
ISO_DATE = "%Y-%m-%d"
COMPACT_DATE = "%Y%m%d"


class Kind(StrEnum):
    """What a column holds. `TEXT` can hold anything; the others only values that lose nothing by the conversion."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column as the contract writes it.

    `precision` and `scale` count decimal digits and belong to decimals; `format` (as of strftime, with `%3f` for
    milliseconds) to dates and timestamps: formatted by it, a stored value is the text of the file again.
    """

    kind: Kind
    precision: int = 0
    scale: int = 0
    format: str = ""

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind is Kind.DECIMAL else self.kind.value

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
            case Kind.TEXT:
                return pa.string()


TEXT = ColumnType(Kind.TEXT)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the values of a column, or a part of it, have in common. No values seen: `kind` is None.

    `whole_digits` counts digits before the decimal point, `scale` those after it. `plain` is false when whole numbers
    were seen that no integer type gives back (`-0`, or more than 64 bits); a decimal is equal as a number.
    """

    kind: Kind | None = None
    whole_digits: int = 0
    scale: int = 0
    format: str = ""
    plain: bool = True

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
        return Seen(Kind.TEXT)

    def as_number(self) -> "Seen":
        """Days written as `20260131` are whole numbers too, when a neighbour is no day."""
        return Seen(Kind.INTEGER, whole_digits=8) if self.format == COMPACT_DATE else self

    def wider(self, other: "Seen", kind: Kind) -> "Seen":
        """Both, when they are of one kind, or numbers that meet in `kind`."""
        return Seen(
            kind,
            whole_digits=max(self.whole_digits, other.whole_digits),
            scale=max(self.scale, other.scale),
            format=self.format,
            plain=kind is Kind.DECIMAL or (self.plain and other.plain),
        )
