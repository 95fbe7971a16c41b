"""The contract of a dataset: which columns its table has, and of which types, from the first load on.

Here: the first contract made of a whole file; whether a later file keeps it; the places where it does not.
Not here: storing a contract (see the warehouse), reading a file (see inspect).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.names import is_identifier, unique_names
from qt_pipeline.tabular.types import MAX_DIGITS, TEXT, ColumnType, Kind, Seen

SHORT_DIGITS = 15
"""Decimals of up to this many digits survive a binary float; the first contract leaves room up to here."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its header as the file has it, its name in the table, its type."""

    header: str
    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a dataset's table in the table's order, `_qt_load` and `_qt_row` not among them."""

    columns: tuple[Column, ...]

    def positions(self, headers: Sequence[str]) -> tuple[int, ...]:
        """For each column of the contract, where a file with these `headers` has it. Equal headers go in turn.

        Raises:
            DriftError: a column is missing or new.
        """
        places = {key: position for position, key in enumerate(_numbered(headers))}
        wanted = _numbered([column.header for column in self.columns])
        missing = [key[0] for key in wanted if key not in places]
        new = [key[0] for key in places if key not in set(wanted)]
        if missing or new:
            raise DriftError(columns_missing=missing, columns_new=new)
        return tuple(places[key] for key in wanted)

    def follow(self, headers: Sequence[str], seen: Sequence[Seen]) -> "Contract":
        """This contract, with decimals given more places after the point where the file needs them.

        Raises:
            DriftError: a column is missing or new, or its values are of another type.
        """
        positions = self.positions(headers)
        followed = [
            _follow(column.type, seen[position]) for column, position in zip(self.columns, positions, strict=True)
        ]
        broken = [column for column, type_ in zip(self.columns, followed, strict=True) if type_ is None]
        if broken:
            raise DriftError(columns_of_another_type=broken)
        return Contract(
            tuple(replace(column, type=type_ or TEXT) for column, type_ in zip(self.columns, followed, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that its column's type cannot hold as it stands. `value` is None where values may not be shown."""

    line: int
    column: str
    type: str
    value: str | None

    def __str__(self) -> str:
        shown = f" {self.value!r}" if self.value is not None else " a value that"
        return f"line {self.line}, column {self.column!r}:{shown} is not {self.type}"


class DriftError(PermanentError):
    """The file differs from the dataset's contract. The table keeps its rows."""

    def __init__(
        self,
        *,
        columns_missing: Sequence[str] = (),
        columns_new: Sequence[str] = (),
        columns_of_another_type: Sequence[Column] = (),
        misfits: Sequence[Misfit] = (),
    ) -> None:
        self.columns_of_another_type = tuple(columns_of_another_type)
        self.misfits = tuple(misfits)
        parts = [
            f"{what}: {', '.join(repr(name) for name in names)}"
            for what, names in (
                ("columns that are missing", columns_missing),
                ("columns that are new", columns_new),
                ("columns with values of another type", [f"{c.name} ({c.type})" for c in columns_of_another_type]),
            )
            if names
        ]
        places = f" First of them: {'; '.join(str(misfit) for misfit in self.misfits[:3])}." if self.misfits else ""
        super().__init__(
            f"The file does not fit the columns of its table: {'; '.join(parts)}.{places}",
            todo="Nothing was loaded; the table keeps its rows. Correct the dataset at its source.",
        )


def first_contract(headers: Sequence[str], seen: Sequence[Seen], *, max_name_bytes: int) -> Contract:
    """The contract that a first file founds: the narrowest types that lose nothing, with room to grow."""
    names = unique_names(headers, max_bytes=max_name_bytes)
    return Contract(
        tuple(
            Column(header=header, name=name, type=TEXT if is_identifier(header) else _first_type(values))
            for header, name, values in zip(headers, names, seen, strict=True)
        )
    )


def _first_type(seen: Seen) -> ColumnType:
    match seen.kind:
        case Kind.INTEGER if seen.plain:
            return ColumnType(Kind.INTEGER)
        case Kind.DECIMAL if (digits := seen.whole_digits + seen.scale) <= MAX_DIGITS:
            return ColumnType(Kind.DECIMAL, SHORT_DIGITS if digits <= SHORT_DIGITS else MAX_DIGITS, seen.scale)
        case Kind.BOOLEAN:
            return ColumnType(Kind.BOOLEAN)
        case Kind.DATE | Kind.TIMESTAMP:
            return ColumnType(seen.kind, format=seen.format)
        case _:
            return TEXT


def _follow(type_: ColumnType, seen: Seen) -> ColumnType | None:
    """The type that holds what was seen, widened within its family at most; None where no such type does."""
    if seen.kind is None or type_.kind is Kind.TEXT:
        return type_
    number = seen.as_number()
    if type_.kind is Kind.INTEGER:
        return type_ if number.kind is Kind.INTEGER and number.plain else None
    if type_.kind is Kind.DECIMAL:
        scale = max(type_.scale, number.scale)
        fits = number.kind in (Kind.INTEGER, Kind.DECIMAL) and number.whole_digits + scale <= type_.precision
        return replace(type_, scale=scale) if fits else None
    return type_ if seen.kind is type_.kind and seen.format == type_.format else None


def holds(type_: ColumnType, seen: Seen) -> bool:
    """Whether a column of this type can hold what was seen, as it stands."""
    return _follow(type_, seen) is not None


def _numbered(headers: Sequence[str]) -> list[tuple[str, int]]:
    """Each header with how many equal ones came before it."""
    count: Counter[str] = Counter()
    numbered: list[tuple[str, int]] = []
    for header in headers:
        numbered.append((header, count[header]))
        count[header] += 1
    return numbered
