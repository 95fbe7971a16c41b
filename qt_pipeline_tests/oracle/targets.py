"""Targets as a person's own tools see them: sqlite3 and psycopg.

Here: tables read raw, what hangs on them, what a person does to them. Not here: what ought to be in them (see model).
"""

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """A table as it is: its columns with their types, its rows, and what hangs on it, as texts."""

    columns: dict[str, str]
    rows: list[Row]
    hung: frozenset[str]

    def column(self, name: str) -> list[Any]:
        place = list(self.columns).index(name)
        return [row[place] for row in self.rows]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def kind_of(sql_type: str) -> str:
    """The kind of values that a column of a SQL type holds."""
    name = sql_type.upper()
    if "INT" in name:
        return "integer"
    if "BOOL" in name:
        return "boolean"
    if name.startswith(("TIMESTAMP", "DATETIME")):
        return "timestamp"
    if name.startswith("DATE"):
        return "date"
    if name.startswith(("NUMERIC", "DECIMAL", "REAL", "DOUBLE", "FLOAT")):
        return "decimal"
    return "text"


class Target(ABC):
    """One place for tables."""

    name: str
    folds_case: bool
    """Whether names that differ in case alone are one name."""
    url: str
    schema: str | None

    @abstractmethod
    def query(self, sql: str) -> list[Row]: ...

    @abstractmethod
    def execute(self, *statements: str) -> str:
        """Run statements in one transaction; what the server said against them, or nothing."""

    @abstractmethod
    def tables(self) -> dict[str, Table]:
        """All tables but the product's own."""

    @abstractmethod
    def trigger(self, table: str, name: str) -> list[str]:
        """The statements that hang a harmless trigger on a table."""

    def place(self, table: str) -> str:
        return f"{quoted(self.schema)}.{quoted(table)}" if self.schema else quoted(table)

    def contract(self, dataset_id: str) -> list[Row]:
        """Header, name, kind and format of each column that the ledger's own table tells of a dataset."""
        columns = "header, name, kind, format"
        try:
            return self.query(
                f"SELECT {columns} FROM {self.place('_qt_columns')} WHERE dataset_id = '{dataset_id}' ORDER BY position"
            )
        except (sqlite3.Error, psycopg.Error):
            return []

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""


class Sqlite(Target):
    name = "sqlite"
    folds_case = True
    schema = None

    def __init__(self, folder: Path) -> None:
        self._path = folder / "warehouse.db"
        self.url = f"sqlite:///{self._path}"

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path)
        try:
            yield connection
        finally:
            connection.close()

    def query(self, sql: str) -> list[Row]:
        with self._connected() as connection:
            return connection.execute(sql).fetchall()

    def execute(self, *statements: str) -> str:
        with self._connected() as connection:
            try:
                for statement in statements:
                    connection.execute(statement)
            except sqlite3.Error as error:
                return str(error)
            connection.commit()
        return ""

    def tables(self) -> dict[str, Table]:
        if not self._path.exists():
            return {}
        found: dict[str, Table] = {}
        with self._connected() as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                if name.lower() in {"_qt_loads", "_qt_columns"} or name.startswith("sqlite_"):
                    continue
                info = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
                hung = {
                    f"{kind} {hung_name}"
                    for kind, hung_name in connection.execute(
                        "SELECT type, name FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger')",
                        (name,),
                    )
                    if not hung_name.startswith(("_qt_", "sqlite_autoindex"))
                }
                for _, column, _, not_null, default, key, _ in info:
                    if column.lower().startswith("_qt_"):
                        continue
                    hung |= {f"{column} NOT NULL"} if not_null else set()
                    hung |= {f"{column} DEFAULT {default}"} if default is not None else set()
                    hung |= {f"{column} PRIMARY KEY {key}"} if key else set()
                [(sql,)] = connection.execute(
                    "SELECT sql FROM sqlite_master WHERE name = ? AND type = 'table'", (name,)
                )
                bare = re.sub(r'"(?:[^"]|"")*"', "", sql)
                hung |= {
                    f"{number} {word}"
                    for word in ("CHECK", "COLLATE", "UNIQUE")
                    for number in range(bare.upper().count(word))
                }
                rows = connection.execute(f"SELECT * FROM {quoted(name)}").fetchall()
                found[name] = Table({column[1]: column[2] for column in info}, rows, frozenset(hung))
        return found

    def trigger(self, table: str, name: str) -> list[str]:
        return [f"CREATE TRIGGER {quoted(name)} AFTER UPDATE ON {quoted(table)} BEGIN SELECT 1; END"]

    def close(self) -> None:
        """Its folder goes with it."""


class Postgres(Target):
    name = "postgres"
    folds_case = False

    def __init__(self, url: str, schema: str) -> None:
        self.url = url
        self.schema = schema
        self._connection = psycopg.connect(url, autocommit=True, client_encoding="UTF8", prepare_threshold=None)
        self._connection.execute(f"CREATE SCHEMA {quoted(schema)}".encode())

    def query(self, sql: str) -> list[Row]:
        return self._connection.execute(sql.encode()).fetchall()

    def execute(self, *statements: str) -> str:
        try:
            with self._connection.transaction():
                for statement in statements:
                    self._connection.execute(statement.encode())
        except psycopg.Error as error:
            return str(error)
        return ""

    def tables(self) -> dict[str, Table]:
        found: dict[str, Table] = {}
        names = self.query(f"SELECT tablename FROM pg_tables WHERE schemaname = '{self.schema}'")
        for (name,) in names:
            if name in {"_qt_loads", "_qt_columns"}:
                continue
            columns = self.query(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)"
                " FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
                f" WHERE a.attrelid = {self._id(name)} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
            )
            hung = {f"{column} NOT NULL" for column, _, fixed, _ in columns if fixed and not column.startswith("_qt_")}
            # A default may become one of its column's new type.
            hung |= {
                f"{column} DEFAULT {re.sub('::[a-z ]+$', '', default)}" for column, _, _, default in columns if default
            }
            rows = self.query(f"SELECT * FROM {self.place(name)}")
            types = {column: kind for column, kind, _, _ in columns}
            found[name] = Table(types, rows, frozenset(hung | self._hung(name)))
        return found

    def _hung(self, table: str) -> set[str]:
        of = self._id(table)
        found = self.query(
            f"SELECT 'trigger', tgname FROM pg_trigger WHERE tgrelid = {of} AND NOT tgisinternal"
            f" UNION ALL SELECT 'constraint', conname FROM pg_constraint WHERE conrelid = {of} AND contype <> 'n'"
            " UNION ALL SELECT 'index', relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
            f" WHERE indrelid = {of}"
        )
        return {f"{kind} {name}" for kind, name in found if not name.startswith("_qt_")}

    def _id(self, table: str) -> str:
        return f"{_literal(self.place(table))}::regclass"

    def trigger(self, table: str, name: str) -> list[str]:
        function = f"{quoted(self.schema or '')}.{quoted(name + '_f')}"
        return [
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            f"CREATE TRIGGER {quoted(name)} AFTER UPDATE ON {self.place(table)} EXECUTE FUNCTION {function}()",
        ]

    def close(self) -> None:
        self._connection.execute(f"DROP SCHEMA {quoted(self.schema or '')} CASCADE".encode())
        self._connection.close()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def snapshot(tables: dict[str, Table], *, but: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that a refused load must leave as it was."""
    return {
        name: (table.columns, sorted(map(repr, table.rows)), table.hung)
        for name, table in tables.items()
        if name not in but
    }
