"""PostgreSQL as a target.

Here: what differs from other engines. Rows go in by COPY, into an unlogged staging table. Decimals are `NUMERIC`
without a width: exact whatever comes, so that a column never has to be rewritten, which would break the views on it.
Not here: the order of a publish (see publish).
"""

import hashlib
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, cast

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg.sql import SQL, Identifier
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Numeric,
    Table,
    create_engine,
    func,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeEngine

from qt_pipeline.tabular import ColumnType, Contract, Kind
from qt_pipeline.warehouse.errors import TableBusyError, TargetUnavailableError
from qt_pipeline.warehouse.ledger import metadata
from qt_pipeline.warehouse.target import plain_type
from qt_pipeline.warehouse.verify import Totals, summed_columns

_WAIT_SECONDS = 120
_CONNECT_SECONDS = 30
_LOCK_NOT_AVAILABLE = "55P03"
# Classes of SQLSTATE whose messages speak of servers, users and resources; those of others may repeat a row.
_WORDS_WITHOUT_ROWS = ("08", "28", "3D", "53", "57")
# PostgreSQL answers with 1664 columns at most.
_SUMS_AT_ONCE = 1000

_log = logging.getLogger(__name__)


class PostgresTarget:
    """A PostgreSQL database. The schema, if one is named, and the ledger are made when they are missing.

    Raises:
        TargetUnavailableError: the database cannot be reached or refuses.
    """

    max_name_bytes = 63
    max_columns = 1600
    stage_prefixes: Sequence[str] = ("UNLOGGED",)

    def __init__(self, url: URL, schema: str | None) -> None:
        self.schema = schema
        self._address = url.render_as_string(hide_password=True)
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            # Parameters stay out of error messages: they hold rows.
            hide_parameters=True,
            # A server that was restarted, or a firewall, ends idle connections without a word.
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "options": f"-c lock_timeout={_WAIT_SECONDS}s -c timezone=UTC",
                "application_name": "qt_pipeline",
            },
        )
        self._engine: Engine = engine.execution_options(schema_translate_map={None: schema})
        with self.writing() as connection:
            # Two processes that make the same tables at once would refuse each other.
            connection.execute(select(func.pg_advisory_xact_lock(_lock_key("the ledger", schema))))
            if schema is not None and not inspect(connection).has_schema(schema):
                connection.execute(CreateSchema(schema))
            metadata.create_all(connection)

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """See Target."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    writing = reading

    @contextmanager
    def exclusive(self, table_name: str) -> Generator[None]:
        """See Target. A lock of the server's, which ends with its connection."""
        key = _lock_key(table_name, self.schema)
        with self._explained(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            try:
                connection.execute(select(func.pg_advisory_lock(key)))
            except DBAPIError as error:
                if _sqlstate(error) != _LOCK_NOT_AVAILABLE:
                    raise
                raise TableBusyError(
                    f"Another process has been loading the table {table_name!r} for over {_WAIT_SECONDS} seconds.",
                    todo="Wait for it to end; it will be tried again.",
                ) from None
            try:
                yield
            finally:
                # Closed for good: that gives the lock back, whatever state the connection is in.
                connection.invalidate()

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """See Target."""
        return Numeric() if type_.kind is Kind.DECIMAL else plain_type(type_.kind)

    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:  # noqa: ARG002  # see Target
        """See Target."""
        # A blank is null in a batch, so that CSV's blank can only mean NULL again.
        rows = pa.BufferOutputStream()
        pacsv.write_csv(batch, rows, pacsv.WriteOptions(include_header=False))
        copy_into = SQL("COPY {} FROM STDIN (FORMAT csv)").format(self._identifier(table))
        with self.writing() as connection:
            driver = _driver(connection)
            try:
                with driver.cursor() as cursor, cursor.copy(copy_into) as copy:
                    copy.write(memoryview(rows.getvalue()))
            except psycopg.Error as error:
                raise self._unavailable(error) from None

    def totals(self, connection: Connection, table: Table, contract: Contract) -> Totals:
        """See Target."""
        names = [column.name for _, column in summed_columns(contract)]
        rows, sums = 0, dict[str, Decimal]()
        for start in range(0, max(1, len(names)), _SUMS_AT_ONCE):
            some = names[start : start + _SUMS_AT_ONCE]
            parts = [func.sum(table.c[name]) for name in some]
            rows, *found = connection.execute(select(func.count(), *parts).select_from(table)).one()
            sums |= {name: Decimal(total or 0) for name, total in zip(some, found, strict=True)}
        return Totals(rows=rows, sums=sums)

    def tidy(self, table: Table) -> None:
        """See Target. Without it, refreshes would grow the table: autovacuum often comes too late."""
        with self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            try:
                _driver(connection).execute(SQL("VACUUM (ANALYZE) {}").format(self._identifier(table)))
            except psycopg.Error as error:
                _log.warning("The table %s was published and could not be vacuumed: %s", table.name, _words(error))

    def _identifier(self, table: Table) -> Identifier:
        return Identifier(table.name) if self.schema is None else Identifier(self.schema, table.name)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._unavailable(error.orig) from None

    def _unavailable(self, cause: BaseException | None) -> TargetUnavailableError:
        return TargetUnavailableError(
            f"The target {self._address} refuses: {_words(cause)}.",
            todo="Check that the server runs and that this login may create and write tables there.",
        )


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _words(cause: BaseException | None) -> str:
    state = getattr(cause, "sqlstate", None)
    if state is None or state.startswith(_WORDS_WITHOUT_ROWS):
        return " ".join(str(cause).split())
    return f"{type(cause).__name__} (SQLSTATE {state})"


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _lock_key(name: str, schema: str | None) -> int:
    """A number for PostgreSQL's advisory locks, which know no names."""
    digest = hashlib.sha256(f"qt_pipeline/{schema or ''}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
