"""What the shared publish flow asks of a SQL engine.

Here: the protocol, one member for each thing that differs between engines, and the types that do not.
Not here: the flow itself (see publish), any engine (see the file with its name).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import BigInteger, Boolean, Connection, Date, DateTime, Table, Text
from sqlalchemy.types import TypeEngine

from qt_pipeline.tabular import ColumnType, Contract, Kind
from qt_pipeline.warehouse.verify import Totals


class Target(Protocol):
    """One SQL database that takes tables."""

    @property
    def max_name_bytes(self) -> int:
        """The longest column or table name, in bytes of UTF-8."""
        ...

    @property
    def max_columns(self) -> int:
        """The most columns of one table, `_qt_load` and `_qt_row` among them."""
        ...

    @property
    def schema(self) -> str | None:
        """The schema of all tables; None for the connection's own."""
        ...

    @property
    def stage_prefixes(self) -> Sequence[str]:
        """Words between CREATE and TABLE of a staging table."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads; raises TargetUnavailableError when the database refuses."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that writes and is durable when the block has ended; errors as `reading`."""
        ...

    def exclusive(self, table_name: str) -> AbstractContextManager[None]:
        """Nobody else loads this table meanwhile, in whatever process; raises TableBusyError."""
        ...

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """The engine's own type for a column."""
        ...

    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:
        """Write a batch into a staging table and commit it; the columns are the table's."""
        ...

    def totals(self, connection: Connection, table: Table, contract: Contract) -> Totals:
        """Count the rows of a table and add up its numbers exactly."""
        ...

    def tidy(self, table: Table) -> None:
        """Give back the space of the rows that a publish has replaced. The publish stands, whatever this meets."""
        ...


def plain_type(kind: Kind) -> TypeEngine[Any]:
    """The type that every engine has for values of this kind; text where it has none of its own."""
    match kind:
        case Kind.BOOLEAN:
            return Boolean()
        case Kind.INTEGER:
            return BigInteger()
        case Kind.DATE:
            return Date()
        case Kind.TIMESTAMP:
            return DateTime()
        case Kind.DECIMAL | Kind.TEXT:
            return Text()
