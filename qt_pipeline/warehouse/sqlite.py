"""The SQLite target: a file on a local disk, in WAL mode, so that readers never wait.

Here: what differs from other engines. SQLite has no decimal. A number of up to 15 digits survives a binary float and is
stored as one (`NUMERIC` affinity), so that plain SQL can sum it; a wider column is stored as text. Rows are staged in a
separate file beside the target, so that filling it blocks no other writer.
Not here: the order of a publish (see publish).
"""

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from decimal import Context, Decimal
from functools import cached_property
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from sqlite3 import Error as SQLiteError
from sqlite3 import ProgrammingError, connect
from sqlite3 import Warning as SQLiteWarning
from typing import Any, cast

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa
from filelock import FileLock, Timeout
from sqlalchemy import (
    NVARCHAR,
    URL,
    VARCHAR,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    column,
    event,
    func,
    inspect,
    text,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import quoted_name
from sqlalchemy.types import TypeEngine

from qt_pipeline.database import NameMatching, creating_sqlite, sqlite_engine, writing
from qt_pipeline.errors import PipelineError
from qt_pipeline.private import FILE_MODE, make_folder
from qt_pipeline.tabular import SHORT_DIGITS, Array, Column, ColumnType, Kind, Rows, convert, named_batch
from qt_pipeline.warehouse.errors import (
    TableBusyError,
    TableRefusedError,
    TargetRefusedError,
    TargetUnavailableError,
)
from qt_pipeline.warehouse.ledger import columns
from qt_pipeline.warehouse.ledger import prepare as prepare_ledger
from qt_pipeline.warehouse.measure import Measure, Measures, counting, measuring, query_aggregates
from qt_pipeline.warehouse.sqlite_change import EXACT_TEXT, NewType, change_columns, exact_text
from qt_pipeline.warehouse.sqlite_text import UnreadableTableError, collations
from qt_pipeline.warehouse.target import Batch, ColumnDefault, SqlTypes, TypeChange, plain_type, reflected_columns
from qt_pipeline.warehouse.verify import Totals, summed_columns

# A publish of another table holds SQLite's only write lock.
_WAIT_SECONDS = 120
_EXACT = Context(prec=100)
_HALF = 1_000_000_000
# SQLite returns at most 2000 columns.
_SUMS_BATCH_SIZE = 500
_STAGE = "qt_stage"
_READERS_WAIT = (
    "Readers wait while a table is published: the file's disk does not support SQLite's write-ahead log (WAL). "
    "Move it to a local disk."
    "a local disk."
)
_NUMBERS = (Kind.INTEGER, Kind.DECIMAL)
_STATEMENT = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table COLLATE NOCASE")
_OF_FILE = ("SQLITE_READONLY", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_PERM", "SQLITE_AUTH")
_CONSTRAINT = "SQLITE_CONSTRAINT"
_PERMANENT = (*_OF_FILE, "SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_TOOBIG")


_VALUES = "count({})"
# The last character would cost more than all else: SQLite scans each text for it.
_OF_TEXT = {Measure.CHARACTERS: "sum(length({}))", Measure.FIRST: "sum(unicode({}))"}
_MEASURES: Measures = {
    **{kind: {Measure.VALUES: _VALUES} for kind in (Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP)},
    Kind.BOOLEAN: {Measure.VALUES: _VALUES, Measure.TRUES: "sum({})"},
    Kind.TEXT: _OF_TEXT,
    Kind.UNKNOWN: _OF_TEXT,
}
_TRIGGERS = text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table COLLATE NOCASE")


class SqliteTarget:
    """A SQLite file. Its folder, the file and the ledger are created if missing.

    Raises:
        TargetUnavailableError: the file cannot be created, opened or written.
    """

    max_name_bytes = 128
    max_columns = 2000
    schema: str | None = None
    has_schemas = False
    names_unicode = False
    names = NameMatching.ASCII_CASE
    reflects_types = True
    staging_schema: str | None = _STAGE
    # The staging table is in a file of its own.
    stage_prefixes: Sequence[str] = ()
    stage_becomes_table = False
    measures: Measures = _MEASURES

    def __init__(self, url: URL, *, prepare: bool = True) -> None:
        self._file = Path(str(url.database))
        self._engine: Engine = sqlite_engine(url, wait_seconds=_WAIT_SECONDS)
        event.listen(self._engine, "connect", _add_functions)
        if not prepare:
            return
        try:
            with self._explained(), creating_sqlite(self._engine, wait_seconds=_WAIT_SECONDS) as connection:
                prepare_ledger(connection, self.schema)
        except OSError as error:
            raise self._refusal(error) from error

    @property
    def warnings(self) -> Sequence[str]:
        """See Target."""
        return self._warnings

    @cached_property
    def _warnings(self) -> Sequence[str]:
        with self.reading() as connection:
            return () if connection.scalar(text("PRAGMA journal_mode")) == "wal" else (_READERS_WAIT,)

    def exists(self) -> bool:
        """See Target."""
        return self._file.exists()

    def has_ledger(self) -> bool:
        """See Target."""
        if not self.exists():
            return False
        with self.reading() as connection:
            return inspect(connection).has_table(columns.name)

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
    def publishing(self, stage: Table) -> Generator[Connection]:
        """See Target. SQLite attaches a file only outside a transaction."""
        with self._explained(), self._engine.connect() as connection:
            # The pool must not reuse a connection with an attached staging file.
            connection.detach()
            # Dropping the copied table would cascade to the rows of other tables that reference it.
            _driver(connection).execute("PRAGMA foreign_keys = OFF")
            _driver(connection).execute(f"ATTACH ? AS {_STAGE}", (str(self._stage_file(stage)),))
            # An index is created in the staging file, and discarded with it.
            _driver(connection).execute(f"PRAGMA {_STAGE}.journal_mode = MEMORY")
            _driver(connection).execute(f"PRAGMA {_STAGE}.synchronous = OFF")
            with connection.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin():
                yield connection

    def transaction_id(self, connection: Connection) -> str | None:
        """See Target. Only this target begins transactions, and an `after_publish` is a single statement."""
        return "open" if _driver(connection).in_transaction else None

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """See Target. Readers see snapshots."""

    def altering(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002  # see Target
        """See Target. Readers never wait."""
        return nullcontext()

    @contextmanager
    def table_lock(self, table: str) -> Generator[None]:
        """See Target. A lock of the operating system, which ends with its process."""
        folder = self._file.with_name(f"{self._file.name}.locks")
        make_folder(folder)
        name = hashlib.sha256(self.names.fold(table).encode()).hexdigest()[:32]
        try:
            with FileLock(folder / f"{name}.lock", timeout=_WAIT_SECONDS, mode=FILE_MODE):
                yield
        except Timeout:
            raise TableBusyError(
                f"Another process has been loading the table {table!r} for over {_WAIT_SECONDS} seconds.",
                hint="Wait for it to end; the load will be retried.",
            ) from None

    def columns_of(self, connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
        """See Target."""
        columns = reflected_columns(connection, name, schema)
        if columns is None:
            return None
        by_column = _collations(connection, name)
        return {column: _reflected(type_, by_column.get(column)) for column, type_ in columns.items()}

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """See Target."""
        if type_.kind is Kind.DECIMAL and type_.precision <= SHORT_DIGITS:
            return Numeric(type_.precision, type_.scale)
        return plain_type(type_.kind)

    def key_value(self, column: ColumnElement[Any], type_: ColumnType) -> ColumnElement[Any]:
        """See Target. Numbers stored as text have many spellings."""
        is_text = type_.kind is Kind.DECIMAL and isinstance(self.column_type(type_), String)
        return func.qt_plain_number(column) if is_text else column

    def index_key(self, connection: Connection, stage: Table, key: Sequence[ColumnElement[Any]]) -> None:
        """See Target. Without it, SQLite would scan all staged rows for each row of the table."""
        Index("_qt_key", *key, _table=stage).create(connection)

    def create_table(self, connection: Connection, table: Table) -> None:
        """See Target."""
        table.create(connection)

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:  # noqa: ARG002  # see Target
        """See Target. Python's own driver takes three times as long: one call per row."""
        file = self._stage_file(stage)
        file.unlink(missing_ok=True)
        # The same columns as the table's, so that SQLite can copy whole records on publish.
        shape = stage.to_metadata(MetaData(schema="main"), schema="main")
        with self._explained(), closing(connect(file)) as driver:
            # A journal would be one more file for a crash to leave behind.
            driver.execute("PRAGMA journal_mode = OFF")
            driver.execute(str(CreateTable(shape).compile(dialect=self._engine.dialect)))
        names = [c.name for c in stage.c]
        copied = 0
        # The driver is only partly annotated.
        connecting: Any = cast("Any", adbc).connect(str(file), autocommit=True)
        # In a thread: in the main thread this driver intercepts the interrupt signal and drops it.
        with (
            self._explained(),
            connecting as connection,
            connection.cursor() as cursor,
            ThreadPoolExecutor(1) as thread,
        ):
            # A staging file is discarded after a crash, so it need not reach the disk.
            cursor.execute("PRAGMA journal_mode = OFF")
            cursor.execute("PRAGMA synchronous = OFF")
            for batch in batches:
                copied += thread.submit(cursor.adbc_ingest, stage.name, _stored(batch, names), mode="append").result()
        return copied

    def drop_stage(self, stage: Table) -> None:
        """See Target."""
        self._stage_file(stage).unlink(missing_ok=True)

    def rename(self, connection: Connection, stage: Table, table: Table) -> None:
        """See Target. Never called."""
        raise NotImplementedError

    def defaults(
        self,
        connection: Connection,  # noqa: ARG002  # see Target
        table: Table,  # noqa: ARG002
        changes: Sequence[TypeChange],  # noqa: ARG002
    ) -> Mapping[str, ColumnDefault]:
        """See Target. None of them needs to be converted."""
        return {}

    def change_types(
        self,
        connection: Connection,
        table: Table,
        changes: Sequence[TypeChange],
        *,
        keeps_rows: bool,  # noqa: ARG002  # see Target
    ) -> None:
        """See Target. SQLite cannot change a column's type, so the table is copied."""
        change_columns(connection, table.name, {change.column: self._new_type(change) for change in changes})

    def _new_type(self, change: TypeChange) -> NewType:
        type_ = self.column_type(change.after)
        becomes_text = change.before.kind in _NUMBERS and isinstance(type_, String)
        # SQLite's own text of a float has fifteen digits or an exponent, and no trailing zeros.
        return NewType(type_.compile(dialect=self._engine.dialect), change.before.scale if becomes_text else None)

    def may_change_rows(self, connection: Connection, table: Table) -> bool:
        """See Target."""
        return connection.scalar(_TRIGGERS, {"table": table.name}) != 0

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See Target."""
        return column.collate("BINARY") if isinstance(column.type, String) else column

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """See Target."""
        summed = summed_columns(columns)
        rows, sums = 0, dict[str, Decimal]()
        for start in range(0, max(1, len(summed)), _SUMS_BATCH_SIZE):
            batch = summed[start : start + _SUMS_BATCH_SIZE]
            try:
                rows, batch_sums = _added_up(connection, table, batch, load_id)
            except DBAPIError as error:
                if "integer overflow" not in str(error.orig):
                    raise
                rows, batch_sums = _added_up_in_halves(connection, table, batch, load_id)
            sums |= batch_sums
        aggregates = measuring(connection, columns, self.measures)
        rows, measured = query_aggregates(
            connection, table, [*aggregates.values()], batch_size=_SUMS_BATCH_SIZE, load_id=load_id
        )
        return Totals(rows, sums, {key: int(total or 0) for key, total in zip(aggregates, measured, strict=True)})

    def post_publish_maintenance(self, table: Table) -> None:
        """See Target. SQLite reuses the pages of deleted rows by itself."""

    def _stage_file(self, stage: Table) -> Path:
        return self._file.with_name(f"{self._file.name}.{stage.name}")

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._refusal(error.orig) from error
        except (SQLiteError, SQLiteWarning, adbc.Error) as error:
            raise self._refusal(error) from error

    def _refusal(self, cause: object) -> PipelineError:
        name = str(getattr(cause, "sqlite_errorname", ""))
        if name.startswith(_CONSTRAINT):
            return TableRefusedError(
                f"The table rejects a row of the file: {cause}.",
                hint="Correct the dataset at its source, or the constraint of the table. The table keeps its rows.",
            )
        # A misuse of the driver has no error name, such as two statements in one.
        is_permanent = name.startswith(_PERMANENT) or isinstance(cause, ProgrammingError | SQLiteWarning)
        permanent = TargetRefusedError if name.startswith(_OF_FILE) else TableRefusedError
        kind = permanent if is_permanent else TargetUnavailableError
        return kind(
            f"The SQLite file {self._file} cannot be used: {cause}.",
            hint="Check that its disk has space, that this user may write there and that no other program holds it.",
        )


def _driver(connection: Connection) -> SQLiteConnection:
    # A detached connection has no `driver_connection`.
    return cast("SQLiteConnection", connection.connection.dbapi_connection)


def _collations(connection: Connection, table: str) -> dict[str, str]:
    with suppress(UnreadableTableError):
        return collations(str(connection.scalar(_STATEMENT, {"table": table})))
    return {}


class _Integer(BigInteger):
    """Any integer column: SQLite stores 64 bits in each, whatever its declared type."""

    __visit_name__ = "INTEGER"


def _reflected(type_: TypeEngine[Any], collation: str | None) -> TypeEngine[Any]:
    if isinstance(type_, Integer):
        return _Integer()
    if isinstance(type_, Text | VARCHAR | NVARCHAR):
        # SQLite does not enforce the length of a text.
        return Text(collation=collation)
    return type_


def _stored(batch: Batch, names: Sequence[str]) -> pa.RecordBatch:
    """A batch in the types that SQLite stores."""
    rows = batch.rows
    columns = [_as_stored(rows, position, c.type) for position, c in enumerate(rows.contract.columns)]
    own = [convert(values, pa.string()) if pa.types.is_timestamp(values.type) else values for values in batch.own]
    return named_batch([*columns, *own], names)


def _as_stored(rows: Rows, position: int, type_: ColumnType) -> Array:
    match type_.kind:
        case Kind.DECIMAL if type_.precision <= SHORT_DIGITS:
            return rows.floats(position)
        case Kind.BOOLEAN:
            return convert(rows.values(position), pa.int64())
        case Kind.INTEGER:
            return rows.values(position)
        case Kind.TIMESTAMP:
            return convert(rows.values(position), pa.string())
        case _:
            return rows.texts[position]


def _added_up(
    connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None
) -> tuple[int, dict[str, Decimal]]:
    parts = [func.qt_exact_sum(_named(c)) if _is_wide(c) else func.sum(_smallest_units(c)) for c in columns]
    rows, *results = connection.execute(counting(table, parts, load_id)).one()
    return rows, {c.name: _total(c, Decimal(sum_ or 0)) for c, sum_ in zip(columns, results, strict=True)}


def _added_up_in_halves(
    connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None
) -> tuple[int, dict[str, Decimal]]:
    """Sums beyond 64 bits, where SQLite's own sum fails: it is taken of two halves of each number."""
    rows, sums = 0, dict[str, Decimal]()
    for c in columns:
        if _is_wide(c):
            rows, wide_sum = _added_up(connection, table, [c], load_id)
            sums |= wide_sum
            continue
        units = _smallest_units(c)
        # SQLite's integer division, which drops the remainder; SQLAlchemy would generate a float division.
        parts = func.sum(units.op("/")(_HALF)), func.sum(units.op("%")(_HALF))
        rows, high, low = connection.execute(counting(table, parts, load_id)).one()
        sums[c.name] = _total(c, Decimal(int(high or 0) * _HALF + (low or 0)))
    return rows, sums


def _total(summed: Column, sum_: Decimal) -> Decimal:
    return sum_ if _is_wide(summed) else _EXACT.scaleb(sum_, -summed.type.scale)


def _smallest_units(summed: Column) -> ColumnElement[Any]:
    """SQL for a value as an integer number of the column's smallest unit: exact, with at most 15 digits."""
    stored = _named(summed)
    if summed.type.kind is Kind.DECIMAL:
        return sql_cast(func.round(stored * 10**summed.type.scale), BigInteger)
    return stored


def _named(summed: Column) -> ColumnElement[Any]:
    # SQLAlchemy does not know every reserved word of SQLite.
    return column(quoted_name(summed.name, quote=True))


def _is_wide(summed: Column) -> bool:
    return summed.type.kind is Kind.DECIMAL and summed.type.precision > SHORT_DIGITS


class _ExactSum:
    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, value: str | None) -> None:
        if value is not None:
            self._sum = _EXACT.add(self._sum, Decimal(value))

    def finalize(self) -> str:
        return str(self._sum)


def _plain_number(value: str | None) -> str | None:
    """A canonical text of a number: equal for all its spellings."""
    return None if value is None else str(_EXACT.normalize(_EXACT.plus(Decimal(value))))


def _add_functions(connection: SQLiteConnection, _record: object) -> None:
    connection.create_aggregate("qt_exact_sum", 1, cast("Any", _ExactSum))
    connection.create_function("qt_plain_number", 1, _plain_number, deterministic=True)
    connection.create_function(EXACT_TEXT, 2, exact_text, deterministic=True)
