"""SQLite as a target: a file on a local disk, in WAL mode, so that readers never wait.

Here: what differs from other engines. SQLite has no decimal. Up to 15 digits a number survives a binary float and is
stored as one (`NUMERIC` affinity), so that plain SQL adds it up; a wider column is stored as text.
Not here: the order of a publish (see publish).
"""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from decimal import Context, Decimal
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from sqlite3 import Error as SQLiteError
from typing import Any, cast

import pyarrow as pa
from filelock import FileLock, Timeout
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Numeric,
    Table,
    column,
    event,
    func,
    literal_column,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from qt_pipeline.database import creating_sqlite, sqlite_engine, writing
from qt_pipeline.tabular import SHORT_DIGITS, Array, Column, ColumnType, Contract, Kind, convert
from qt_pipeline.warehouse.errors import TableBusyError, TargetUnavailableError
from qt_pipeline.warehouse.ledger import metadata
from qt_pipeline.warehouse.target import plain_type
from qt_pipeline.warehouse.verify import Totals, summed_columns

# Loads of other tables hold SQLite's one write lock for a batch or a publish at a time.
_WAIT_SECONDS = 120
_EXACT = Context(prec=100)
# SQLite adds whole numbers in 64 bits and fails beyond: the two halves of each number cannot reach that.
_HALF = 1_000_000_000
# SQLite answers with 2000 columns at most; a sum takes two.
_SUMS_AT_ONCE = 500


class SqliteTarget:
    """A SQLite file. Its folder, the file and the ledger are made when they are missing.

    Raises:
        TargetUnavailableError: the file cannot be made, opened or written.
    """

    max_name_bytes = 128
    max_columns = 2000
    schema: str | None = None
    stage_prefixes: Sequence[str] = ()

    def __init__(self, url: URL) -> None:
        self._file = Path(str(url.database))
        self._engine: Engine = sqlite_engine(url, wait_seconds=_WAIT_SECONDS)
        event.listen(self._engine, "connect", _add_exact_sum)
        try:
            with self._explained(), creating_sqlite(self._engine, wait_seconds=_WAIT_SECONDS) as connection:
                metadata.create_all(connection)
        except OSError as error:
            raise self._unavailable(error) from error

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """See Target."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """See Target."""
        with self._explained(), writing(self._engine) as connection:
            yield connection

    @contextmanager
    def exclusive(self, table_name: str) -> Generator[None]:
        """See Target. A lock of the operating system, which ends with its process."""
        folder = self._file.with_name(f"{self._file.name}.locks")
        folder.mkdir(exist_ok=True)
        name = hashlib.sha256(table_name.casefold().encode()).hexdigest()[:32]
        try:
            with FileLock(folder / f"{name}.lock", timeout=_WAIT_SECONDS):
                yield
        except Timeout:
            raise TableBusyError(
                f"Another process has been loading the table {table_name!r} for over {_WAIT_SECONDS} seconds.",
                todo="Wait for it to end; it will be tried again.",
            ) from None

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """See Target."""
        if type_.kind is Kind.DECIMAL and type_.precision <= SHORT_DIGITS:
            return Numeric(type_.precision, type_.scale)
        return plain_type(type_.kind)

    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:
        """See Target."""
        arrays = cast("list[Array]", batch.columns)  # pyright: ignore[reportUnknownMemberType]
        stored = [_stored(values, c.type) for values, c in zip(arrays[:-1], contract.columns, strict=True)]
        stored.append(arrays[-1].to_pylist())
        with self.writing() as connection:
            quote = connection.dialect.identifier_preparer.quote_identifier
            places = ", ".join("?" * len(stored))
            driver = cast("SQLiteConnection", connection.connection.driver_connection)
            # The name is ours and quoted; the driver's own call, because SQLAlchemy would build a dict for each row.
            driver.executemany(f"INSERT INTO {quote(table.name)} VALUES ({places})", zip(*stored, strict=True))  # noqa: S608

    def totals(self, connection: Connection, table: Table, contract: Contract) -> Totals:
        """See Target."""
        summed = [c for _, c in summed_columns(contract)]
        rows, sums = 0, dict[str, Decimal]()
        for start in range(0, max(1, len(summed)), _SUMS_AT_ONCE):
            some = summed[start : start + _SUMS_AT_ONCE]
            parts = [part for c in some for part in _sum_parts(c)]
            rows, *found = connection.execute(select(func.count(), *parts).select_from(table)).one()
            halves = zip(found[::2], found[1::2], strict=True)
            sums |= {c.name: _whole_sum(c, *half) for c, half in zip(some, halves, strict=True)}
        return Totals(rows=rows, sums=sums)

    def tidy(self, table: Table) -> None:
        """See Target. SQLite uses the pages of deleted rows again by itself."""

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._unavailable(error.orig) from error
        except SQLiteError as error:
            # From `append`, which calls the driver itself.
            raise self._unavailable(error) from error

    def _unavailable(self, cause: object) -> TargetUnavailableError:
        return TargetUnavailableError(
            f"The SQLite file {self._file} cannot be used: {cause}.",
            todo="Check that its disk has space, that this user may write there and that no other program holds it.",
        )


def _stored(values: Array, type_: ColumnType) -> list[Any]:
    match type_.kind:
        case Kind.DECIMAL if type_.precision <= SHORT_DIGITS:
            # By way of text, whose conversion rounds correctly; Arrow's own from decimal to float does not.
            return convert(convert(values, pa.string()), pa.float64()).to_pylist()
        case Kind.DECIMAL:
            return [None if value is None else f"{value:f}" for value in values.to_pylist()]
        case Kind.DATE | Kind.TIMESTAMP:
            return convert(values, pa.string()).to_pylist()
        case _:
            return values.to_pylist()


def _sum_parts(summed: Column) -> tuple[Any, Any]:
    """SQL for the sum of a column in two parts; `_whole_sum` puts them together."""
    stored: ColumnElement[Any] = column(summed.name)
    if summed.type.kind is Kind.DECIMAL and summed.type.precision > SHORT_DIGITS:
        return func.qt_exact_sum(stored), literal_column("0", Integer)
    if summed.type.kind is Kind.DECIMAL:
        # The smallest unit as a whole number: exact, since the column has 15 digits at most.
        stored = sql_cast(func.round(stored * 10**summed.type.scale), Integer)
    # SQLite's own division, which drops the remainder; SQLAlchemy would make it one of floats.
    return func.sum(stored.op("/")(_HALF)), func.sum(stored.op("%")(_HALF))


def _whole_sum(summed: Column, high: int | str | None, low: int | None) -> Decimal:
    if summed.type.kind is Kind.DECIMAL and summed.type.precision > SHORT_DIGITS:
        return Decimal(high or 0)
    return _EXACT.scaleb(Decimal(int(high or 0) * _HALF + (low or 0)), -summed.type.scale)


class _ExactSum:
    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, value: str | None) -> None:
        if value is not None:
            self._sum = _EXACT.add(self._sum, Decimal(value))

    def finalize(self) -> str:
        return str(self._sum)


def _add_exact_sum(connection: SQLiteConnection, _record: object) -> None:
    connection.create_aggregate("qt_exact_sum", 1, cast("Any", _ExactSum))
