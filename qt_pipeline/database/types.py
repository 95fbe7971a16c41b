"""The types of the columns of our own tables.

Here: what means something else on each engine. Not here: the types of datasets (see tabular, warehouse).
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, TypeDecorator
from sqlalchemy.dialects.mssql import DATETIME2, NVARCHAR
from sqlalchemy.types import TypeEngine

Number = BigInteger().with_variant(Integer(), "sqlite")
"""A row number that the database gives out: SQLite does so only under the type INTEGER."""


def case_sensitive(type_: TypeEngine[Any], length: int | None = None) -> TypeEngine[Any]:
    """A text that equals the same characters alone: SQL Server's usual collations ignore case."""
    return type_.with_variant(NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, stored as UTC without an offset: SQLite would drop the offset and keep the local hour."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """To the microsecond: what SQL Server calls DATETIME is rounded to 3 ms."""
        return dialect.type_descriptor(DATETIME2(6) if dialect.name == "mssql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # inherited
        """The moment in UTC; a naive one is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A moment without a time zone cannot be stored.")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # inherited
        """The stored moment, aware."""
        return None if value is None else value.replace(tzinfo=UTC)
