"""Any other database that SQLAlchemy has a dialect for, by plain inserts: slow, and with fewer promises.

Here: what differs from the engines with a file of their own. Rows go in by `pandas.to_sql`, some thousand at a
time; locks hold on this machine only; a column is never changed.
Not here: the order of a publish (see load).
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
from qt_pipeline.warehouse.measure import Measure, Measures, ask, counting
from qt_pipeline.warehouse.target import Batch, ColumnDefault, SqlTypes, TypeChange, plain_type, reflected_columns
from qt_pipeline.warehouse.verify import Totals, summed_columns

_WAIT_SECONDS = 120
_BATCH_ROWS = 1000
_SUMS_BATCH_SIZE = 200
_OPEN_LENGTH = 50
_EXACT = Context(prec=100)
# Where the plain name means less than microseconds.
_TIMESTAMP = (
    DateTime()
    .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    .with_variant(cast("Any", oracle.TIMESTAMP)(), "oracle")
)
_SLOW = (
    "Rows go into this database by plain inserts: expect minutes where PostgreSQL, SQL Server and SQLite take seconds. "
    "Loads of one table wait for each other on one machine only: let a single machine load it. On a database that "
    "commits when a table is made or changed (MySQL, Oracle), a load that fails there can leave the change behind."
)

_PERMANENT = (ProgrammingError, IntegrityError, DataError)

_log = logging.getLogger(__name__)


# Their SQL is SQLAlchemy's, which knows the dialects.
_MEASURES: Measures = {
    kind: {Measure.CHARACTERS if kind in (Kind.TEXT, Kind.UNKNOWN) else Measure.VALUES: ""} for kind in Kind
}


class GenericTarget:
    """A database of any dialect. The schema, if one is named, and the ledger are made when they are missing.

    It must keep decimals of 38 digits exactly, or adds them up otherwise than the file and refuses the load.

    Raises:
        ConfigurationError: no dialect or driver for this URL is installed.
        TargetUnavailableError: the database cannot be reached.
        TargetRefusedError: the database does not do what is needed.
    """

    max_columns = 1000
    has_schemas = True
    names_unicode = False
    names = NameMatching.CASE
    # A dialect has types of its own for ours: MySQL a number for a truth value.
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
            # Parameters stay out of error messages: they hold rows.
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
        """See Target. Each dialect has its own words for it, and many have none."""
        return None

    def lock_for_publish(self, connection: Connection, table: Table) -> None:
        """See Target. What hides a publish from readers is the database's own business."""

    def altering(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002  # see Target
        """See Target. Each dialect has its own words for it."""
        return nullcontext()

    @contextmanager
    def table_lock(self, table: str) -> Generator[None]:
        """See Target. A lock of the operating system, which ends with its process and is known on this machine."""
        folder = Path(tempfile.gettempdir()) / "qt_pipeline.locks"
        make_folder(folder)
        name = hashlib.sha256(f"{self._address}/{table}".casefold().encode()).hexdigest()[:32]
        try:
            with FileLock(folder / f"{name}.lock", timeout=_WAIT_SECONDS, mode=FILE_MODE):
                yield
        except Timeout:
            raise TableBusyError(
                f"Another process has been loading the table {table!r} for over {_WAIT_SECONDS} seconds.",
                hint="Wait for it to end; it will be tried again.",
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
        """See Target. An index would differ too much from dialect to dialect."""

    def create_table(self, connection: Connection, table: Table) -> None:
        """See Target."""
        table.create(connection)

    def stage(self, stage: Table, batches: Iterable[Batch], *, becomes_table: bool) -> int:  # noqa: ARG002  # see Target
        """See Target."""
        copied = 0
        with self.writing() as connection:
            stage.create(connection)
            for batch in batches:
                # Half typed.
                to_sql: Any = _frame(batch, [c.name for c in stage.c]).to_sql  # pyright: ignore[reportUnknownMemberType]
                to_sql(
                    stage.name,
                    connection,
                    schema=stage.schema or self.schema,
                    if_exists="append",
                    index=False,
                    chunksize=_BATCH_ROWS,
                    # Its own insert would leave the quoting of names to chance.
                    method=partial(_insert, stage),
                )
                copied += len(batch)
        return copied

    def drop_stage(self, stage: Table) -> None:
        """See Target."""
        with self.writing() as connection:
            stage.drop(connection, checkfirst=True)

    def rename(self, connection: Connection, stage: Table, table: Table) -> None:
        """See Target. Never asked for."""
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
        """See Target. Each dialect has its own words for it."""
        wanted = ", ".join(
            f"{change.column!r} to {table.c[change.column].type.compile(dialect=connection.dialect)}"
            for change in changes
        )
        raise TableRefusedError(
            f"The table {table.name!r} has columns that are too narrow for this file.",
            hint=f"Change them by hand ({wanted}) and load again; the table keeps its rows.",
        )

    def may_change_rows(self, connection: Connection, table: Table) -> bool:  # noqa: ARG002  # see Target
        """See Target. Each dialect knows it elsewhere, and not all can compare all types: totals must do."""
        return False

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """See Target. Never asked for."""
        raise NotImplementedError

    def totals(
        self, connection: Connection, table: Table, columns: Sequence[Column], load_id: int | None = None
    ) -> Totals:
        """See Target."""
        summed = summed_columns(columns)
        rows, sums = 0, dict[str, Decimal]()
        for start in range(0, max(1, len(summed)), _SUMS_BATCH_SIZE):
            some = summed[start : start + _SUMS_BATCH_SIZE]
            # An average database adds up whole numbers in 64 bits.
            parts = [func.sum(sql_cast(table.c[c.name], Numeric(MAX_DIGITS, c.type.scale))) for c in some]
            rows, *found = connection.execute(counting(table, parts, load_id)).one()
            for c, sum_ in zip(some, found, strict=True):
                # Binary floats, where a database has nothing else, are the nearest to a number of that scale.
                sums[c.name] = _EXACT.quantize(Decimal(sum_ or 0), Decimal(1).scaleb(-c.type.scale))
        asked = {(c.name, some): _aggregate(table, c, some) for c in columns for some in self.measures[c.type.kind]}
        rows, measured = ask(connection, table, [*asked.values()], at_once=_SUMS_BATCH_SIZE, load_id=load_id)
        return Totals(rows, sums, {key: int(total or 0) for key, total in zip(asked, measured, strict=True)})

    def post_publish_maintenance(self, table: Table) -> None:
        """See Target. What a database does for its space differs too much."""

    def _refusal(self, error: DBAPIError) -> PipelineError:
        # The words of an unknown driver may repeat a row; before the first statement there is none.
        words = " ".join(str(error.orig).split()) if error.statement is None else type(error.orig).__name__
        stays = isinstance(error, _PERMANENT) and not error.connection_invalidated
        kind = TargetRefusedError if stays else TargetUnavailableError
        return kind(
            f"The target {self._address} refuses: {words}.",
            hint="Check that the server runs and that this login may create and write tables there.",
        )


def _aggregate(table: Table, column: Column, measure: Measure) -> ColumnElement[Any]:
    values = table.c[column.name]
    return func.sum(func.char_length(values)) if measure is Measure.CHARACTERS else func.count(values)


def _frame(batch: Batch, names: Sequence[str]) -> pd.DataFrame:
    rows = batch.rows
    arrays = [*(rows.values(position) for position in range(len(rows.texts))), *batch.own]
    # As objects: pandas would make floats of whole numbers beside a blank.
    values = {name: cast("list[object]", array.to_pylist()) for name, array in zip(names, arrays, strict=True)}
    return pd.DataFrame(values, dtype=object)


def _insert(
    stage: Table, _table: object, connection: Connection, keys: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> int:
    found = [dict(zip(keys, row, strict=True)) for row in rows]
    connection.execute(stage.insert(), found)
    return len(found)
