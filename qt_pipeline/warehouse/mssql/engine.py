"""The SQL Server and Azure SQL target.

Here: what differs from other engines. Rows are loaded by bulk copy, typed as in Arrow, and clustered by load and line:
without such an index, row versioning would keep the pages of deleted rows.
Not here: the order of a publish (see publish), connections (see connect), loading rows (see fill), the meaning of the
server's errors (see database).
"""

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from decimal import Context, Decimal
from functools import cached_property
from typing import Any

from sqlalchemy import (
    DECIMAL,
    NVARCHAR,
    URL,
    VARBINARY,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    cast,
    func,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.mssql import DATETIME2
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema, DropTable
from sqlalchemy.types import TypeEngine

from qt_pipeline.database import NameMatching, ServerError, mssql_fault, redacted_database_url, take_mssql_lock
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.tabular import LOAD_COLUMN, MAX_BOUND, MAX_FORMAT, ROW_COLUMN, Column, ColumnType, Kind
from qt_pipeline.warehouse.defaults import converts_itself, literal_value
from qt_pipeline.warehouse.errors import TableBusyError, TableRefusedError, TargetUnavailableError, refused
from qt_pipeline.warehouse.ledger import ADDED_LATER, columns, loads, loads_in, metadata
from qt_pipeline.warehouse.ledger import prepare as prepare_ledger
from qt_pipeline.warehouse.measure import Measure, Measures, measuring, query_aggregates
from qt_pipeline.warehouse.mssql import fill
from qt_pipeline.warehouse.mssql.connect import engine_at, was_connected
from qt_pipeline.warehouse.mssql.reflect import columns_of
from qt_pipeline.warehouse.target import Batch, ColumnDefault, SqlTypes, TypeChange, plain_type
from qt_pipeline.warehouse.verify import Totals, summed_columns

_WAIT_SECONDS = 120
_ALTER_SECONDS = 2
_OPEN_LENGTH = 50
_ROW_INDEX = "_qt_rows"
_SUMS_BATCH_SIZE = 500
_DIGITS = 38
# A sum has 38 digits; a column of up to 28 leaves headroom for ten thousand million rows.
_MAX_SAFE_SUM = 28
_HALF = _DIGITS // 2
_EXACT = Context(prec=100)
_BUSY = -1
_RENAME = text("EXEC sp_rename :old, :new, 'OBJECT'")
_HAS_VERSIONING = text("SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME()")
# A query that reads no table does not begin a transaction.
_TRANSACTION = text(
    "SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID()"
)
_READERS_WAIT = (
    "Readers of a table wait while it is published: this database has no row versioning. To let them read the old rows "
    "meanwhile, run ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE once."
)

_log = logging.getLogger(__name__)


_TRIGGERS = text("SELECT COUNT(*) FROM sys.triggers WHERE parent_id = OBJECT_ID(:name)")
_DEFAULTS = text(
    "SELECT COL_NAME(parent_object_id, parent_column_id), definition, name FROM sys.default_constraints "
    "WHERE parent_object_id = OBJECT_ID(:name)"
)
_VALUES = "COUNT_BIG({})"
# Independent of the column's collation, which may or may not treat a surrogate pair as one character.
_UNITS = "{} COLLATE Latin1_General_BIN2"
_OF_TEXT = {
    Measure.UTF16_UNITS: "SUM(CAST(DATALENGTH({}) / 2 AS BIGINT))",
    Measure.FIRST_UTF16: f"SUM(CAST(UNICODE(LEFT({_UNITS}, 1)) AS BIGINT))",
    Measure.LAST_UTF16: f"SUM(CAST(UNICODE(RIGHT({_UNITS}, 1)) AS BIGINT))",
}
_MEASURES: Measures = {
    Kind.INTEGER: {Measure.VALUES: _VALUES},
    Kind.DECIMAL: {Measure.VALUES: _VALUES},
    Kind.BOOLEAN: {Measure.VALUES: _VALUES, Measure.TRUES: "SUM(CASE WHEN {} = 1 THEN CAST(1 AS BIGINT) ELSE 0 END)"},
    Kind.DATE: {Measure.VALUES: _VALUES, Measure.DAYS: "SUM(CAST(DATEDIFF(DAY, '19700101', {}) AS BIGINT))"},
    Kind.TIMESTAMP: {
        Measure.VALUES: _VALUES,
        Measure.MICROSECONDS: "SUM(CAST(DATEDIFF_BIG(MICROSECOND, '19700101', {}) AS DECIMAL(38, 0)))",
    },
    Kind.TEXT: _OF_TEXT,
    Kind.UNKNOWN: _OF_TEXT,
}


class MssqlTarget:
    """A SQL Server or Azure SQL database. The schemas, if named, and the ledger are created if missing.

    `mssql+mssqlpython://` (or `mssql://`) uses Microsoft's own driver and its bulk copy; `mssql+pyodbc://` inserts over
    ODBC, slower, for systems where the bulk copy cannot be used. Both encrypt unless the URL says `Encrypt=no`.

    Entra authentication is named in the URL: `?authentication=ActiveDirectoryMSI` (the user, if any, is the client id
    of a user-assigned identity), `ActiveDirectoryServicePrincipal` (user and password are client id and secret),
    `ActiveDirectoryDefault`, `ActiveDirectoryDeviceCode`, `ActiveDirectoryInteractive`. The bulk copy opens its own
    connection and requests a new token from azure-identity. It supports neither `ActiveDirectoryPassword` nor
    `ActiveDirectoryIntegrated`; those need `mssql+pyodbc://`.

    Raises:
        ConfigurationError: the URL names a driver or an authentication that cannot be used.
        TargetUnavailableError: the database cannot be reached.
        TargetRefusedError: the database rejects the login, or denies it a right that is needed.
    """

    max_name_bytes = 128
    max_columns = 1024
    has_schemas = True
    names_unicode = True
    names = NameMatching.CASE
    reflects_types = True
    stage_prefixes: Sequence[str] = ()
    stage_becomes_table = True
    measures: Measures = _MEASURES

    def __init__(
        self,
        url: URL,
        schema: str | None,
        staging_schema: str | None,
        *,
        prepare: bool = True,
        keep_connections: bool = True,
    ) -> None:
        self.schema = _checked(schema)
        self.staging_schema = _checked(staging_schema)
        self._url = url
        self._address = redacted_database_url(url)
        engine = engine_at(url, wait_seconds=_WAIT_SECONDS, keep_connections=keep_connections)
        self._by_bulk_copy = engine.driver == "mssqlpython"
        self._engine = engine.execution_options(schema_translate_map={None: self.schema})
        if not self._by_bulk_copy:
            _log.warning("%s is loaded by inserts, slower than the bulk copy of mssql+mssqlpython://.", self._address)
        if prepare:
            self._prepare()
            for warning in self.warnings:
                _log.warning("%s", warning)

    @property
    def warnings(self) -> Sequence[str]:
        """See Target."""
        return self._warnings

    @cached_property
    def _warnings(self) -> Sequence[str]:
        with self.reading() as connection:
            return (_READERS_WAIT,) if connection.scalar(_HAS_VERSIONING) == 0 else ()

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
        """See Target."""
        with self.writing() as connection:
            yield connection

    def transaction_id(self, connection: Connection) -> str | None:
        """See Target. Includes the nesting depth: a COMMIT ends only the innermost of nested transactions."""
        return connection.scalar(_TRANSACTION)

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """See Target. Deleted rows are locked one by one, so a reader could read old rows and then new ones."""
        # Queried each time: the setting may change while this process lives.
        if connection.scalar(_HAS_VERSIONING) == 0:
            locked = select(literal_column("1", Integer())).select_from(table).limit(1)
            connection.execute(locked.with_hint(table, "WITH (TABLOCKX, HOLDLOCK)", "mssql")).all()

    @contextmanager
    def altering(self, connection: Connection) -> Generator[None]:
        """See Target. ALTER COLUMN cannot wait at low priority."""
        connection.exec_driver_sql(f"SET LOCK_TIMEOUT {_ALTER_SECONDS * 1000}")
        try:
            yield
        except BaseException:
            # The pool must not reuse a connection with that setting.
            connection.detach()
            raise
        connection.exec_driver_sql(f"SET LOCK_TIMEOUT {_WAIT_SECONDS * 1000}")

    @contextmanager
    def table_lock(self, table: str) -> Generator[None]:
        """See Target. An application lock of the server, which ends with its connection."""
        with self._explained(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            self._take_lock(connection, table)
            try:
                yield
            finally:
                # Invalidated, because that releases the lock whatever the state of the connection.
                connection.invalidate()

    def columns_of(self, connection: Connection, name: str, schema: str | None) -> SqlTypes | None:
        """See Target."""
        return columns_of(connection, name, schema)

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """See Target."""
        match type_.kind:
            case Kind.DECIMAL:
                return DECIMAL(type_.precision, type_.scale)
            case Kind.TIMESTAMP:
                return DATETIME2(6)
            case Kind.UNKNOWN:
                return NVARCHAR(_OPEN_LENGTH)
            case Kind.TEXT:
                return NVARCHAR(type_.length if 0 < type_.length <= MAX_BOUND else None)
            case _:
                return plain_type(type_.kind)

    def key_value(self, column: ColumnElement[Any], type_: ColumnType) -> ColumnElement[Any]:  # noqa: ARG002  # see Target
        """See Target."""
        return column

    def index_key(self, connection: Connection, stage: Table, key: Sequence[ColumnElement[Any]]) -> None:
        """See Target. SQL Server uses hash joins."""

    def create_table(self, connection: Connection, table: Table) -> None:
        """See Target."""
        _refuse_temporary(table)
        _cluster(table)
        table.create(connection)

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:
        """See Target."""
        if becomes_table:
            _cluster(stage)
        with self.writing() as connection:
            stage.create(connection)
        if not self._by_bulk_copy:
            with self.writing() as connection:
                return fill.insert(connection, stage, batches)
        # The bulk copy uses its own connection, which sees only committed tables.
        with self._explained(), self._engine.connect() as connection:
            return fill.bulk_copy(connection, stage, batches)

    def drop_stage(self, stage: Table) -> None:
        """See Target."""
        with self.writing() as connection:
            connection.execute(DropTable(stage, if_exists=True))

    def rename(self, connection: Connection, stage: Table, table: Table) -> None:
        """See Target."""
        _refuse_temporary(table)
        # sp_rename parses the old name as an identifier and takes the new one literally.
        old = connection.dialect.identifier_preparer.format_table(stage)
        connection.execute(_RENAME, {"old": old, "new": str(table.name)})

    def defaults(
        self, connection: Connection, table: Table, changes: Sequence[TypeChange]
    ) -> Mapping[str, ColumnDefault]:
        """See Target. The server changes no type under a default, and converts defaults when it inserts them."""
        name = connection.dialect.identifier_preparer.format_table(table)
        found = connection.execute(_DEFAULTS, {"name": name})
        expressions = {self.names.fold(str(column)): (str(sql), str(constraint)) for column, sql, constraint in found}
        defaults = dict[str, ColumnDefault]()
        for change in changes:
            if (there := expressions.get(self.names.fold(change.column))) is not None:
                sql, constraint = there
                fits = converts_itself(change) or _can_be_cast(connection, table, change, literal_value(sql))
                defaults[change.column] = ColumnDefault(sql, sql if fits else None, constraint)
        return defaults

    def change_types(
        self, connection: Connection, table: Table, changes: Sequence[TypeChange], *, keeps_rows: bool
    ) -> None:
        """See Target."""
        preparer = connection.dialect.identifier_preparer
        name = preparer.format_table(table)
        for change in changes:
            column = preparer.quote_identifier(change.column)
            alter = f"ALTER TABLE {name} ALTER COLUMN {column}"
            constraint = preparer.quote_identifier(change.default.constraint) if change.default else ""
            if change.default is not None:
                connection.exec_driver_sql(f"ALTER TABLE {name} DROP CONSTRAINT {constraint}")
            kinds = {change.before.kind, change.after.kind}
            if not keeps_rows and len(kinds) > 1 and kinds.isdisjoint((Kind.TEXT, Kind.UNKNOWN)):
                # Not every type converts to every other, even without rows; but text converts to and from any type.
                connection.exec_driver_sql(f"{alter} NVARCHAR({_OPEN_LENGTH}) NULL")
            # The type includes its collation: without it, the column would get the database's default.
            type_ = table.c[change.column].type.compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"{alter} {type_} NULL")
            if change.default is not None:
                default = f"CONSTRAINT {constraint} DEFAULT {change.default.after} FOR {column}"
                connection.exec_driver_sql(f"ALTER TABLE {name} ADD {default}")

    def may_change_rows(self, connection: Connection, table: Table) -> bool:
        """See Target."""
        name = connection.dialect.identifier_preparer.format_table(table)
        return bool(connection.scalar(_TRIGGERS, {"name": name}))

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See Target. Every collation ignores trailing blanks; a comparison of bytes does not."""
        return cast(column, VARBINARY()) if isinstance(column.type, String) else column

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """See Target."""
        summed = [(c.name, *part) for c in summed_columns(columns) for part in _parts(table.c[c.name], c.type)]
        aggregates = measuring(connection, columns, self.measures)
        parts = [*(func.sum(part) for _, part, _ in summed), *aggregates.values()]
        rows, results = query_aggregates(connection, table, parts, batch_size=_SUMS_BATCH_SIZE, load_id=load_id)
        sums = dict[str, Decimal]()
        for (name, _, zeros), sum_ in zip(summed, results, strict=False):
            part = _EXACT.scaleb(Decimal(sum_ or 0), zeros)
            sums[name] = _EXACT.add(sums.get(name, Decimal(0)), part)
        measured = zip(aggregates, results[len(summed) :], strict=True)
        return Totals(rows, sums, {key: int(total or 0) for key, total in measured})

    def post_publish_maintenance(self, table: Table) -> None:
        """See Target. Readers continue meanwhile. The server's own cleanup is too slow: few pages every few seconds.

        Statistics need nothing: they update when a query needs them.
        """
        if LOAD_COLUMN not in table.c:
            return
        try:
            with self._explained(), self._engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                name = connection.dialect.identifier_preparer.format_table(table)
                connection.exec_driver_sql(f"ALTER INDEX {_ROW_INDEX} ON {name} REORGANIZE")
        except PipelineError as error:
            # A login may load a table without the right to alter it.
            _log.info("The table %s is published; its deleted pages are left to the server: %s", table.name, error)

    def _prepare(self) -> None:
        if self._is_prepared():
            # A login that may only load relies on this.
            return
        # Two processes that create the same tables at once would conflict.
        with self.table_lock("the ledger"), self.writing() as connection:
            for name in sorted(filter(None, {self.schema, self.staging_schema})):
                if not _has_schema(connection, name):
                    connection.execute(CreateSchema(name))
            prepare_ledger(connection, self.schema)

    def _is_prepared(self) -> bool:
        with self.reading() as connection:
            inspector = inspect(connection)
            made = all(inspector.has_table(name, schema=self.schema) for name in metadata.tables)
            return made and _has_schema(connection, self.staging_schema) and self._is_complete(connection)

    def _is_complete(self, connection: Connection) -> bool:
        """Whether the ledger has the columns that older versions did not create."""
        place = connection.dialect.identifier_preparer.format_table(loads_in(self.schema))
        lengths = (connection.scalar(select(func.col_length(place, name))) for name in ADDED_LATER)
        columns_place = place.replace(loads.name, columns.name)
        # In bytes, two per character.
        format_length = connection.scalar(select(func.col_length(columns_place, "format")))
        return all(length is not None for length in lengths) and (format_length or 0) >= 2 * MAX_FORMAT

    def _take_lock(self, connection: Connection, name: str) -> None:
        taken = take_mssql_lock(connection, f"{self.schema or ''}/{self.names.fold(name)}", wait_seconds=_WAIT_SECONDS)
        if taken == _BUSY:
            raise TableBusyError(
                f"Another process has been loading the table {name!r} for over {_WAIT_SECONDS} seconds.",
                hint="Wait for it to end; the load will be retried.",
            )
        if taken is None or taken < 0:
            raise TargetUnavailableError(f"The lock of the table {name!r} was not granted (sp_getapplock: {taken}).")

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            of_connection, connected = error.statement is None, was_connected(self._url)
            server_error = mssql_fault(error.orig, of_connection=of_connection, was_connected=connected)
            raise self._refusal(server_error, broken=error.connection_invalidated) from None
        except Exception as error:
            # The driver's own errors, which SQLAlchemy does not wrap.
            if not _is_the_drivers(error):
                raise
            raise self._refusal(mssql_fault(error)) from None

    def _refusal(self, error: ServerError, *, broken: bool = False) -> PipelineError:
        kind = TargetUnavailableError if broken else refused(error)
        return kind(
            f"The target {self._address} returned an error: {error.message}.",
            hint="Check that the server runs and that this login may create and write tables there.",
        )


def _checked(schema: str | None) -> str | None:
    if schema and set(schema) & set(".[]"):
        # SQLAlchemy reads what precedes a dot as a database, and treats brackets as quotes.
        raise ConfigurationError(
            f"The schema {schema!r} has a dot or a bracket in its name.",
            hint="Set QT_WAREHOUSE_SCHEMA and QT_STAGING_SCHEMA to schemas without them.",
        )
    return schema


def _has_schema(connection: Connection, name: str | None) -> bool:
    # Compared by the server: names may differ in case.
    return name is None or connection.scalar(select(func.schema_id(name))) is not None


def _cluster(table: Table) -> None:
    """Cluster the rows by load and line; a table without lineage columns is left unordered."""
    if LOAD_COLUMN in table.c:
        Index(_ROW_INDEX, table.c[LOAD_COLUMN], table.c[ROW_COLUMN], unique=True, mssql_clustered=True)


def _refuse_temporary(table: Table) -> None:
    if table.name.startswith("#"):
        raise TableRefusedError(
            f"SQL Server treats {table.name!r} as a temporary table of one connection, which nobody else would see.",
            hint="Give the dataset another table name in the catalog.",
        )


def _parts(column: ColumnElement[Any], type_: ColumnType) -> list[tuple[ColumnElement[Any], int]]:
    """The expressions to sum for a column, each with the number of zeros that its sum lacks.

    A sum of decimals has the column's scale and 38 digits. The widest numbers leave no headroom, so they are split into
    two halves of 19 digits.
    """
    scale = type_.scale
    if type_.kind is Kind.INTEGER or type_.precision <= _MAX_SAFE_SUM:
        return [(cast(column, Numeric(_DIGITS, scale)), 0)]
    place = scale - _HALF
    high: ColumnElement[Any] = func.round(column, literal_column(str(place)), literal_column("1"))
    low = column.op("-")(high)
    whole = cast(high, Numeric(_DIGITS, max(place, 0)))
    if place < 0:
        # The digits cut off are zeros, so the division is exact. SQLAlchemy's own division would yield a float.
        whole = whole.op("/")(literal_column(f"1{'0' * -place}"))
    return [(whole, max(-place, 0)), (low, 0)]


def _is_the_drivers(error: BaseException) -> bool:
    """Whether an error comes from the bulk copy, whose core also raises Python's built-in types."""
    module = type(error).__module__
    if module.startswith(("mssql_python", "mssql_py_core", "pyodbc")):
        return True
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and "mssql_python" in traceback.tb_frame.f_code.co_filename


def _can_be_cast(connection: Connection, table: Table, change: TypeChange, value: str | None) -> bool:
    """Whether a literal is one of a column's new type. A blank would silently become 0 or the year 1900."""
    if value is None or not value.strip():
        return False
    type_ = table.c[change.column].type.compile(dialect=connection.dialect)
    found = text(f"SELECT CASE WHEN TRY_CAST(CAST(:value AS NVARCHAR(4000)) AS {type_}) IS NULL THEN 0 ELSE 1 END")
    return connection.scalar(found, {"value": value}) == 1
