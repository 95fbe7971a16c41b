"""Reflect the columns of a table from SQL Server's catalog, with the precision, scale and collation SQLAlchemy omits.

Here: that query, the SQLAlchemy types of its rows, and which columns the server fills itself.
Not here: which types can hold a file's values (see adopt).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from sqlalchemy import Connection, text
from sqlalchemy.dialects.mssql import DATETIME2, DATETIMEOFFSET, TIME, base
from sqlalchemy.types import CHAR, DECIMAL, NCHAR, NVARCHAR, VARCHAR, Float, NullType, Numeric, TypeEngine

from qt_pipeline.warehouse.target import Computed, SqlTypes

# The base type of an alias type; .NET types have none.
_COLUMNS = text(
    "SELECT c.name, COALESCE(base.name, own.name), c.max_length, c.precision, c.scale, c.collation_name, "
    # Periods and the versions of ledger tables are generated too.
    "CASE WHEN c.is_computed = 1 OR c.generated_always_type <> 0 THEN 1 ELSE 0 END "
    "FROM sys.columns AS c "
    "LEFT JOIN sys.types AS base ON base.user_type_id = c.system_type_id "
    "LEFT JOIN sys.types AS own ON own.user_type_id = c.user_type_id "
    "WHERE c.object_id = OBJECT_ID(:place) ORDER BY c.column_id"
)
_MAX = -1
# The catalog's name for ROWVERSION.
_ROW_VERSION = "timestamp"
_TYPES: Final[Mapping[str, type[TypeEngine[Any]]]] = cast("Any", base).ischema_names


def columns_of(connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
    """The columns of a table or view; None if none of that name is visible to this login."""
    preparer = connection.dialect.identifier_preparer
    # Without a schema the server would also search dbo, where it does not create tables.
    place = f"{preparer.quote_identifier(schema or _default_schema(connection))}.{preparer.quote_identifier(name)}"
    rows = connection.execute(_COLUMNS, {"place": place}).all()
    return {
        str(column): Computed() if is_generated or type_ == _ROW_VERSION else _type(type_, *sizes)
        for column, type_, *sizes, is_generated in rows
    } or None


def _default_schema(connection: Connection) -> str:
    return str(connection.dialect.default_schema_name)


def _type(name: str | None, bytes_: int, precision: int, scale: int, collation: str | None) -> TypeEngine[Any]:
    kind = _TYPES.get(name or "", NullType)
    if issubclass(kind, CHAR | NCHAR | VARCHAR | NVARCHAR):
        bytes_per_character = 2 if issubclass(kind, NCHAR | NVARCHAR) else 1
        return kind(None if bytes_ == _MAX else bytes_ // bytes_per_character, collation)
    if issubclass(kind, Numeric) and not issubclass(kind, Float):
        return DECIMAL(precision, scale)
    if issubclass(kind, DATETIME2 | DATETIMEOFFSET | TIME):
        return kind(scale)
    return kind()
