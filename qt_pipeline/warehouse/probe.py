"""Probe a target: a test load with a few generated rows that leaves nothing behind.

Here: the probe's own tables, loaded like a dataset's. Not here: the datasets' tables.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
import pyarrow as pa
from sqlalchemy import Table, select

from qt_pipeline.tabular import Column, ColumnType, Contract, Kind, Rows
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse.errors import TargetRefusedError
from qt_pipeline.warehouse.tables import OWN_PREFIX, TableBuilder, TableSpec, batches_for
from qt_pipeline.warehouse.target import Target
from qt_pipeline.warehouse.verify import RunningTotals, Totals, Verification

_COLUMNS = {
    "a text": (ColumnType(Kind.TEXT, length=20), ("Zoë", None)),
    "a number": (ColumnType(Kind.INTEGER), ("7", "-3")),
    "an amount": (ColumnType(Kind.DECIMAL, 15, 2), ("1234.56", "-0.01")),
    "a day": (ColumnType(Kind.DATE, format="%Y-%m-%d"), ("2026-01-31", "1752-09-14")),
    "a moment": (ColumnType(Kind.TIMESTAMP, format="%Y-%m-%d %H:%M:%S"), ("2026-01-31 10:00:00", None)),
}
_CONTRACT = Contract(tuple(Column(name, name, type_) for name, (type_, _) in _COLUMNS.items()))


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of one schema. Its methods are the steps of a load, in order; each raises what a load would."""

    target: Target
    staged: Table
    table: Table

    def stage(self) -> None:
        """Create a staging table and fill it by the engine's own fast path."""
        batches = batches_for(self.staged, [_rows()], 0, utc_now())
        taken = self.target.stage(self.staged, batches, becomes_table=False)
        self._compare(Totals(rows=2), Totals(rows=taken))

    def publish(self) -> None:
        """Create a table, fill it from staging, sum it up, delete its rows and drop it, in one transaction."""
        with self.target.publishing(self.staged) as connection:
            self.target.create_table(connection, self.table)
            names = [column.name for column in self.table.c]
            copied = select(*(self.staged.c[name] for name in names))
            connection.execute(self.table.insert().from_select(names, copied))
            expected = RunningTotals(_CONTRACT, self.target.measures)
            expected.add(_rows())
            self._compare(expected.totals, self.target.totals(connection, self.table, _CONTRACT.columns))
            connection.execute(self.table.delete())
            self.table.drop(connection)

    def _compare(self, expected: Totals, found: Totals) -> None:
        if difference := Verification(expected=expected, found=found).difference:
            raise TargetRefusedError(
                f"The target did not return the rows that were written: {difference}.",
                hint="Check for a trigger or a rule on new tables, or use another target.",
            )


def probe_table(schema: str | None) -> TableSpec:
    """The probe's own table, under a unique name."""
    return TableSpec(f"{OWN_PREFIX}probe_{_any_number():x}", schema)


@contextmanager
def probing(target: Target, spec: TableSpec) -> Generator[Probe]:
    """Probe with the table `spec`, whose schema must exist. Everything is removed afterwards."""
    builder = TableBuilder(target, spec)
    staged = builder.stage(_any_number(), _CONTRACT, target.stage_prefixes)
    try:
        yield Probe(target, staged, builder.table(_CONTRACT))
    finally:
        target.drop_stage(staged)


def _any_number() -> int:
    # Far above any load id.
    return uuid4().int >> 80


def _rows() -> Rows:
    texts = tuple(pa.array(values, pa.string()) for _, values in _COLUMNS.values())
    return Rows(_CONTRACT, texts, np.array([2, 3], dtype=np.int64))
