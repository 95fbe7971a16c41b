"""The PostgreSQL target.

Here: what differs from other engines. Rows are loaded by COPY as the file's own text: PostgreSQL parses numbers and ISO
dates itself. Decimals are `NUMERIC` without a precision: always exact, so a column seldom has to be rewritten, which
the views on it would forbid.
Not here: the order of a publish (see publish), the meaning of the server's errors (see database).
"""

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from threading import local
from typing import Any, cast

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg.sql import SQL, Identifier
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Numeric,
    String,
    Table,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeEngine

from qt_pipeline.database import (
    NameMatching,
    advisory_key,
    postgres_engine,
    postgres_fault,
    redacted_database_url,
    require_utf8,
)
from qt_pipeline.errors import PipelineError
from qt_pipeline.tabular import Array, Column, ColumnType, Kind, named_batch
from qt_pipeline.warehouse.defaults import converts_itself, literal_value
from qt_pipeline.warehouse.errors import StageLostError, TableBusyError, refused
from qt_pipeline.warehouse.ledger import columns
from qt_pipeline.warehouse.ledger import prepare as prepare_ledger
from qt_pipeline.warehouse.measure import (
    MAX_HASHED_LENGTH,
    Measure,
    Measures,
    measured_values,
    measuring,
    query_aggregates,
)
from qt_pipeline.warehouse.target import Batch, ColumnDefault, SqlTypes, TypeChange, plain_type, reflected_columns
from qt_pipeline.warehouse.verify import Totals, summed_columns

_SETTING = "QT_WAREHOUSE_URL"
_WAIT_SECONDS = 120
_ALTER_SECONDS = 2
_CANCEL_SECONDS = 5
_LOCK_NOT_AVAILABLE = "55P03"
_DATA_EXCEPTION = "22"
# PostgreSQL returns at most 1664 columns.
_SUMS_BATCH_SIZE = 1000
# A lock's transaction is idle while its load goes on. Not every version has each of these.
_VALUES = "count({})"
_DAY = 24 * 60 * 60 * 1_000_000
_MEASURES: Measures = {
    Kind.INTEGER: {Measure.VALUES: _VALUES},
    Kind.DECIMAL: {Measure.VALUES: _VALUES},
    Kind.BOOLEAN: {Measure.VALUES: _VALUES, Measure.TRUES: "sum(CASE WHEN {} THEN 1 ELSE 0 END)"},
    Kind.DATE: {Measure.VALUES: _VALUES, Measure.DAYS: "sum({} - DATE '1970-01-01')"},
    Kind.TIMESTAMP: {
        Measure.VALUES: _VALUES,
        Measure.MICROSECONDS: f"sum((CAST({{}} AS date) - DATE '1970-01-01') * CAST({_DAY} AS bigint) "
        "+ CAST(extract(epoch FROM CAST({} AS time)) * 1000000 AS bigint))",
    },
}
_HASH = (
    f'sum(CASE WHEN octet_length({{}}) <= {MAX_HASHED_LENGTH} THEN hashtextextended({{}} COLLATE "C", 0) '
    "ELSE (CAST(octet_length({}) AS bigint) << 42) + (CAST(ascii({}) AS bigint) << 21) + ascii(right({}, 1)) END)"
)
_SAMPLE = "Zo\u00eb and more than twelve bytes"
_HASHED = text("SELECT current_setting('server_encoding'), hashtextextended(CAST(:text AS text) COLLATE \"C\", 0)")
_CHANGES_ROWS = text(
    "SELECT relkind <> 'r' OR relhassubclass "
    "OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal) "
    "OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid AND rulename <> '_RETURN') "
    "FROM pg_class WHERE oid = CAST(:name AS regclass)"
)
_DEFAULTS = text(
    "SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef "
    "JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = CAST(:name AS regclass)"
)
_STAYS_OPEN = text(
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
    "('idle_in_transaction_session_timeout', 'transaction_timeout')"
)
_HOLDS_LOCK = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = :pid "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32 | objid::bigint) = :key"
)

_log = logging.getLogger(__name__)


class PostgresTarget:
    """A PostgreSQL database. The schema, if one is named, and the ledger are created if missing.

    Raises:
        TargetUnavailableError: the database cannot be reached or rejects the connection.
    """

    max_name_bytes = 63
    max_columns = 1600
    has_schemas = True
    names_unicode = False
    names = NameMatching.EXACT
    reflects_types = True
    # A crash may lose staged rows, so they need not be logged first.
    stage_prefixes: Sequence[str] = ("UNLOGGED",)
    stage_becomes_table = True
    warnings: Sequence[str] = ()

    def __init__(
        self,
        url: URL,
        schema: str | None,
        staging_schema: str | None,
        *,
        prepare: bool = True,
        keep_connections: bool = True,
    ) -> None:
        self.schema = schema
        self.staging_schema = staging_schema
        self._address = redacted_database_url(url)
        engine = postgres_engine(url, setting=_SETTING, wait_seconds=_WAIT_SECONDS, keep_connections=keep_connections)
        self._engine: Engine = engine.execution_options(schema_translate_map={None: schema})
        self._locks = local()
        if not prepare:
            return
        with self.writing() as connection:
            # Two processes that create the same tables at once would conflict.
            connection.scalar(select(func.pg_advisory_xact_lock(advisory_key(schema or "", "the ledger"))))
            for name in {schema, staging_schema} - {None}:
                if not inspect(connection).has_schema(str(name)):
                    connection.execute(CreateSchema(str(name)))
            prepare_ledger(connection, schema)

    def exists(self) -> bool:
        """See Target."""
        return True

    def has_ledger(self) -> bool:
        """See Target."""
        with self.reading() as connection:
            return inspect(connection).has_table(columns.name, schema=self.schema)

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """See Target."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    writing = reading

    @contextmanager
    def publishing(self, stage: Table) -> Generator[Connection]:  # noqa: ARG002  # see Target
        """See Target. Raises StageLostError if the lock of `table_lock` was lost and another load has taken it."""
        with self.writing() as connection:
            held: _Lock | None = getattr(self._locks, "held", None)
            if held is not None and not connection.scalar(_HOLDS_LOCK, {"pid": held.pid, "key": held.key}):
                # The server or a pooler ended the connection that held the lock. From here on this connection holds it.
                taken = connection.scalar(select(func.pg_try_advisory_xact_lock(held.key)))
                if not taken:
                    raise StageLostError(
                        f"The server or a connection pooler ended the session that locked the table {held.table!r}, "
                        "and another process loads it.",
                        hint="The next try stages it again. If this repeats, raise the pooler's idle timeouts.",
                    )
            yield connection

    def transaction_id(self, connection: Connection) -> str | None:
        """See Target."""
        return str(connection.scalar(select(func.txid_current())))

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """See Target. Readers see row versions."""

    @contextmanager
    def altering(self, connection: Connection) -> Generator[None]:
        """See Target."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_ALTER_SECONDS}s'")
        yield
        # An error ends the transaction, and the setting with it.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'")

    @contextmanager
    def table_lock(self, table: str) -> Generator[None]:
        """See Target. An advisory lock that ends with its transaction, which stays open for the whole load.

        A transaction keeps its connection even behind a pooler. It has neither a snapshot nor a transaction id, so it
        does not hold back vacuum.
        """
        key = advisory_key(self.schema or "", table)
        with self._explained(), self._engine.connect() as connection:
            # Detached, so that it is closed at the end: the next load may be a day later.
            connection.detach()
            transaction = connection.begin()
            connection.execute(_STAYS_OPEN).all()
            try:
                connection.scalar(select(func.pg_advisory_xact_lock(key)))
            except DBAPIError as error:
                if _sqlstate(error) != _LOCK_NOT_AVAILABLE:
                    raise
                raise TableBusyError(
                    f"Another process has been loading the table {table!r} for over {_WAIT_SECONDS} seconds.",
                    hint="Wait for it to end; the load will be retried.",
                ) from None
            pid = connection.scalar(select(func.pg_backend_pid()))
            before, self._locks.held = getattr(self._locks, "held", None), _Lock(table, key, int(pid or 0))
            try:
                yield
            finally:
                self._locks.held = before
                # If the connection is gone, the lock is free already, and the load's outcome stands.
                with suppress(DBAPIError):
                    transaction.rollback()

    def columns_of(self, connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
        """See Target."""
        return reflected_columns(connection, name, schema)

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """See Target."""
        return Numeric() if type_.kind is Kind.DECIMAL else plain_type(type_.kind)

    def key_value(self, column: ColumnElement[Any], type_: ColumnType) -> ColumnElement[Any]:  # noqa: ARG002  # see Target
        """See Target."""
        return column

    def index_key(self, connection: Connection, stage: Table, key: Sequence[ColumnElement[Any]]) -> None:
        """See Target. PostgreSQL uses hash joins."""

    def create_table(self, connection: Connection, table: Table) -> None:
        """See Target."""
        table.create(connection)

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:  # noqa: ARG002  # see Target
        """See Target."""
        copy_into = SQL("COPY {} FROM STDIN (FORMAT csv)").format(_identifier(stage))
        with self.writing() as connection:
            stage.create(connection)
            driver = _driver(connection)
            # COPY sends the file's bytes, which the server decodes by the client encoding.
            require_utf8(driver, address=self._address, setting=_SETTING)
            with driver.cursor() as cursor:
                with cursor.copy(copy_into) as copy:
                    try:
                        for batch in batches:
                            copy.write(_as_csv(batch))
                    except BaseException:
                        # A slow server would first process all that it was sent, and a cancel would wait for it.
                        with suppress(psycopg.Error):
                            driver.cancel_safe(timeout=_CANCEL_SECONDS)
                        raise
                return cursor.rowcount

    def drop_stage(self, stage: Table) -> None:
        """See Target."""
        with self.writing() as connection:
            stage.drop(connection, checkfirst=True)

    def rename(self, connection: Connection, stage: Table, table: Table) -> None:
        """See Target."""
        preparer = connection.dialect.identifier_preparer
        old, new = preparer.format_table(stage), preparer.quote(table.name)
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    def defaults(
        self, connection: Connection, table: Table, changes: Sequence[TypeChange]
    ) -> Mapping[str, ColumnDefault]:
        """See Target. The server converts what it may assign without a cast."""
        found = connection.execute(_DEFAULTS, {"name": _identifier(table).as_string(None)})
        expressions = {str(name): str(expression) for name, expression in found}
        return {
            change.column: ColumnDefault(expressions[change.column], self._converted(connection, table, change, value))
            for change in changes
            if change.column in expressions and not converts_itself(change)
            for value in [literal_value(expressions[change.column])]
        }

    def _converted(self, connection: Connection, table: Table, change: TypeChange, value: str | None) -> str | None:
        """A literal of the column's new type; None where the value is no literal, or none of that type."""
        if value is None:
            return None
        type_ = table.c[change.column].type.compile(dialect=connection.dialect)
        try:
            with connection.begin_nested():
                cast_ = text(f"SELECT quote_literal(CAST(CAST(:value AS text) AS {type_}))")
                return connection.scalar(cast_, {"value": value})
        except DBAPIError as error:
            if not str(_sqlstate(error)).startswith(_DATA_EXCEPTION):
                raise
            return None

    def change_types(
        self, connection: Connection, table: Table, changes: Sequence[TypeChange], *, keeps_rows: bool
    ) -> None:
        """See Target."""
        preparer = connection.dialect.identifier_preparer
        parts: list[str] = []
        for change in changes:
            # SQLAlchemy's list of reserved words is incomplete: `collation`, `lateral`.
            name = preparer.quote_identifier(change.column)
            type_ = table.c[change.column].type.compile(dialect=connection.dialect)
            # Not every type casts to every other; without rows, no cast is needed.
            value = name if keeps_rows else "NULL"
            if change.default is not None:
                parts.append(f"ALTER COLUMN {name} DROP DEFAULT")
            parts.append(f"ALTER COLUMN {name} TYPE {type_} USING {value}::{type_}")
            if change.default is not None:
                parts.append(f"ALTER COLUMN {name} SET DEFAULT {change.default.after}")
        connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(table)} {', '.join(parts)}")

    @property
    def measures(self) -> Measures:
        """See Target."""
        return self._measures

    @cached_property
    def _measures(self) -> Measures:
        """A hash of each text, if the server computes the same hash as we do; else lengths."""
        with self.reading() as connection:
            encoding, hash_ = connection.execute(_HASHED, {"text": _SAMPLE}).one()
        same = (encoding, hash_) == ("UTF8", measured_values(Measure.POSTGRES_HASH, pa.array([_SAMPLE])))
        of_text = {Measure.POSTGRES_HASH: _HASH} if same else {Measure.CHARACTERS: "sum(char_length({}))"}
        return {**_MEASURES, Kind.TEXT: of_text, Kind.UNKNOWN: of_text}

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """See Target."""
        names = [column.name for column in summed_columns(columns)]
        aggregates = measuring(connection, columns, self.measures)
        parts = [*(func.sum(table.c[name]) for name in names), *aggregates.values()]
        rows, results = query_aggregates(connection, table, parts, batch_size=_SUMS_BATCH_SIZE, load_id=load_id)
        sums, measured = results[: len(names)], results[len(names) :]
        return Totals(
            rows=rows,
            sums={name: Decimal(total or 0) for name, total in zip(names, sums, strict=True)},
            measures={key: int(total or 0) for key, total in zip(aggregates, measured, strict=True)},
        )

    def may_change_rows(self, connection: Connection, table: Table) -> bool:
        """See Target. The partitions of a partitioned table may have their own triggers."""
        return bool(connection.scalar(_CHANGES_ROWS, {"name": _identifier(table).as_string(None)}))

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See Target."""
        return column.collate("C") if isinstance(column.type, String) else column

    def post_publish_maintenance(self, table: Table) -> None:
        """See Target. Without it, refreshes would bloat the table: autovacuum is often too late."""
        try:
            with self._explained(), self._engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                # SET LOCAL lock_timeout would not last until the VACUUM: skip what another session locks.
                _driver(connection).execute(SQL("VACUUM (ANALYZE, SKIP_LOCKED) {}").format(_identifier(table)))
        except PipelineError as error:
            _log.warning("The table %s was published but could not be vacuumed: %s", table.name, error)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._refusal(error.orig) from None
        except psycopg.Error as error:
            # From COPY, which bypasses SQLAlchemy.
            raise self._refusal(error) from None

    def _refusal(self, cause: BaseException | None) -> PipelineError:
        error = postgres_fault(cause)
        return refused(error)(
            f"The target {self._address} returned an error: {error.message}.",
            hint=error.hint,
        )


@dataclass(frozen=True, slots=True)
class _Lock:
    """A table's lock, and the server process that holds it."""

    table: str
    key: int
    pid: int


def _as_csv(batch: Batch) -> memoryview:
    # A blank is null in a batch, so an empty CSV field can only mean NULL.
    columns: list[Array] = [*batch.rows.texts, *batch.own]
    buffer = pa.BufferOutputStream()
    names = [str(position) for position in range(len(columns))]
    pacsv.write_csv(named_batch(columns, names), buffer, pacsv.WriteOptions(include_header=False))
    return memoryview(buffer.getvalue())


def _identifier(table: Table) -> Identifier:
    return Identifier(table.name) if table.schema is None else Identifier(table.schema, table.name)


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
