"""Adopt tables that this project did not create: their columns become a contract.

Here: which SQL types of an existing table can hold a contract's values without loss. Not here: which tables may be
adopted (see warehouse).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.dialects.mssql import BIT
from sqlalchemy.types import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    NullType,
    Numeric,
    SmallInteger,
    String,
    TypeEngine,
)

from qt_pipeline.tabular import (
    ISO_DATE,
    ISO_TIMESTAMP,
    LOAD_COLUMN,
    LOADED_AT_COLUMN,
    MAX_DIGITS,
    ROW_COLUMN,
    SHORT_DIGITS,
    TEXT,
    Column,
    ColumnType,
    Contract,
    Kind,
)
from qt_pipeline.warehouse.errors import ColumnTypeError, TableNotOursError
from qt_pipeline.warehouse.target import Computed, SqlTypes, Target

_SMALL_DIGITS, _INT_DIGITS = 4, 9
# Fractional digits that keep every microsecond; None is the engine's maximum.
_WHOLE_TIMESTAMPS = (None, 6, 7)
# The first match counts: SmallInteger is an Integer too.
_TYPES: tuple[tuple[type[TypeEngine[Any]], ColumnType], ...] = (
    (Boolean, ColumnType(Kind.BOOLEAN)),
    (BIT, ColumnType(Kind.BOOLEAN)),
    (SmallInteger, ColumnType(Kind.INTEGER, _SMALL_DIGITS)),
    (BigInteger, ColumnType(Kind.INTEGER)),
    (Integer, ColumnType(Kind.INTEGER, _INT_DIGITS)),
    (Date, ColumnType(Kind.DATE, format=ISO_DATE)),
    (DateTime, ColumnType(Kind.TIMESTAMP, format=ISO_TIMESTAMP)),
)
# A fixed width pads values with blanks.
_ALWAYS_LOSSY = ("CHAR", "NCHAR")
# On SQL Server, one-byte text types lose characters, the old timestamp types round to 3 ms, an offset shifts
# timestamps, and TINYINT has no negative values.
_LOSSY = ("VARCHAR", "TEXT", "DATETIME", "SMALLDATETIME", "DATETIMEOFFSET", "TINYINT")


def adopted(columns: SqlTypes, target: Target, *, table: str, dataset_id: str, dialect: Dialect) -> Contract:
    """The contract of a table that is adopted; headers are the column names until the first file has its own.

    Raises:
        TableNotOursError: a column has a type that cannot hold a file's values exactly.
    """
    ours = (LOAD_COLUMN, ROW_COLUMN, LOADED_AT_COLUMN)
    types = {
        name: _type_for(sql, target)
        for name, sql in columns.items()
        if name not in ours and not isinstance(sql, Computed)
    }
    unfit = [f"{name!r} ({_in_sql(columns[name], dialect)})" for name, type_ in types.items() if type_ is None]
    if unfit:
        raise TableNotOursError(
            f"The table {table} cannot be adopted: its columns {', '.join(unfit)} could change values.",
            hint="Give these columns the types that docs/targets.md names, or give the dataset another table.",
            dataset_id=dataset_id,
        )
    return Contract(tuple(Column(name, name, type_) for name, type_ in types.items() if type_ is not None))


@dataclass(frozen=True, slots=True)
class UnfitColumn:
    """A column of a table, and the contract's type that it cannot hold."""

    name: str
    present: TypeEngine[Any]
    needed: ColumnType


def unfit_columns(
    columns: SqlTypes, before: Mapping[str, ColumnType], contract: Contract, target: Target
) -> list[UnfitColumn]:
    """The columns of a table that cannot hold the values of a contract.

    A column is left out if it holds its type in the contract `before` and gets another type now: it will be changed.
    """
    return [
        UnfitColumn(column.name, present, column.type)
        for column in contract.columns
        if (present := columns.get(column.name)) is not None
        and not can_hold(present, column.type, target)
        and not ((was := before.get(column.name)) is not None and was != column.type and can_hold(present, was, target))
    ]


def can_hold(sql: TypeEngine[Any], needed: ColumnType, target: Target) -> bool:
    """Whether a column of a SQL type can hold every value of a contract's type exactly."""
    held = None if isinstance(sql, Computed) else _type_for(sql, target)
    wanted = _as_stored(needed, target)
    if held is None or wanted.kind is not held.kind:
        return False
    match wanted.kind:
        case Kind.TEXT if needed.kind is Kind.UNKNOWN:
            # All its values are NULL; the first one decides.
            return True
        case Kind.TEXT:
            return not held.length or 0 < wanted.length <= held.length
        case Kind.INTEGER:
            return not held.precision or 0 < wanted.precision <= held.precision
        case Kind.DECIMAL:
            # Without a precision, a column accepts any number that its database has.
            unbounded = getattr(sql, "precision", None) is None and wanted.precision <= held.precision
            whole = held.precision - held.scale >= wanted.precision - wanted.scale
            return unbounded or (whole and held.scale >= wanted.scale)
        case _:
            return True


def column_type_error(
    unfit: Sequence[UnfitColumn], target: Target, *, table: str, dataset_id: str, dialect: Dialect
) -> ColumnTypeError:
    """The error for columns that cannot hold the values of a contract."""
    listed = "; ".join(
        f"{column.name!r} is computed by the database"
        if isinstance(column.present, Computed)
        else f"{column.name!r} is {_in_sql(column.present, dialect)} and the file needs {column.needed}"
        for column in unfit
    )
    wanted = ", ".join(f"{column.name!r} as {_in_sql(target.column_type(column.needed), dialect)}" for column in unfit)
    return ColumnTypeError(
        f"Columns of the table {table} could change the values of the file: {listed}. The table keeps its rows.",
        hint=f"Change these columns ({wanted}), rename them if they do not belong to the file, or declare their types "
        "in the catalog.",
        dataset_id=dataset_id,
    )


def _as_stored(needed: ColumnType, target: Target) -> ColumnType:
    """The type, or text if the target stores such values as text."""
    as_text = needed.kind in (Kind.DECIMAL, Kind.UNKNOWN) and isinstance(target.column_type(needed), String)
    return TEXT if as_text else needed


def _in_sql(type_: TypeEngine[Any], dialect: Dialect) -> str:
    # `str` drops the precision of engine-specific types; a type unknown to SQLAlchemy has no SQL.
    return str(type_) if isinstance(type_, NullType) else type_.compile(dialect=dialect)


def _type_for(sql: TypeEngine[Any], target: Target) -> ColumnType | None:
    name = str(sql.__visit_name__).upper()
    if name in _ALWAYS_LOSSY or isinstance(sql, Float | Enum) or (target.names_unicode and name in _LOSSY):
        return None
    if isinstance(sql, Numeric):
        # A database without exact numbers of that width stores its "numeric" as a binary float.
        exact = isinstance(target.column_type(ColumnType(Kind.DECIMAL, MAX_DIGITS)), Numeric)
        digits = min(sql.precision or MAX_DIGITS, MAX_DIGITS if exact else SHORT_DIGITS)
        return ColumnType(Kind.DECIMAL, digits, min(sql.scale or 0, digits))
    if type(sql) is String:
        # SQLAlchemy reflects PostgreSQL's `name` and `"char"` like this; both truncate text without an error.
        return None
    if isinstance(sql, String):
        return ColumnType(Kind.TEXT, length=sql.length or 0)
    if isinstance(sql, DateTime) and (sql.timezone or getattr(sql, "precision", None) not in _WHOLE_TIMESTAMPS):
        return None
    return next((type_ for kind, type_ in _TYPES if isinstance(sql, kind)), None)
