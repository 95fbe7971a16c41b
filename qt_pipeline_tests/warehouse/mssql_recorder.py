"""A driver for SQL Server with no server behind it: it writes down what it is sent and answers what the test expects.

For the statements as text alone, each of which must be T-SQL to a parser. What they do is tested on a real server (see
test_mssql_live).
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot

from qt_pipeline.tabular import Kind
from qt_pipeline.warehouse.measure import measured_values
from qt_pipeline.warehouse.mssql import MssqlTarget

Row = tuple[Any, ...]
Answer = Sequence[Row] | Callable[[str, Row], Sequence[Row]]

# What SQLAlchemy asks each server once, or before each use of a connection.
_GREETINGS: tuple[tuple[str, list[Row]], ...] = (
    ("select @@version", [("Microsoft SQL Azure (RTM) - 12.0.2000.8",)]),
    ("SELECT schema_name()", [("dbo",)]),
    ("SELECT name FROM sys.system_views", [("dm_exec_sessions",)]),
    ("SELECT CASE transaction_isolation_level", [("READ COMMITTED",)]),
    ("SELECT CAST('test", [("x",)]),
    ("SELECT 1", [(1,)]),
    ("SET TRANSACTION ISOLATION LEVEL", []),
)
_LANDED = datetime(2026, 1, 31, 10)  # noqa: DTZ001  # as it is stored
_WIDTH = 118
_LEDGER_COLUMNS = re.compile(r"SELECT TOP 1 (?:\S+\._qt_loads\.\w+(?:, | )){20,}FROM")


# What the parser knows to be one, and not what is in it.
_NOT_LOOKED_INTO = ("SET ", "ALTER INDEX ", "EXEC ")
_DEFAULT = re.compile(r"ALTER TABLE \[.+\] ADD CONSTRAINT \[.+\] DEFAULT \(.+\) FOR \[.+\]")


@cache
def parsed(statement: str) -> None:
    """Fail if a statement is no T-SQL."""
    for part in sqlglot.parse(statement, read="tsql", error_level=sqlglot.ErrorLevel.RAISE):
        known = not isinstance(part, sqlglot.exp.Command) or statement.lstrip().startswith(_NOT_LOOKED_INTO)
        known = known or _DEFAULT.fullmatch(statement) is not None
        assert known, f"The parser does not know what this is: {statement}"


class Error(Exception):
    pass


class Driver:
    """What SQLAlchemy takes for the module of a driver. `answers` are tried in turn, by what a statement contains."""

    apilevel, threadsafety, paramstyle, __version__ = "2.0", 1, "qmark", "1.16.0"
    Error = DatabaseError = InterfaceError = OperationalError = ProgrammingError = IntegrityError = DataError = Error
    NotSupportedError = InternalError = Error
    Binary = bytes

    def __init__(self, answers: Sequence[tuple[str, Answer]] = (), tables: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        self.tables = set(tables)
        self.copied: pa.Table | None = None
        self.comes_later: Exception | None = None
        """What a statement says after its first result."""
        self._answers = answers
        self._connections = 0
        self._speaking = 0

    def pooling(self, *, enabled: bool) -> None:
        assert not enabled

    def connect(self, *_arguments: object, **_options: object) -> "_Connection":
        self._connections += 1
        return _Connection(self, self._connections)

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, ""])

    def write(self, line: str, number: int) -> None:
        if number != self._speaking:
            self.lines += [*([""] if self.lines else []), f"-- connection {number}"]
            self._speaking = number
        self.lines.append(line)

    def answer(self, statement: str, parameters: Row) -> tuple[Sequence[Row], bool]:
        """The rows for a statement, and whether it is one to be written down."""
        for beginning, rows in _GREETINGS:
            if statement.lstrip().startswith(beginning):
                return rows, False
        if "FROM sys.objects" in statement:
            return [(name,) for name in parameters if name in self.tables], True
        for part, answer in self._answers:
            if part in statement:
                rows = answer(statement, parameters) if callable(answer) else answer
                return ([(*row, *self.measures()) for row in rows] if part == "sum(" else rows), True
        if statement.startswith(("SELECT COUNT_BIG(*) FROM", "SELECT COUNT_BIG(*) AS count_1 \nFROM")):
            return [self.totals()[:1]], True
        if statement.startswith("SELECT COUNT_BIG"):
            asked = statement.count("SUM(") + statement.count("COUNT_BIG([")
            return [(*self.totals(), *self.measures()[:asked])], True
        return [], True

    def totals(self) -> Row:
        if self.copied is None:
            return (0,)
        *columns, _, _ = self.copied.columns
        numbers = [c for c in columns if pa.types.is_integer(c.type) or pa.types.is_decimal(c.type)]
        return (self.copied.num_rows, *(Decimal(pc.sum(c).as_py() or 0) for c in numbers))

    def measures(self) -> Row:
        """What the target asks for beside sums, of the rows that were copied."""
        *columns, _, _ = self.copied.columns if self.copied is not None else [None, None]
        return tuple(
            measured_values(measure, column.combine_chunks())
            for column in columns
            for measure in MssqlTarget.measures[_kind(column.type)]
        )


def _kind(type_: pa.DataType) -> Kind:
    if pa.types.is_integer(type_) or pa.types.is_decimal(type_):
        return Kind.INTEGER
    if pa.types.is_boolean(type_):
        return Kind.BOOLEAN
    if pa.types.is_date(type_):
        return Kind.DATE
    return Kind.TIMESTAMP if pa.types.is_timestamp(type_) else Kind.TEXT


class _Connection:
    def __init__(self, driver: Driver, number: int) -> None:
        self.driver = driver
        self.autocommit = False
        self._number = number
        self._begun = False
        self.transactions = 0

    def cursor(self) -> "_Cursor":
        return _Cursor(self)

    def write(self, statement: str, parameters: Row = ()) -> None:
        self._begun = not self.autocommit
        self.driver.write(_laid_out(statement), self._number)
        if parameters:
            shown = "-- with " + ", ".join(_shown(value) for value in parameters)
            self.driver.lines += textwrap.wrap(shown, _WIDTH, subsequent_indent="--   ")

    def commit(self) -> None:
        self._end("COMMIT;")

    def rollback(self) -> None:
        self._end("ROLLBACK;")

    def close(self) -> None:
        self.driver.write("-- closed", self._number)

    def _end(self, word: str) -> None:
        if self._begun:
            self.driver.write(word, self._number)
        self._begun = False


class _Cursor:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: Iterator[Row] = iter(())
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount = -1
        self.arraysize = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, parameters: Row = ()) -> None:
        # The real ones would ask the server for the type, and end the transaction where it cannot say.
        assert None not in parameters
        parsed(statement)
        rows, told = self._connection.driver.answer(statement, parameters)
        if told:
            self._connection.write(statement, tuple(parameters))
        if "CURRENT_TRANSACTION_ID" in statement:
            rows = [(f"{self._connection.transactions}/1",)]
        elif "ROLLBACK" in statement:
            # By a statement that a person wrote.
            self._connection.transactions += 1
        reads = re.match(r"\s*(SELECT|select)\b", statement) or "OUTPUT" in statement or "SELECT @" in statement
        width = len(rows[0]) if rows else _width(statement)
        self.description = [(f"c{n}", None, None, None, None, None, True) for n in range(width)] if reads else None
        self._rows = iter(rows)
        driver = self._connection.driver
        copied = driver.copied.num_rows if driver.copied is not None else 0
        self.rowcount = -1 if reads else copied if statement.startswith("INSERT INTO") else 1
        made = re.match(r"\s*CREATE TABLE (?:\[[^\]]*\]\.)?\[?(\w+)", statement)
        driver.tables |= {made[1]} if made else set()

    def executemany(self, statement: str, parameters: Sequence[Row]) -> None:
        for row in parameters:
            self.execute(statement, row)

    def bulkcopy_arrow(self, table: str, source: pa.RecordBatchReader, **options: object) -> dict[str, int]:
        columns = ", ".join(str(field.type) for field in source.schema)
        told = ", ".join(f"{name}={value}" for name, value in options.items())
        copied = self._connection.driver.copied = source.read_all()
        self._connection.driver.lines += [
            f"-- bulk copy, on a connection of its own: {table} ({told})",
            f"--   {columns}",
        ]
        return {"rows_copied": copied.num_rows}

    def fetchone(self) -> Row | None:
        return next(self._rows, None)

    def fetchall(self) -> list[Row]:
        return list(self._rows)

    def fetchmany(self, size: int = 1) -> list[Row]:
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def nextset(self) -> bool:
        if later := self._connection.driver.comes_later:
            raise later
        return False

    def close(self) -> None:
        self._rows = iter(())


def _width(statement: str) -> int:
    listed = re.search(r"(?is)^\s*select\s+(?:distinct\s+|top \d+\s+)?(.*?)\sfrom\s", statement)
    return listed[1].count(",") + 1 if listed else 1


def _laid_out(statement: str) -> str:
    if "FROM sys.objects" in statement:
        return "-- SQLAlchemy asks which of these tables are there;"
    if statement.lstrip().startswith("CREATE TABLE"):
        lines = (line.rstrip().replace("\t", "    ") for line in statement.strip().splitlines())
        return "\n".join(line for line in lines if line) + ";"
    # Of the ledger's lines all columns are read, everywhere.
    words = _LEDGER_COLUMNS.sub("SELECT TOP 1 <all columns> FROM", " ".join(statement.split())) + ";"
    return textwrap.fill(words, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _shown(value: object) -> str:
    if not isinstance(value, datetime):
        return repr(value)
    return str(value) if value == _LANDED else "<now>"
