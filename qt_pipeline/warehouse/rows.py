"""Compare staged and published rows one by one, in the database.

Here: this comparison, for tables whose triggers or rules may change rows on insert. It costs as much as sorting the
rows. Not here: the comparison of a table with its file (see verify).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table

from qt_pipeline.tabular import LOAD_COLUMN, ROW_COLUMN, Column
from qt_pipeline.warehouse.measure import missing_rows
from qt_pipeline.warehouse.target import Target


def differing_column(
    target: Target,
    connection: Connection,
    stage: Table,
    table: Table,
    columns: Sequence[Column],
    *,
    load_id: int | None,
) -> str:
    """The name of a column whose staged values are not in the table unchanged, for a message; empty if there is none.

    `load_id` is the load of the rows to compare; None for all rows of the table.
    """
    of_load = None if load_id is None else table.c[LOAD_COLUMN] == load_id
    own = [ROW_COLUMN] if ROW_COLUMN in table.c else []

    def differs(names: Sequence[str]) -> bool:
        staged, present = (_values(target, of, [*names, *own]) for of in (stage, table))
        return missing_rows(connection, staged, present, of_load) > 0

    names = [column.name for column in columns]
    if not differs(names):
        return ""
    return next((f"column {name!r}" for name in names if differs([name])), "a row")


def _values(target: Target, table: Table, names: Sequence[str]) -> list[ColumnElement[Any]]:
    return [target.exact(table.c[name]) for name in names]
