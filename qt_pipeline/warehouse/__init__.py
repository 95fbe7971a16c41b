"""The target database: stage, verify and publish in one transaction, and record every load in the ledger.

Here: all rules about the SQL tables of datasets, and which engine serves a URL.
Not here: where rows come from, how they were typed.
"""

from sqlalchemy import make_url

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.warehouse.errors import (
    AfterPublishError,
    ColumnDefaultError,
    ColumnTypeError,
    DuplicateKeyError,
    StaleLoadError,
    TableBusyError,
    TableNotOursError,
    TableRefusedError,
    TargetLimitError,
    TargetRefusedError,
    TargetUnavailableError,
    TransactionEndedError,
    VerificationError,
)
from qt_pipeline.warehouse.keys import try_key
from qt_pipeline.warehouse.ledger import LoadJob, LoadProgress, LoadRecord, LoadStatus
from qt_pipeline.warehouse.publish import Load, PublishedLoad
from qt_pipeline.warehouse.retention import RetainedLoads
from qt_pipeline.warehouse.tables import TableSpec
from qt_pipeline.warehouse.verify import Totals, Verification
from qt_pipeline.warehouse.warehouse import TableState, Warehouse

__all__ = [
    "AfterPublishError",
    "ColumnDefaultError",
    "ColumnTypeError",
    "DuplicateKeyError",
    "Load",
    "LoadJob",
    "LoadProgress",
    "LoadRecord",
    "LoadStatus",
    "PublishedLoad",
    "RetainedLoads",
    "StaleLoadError",
    "TableBusyError",
    "TableNotOursError",
    "TableRefusedError",
    "TableSpec",
    "TableState",
    "TargetLimitError",
    "TargetRefusedError",
    "TargetUnavailableError",
    "Totals",
    "TransactionEndedError",
    "Verification",
    "VerificationError",
    "Warehouse",
    "open_warehouse",
    "try_key",
]


def open_warehouse(
    url: str,
    schema: str | None = None,
    staging_schema: str | None = None,
    *,
    prepare: bool = True,
    keep_connections: bool = True,
) -> Warehouse:
    """Open the target at `url`, a SQLAlchemy URL. With `prepare`, a missing ledger is created.

    `schema` is the schema of the ledger and of tables that name none; `staging_schema` is that of the staging tables,
    by default that of their table. Both apply to servers that have schemas. Without `keep_connections`, each connection
    to a server is closed after use.

    Raises:
        ConfigurationError: the URL does not name a usable target.
        TargetUnavailableError: the database cannot be reached.
        TargetRefusedError: the database rejects the login, or denies it a right that is needed.
    """
    # Imported on demand: each driver is needed for its own URLs only.
    # Each driver is imported for those alone who need it.
    parsed = make_url(url)
    places = (parsed, schema, staging_schema)
    match backend := parsed.get_backend_name():
        case "sqlite":
            from qt_pipeline.warehouse.sqlite import SqliteTarget  # noqa: PLC0415

            if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
                raise ConfigurationError(
                    "The target must be a plain SQLite file.",
                    hint="Set QT_WAREHOUSE_URL to sqlite:////path/to/file.db.",
                )
            return Warehouse(SqliteTarget(parsed, prepare=prepare), backend)
        case "postgresql":
            from qt_pipeline.warehouse.postgres import PostgresTarget  # noqa: PLC0415

            return Warehouse(PostgresTarget(*places, prepare=prepare, keep_connections=keep_connections), backend)
        case "mssql":
            from qt_pipeline.warehouse.mssql import MssqlTarget  # noqa: PLC0415

            return Warehouse(MssqlTarget(*places, prepare=prepare, keep_connections=keep_connections), backend)
        case _:
            from qt_pipeline.warehouse.generic import GenericTarget  # noqa: PLC0415

            return Warehouse(GenericTarget(*places, prepare=prepare, keep_connections=keep_connections), backend)
