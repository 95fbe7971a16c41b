"""The protocol that the shared publish flow requires of a SQL engine.

Here: the protocol, one member for each difference between engines, and the types that do not differ.
Not here: the flow itself (see publish), any engine (see its module).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Date, DateTime, Table, Text, inspect
from sqlalchemy.types import NullType, TypeEngine

from qt_pipeline.database import NameMatching
from qt_pipeline.tabular import Array, Column, ColumnType, Kind, Rows
from qt_pipeline.warehouse.measure import Measures
from qt_pipeline.warehouse.verify import Totals

SqlTypes = Mapping[str, TypeEngine[Any]]
"""The columns of a table with their types, in table order."""


class Computed(NullType):
    """The type of a column whose values the database computes: it cannot be written."""


class TableColumns(SqlTypes):
    """The columns of a table, by name as its database compares names."""

    def __init__(self, types: SqlTypes, names: NameMatching) -> None:
        self._types = types
        self._names = names
        self._by_name = {names.fold(name): type_ for name, type_ in types.items()}

    def __getitem__(self, name: str) -> TypeEngine[Any]:
        return self._by_name[self._names.fold(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of rows for a staging table, with the values of its system columns, which come last."""

    rows: Rows
    own: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class ColumnDefault:
    """The default of a column whose type changes, in SQL: before, and for the new type.

    `after` is None if it cannot be converted. `constraint` is its name, on engines that name defaults.
    """

    before: str
    after: str | None
    constraint: str = ""


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A column of a table whose type changes. `default` must be set again for that."""

    column: str
    before: ColumnType
    after: ColumnType
    default: ColumnDefault | None = None


class Target(Protocol):
    """One SQL database that tables are loaded into.

    Its methods raise TargetUnavailableError if a retry of the whole transaction may help, else TargetRefusedError.
    """

    @property
    def max_name_bytes(self) -> int:
        """The maximum length of a column or table name, in bytes of UTF-8."""
        ...

    @property
    def max_columns(self) -> int:
        """The maximum number of columns of a table, including the system columns."""
        ...

    @property
    def schema(self) -> str | None:
        """The schema of the ledger, and of tables that name none; None for the connection's default."""
        ...

    @property
    def has_schemas(self) -> bool:
        """Whether the database has schemas."""
        ...

    @property
    def names(self) -> NameMatching:
        """How the database compares names of tables and columns."""
        ...

    @property
    def reflects_types(self) -> bool:
        """Whether the types of `columns_of` say exactly what a column can hold."""
        ...

    @property
    def names_unicode(self) -> bool:
        """Whether Unicode text types have separate names (NVARCHAR beside VARCHAR)."""
        ...

    @property
    def staging_schema(self) -> str | None:
        """The schema of the staging tables; None for that of their table."""
        ...

    @property
    def stage_prefixes(self) -> Sequence[str]:
        """Keywords between CREATE and TABLE for a staging table that will be dropped."""
        ...

    @property
    def stage_becomes_table(self) -> bool:
        """Whether a first load's staging table is renamed to be the table, if both share a schema."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """Warnings for the operator of this database, in sentences."""
        ...

    def exists(self) -> bool:
        """Whether there is a readable database; the check creates none."""
        ...

    def has_ledger(self) -> bool:
        """Whether the ledger exists; the check creates nothing."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that writes and is durable when the block has ended."""
        ...

    def publishing(self, stage: Table) -> AbstractContextManager[Connection]:
        """A transaction like `writing` that can read a staging table, which was committed before."""
        ...

    def transaction_id(self, connection: Connection) -> str | None:
        """The id of the transaction that is open on a connection; begins one if none is.

        None if the engine cannot tell transactions apart.
        """
        ...

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """Keep readers out of a table whose rows are about to be replaced, until the transaction ends.

        Only where readers could see old and new rows; where they read row versions, this does nothing.
        """
        ...

    def altering(self, connection: Connection) -> AbstractContextManager[None]:
        """Within the block, column changes wait only briefly for readers of the table.

        While such a statement waits, new readers queue behind it.
        """
        ...

    def table_lock(self, table: str) -> AbstractContextManager[None]:
        """Hold the exclusive lock of a table across all processes; raises TableBusyError."""
        ...

    def columns_of(self, connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
        """The columns of a table or view; None if there is none of that name."""
        ...

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """The engine's own type for a column."""
        ...

    def key_value(self, column: ColumnElement[Any], type_: ColumnType) -> ColumnElement[Any]:
        """SQL by which a column of this type is compared as part of a key: numbers compare as numbers."""
        ...

    def index_key(self, connection: Connection, stage: Table, key: Sequence[ColumnElement[Any]]) -> None:
        """Index a staging table by these values, if the engine needs it."""
        ...

    def create_table(self, connection: Connection, table: Table) -> None:
        """Create the table that readers see."""
        ...

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:
        """Create a staging table, fill it, commit it, and return the number of rows that the database stored."""
        ...

    def drop_stage(self, stage: Table) -> None:
        """Drop a staging table, if it exists, in its own transaction."""
        ...

    def rename(self, connection: Connection, stage: Table, table: Table) -> None:
        """Make a staging table the table. Only where `stage_becomes_table`."""
        ...

    def defaults(
        self, connection: Connection, table: Table, changes: Sequence[TypeChange]
    ) -> Mapping[str, ColumnDefault]:
        """By column, the defaults that the engine does not convert itself when these columns change."""
        ...

    def change_types(
        self, connection: Connection, table: Table, changes: Sequence[TypeChange], *, keeps_rows: bool
    ) -> None:
        """Change the types of a table's columns, `table` being its new definition; rows, views and indexes stay.

        Without `keeps_rows` the table is empty, and any type can become any other. The `default` of a change is set
        again.
        """
        ...

    @property
    def measures(self) -> Measures:
        """What is compared between a file and a table for each kind, in addition to the sums of numbers."""
        ...

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """Count the rows of a table, sum its numeric columns exactly, and measure all columns.

        With a `load_id`, only the rows of that load count.
        """
        ...

    def may_change_rows(self, connection: Connection, table: Table) -> bool:
        """Whether a trigger or a rule of the table may change rows on insert."""
        ...

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """An expression that equals another's only if both values are identical, whatever the column's collation."""
        ...

    def post_publish_maintenance(self, table: Table) -> None:
        """Reclaim the space of replaced rows. The publish stands even if this fails."""
        ...


def reflected_columns(connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
    """`Target.columns_of` by SQLAlchemy's reflection."""
    inspector = inspect(connection)
    if not inspector.has_table(name, schema=schema):
        return None
    return {
        str(column["name"]): Computed() if "computed" in column else column["type"]
        for column in inspector.get_columns(name, schema=schema)
    }


def plain_type(kind: Kind) -> TypeEngine[Any]:
    """The type that every engine has for this kind; text if there is none."""
    match kind:
        case Kind.BOOLEAN:
            return Boolean()
        case Kind.INTEGER:
            return BigInteger()
        case Kind.DATE:
            return Date()
        case Kind.TIMESTAMP:
            return DateTime()
        case Kind.DECIMAL | Kind.TEXT | Kind.UNKNOWN:
            return Text()
