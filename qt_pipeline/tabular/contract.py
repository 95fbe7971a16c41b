"""The contract of a dataset: which columns its table has, of which types, and the file's headers behind them.

Here: the contract, where a file has its columns, and the errors for a file or a declaration that breaks it.
Not here: how a contract is founded and how it may change (see drift), storing it (see the warehouse).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.headers import match_headers
from qt_pipeline.tabular.types import ColumnType


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its header as the file has it, its name in the table, its type."""

    header: str
    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a dataset's table in the order they came, our own not among them."""

    columns: tuple[Column, ...]

    def positions(self, headers: Sequence[str]) -> tuple[int | None, ...]:
        """For each column, where a file with these `headers` has it, if it does; see `match_headers`."""
        return match_headers([column.header for column in self.columns], headers)

    def new_positions(self, headers: Sequence[str]) -> tuple[int, ...]:
        """Where a file with these `headers` has columns that the contract does not know."""
        known = set(self.positions(headers))
        return tuple(position for position in range(len(headers)) if position not in known)

    def has_other_columns(self, headers: Sequence[str]) -> bool:
        """Whether a file with these `headers` has none of the columns."""
        return all(position is None for position in self.positions(headers))


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """A value that its column's type cannot hold as it stands. `value` is None where values may not be shown.

    `length`, in UTF-16 code units, is that of a text which is too long.
    """

    line: int
    column: str
    type: str
    value: str | None
    length: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column!r}:"
        if self.length is not None:
            shown = repr(self.value) if self.value is not None else "a text"
            return f"{place} {shown} of {self.length:,} characters is too long for {self.type}"
        shown = repr(self.value) if self.value is not None else "a value that"
        return f"{place} {shown} is not {self.type}"


class DriftError(PermanentError):
    """The file differs from the dataset's contract in a way that its policy does not allow. The table keeps its rows.

    `columns_of_another_type` are by their position in the file. Its words name the first `named` misfits.
    """

    named = 3

    def __init__(
        self,
        *,
        columns_missing: Sequence[str] = (),
        columns_new: Sequence[str] = (),
        columns_of_another_type: Mapping[int, Column] = MappingProxyType({}),
        invalid_values: Sequence[InvalidValue] = (),
    ) -> None:
        self.columns_missing = tuple(columns_missing)
        self.columns_new = tuple(columns_new)
        self.columns_of_another_type = dict(columns_of_another_type)
        self.invalid_values = tuple(invalid_values)
        parts = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("columns that are missing", [repr(name) for name in columns_missing]),
                ("columns that are new", [repr(name) for name in columns_new]),
                (
                    "columns with values of another type",
                    [f"'{column.name} ({column.type})'" for column in columns_of_another_type.values()],
                ),
            )
            if names
        ]
        first = "; ".join(map(str, self.invalid_values[: self.named]))
        places = f" First of them: {first}." if first else ""
        super().__init__(
            f"The file does not fit the columns of its table: {'; '.join(parts)}.{places}",
            hint="Nothing was loaded; the table keeps its rows. Correct the dataset at its source, or say in the "
            "catalog what these columns are or which changes are allowed.",
        )

    def at(self, misfits: Sequence[InvalidValue]) -> "DriftError":
        """This error, with the places in the file."""
        return DriftError(
            columns_missing=self.columns_missing,
            columns_new=self.columns_new,
            columns_of_another_type=self.columns_of_another_type,
            invalid_values=misfits,
        )


class DeclarationError(PermanentError):
    """The catalog declares types that cannot hold the rows which stay in the table, whatever the file holds.

    `declared` has, by column as it is in the table, the type that the catalog asks for. The table keeps its rows.
    """

    def __init__(self, declared: Mapping[Column, ColumnType]) -> None:
        self.declared = dict(declared)
        columns = "; ".join(
            f"column {column.name!r} is {column.type}, declared as {type_}" for column, type_ in declared.items()
        )
        super().__init__(
            "Rows of earlier loads stay in the table, and types that the catalog declares cannot take the place of "
            f"theirs: {columns}.",
            hint="Nothing was loaded; the table keeps its rows. Take these declarations out of the catalog, or declare "
            "types that hold both; or load one file with 'mode: replace', which takes the rows of all others away.",
        )
