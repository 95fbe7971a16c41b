"""Change column types of a SQLite table by copying the table: SQLite cannot alter a column's type.

Here: the copy as SQLite's documentation describes it (ALTER TABLE, 7), from the table's own CREATE statement.
Not here: parsing that statement (see sqlite_text), which columns change (see publish).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import Connection, text

from qt_pipeline.database import NameMatching
from qt_pipeline.warehouse.errors import TableRefusedError
from qt_pipeline.warehouse.sqlite_text import UnreadableTableError, with_types

EXACT_TEXT = "qt_exact_text"
"""The SQL name of `exact_text`; a connection used for `change_columns` must register it."""
_EXACT = Context(prec=400)
_STRICT_TYPES = {"BIGINT": "INTEGER"}
_STATEMENT = text("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name = :table COLLATE NOCASE")
_DEPENDENTS = text(
    "SELECT sql FROM sqlite_master "
    "WHERE tbl_name = :table COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL"
)
_NAMES = text("SELECT name FROM sqlite_master")
_HAS_SEQUENCES = text("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'")
_SEQUENCE = text("SELECT seq FROM sqlite_sequence WHERE name = :table COLLATE NOCASE")
_FORGET_SEQUENCE = text("DELETE FROM sqlite_sequence WHERE name = :table COLLATE NOCASE")
_KEEP_SEQUENCE = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :seq)")
_STRICTNESS = text("SELECT wr, strict FROM pragma_table_list(:table) WHERE schema = 'main'")
_COLUMNS = text('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(:table)')
_UNIQUE = text(
    "SELECT l.origin, l.partial, x.seqno, x.name, x.desc, x.coll, x.key "
    "FROM pragma_index_list(:table) AS l JOIN pragma_index_xinfo(l.name) AS x "
    "WHERE l.origin <> 'c' ORDER BY l.seq, x.seqno"
)
_REFERENCES = text(
    'SELECT id, seq, "table", "from", "to", on_update, on_delete, "match" FROM pragma_foreign_key_list(:table)'
)
_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_fold = NameMatching.ASCII_CASE.fold


@dataclass(frozen=True, slots=True)
class NewType:
    """A column's new type. `scale` is that of numbers that become text; None if no value changes."""

    sql: str
    scale: int | None = None


def exact_text(value: str | bytes | float | None, scale: int) -> str | bytes | float | None:
    """A stored number as decimal text with `scale` places, or more if it has more; other values unchanged."""
    if isinstance(value, int | float):
        number = Decimal(repr(value))
        exponent = number.as_tuple().exponent
        places = max(scale, -exponent if isinstance(exponent, int) else 0)
        return f"{_EXACT.quantize(number, Decimal(1).scaleb(-places)):f}" if number.is_finite() else str(value)
    return value


def change_columns(connection: Connection, table: str, types: Mapping[str, NewType]) -> None:
    """Change the types of columns of a table, in an open transaction that does not enforce foreign keys.

    Constraints, indexes, triggers, views, references, row ids and all other columns stay unchanged.

    Raises:
        TableRefusedError: that cannot be guaranteed.
    """
    # By its exact name, which may differ in case.
    row = connection.execute(_STATEMENT, {"table": table}).one_or_none()
    if row is None:
        raise _refusal(table, {column: new.sql for column, new in types.items()}, "it is a view")
    table, create_statement = row
    before = _shape(connection, table)
    wanted = {column: _possible(new.sql, is_strict=before.is_strict) for column, new in types.items()}
    name = _free_name(connection)
    try:
        statement = with_types(create_statement, name, wanted)
    except UnreadableTableError as error:
        raise _refusal(table, wanted, f"its CREATE statement cannot be parsed: {error}") from None
    dependents = list(connection.scalars(_DEPENDENTS, {"table": table}))
    _run(connection, statement)
    if _shape(connection, name) != before.with_types(wanted):
        raise _refusal(table, wanted, "its keys, constraints or other columns would change")
    sequence = connection.scalar(_SEQUENCE, {"table": table}) if connection.scalar(_HAS_SEQUENCES) else None
    _copy_rows(connection, table, name, before, types)
    old, new = _quoted(table), _quoted(name)
    # References to the old table by name must resolve to the new one, without being rewritten.
    _run(connection, "PRAGMA legacy_alter_table = ON")
    _run(connection, f"DROP TABLE {old}")
    _run(connection, f"ALTER TABLE {new} RENAME TO {old}")
    _run(connection, "PRAGMA legacy_alter_table = OFF")
    if sequence is not None:
        connection.execute(_FORGET_SEQUENCE, {"table": table})
        connection.execute(_KEEP_SEQUENCE, {"table": table, "seq": sequence})
    for dependent in dependents:
        _run(connection, dependent)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The structure of a table as SQLite reports it: all that its statement defines, except expressions."""

    columns: tuple[tuple[Any, ...], ...]
    unique: tuple[tuple[Any, ...], ...]
    references: tuple[tuple[Any, ...], ...]
    strictness: tuple[tuple[Any, ...], ...]

    @property
    def is_strict(self) -> bool:
        return any(strict for _, strict in self.strictness)

    @property
    def stored(self) -> list[str]:
        """The columns that an INSERT may name."""
        return [name for name, _, _, _, _, hidden in self.columns if not hidden]

    def with_types(self, types: Mapping[str, str]) -> "_Shape":
        changed = {_fold(column): _compact(type_) for column, type_ in types.items()}
        columns = tuple((name, changed.get(_fold(name), type_), *more) for name, type_, *more in self.columns)
        return _Shape(columns, self.unique, self.references, self.strictness)


def _shape(connection: Connection, table: str) -> _Shape:
    columns, unique, references, strictness = (
        tuple(tuple(row) for row in connection.execute(query, {"table": table}))
        for query in (_COLUMNS, _UNIQUE, _REFERENCES, _STRICTNESS)
    )
    columns = tuple((name, _compact(type_), *more) for name, type_, *more in columns)
    return _Shape(columns, unique, references, strictness)


def _copy_rows(connection: Connection, table: str, copy: str, shape: _Shape, types: Mapping[str, NewType]) -> None:
    scales = {_fold(column): new.scale for column, new in types.items()}
    into, values = [_quoted(name) for name in shape.stored], list[str]()
    for name in shape.stored:
        scale = scales.get(_fold(name))
        values.append(_quoted(name) if scale is None else f"{EXACT_TEXT}({_quoted(name)}, {scale})")
    if rowid := _row_id(shape):
        into.append(rowid)
        values.append(rowid)
    # The names are quoted.
    sql = f"INSERT INTO {_quoted(copy)} ({', '.join(into)}) SELECT {', '.join(values)} FROM {_quoted(table)}"  # noqa: S608
    _run(connection, sql)


def _row_id(shape: _Shape) -> str | None:
    """The name by which row ids are read and written; None if a column holds them, or there are none."""
    keys = [type_ for _, type_, _, _, pk, _ in shape.columns if pk]
    without_rowid = any(wr for wr, _ in shape.strictness)
    if without_rowid or keys == ["INTEGER"]:
        return None
    taken = {_fold(name) for name, *_ in shape.columns}
    return next((name for name in _ROWID_NAMES if name not in taken), None)


def _possible(type_: str, *, is_strict: bool) -> str:
    return _STRICT_TYPES.get(type_, type_) if is_strict else type_


def _free_name(connection: Connection) -> str:
    taken = {_fold(name) for name in connection.scalars(_NAMES)}
    number = 1
    while (name := f"_qt_copy_{number}") in taken:
        number += 1
    return name


def _refusal(table: str, types: Mapping[str, str], reason: str) -> TableRefusedError:
    wanted = ", ".join(f"{column!r} to {type_}" for column, type_ in types.items())
    return TableRefusedError(
        f"Columns of the table {table!r} are too narrow for this file, and SQLite cannot change them: {reason}.",
        hint=f"Change them manually ({wanted}) and load again; the table keeps its rows.",
    )


def _compact(type_: str) -> str:
    return "".join(type_.upper().split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _run(connection: Connection, sql: str) -> None:
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
