"""Whether a SQLite table holds what a CSV file says, cell by cell: as the file stands.

Reads both sides with Python's own csv and sqlite3 modules, so that it trusts no reader or writer of the project.
"""

import csv
import io
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from qt_pipeline.tabular import Column, ColumnType, Contract, Kind

Stored = str | int | float | None


def assert_table_equals_csv(
    sqlite_path: Path, table: str, csv_bytes: bytes, contract: Contract, *, load_id: int | None = None
) -> None:
    """Decimals equal as numbers, dates as days, booleans in either case, a blank is NULL, all else equal as text.

    The rows stand in the table in the order of the file, `_qt_row` is the line on which each begins, and `_qt_load` is
    one number for all: `load_id`, where it is given.
    """
    header, records = _read_csv(csv_bytes)
    names, rows = _read_table(sqlite_path, table)
    assert names == [*(column.name for column in contract.columns), "_qt_load", "_qt_row"]
    assert len(rows) == len(records)
    assert [row[-1] for row in rows] == [line for line, _ in records]
    assert {len(record) for _, record in records} <= {len(header)}
    for index, (column, position) in enumerate(
        zip(contract.columns, _positions(header, contract.columns), strict=True)
    ):
        cells = [row[index] for row in rows]
        texts = [record[position] for _, record in records]
        differences = _differences(column.type, texts, cells)
        first = next((n for n, pair in enumerate(zip(texts, cells, strict=True)) if pair in differences), None)
        assert first is None, (
            f"line {records[first][0]}, column {column.name!r} ({column.type}): {cells[first]!r} for {texts[first]!r}"
        )
    loads = {row[-2] for row in rows}
    assert len(loads) <= 1
    assert load_id is None or loads <= {load_id}


def _differences(type_: ColumnType, texts: Sequence[str], cells: Sequence[Stored]) -> set[tuple[str, Stored]]:
    """What does not agree. Equal pairs are looked at once: columns of real files repeat themselves."""
    same = _SAYS[type_.kind](type_)
    # With its type: to Python 1 and 1.0 are one value.
    distinct = set(zip(texts, map(type, cells), cells, strict=True))
    return {
        (text, cell)
        for text, _, cell in distinct
        if (cell is not None if text == "" else cell is None or not same(text, cell))
    }


def _read_csv(csv_bytes: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with the line on which it begins."""
    reader = csv.reader(io.StringIO(csv_bytes.decode("utf-8-sig"), newline=""), strict=True)
    header = next(reader)

    def rows() -> Iterator[tuple[int, list[str]]]:
        line = reader.line_num + 1
        for record in reader:
            # Python gives no value at all for a blank line, which is a blank where there is one column.
            yield line, record or [""]
            line = reader.line_num + 1

    return header, list(rows())


def _read_table(sqlite_path: Path, table: str) -> tuple[list[str], list[tuple[Stored, ...]]]:
    with closing(sqlite3.connect(f"file:{sqlite_path}?mode=ro", uri=True)) as connection:
        quoted = '"' + table.replace('"', '""') + '"'
        found = connection.execute(f"SELECT * FROM {quoted} ORDER BY _qt_row")
        return [description[0] for description in found.description], found.fetchall()


def _positions(header: Sequence[str], columns: Sequence[Column]) -> list[int]:
    """Where the file has each column; equal headers are taken in turn."""
    left = list(enumerate(header))
    positions: list[int] = []
    for column in columns:
        place = next(place for place, (_, name) in enumerate(left) if name == column.header)
        positions.append(left.pop(place)[0])
    assert not left, f"columns that the table does not have: {left}"
    return positions


def _decimal(type_: ColumnType) -> Callable[[str, Stored], bool]:
    # The shortest text of a float is the number that was meant, up to 15 digits; wider ones are kept as text.
    is_text = type_.precision > 15
    return lambda text, cell: isinstance(cell, str) == is_text and Decimal(str(cell)) == Decimal(text)


def _boolean(_: ColumnType) -> Callable[[str, Stored], bool]:
    return lambda text, cell: cell == {"true": 1, "false": 0}[text.lower()]


def _date(_: ColumnType) -> Callable[[str, Stored], bool]:
    def same(text: str, cell: Stored) -> bool:
        day = date.fromisoformat(text) if "-" in text else date(int(text[:4]), int(text[4:6]), int(text[6:]))
        return cell == day.isoformat()

    return same


def _timestamp(_: ColumnType) -> Callable[[str, Stored], bool]:
    return lambda text, cell: isinstance(cell, str) and datetime.fromisoformat(cell) == datetime.fromisoformat(text)


_SAYS: dict[Kind, Callable[[ColumnType], Callable[[str, Stored], bool]]] = {
    Kind.TEXT: lambda _: lambda text, cell: cell == text,
    Kind.UNKNOWN: lambda _: lambda _text, _cell: False,  # a value decides: only blanks are open
    Kind.INTEGER: lambda _: lambda text, cell: isinstance(cell, int) and cell == int(text),
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
}
