"""Any other database that has a SQLAlchemy dialect, by plain inserts: slow, and with fewer guarantees.

Here: what differs from the engines with modules of their own. Rows are loaded by `pandas.to_sql` in batches; locks
hold on this machine only; column types are never changed.
Not here: the order of a publish (see publish).
"""

import hashlib
import logging
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Context, Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import pandas as pd
from filelock import FileLock, Timeout
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Numeric,
    Table,
    Unicode,
    UnicodeText,
    create_engine,
    func,
    inspect,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import mysql, oracle
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeEngine

from qt_pipeline.database import NameMatching, pool_options, redacted_database_url
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.private import FILE_MODE, make_folder
from qt_pipeline.tabular import MAX_BOUND, MAX_DIGITS, Column, ColumnType, Kind
from qt_pipeline.warehouse.errors import (
    TableBusyError,
    TableRefusedError,
    TargetRefusedError,
    TargetUnavailableError,
)
from qt_pipeline.warehouse.ledger import columns
from qt_pipeline.warehouse.ledger import prepare as prepare_ledger
from qt_pipeline.warehouse.measure import Measure, Measures, counting, query_aggregates
from qt_pipeline.warehouse.target import Batch, ColumnDefault, SqlTypes, TypeChange, plain_type, reflected_columns
from qt_pipeline.warehouse.verify import Totals, summed_columns

_WAIT_SECONDS = 120
_BATCH_ROWS = 1000
_SUMS_BATCH_SIZE = 200
_OPEN_LENGTH = 50
_EXACT = Context(prec=100)
# For dialects whose plain type has less than microseconds.
_TIMESTAMP = (
    DateTime()
    .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    .with_variant(cast("Any", oracle.TIMESTAMP)(), "oracle")
)
_SLOW = (
    "This database is loaded by plain inserts: expect minutes where PostgreSQL, SQL Server and SQLite take seconds. "
    "Loads of one table wait for each other on one machine only: load it from a single machine. On a database that "
    "commits when a table is created or changed (MySQL, Oracle), a failed load can leave that change behind."
)

_PERMANENT = (ProgrammingError, IntegrityError, DataError)

_log = logging.getLogger(__name__)


# SQLAlchemy writes the SQL: it knows the dialects.
_MEASURES: Measures = {
    kind: {Measure.CHARACTERS if kind in (Kind.TEXT, Kind.UNKNOWN) else Measure.VALUES: ""} for kind in Kind
}


class GenericTarget:
    """A database of any dialect. The schema, if one is named, and the ledger are created if missing.

    It must keep decimals of 38 digits exactly; otherwise its sums differ from the file's and the load is rejected.

    Raises:
        ConfigurationError: no dialect or driver for this URL is installed.
        TargetUnavailableError: the database cannot be reached.
        TargetRefusedError: the database denies the request.
    """

    max_columns = 1000
    has_schemas = True
    names_unicode = False
    names = NameMatching.CASE
    # A dialect may store our types as its own: MySQL a boolean as a number.
    reflects_types = False
    stage_prefixes: Sequence[str] = ()
    stage_becomes_table = False
    measures: Measures = _MEASURES
    warnings: Sequence[str] = (_SLOW,)

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
        try:
            # Parameters hold rows, so keep them out of error messages.
            engine = create_engine(url, hide_parameters=True, **pool_options(keep_connections=keep_connections))
        except (NoSuchModuleError, ImportError) as error:
            raise ConfigurationError(
                f"No driver for {url.drivername}:// is installed ({error}).",
                hint="Install its SQLAlchemy dialect, or set QT_WAREHOUSE_URL to postgresql://, mssql:// or sqlite:///.",
            ) from None
        self.max_name_bytes = engine.dialect.max_identifier_length
        self._engine: Engine = engine.execution_options(schema_translate_map={None: schema})
        _log.warning("%s", _SLOW)
        if not prepare:
            return
        with self.table_lock("the ledger"), self.writing() as connection:
            for name in sorted(filter(None, {schema, staging_schema})):
                if not inspect(connection).has_schema(name):
                    connection.execute(CreateSchema(name))
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
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise self._refusal(error) from None

    writing = reading

    @contextmanager
    def publishing(self, stage: Table) -> Generator[Connection]:  # noqa: ARG002  # see Target
        """See Target."""
        with self.writing() as connection:
            yield connection

    def transaction_id(self, connection: Connection) -> str | None:  # noqa: ARG002  # see Target
        """See Target. Each dialect does this differently, and many cannot."""
        return None

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """See Target. Isolation from readers is up to the database."""

    def altering(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002  # see Target
        """See Target. Each dialect does this differently."""
        return nullcontext()

    @contextmanager
    def table_lock(self, table: str) -> Generator[None]:
        """See Target. A lock of the operating system, which ends with its process and holds on this machine only."""
        folder = Path(tempfile.gettempdir()) / "qt_pipeline.locks"
        make_folder(folder)
        name = hashlib.sha256(f"{self._address}/{table}".casefold().encode()).hexdigest()[:32]
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
        return reflected_columns(connection, name, schema)

    def column_type(self, type_: ColumnType) -> TypeEngine[Any]:
        """See Target."""
        match type_.kind:
            case Kind.DECIMAL:
                return Numeric(type_.precision, type_.scale)
            case Kind.TIMESTAMP:
                return _TIMESTAMP
            case Kind.UNKNOWN:
                return Unicode(_OPEN_LENGTH)
            case Kind.TEXT:
                return Unicode(type_.length) if 0 < type_.length <= MAX_BOUND else UnicodeText()
            case _:
                return plain_type(type_.kind)

    def key_value(self, column: ColumnElement[Any], type_: ColumnType) -> ColumnElement[Any]:  # noqa: ARG002  # see Target
        """See Target."""
        return column

    def index_key(self, connection: Connection, stage: Table, key: Sequence[ColumnElement[Any]]) -> None:
        """See Target. Indexes differ too much between dialects."""

    def create_table(self, connection: Connection, table: Table) -> None:
        """See Target."""
        table.create(connection)

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:  # noqa: ARG002  # see Target
        """See Target."""
        copied = 0
        with self.writing() as connection:
            stage.create(connection)
            for batch in batches:
                # pandas is only partly typed.
                to_sql: Any = _frame(batch, [c.name for c in stage.c]).to_sql  # pyright: ignore[reportUnknownMemberType]
                to_sql(
                    stage.name,
                    connection,
                    schema=stage.schema or self.schema,
                    if_exists="append",
                    index=False,
                    chunksize=_BATCH_ROWS,
                    # The default insert does not always quote names.
                    method=partial(_insert, stage),
                )
                copied += len(batch)
        return copied

    def drop_stage(self, stage: Table) -> None:
        """See Target."""
        with self.writing() as connection:
            stage.drop(connection, checkfirst=True)

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
        """See Target. Each dialect does this differently."""
        wanted = ", ".join(
            f"{change.column!r} to {table.c[change.column].type.compile(dialect=connection.dialect)}"
            for change in changes
        )
        raise TableRefusedError(
            f"The table {table.name!r} has columns that are too narrow for this file.",
            hint=f"Change them manually ({wanted}) and load again; the table keeps its rows.",
        )

    def may_change_rows(self, connection: Connection, table: Table) -> bool:  # noqa: ARG002  # see Target
        """See Target. Dialects differ, and not all can compare all types: the totals must suffice."""
        return False

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See Target. Never called."""
        raise NotImplementedError

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """See Target."""
        summed = summed_columns(columns)
        rows, sums = 0, dict[str, Decimal]()
        for start in range(0, max(1, len(summed)), _SUMS_BATCH_SIZE):
            batch = summed[start : start + _SUMS_BATCH_SIZE]
            # Many databases add up integers in 64 bits.
            parts = [func.sum(sql_cast(table.c[c.name], Numeric(MAX_DIGITS, c.type.scale))) for c in batch]
            rows, *results = connection.execute(counting(table, parts, load_id)).one()
            for c, sum_ in zip(batch, results, strict=True):
                # If the database has only binary floats, the sum is the nearest number of that scale.
                sums[c.name] = _EXACT.quantize(Decimal(sum_ or 0), Decimal(1).scaleb(-c.type.scale))
        aggregates = {
            (c.name, kind): _aggregate(table, c, kind) for c in columns for kind in self.measures[c.type.kind]
        }
        rows, measured = query_aggregates(
            connection, table, [*aggregates.values()], batch_size=_SUMS_BATCH_SIZE, load_id=load_id
        )
        return Totals(rows, sums, {key: int(total or 0) for key, total in zip(aggregates, measured, strict=True)})

    def post_publish_maintenance(self, table: Table) -> None:
        """See Target. Databases reclaim space too differently."""

    def _refusal(self, error: DBAPIError) -> PipelineError:
        # The message of an unknown driver may quote a row; before the first statement there is none.
        reason = " ".join(str(error.orig).split()) if error.statement is None else type(error.orig).__name__
        is_permanent = isinstance(error, _PERMANENT) and not error.connection_invalidated
        kind = TargetRefusedError if is_permanent else TargetUnavailableError
        return kind(
            f"The target {self._address} returned an error: {reason}.",
            hint="Check that the server runs and that this login may create and write tables there.",
        )


def _aggregate(table: Table, column: Column, measure: Measure) -> ColumnElement[Any]:
    values = table.c[column.name]
    return func.sum(func.char_length(values)) if measure is Measure.CHARACTERS else func.count(values)


def _frame(batch: Batch, names: Sequence[str]) -> pd.DataFrame:
    rows = batch.rows
    arrays = [*(rows.values(position) for position in range(len(rows.texts))), *batch.own]
    # As objects: pandas would convert integers beside a blank to floats.
    values = {name: cast("list[object]", array.to_pylist()) for name, array in zip(names, arrays, strict=True)}
    return pd.DataFrame(values, dtype=object)


def _insert(
    stage: Table, _table: object, connection: Connection, keys: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> int:
    records = [dict(zip(keys, row, strict=True)) for row in rows]
    connection.execute(stage.insert(), records)
    return len(records)
