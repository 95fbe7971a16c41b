"""The key of a dataset: its columns, and the check that every row of a file has a unique one.

Here: the queries on the staging table, and the same check for rows that must not reach the target.
Not here: what happens to rows whose key recurs (see publish).
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Table, func, or_, select

from qt_pipeline.tabular import ROW_COLUMN, Column, Contract, Rows, header_key
from qt_pipeline.values import utc_now
from qt_pipeline.warehouse.errors import DuplicateKeyError
from qt_pipeline.warehouse.tables import TableBuilder, TableSpec, batches_for
from qt_pipeline.warehouse.target import Target

_SHOWN = 10


def key_columns(headers: Sequence[str], contract: Contract, dataset_id: str) -> list[Column]:
    """The columns of a key, which the catalog names by their headers.

    Raises:
        DuplicateKeyError: the file has no column with such a header, or several that look the same.
    """
    columns: dict[str, list[Column]] = {}
    for column in contract.columns:
        columns.setdefault(header_key(column.header), []).append(column)
    missing = [header for header in headers if header_key(header) not in columns]
    if missing:
        raise DuplicateKeyError(
            f"The file has no column {', '.join(map(repr, missing))}, which the catalog names as the key.",
            hint="Correct the 'key' of the dataset in the catalog: it takes headers as the file has them.",
            dataset_id=dataset_id,
        )
    for header in headers:
        if len(alike := columns[header_key(header)]) > 1:
            raise DuplicateKeyError(
                f"The key names the column {header!r}, and the table has several with this header: "
                f"{_listed([repr(column.name) for column in alike])}.",
                hint="Give these columns different headers at the source, or correct the 'key' of the dataset in the "
                "catalog.",
                dataset_id=dataset_id,
            )
    return [columns[header_key(header)][0] for header in headers]


def key_values(target: Target, table: Table, key: Sequence[Column]) -> list[ColumnElement[Any]]:
    """SQL for the values of a key in a table, as they are compared."""
    return [target.key_value(table.c[column.name], column.type) for column in key]


def check_key(target: Target, connection: Connection, stage: Table, key: Sequence[Column], dataset_id: str) -> None:
    """Check that every staged row has a unique key.

    Raises:
        DuplicateKeyError: keys are blank or occur twice; names the first few lines of the file.
    """
    row, names = stage.c[ROW_COLUMN], [column.name for column in key]
    blank = select(row).where(or_(*(stage.c[name].is_(None) for name in names))).order_by(row)
    lines = list(connection.scalars(blank.limit(_SHOWN)))
    if lines:
        subject = f"Line {lines[0]} of the file has" if len(lines) == 1 else f"Lines {_listed(lines)} of the file have"
        raise _bad_key(f"{subject} no value in the key", names, dataset_id)
    values = key_values(target, stage, key)
    target.index_key(connection, stage, values)
    # Compared by the database: its collation decides what is equal.
    twice = select(func.min(row), func.max(row)).group_by(*values).having(func.count() > 1).order_by(func.max(row))
    pairs = [f"{first} and {last}" for first, last in connection.execute(twice.limit(_SHOWN))]
    if pairs:
        raise _bad_key(f"Lines {_listed(pairs)} of the file have the same key", names, dataset_id)


def try_key(headers: Sequence[str], contract: Contract, rows: Iterable[Rows], dataset_id: str) -> None:
    """Like `check_key`, for all rows of a file, in a temporary SQLite file instead of the target.

    Only identical texts count as equal. A target with another collation, such as one that ignores case, may find more
    duplicates.

    Raises:
        DuplicateKeyError: see `key_columns` and `check_key`.
    """
    # Imported on demand: other targets do not need this driver.
    # A driver is imported for those alone who need it.
    from qt_pipeline.warehouse.sqlite import SqliteTarget  # noqa: PLC0415

    columns = key_columns(headers, contract, dataset_id)
    positions = [contract.columns.index(column) for column in columns]
    key = Contract(tuple(contract.columns[position] for position in positions))
    key_rows = (Rows(key, tuple(batch.texts[position] for position in positions), batch.lines) for batch in rows)
    with tempfile.TemporaryDirectory(prefix="qt-key-") as folder:
        target = SqliteTarget(URL.create("sqlite", database=str(Path(folder) / "key.db")), prepare=False)
        stage = TableBuilder(target, TableSpec("key")).stage(0, key)
        target.stage(stage, batches_for(stage, key_rows, 0, utc_now()), becomes_table=False)
        with target.publishing(stage) as connection:
            check_key(target, connection, stage, columns, dataset_id)


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))


def _bad_key(message: str, names: Sequence[str], dataset_id: str) -> DuplicateKeyError:
    return DuplicateKeyError(
        f"{message} ({_listed([repr(name) for name in names])}).",
        hint="Correct the dataset at its source, or its 'key' in the catalog. The table keeps its rows.",
        dataset_id=dataset_id,
    )
