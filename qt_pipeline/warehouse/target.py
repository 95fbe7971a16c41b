"""What the shared publish flow asks of a SQL engine.

Here: the protocol, one member for each thing that differs between engines, and the types that do not.
Not here: the flow itself (see load), any engine (see the file with its name).
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
"""The columns of a table and their types, in the order of the table."""


class Computed(NullType):
    """The type of a column whose values the database computes: nobody writes there."""


class TableColumns(SqlTypes):
    """The columns that a table has, found by name as its database compares names."""

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
    """Rows on their way into a staging table, and the values of its last columns, which are ours."""

    rows: Rows
    own: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class ColumnDefault:
    """The default of a column that becomes another type, in SQL: as it is, and for the new type.

    `after` is None where it cannot become one. `constraint` is its name, where the engine names defaults.
    """

    before: str
    after: str | None
    constraint: str = ""


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A column of a table that becomes another type. `default` is one that has to be set again for that."""

    column: str
    before: ColumnType
    after: ColumnType
    default: ColumnDefault | None = None


class Target(Protocol):
    """One SQL database that takes tables.

    What it raises: TargetUnavailableError where a repeat of the whole transaction may help, TargetRefusedError else.
    """

    @property
    def max_name_bytes(self) -> int:
        """The longest column or table name, in bytes of UTF-8."""
        ...

    @property
    def max_columns(self) -> int:
        """The most columns of one table, our own among them."""
        ...

    @property
    def schema(self) -> str | None:
        """The schema of the ledger, and of tables without one of their own; None for the connection's own."""
        ...

    @property
    def has_schemas(self) -> bool:
        """Whether tables can be in schemas at all."""
        ...

    @property
    def names(self) -> NameMatching:
        """Which names of tables and columns are the same here."""
        ...

    @property
    def reflects_types(self) -> bool:
        """Whether the types of `columns_of` say exactly what a column can hold."""
        ...

    @property
    def names_unicode(self) -> bool:
        """Whether text types of all characters have names of their own (NVARCHAR beside VARCHAR)."""
        ...

    @property
    def staging_schema(self) -> str | None:
        """The schema of the staging tables; None for that of the table."""
        ...

    @property
    def stage_prefixes(self) -> Sequence[str]:
        """Words between CREATE and TABLE of a staging table that will be thrown away."""
        ...

    @property
    def stage_becomes_table(self) -> bool:
        """Whether the staging table of a first load is renamed to be the table, where both share a schema."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What a person who runs this database should know, in sentences."""
        ...

    def exists(self) -> bool:
        """Whether there is a database that can be read; asking makes none."""
        ...

    def has_ledger(self) -> bool:
        """Whether the ledger is there; asking makes nothing."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that writes and is durable when the block has ended."""
        ...

    def publishing(self, stage: Table) -> AbstractContextManager[Connection]:
        """A transaction like `writing` that sees a staging table, which has been committed before."""
        ...

    def transaction_id(self, connection: Connection) -> str | None:
        """What tells the transaction that is open on a connection from every other, begun if none is.

        None where there is none that the engine could tell.
        """
        ...

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """Let nobody read a table whose rows are about to be replaced, until the transaction ends.

        Only where readers could pass from old rows into new ones; where they read versions, they go on.
        """
        ...

    def altering(self, connection: Connection) -> AbstractContextManager[None]:
        """Statements of the block change a table's columns, and wait for its readers for a short time alone.

        Whoever would read the table queues behind such a statement while it waits.
        """
        ...

    def table_lock(self, table: str) -> AbstractContextManager[None]:
        """Nobody else loads this table meanwhile, in whatever process; raises TableBusyError."""
        ...

    def columns_of(self, connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
        """The columns of a table or view; None if there is none of that name."""
        ...

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """The engine's own type for a column."""
        ...

    def key_value(self, column: ColumnElement[Any], type_: ColumnType) -> ColumnElement[Any]:
        """SQL by which a column of this type is compared as part of a key: numbers are equal as numbers."""
        ...

    def index_key(self, connection: Connection, stage: Table, key: Sequence[ColumnElement[Any]]) -> None:
        """Make a staging table fast to search by these values, where the engine does not by itself."""
        ...

    def create_table(self, connection: Connection, table: Table) -> None:
        """Create the table that readers see."""
        ...

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:
        """Create a staging table, fill it, commit it, and say how many rows the database has taken."""
        ...

    def drop_stage(self, stage: Table) -> None:
        """Take a staging table away, if it is there, in a transaction of its own."""
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
        """Give columns of a table, `table` being its new shape, other types; rows, views and indexes stay.

        Without `keeps_rows` the table has none, and every type can become every other. The `default` of a change is set
        again.
        """
        ...

    @property
    def measures(self) -> Measures:
        """What is compared between a file and a table for the values of each kind, beside the sums of numbers."""
        ...

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """Count the rows of a table, add up those of these columns that are numbers exactly, and measure all.

        With a `load_id`, only the rows of that load count.
        """
        ...

    def may_change_rows(self, connection: Connection, table: Table) -> bool:
        """Whether a trigger or a rule of the table may change rows on their way in."""
        ...

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """A value that is equal to another's only where both are the same, whatever the column's collation is."""
        ...

    def post_publish_maintenance(self, table: Table) -> None:
        """Give back the space of the rows that a publish has replaced. The publish stands, whatever this meets."""
        ...


def reflected_columns(connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
    """What `Target.columns_of` asks for, as SQLAlchemy reflects it."""
    inspector = inspect(connection)
    if not inspector.has_table(name, schema=schema):
        return None
    return {
        str(column["name"]): Computed() if "computed" in column else column["type"]
        for column in inspector.get_columns(name, schema=schema)
    }


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
        case Kind.DECIMAL | Kind.TEXT | Kind.UNKNOWN:
            return Text()
