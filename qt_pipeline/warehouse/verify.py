"""Verification that rows arrive complete: counts, exact sums of numeric columns, and measures of every column.

Here: the totals of the rows being loaded, and their comparison with those that the database reports.
Not here: the measures (see measure), how a database sums exactly (see the targets).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qt_pipeline.tabular import (
    SHORT_DIGITS,
    Column,
    ColumnType,
    Contract,
    Ints,
    Kind,
    Rows,
    convert,
    floating_numbers,
    whole_numbers,
)
from qt_pipeline.warehouse.measure import Measure, Measures, measured, measures_of

_EXACT = Context(prec=100)
_SUM_DIGITS = 76
_HALF = 32
_LOW_HALF = (1 << _HALF) - 1
_ENOUGH_ROWS = 10


@dataclass(frozen=True, slots=True)
class Totals:
    """The number of rows, the exact sum of each numeric column, and the measures of all columns, by name."""

    rows: int
    sums: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    measures: Mapping[tuple[str, Measure], int] = field(default_factory=dict[tuple[str, Measure], int])

    @property
    def hides_rows(self) -> bool:
        """Whether there are so many rows that a sum reveals no single value."""
        return self.rows >= _ENOUGH_ROWS


@dataclass(frozen=True, slots=True)
class Verification:
    """Expected and found totals. `changed` is a column whose values differ row by row, or "a row"."""

    expected: Totals
    found: Totals
    changed: str = ""

    @property
    def difference(self) -> str:
        """The first difference as text; empty if there is none. It hides sums of few rows, which reveal values."""
        if self.expected.rows != self.found.rows:
            return f"{self.found.rows} rows instead of {self.expected.rows}"
        for name, total in self.expected.sums.items():
            if total != self.found.sums[name]:
                sums = f"to {self.found.sums[name]} instead of {total}" if self.expected.hides_rows else "differently"
                return f"column {name!r} adds up {sums}"
        for (name, measure), total in self.expected.measures.items():
            if total != self.found.measures[name, measure]:
                return f"column {name!r} has changed ({measure})"
        return f"{self.changed} has changed" if self.changed else ""


def summed_columns(columns: Iterable[Column]) -> list[Column]:
    """The columns that are summed."""
    return [column for column in columns if column.type.kind in (Kind.INTEGER, Kind.DECIMAL)]


class RunningTotals:
    """Sums up rows as they stream through."""

    def __init__(self, contract: Contract, measures: Measures) -> None:
        self._columns = list(enumerate(contract.columns))
        self._sums = {column.name: Decimal(0) for column in summed_columns(contract.columns)}
        self._measures = {(c.name, measure): 0 for c in contract.columns for measure in measures_of(c, measures)}
        self._measured = [
            (position, c.name, measure) for position, c in self._columns for measure in measures_of(c, measures)
        ]
        self._rows = 0

    def add(self, rows: Rows) -> None:
        """Add a batch of rows."""
        self._rows += len(rows)
        for position, column in self._columns:
            if column.name in self._sums:
                total = _sum(rows, position, column.type)
                self._sums[column.name] = _EXACT.add(self._sums[column.name], total)
        for position, name, measure in self._measured:
            self._measures[name, measure] += measured(measure, rows, position)

    @property
    def totals(self) -> Totals:
        """The totals so far."""
        return Totals(rows=self._rows, sums=dict(self._sums), measures=dict(self._measures))


def _sum(rows: Rows, position: int, type_: ColumnType) -> Decimal:
    if type_.kind is Kind.INTEGER:
        return Decimal(_add_up(whole_numbers(rows.values(position))))
    if type_.precision <= SHORT_DIGITS:
        # In smallest units, at most 15 digits, so rounding to the nearest integer is exact.
        units = np.rint(floating_numbers(rows.floats(position)) * 10.0**type_.scale).astype(np.int64)
        return Decimal(_add_up(units)).scaleb(-type_.scale, _EXACT)
    # Wide enough for any number of rows.
    wide = convert(rows.values(position), pa.decimal256(_SUM_DIGITS, type_.scale))
    total = cast("Decimal | None", pc.sum(wide).as_py())  # pyright: ignore[reportCallIssue, reportArgumentType]
    return total or Decimal(0)


def _add_up(numbers: Ints) -> int:
    # In two halves of 32 bits: a 64-bit sum would overflow silently.
    return (int((numbers >> _HALF).sum()) << _HALF) + int((numbers & _LOW_HALF).sum())
