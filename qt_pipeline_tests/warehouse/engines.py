"""The engines that the same rules are tested on: where a warehouse is opened, and how a reader looks at its tables."""

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, NullPool, create_engine, event, inspect, make_url
from sqlalchemy import Engine as SqlEngine

from qt_pipeline.tabular import ColumnType, Contract, Kind
from qt_pipeline.warehouse import Warehouse, open_warehouse

MSSQL_URL = os.environ.get("QT_TEST_MSSQL_URL", "")
OWN_TABLES = {"_qt_loads", "_qt_columns"}

Answer = list[tuple[Any, ...]]
Look = Callable[[str], Answer]


def watched_by(warehouse: Warehouse, watching: type) -> Warehouse:
    """The same warehouse, whose target is now also of the type `watching`."""
    target: Any = warehouse._target
    target.__class__ = type(watching.__name__, (watching, type(target)), {})
    return warehouse


@dataclass
class Engine(ABC):
    """One place for tables on an engine: a file, or a schema of its own on a server that runs."""

    url: str
    schema: str | None
    max_name_bytes: int

    name: ClassVar[str]
    text_type: ClassVar[str] = "VARCHAR(50)"
    boolean_type: ClassVar[str] = "BOOLEAN"
    lossy_types: ClassVar[tuple[str, ...]]
    """Types of somebody's table that cannot hold all values of their kind."""

    @abstractmethod
    def size(self, table: str = "paid") -> int:
        """The bytes that a table takes, its indexes among them."""

    @abstractmethod
    def stages(self) -> set[str]:
        """The staging tables that are there."""

    def open(self, watching: type | None = None) -> Warehouse:
        """The warehouse in this place. Its target is also of the type `watching`, whose methods come first."""
        warehouse = open_warehouse(self.url, self.schema)
        return watched_by(warehouse, watching) if watching else warehouse

    def quote(self, name: str) -> str:
        """A name as standard SQL quotes it, which all of them understand."""
        return '"' + name.replace('"', '""') + '"'

    def table(self, name: str = "paid") -> str:
        """A table's whole name, quoted."""
        return f"{self.quote(self.schema)}.{self.quote(name)}" if self.schema else self.quote(name)

    @contextmanager
    def reader(self) -> Iterator[Look]:
        """Somebody who knows nothing of this project: at READ COMMITTED, each question a transaction."""
        with self._connected() as connection:
            yield lambda sql: _answer(connection, sql)

    @contextmanager
    def transaction(self) -> Iterator[Look]:
        """Such a reader, whose transaction goes on from question to question."""
        with self._reading().begin() as connection:
            yield lambda sql: _answer(connection, sql)

    def query(self, sql: str) -> Answer:
        with self.reader() as look:
            return look(sql)

    def execute(self, *statements: str) -> None:
        with self._connected() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def column(self, name: str, table: str = "paid") -> list[Any]:
        """The values of one column, in the order of the file."""
        sql = f"SELECT {self.quote(name)} FROM {self.table(table)} ORDER BY {self.quote('_qt_row')}"
        return [value for (value,) in self.query(sql)]

    def stored(self, contract: Contract, table: str = "paid") -> Answer:
        """The rows of a table under its contract, in the order of the file, as a driver gives them."""
        columns = ", ".join(self.quote(column.name) for column in contract.columns)
        return self.query(f"SELECT {columns} FROM {self.table(table)} ORDER BY {self.quote('_qt_row')}")

    def rows(self, contract: Contract, table: str = "paid") -> Answer:
        """The same, as values of Python's own types."""
        types = [column.type for column in contract.columns]
        return [tuple(map(self.value, row, types)) for row in self.stored(contract, table)]

    def value(self, stored: Any, type_: ColumnType) -> Any:  # noqa: ARG002  # for engines with fewer types
        """A stored value as one of Python's own types."""
        return stored

    def tables(self) -> set[str]:
        """The tables that are there, staging tables among them."""
        with self._connected() as connection:
            return {*inspect(connection).get_table_names(schema=self.schema)} | self.stages()

    def columns(self, table: str = "paid") -> dict[str, str]:
        """The columns of a table and their types, as the engine prints them."""
        with self._connected() as connection:
            found = inspect(connection).get_columns(table, schema=self.schema)
            return {column["name"]: column["type"].compile(dialect=connection.dialect) for column in found}

    def indexes(self, table: str = "paid") -> set[str]:
        with self._connected() as connection:
            return {str(index["name"]) for index in inspect(connection).get_indexes(table, schema=self.schema)}

    def make_view(self, name: str, select: str) -> None:
        self.execute(f"CREATE VIEW {self.table(name)} AS {select}")

    def make_index(self, name: str, column: str, table: str = "paid") -> None:
        self.execute(f"CREATE INDEX {self.quote(name)} ON {self.table(table)} ({self.quote(column)})")

    @abstractmethod
    def make_trigger(self, name: str, statement: str, *, log: str | None = None) -> None:
        """Run a statement when rows have come into `paid`: on SQLite for the row of line 8 or 0 alone, else once.

        `log` is a table of one text that is made for it.
        """

    def _make_log(self, log: str | None) -> None:
        if log is not None:
            self.execute(f"CREATE TABLE {self.table(log)} (what VARCHAR(20))")

    def _reading(self) -> SqlEngine:
        return create_engine(self._driver_url, poolclass=NullPool)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._reading().connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def _driver_url(self) -> URL:
        return make_url(self.url)


def _answer(connection: Connection, sql: str) -> Answer:
    return [tuple(row) for row in connection.exec_driver_sql(sql, execution_options={"no_parameters": True})]


class Sqlite(Engine):
    """A file. Its staging tables are files beside it."""

    name = "sqlite"
    lossy_types = ("REAL", "FLOAT", "DOUBLE PRECISION", "CHAR(10)", "NCHAR(10)", "BLOB", "")

    def __init__(self, file: Path) -> None:
        self.file = file
        super().__init__(url=f"sqlite:///{file}", schema=None, max_name_bytes=128)

    def open(self, watching: type | None = None) -> Warehouse:
        warehouse = super().open(watching)
        engine: Any = warehouse._target._engine
        event.listen(engine, "connect", _waits_for_no_disk)
        engine.dispose()
        return warehouse

    def size(self, table: str = "paid") -> int:  # noqa: ARG002  # a file has one size
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.file.stat().st_size

    def stages(self) -> set[str]:
        return {file.name.removeprefix(f"{self.file.name}.") for file in self.file.parent.glob("*._qt_stage_*")}

    def make_trigger(self, name: str, statement: str, *, log: str | None = None) -> None:
        self._make_log(log)
        self.execute(
            f"CREATE TRIGGER {name} AFTER INSERT ON paid WHEN new._qt_row IN (0, 8) BEGIN {statement}; END",
        )

    def value(self, stored: Any, type_: ColumnType) -> Any:
        if stored is None:
            return None
        match type_.kind:
            case Kind.DECIMAL:
                # The shortest text of a float is the number that was meant, up to 15 digits.
                assert isinstance(stored, (int, float) if type_.precision <= 15 else str)
                return Decimal(str(stored))
            case Kind.BOOLEAN:
                return {0: False, 1: True}[stored]
            case Kind.DATE:
                return date.fromisoformat(stored)
            case Kind.TIMESTAMP:
                return datetime.fromisoformat(stored)
            case _:
                return stored

    def _reading(self) -> SqlEngine:
        engine = create_engine(self.url, poolclass=NullPool, connect_args={"timeout": 30})
        # Python's driver would begin no transaction before the first statement that writes.
        event.listen(engine, "connect", _begins_nothing)
        event.listen(engine, "begin", _begins)
        return engine


def _waits_for_no_disk(connection: Any, _record: object) -> None:
    # Tests kill processes, not the machine.
    connection.execute("PRAGMA synchronous = OFF")


def _begins_nothing(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _begins(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN")


class _Server(Engine):
    def __init__(self, url: str, max_name_bytes: int) -> None:
        super().__init__(url=url, schema=f"the schema {uuid.uuid4().hex[:12]}", max_name_bytes=max_name_bytes)

    def _as(self, become: str, sql: str) -> Answer:
        with self._connected() as connection:
            connection.exec_driver_sql(become)
            found = _answer(connection, sql)
            # The next to get this connection would be somebody else than who logged in.
            connection.invalidate()
            return found

    def stages(self) -> set[str]:
        with self._connected() as connection:
            found = inspect(connection).get_table_names(schema=self.schema)
        return {name for name in found if name.startswith("_qt_stage_")}


class Postgres(_Server):
    """A schema on a real server."""

    name = "postgresql"
    lossy_types = (
        *("REAL", "FLOAT", "DOUBLE PRECISION", "CHAR(10)", "BYTEA", "UUID", "MONEY"),
        *("TIMESTAMP WITH TIME ZONE", "TIMESTAMP(0)", "TIMESTAMP(3)", "INTEGER[]"),
    )

    def __init__(self, url: str) -> None:
        super().__init__(url, 63)

    def size(self, table: str = "paid") -> int:
        [(size,)] = self.query(f"SELECT pg_total_relation_size('{self.table(table)}')")
        return size

    def make_trigger(self, name: str, statement: str, *, log: str | None = None) -> None:
        self._make_log(log)
        self.execute(
            f"CREATE FUNCTION {self.table(name)}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statement}; RETURN NULL; END $$",
            f"CREATE TRIGGER {name} AFTER INSERT ON {self.table()} FOR EACH STATEMENT "
            f"WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION {self.table(name)}()",
        )

    @contextmanager
    def analyst(self, *readable: str) -> Iterator[Look]:
        """Somebody who was once allowed to read these."""
        name, schema = self.quote(f"analyst of {self.schema}"), self.quote(str(self.schema))
        self.execute(f"CREATE ROLE {name}", f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        self.execute(*(f"GRANT SELECT ON {table} TO {name}" for table in readable))
        try:
            yield lambda sql: self._as(f"SET ROLE {name}", sql)
        finally:
            self.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    def drop(self) -> None:
        self.execute(f"DROP SCHEMA IF EXISTS {self.quote(str(self.schema))} CASCADE")

    @property
    def _driver_url(self) -> URL:
        return make_url(self.url).set(drivername="postgresql+psycopg")


class SqlServer(_Server):
    """A schema on the server that `QT_TEST_MSSQL_URL` names."""

    name = "sqlserver"
    text_type = "NVARCHAR(50)"
    boolean_type = "BIT"
    lossy_types = (
        *("REAL", "FLOAT", "CHAR(10)", "NCHAR(10)", "VARCHAR(50)", "TEXT", "VARBINARY(10)", "UNIQUEIDENTIFIER"),
        *("TINYINT", "DATETIME", "SMALLDATETIME", "MONEY", "TIME", "SQL_VARIANT", "XML"),
        *("DATETIMEOFFSET", "DATETIMEOFFSET(0)", "DATETIMEOFFSET(6)"),
        *("DATETIME2(0)", "DATETIME2(3)", "DATETIME2(5)"),
    )

    def __init__(self) -> None:
        super().__init__(MSSQL_URL, 128)

    def columns(self, table: str = "paid") -> dict[str, str]:
        """SQLAlchemy reflects no precision of timestamps."""
        found = super().columns(table)
        precise = self.query(
            "SELECT COLUMN_NAME, DATA_TYPE, DATETIME_PRECISION FROM INFORMATION_SCHEMA.COLUMNS "
            f"WHERE TABLE_SCHEMA = '{self.schema}' AND TABLE_NAME = N'{table.replace(chr(39), chr(39) * 2)}' "
            "AND DATA_TYPE IN ('datetime2', 'datetimeoffset', 'time')"
        )
        return found | {name: f"{type_.upper()}({precision})" for name, type_, precision in precise}

    def size(self, table: str = "paid") -> int:
        [(pages,)] = self.query(
            "SELECT SUM(reserved_page_count) FROM sys.dm_db_partition_stats "
            f"WHERE object_id = OBJECT_ID('{self.table(table)}')"
        )
        return int(pages) * 8192

    def make_trigger(self, name: str, statement: str, *, log: str | None = None) -> None:
        self._make_log(log)
        self.execute(f"CREATE TRIGGER {self.table(name)} ON {self.table()} AFTER INSERT AS BEGIN {statement}; END")

    @contextmanager
    def analyst(self, *readable: str) -> Iterator[Look]:
        """Somebody who was once allowed to read these."""
        name = f"analyst of {self.schema}"
        self.execute(f"CREATE USER {self.quote(name)} WITHOUT LOGIN")
        self.execute(*(f"GRANT SELECT ON {table} TO {self.quote(name)}" for table in readable))
        try:
            yield lambda sql: self._as(f"EXECUTE AS USER = '{name}' WITH NO REVERT", sql)
        finally:
            self.execute(f"DROP USER {self.quote(name)}")

    def drop(self) -> None:
        with self._connected() as connection:
            found = inspect(connection)
            views, tables = found.get_view_names(schema=self.schema), found.get_table_names(schema=self.schema)
        self.execute(
            *(f"DROP VIEW {self.table(name)}" for name in views),
            *(f"DROP TABLE {self.table(name)}" for name in tables),
            f"DROP SCHEMA IF EXISTS {self.quote(str(self.schema))}",
        )
