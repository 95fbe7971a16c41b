"""Tables that were there before this project: their columns become a contract.

Here: which SQL types of another's table can hold a contract's values without loss. Not here: who may take one over.
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
# The places after a second's point that keep every microsecond; None is the engine's most.
_WHOLE_TIMESTAMPS = (None, 6, 7)
# The first that fits: a smaller whole number is a whole number too.
_TYPES: tuple[tuple[type[TypeEngine[Any]], ColumnType], ...] = (
    (Boolean, ColumnType(Kind.BOOLEAN)),
    (BIT, ColumnType(Kind.BOOLEAN)),
    (SmallInteger, ColumnType(Kind.INTEGER, _SMALL_DIGITS)),
    (BigInteger, ColumnType(Kind.INTEGER)),
    (Integer, ColumnType(Kind.INTEGER, _INT_DIGITS)),
    (Date, ColumnType(Kind.DATE, format=ISO_DATE)),
    (DateTime, ColumnType(Kind.TIMESTAMP, format=ISO_TIMESTAMP)),
)
# A fixed width pads.
_ALWAYS_LOSSY = ("CHAR", "NCHAR")
# On SQL Server, one byte a character loses others, the old types of timestamps round to 3 ms, an offset shifts them,
# and there are no negative TINYINTs.
_LOSSY = ("VARCHAR", "TEXT", "DATETIME", "SMALLDATETIME", "DATETIMEOFFSET", "TINYINT")


def adopted(columns: SqlTypes, target: Target, *, table: str, dataset_id: str, dialect: Dialect) -> Contract:
    """The contract of a table that is taken over; headers are the columns' names, until a file tells its own.

    Raises:
        TableNotOursError: a column has a type that cannot hold a file's values as they stand.
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
            f"The table {table} cannot be taken over: its columns {', '.join(unfit)} could change values.",
            hint="Give them the type that docs/targets.md names for such values, or the dataset another table.",
            dataset_id=dataset_id,
        )
    return Contract(tuple(Column(name, name, type_) for name, type_ in types.items() if type_ is not None))


@dataclass(frozen=True, slots=True)
class UnfitColumn:
    """A column that a table has, and the type of a contract that it cannot hold."""

    name: str
    there: TypeEngine[Any]
    needed: ColumnType


def unfit_columns(
    columns: SqlTypes, before: Mapping[str, ColumnType], contract: Contract, target: Target
) -> list[UnfitColumn]:
    """The columns of a table that cannot hold the values of a contract.

    One that holds what the contract said `before`, and says another type now, is not among them: it is changed.
    """
    return [
        UnfitColumn(column.name, there, column.type)
        for column in contract.columns
        if (there := columns.get(column.name)) is not None
        and not can_hold(there, column.type, target)
        and not ((was := before.get(column.name)) is not None and was != column.type and can_hold(there, was, target))
    ]


def can_hold(sql: TypeEngine[Any], needed: ColumnType, target: Target) -> bool:
    """Whether a column of somebody's SQL type can hold every value of a contract's type as it stands."""
    held = None if isinstance(sql, Computed) else _type_for(sql, target)
    wanted = _as_stored(needed, target)
    if held is None or wanted.kind is not held.kind:
        return False
    match wanted.kind:
        case Kind.TEXT if needed.kind is Kind.UNKNOWN:
            # Its values are all NULL; its first one decides.
            return True
        case Kind.TEXT:
            return not held.length or 0 < wanted.length <= held.length
        case Kind.INTEGER:
            return not held.precision or 0 < wanted.precision <= held.precision
        case Kind.DECIMAL:
            # Without a precision, a column takes whatever number its database has.
            unbounded = getattr(sql, "precision", None) is None and wanted.precision <= held.precision
            whole = held.precision - held.scale >= wanted.precision - wanted.scale
            return unbounded or (whole and held.scale >= wanted.scale)
        case _:
            return True


def column_type_error(
    unfit: Sequence[UnfitColumn], target: Target, *, table: str, dataset_id: str, dialect: Dialect
) -> ColumnTypeError:
    """The error for columns that cannot hold what a contract says."""
    listed = "; ".join(
        f"{one.name!r} is computed by the database"
        if isinstance(one.there, Computed)
        else f"{one.name!r} is {_in_sql(one.there, dialect)} and the file needs {one.needed}"
        for one in unfit
    )
    wanted = ", ".join(f"{one.name!r} as {_in_sql(target.column_type(one.needed), dialect)}" for one in unfit)
    return ColumnTypeError(
        f"Columns of the table {table} could change the values of the file: {listed}. The table keeps its rows.",
        hint=f"Change these columns ({wanted}), rename them if they are not of the file, or declare in the catalog "
        "what they are.",
        dataset_id=dataset_id,
    )


def _as_stored(needed: ColumnType, target: Target) -> ColumnType:
    """The type, or text where the target stores such values as text."""
    by_text = needed.kind in (Kind.DECIMAL, Kind.UNKNOWN) and isinstance(target.column_type(needed), String)
    return TEXT if by_text else needed


def _in_sql(type_: TypeEngine[Any], dialect: Dialect) -> str:
    # Of the types of one engine alone, `str` drops the precision. One that SQLAlchemy does not know has no SQL.
    return str(type_) if isinstance(type_, NullType) else type_.compile(dialect=dialect)


def _type_for(sql: TypeEngine[Any], target: Target) -> ColumnType | None:
    name = str(sql.__visit_name__).upper()
    if name in _ALWAYS_LOSSY or isinstance(sql, Float | Enum) or (target.names_unicode and name in _LOSSY):
        return None
    if isinstance(sql, Numeric):
        # Where no number is that wide, what is called so is a binary float.
        exact = isinstance(target.column_type(ColumnType(Kind.DECIMAL, MAX_DIGITS)), Numeric)
        digits = min(sql.precision or MAX_DIGITS, MAX_DIGITS if exact else SHORT_DIGITS)
        return ColumnType(Kind.DECIMAL, digits, min(sql.scale or 0, digits))
    if type(sql) is String:
        # So SQLAlchemy reads PostgreSQL's `name` and `"char"`, which cut a text without an error.
        return None
    if isinstance(sql, String):
        return ColumnType(Kind.TEXT, length=sql.length or 0)
    if isinstance(sql, DateTime) and (sql.timezone or getattr(sql, "precision", None) not in _WHOLE_TIMESTAMPS):
        return None
    return next((type_ for kind, type_ in _TYPES if isinstance(sql, kind)), None)
