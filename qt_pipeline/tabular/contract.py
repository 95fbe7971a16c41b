"""The contract of a dataset: the columns of its table, their types, and the file headers they come from.

Here: the contract, finding its columns in a file, and the errors for a file or a declaration that breaks it.
Not here: how a contract is created and may change (see drift), storing it (see warehouse).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.headers import match_headers
from qt_pipeline.tabular.types import ColumnType


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its header in the file, its name in the table, its type."""

    header: str
    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a dataset's table in the order they were added, without the system columns."""

    columns: tuple[Column, ...]

    def positions(self, headers: Sequence[str]) -> tuple[int | None, ...]:
        """For each column, its position in a file with these `headers`, or None; see `match_headers`."""
        return match_headers([column.header for column in self.columns], headers)

    def new_positions(self, headers: Sequence[str]) -> tuple[int, ...]:
        """The positions of the columns in a file with these `headers` that the contract does not have."""
        known = set(self.positions(headers))
        return tuple(position for position in range(len(headers)) if position not in known)

    def has_other_columns(self, headers: Sequence[str]) -> bool:
        """Whether a file with these `headers` has none of the columns."""
        return all(position is None for position in self.positions(headers))


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """A value that its column's type cannot hold exactly. `value` is None where values may not be shown.

    `length`, in UTF-16 code units, is set for text that is too long.
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

    `columns_of_another_type` are by their position in the file. The message names the first `named` invalid values.
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
            f"{label}: {', '.join(names)}"
            for label, names in (
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
            hint="Nothing was loaded; the table keeps its rows. Correct the dataset at its source, or declare in the "
            "catalog what these columns are or which changes are allowed.",
        )

    def at(self, invalid_values: Sequence[InvalidValue]) -> "DriftError":
        """The same error, with the invalid values of the file."""
        return DriftError(
            columns_missing=self.columns_missing,
            columns_new=self.columns_new,
            columns_of_another_type=self.columns_of_another_type,
            invalid_values=invalid_values,
        )


class DeclarationError(PermanentError):
    """The catalog declares types that cannot hold the rows which stay in the table, whatever the file holds.

    `declared` maps a column of the table to the type that the catalog declares for it. The table keeps its rows.
    """

    def __init__(self, declared: Mapping[Column, ColumnType]) -> None:
        self.declared = dict(declared)
        columns = "; ".join(
            f"column {column.name!r} is {column.type}, declared as {type_}" for column, type_ in declared.items()
        )
        super().__init__(
            "Rows of earlier loads stay in the table, and the types that the catalog declares cannot hold them: "
            f"{columns}.",
            hint="Nothing was loaded; the table keeps its rows. Remove these declarations from the catalog, or declare "
            "types that hold both; or load one file with 'mode: replace', which deletes the rows of all others.",
        )
