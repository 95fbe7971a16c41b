"""Column types of the project's own tables that differ between engines."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, TypeDecorator
from sqlalchemy.dialects.mssql import DATETIME2, NVARCHAR
from sqlalchemy.types import TypeEngine

Number = BigInteger().with_variant(Integer(), "sqlite")
"""A row number that the database issues: SQLite does so only for the type INTEGER."""


def case_sensitive(type_: TypeEngine[Any], length: int | None = None) -> TypeEngine[Any]:
    """A text that equals only identical text: SQL Server's usual collations ignore case."""
    return type_.with_variant(NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware timestamp, stored in UTC without an offset: SQLite would drop the offset and keep the local hour."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Microsecond precision: SQL Server rounds DATETIME to 3 ms."""
        return dialect.type_descriptor(DATETIME2(6) if dialect.name == "mssql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # inherited
        """The timestamp in UTC; a naive one is rejected."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A timestamp without a time zone cannot be stored.")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # inherited
        """The stored timestamp, aware."""
        return None if value is None else value.replace(tzinfo=UTC)
