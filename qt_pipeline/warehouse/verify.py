"""Proof that rows arrive whole: counts, and exact sums of every column of numbers.

Here: the sums of the rows on their way in, and the comparison with what a database says it holds.
Not here: how a database adds exactly (see the targets).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from qt_pipeline.tabular import Array, Column, Contract, Kind, convert

_EXACT = Context(prec=100)
_SUM_DIGITS = 76
_ENOUGH_ROWS = 10


@dataclass(frozen=True, slots=True)
class Totals:
    """How many rows, and the exact sum of each column of whole numbers or decimals, by column name."""

    rows: int
    sums: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])

    @property
    def hides_rows(self) -> bool:
        """Whether there are so many rows that no sum tells a value of one."""
        return self.rows >= _ENOUGH_ROWS


@dataclass(frozen=True, slots=True)
class Verification:
    """What was expected and what was found."""

    expected: Totals
    found: Totals

    @property
    def difference(self) -> str:
        """The first difference in words; empty if there is none. The sum of very few rows would show a row."""
        if self.expected.rows != self.found.rows:
            return f"{self.found.rows} rows instead of {self.expected.rows}"
        for name, total in self.expected.sums.items():
            if total != self.found.sums[name]:
                sums = f"to {self.found.sums[name]} instead of {total}" if self.expected.hides_rows else "differently"
                return f"column {name!r} adds up {sums}"
        return ""


def summed_columns(contract: Contract) -> list[tuple[int, Column]]:
    """The columns that are added up, with their positions."""
    numbers = (Kind.INTEGER, Kind.DECIMAL)
    return [(position, column) for position, column in enumerate(contract.columns) if column.type.kind in numbers]


class RunningTotals:
    """Adds up batches as they pass by."""

    def __init__(self, contract: Contract) -> None:
        self._columns: Sequence[tuple[int, Column]] = summed_columns(contract)
        self._rows = 0
        self._sums = {column.name: Decimal(0) for _, column in self._columns}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take one more batch into account."""
        self._rows += batch.num_rows
        arrays = cast("list[Array]", batch.columns)  # pyright: ignore[reportUnknownMemberType]
        for position, column in self._columns:
            # Wide enough that no sum of any number of rows can overflow: Arrow's sums of int64 wrap without a word.
            wide = convert(arrays[position], pa.decimal256(_SUM_DIGITS, column.type.scale))
            total = cast("Decimal | None", pc.sum(wide).as_py())  # pyright: ignore[reportCallIssue, reportArgumentType]
            self._sums[column.name] = _EXACT.add(self._sums[column.name], total or Decimal(0))

    @property
    def totals(self) -> Totals:
        """The totals so far."""
        return Totals(rows=self._rows, sums=dict(self._sums))
