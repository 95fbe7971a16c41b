"""One SQL target: stage, verify, publish in one transaction, record in the ledger.

Here: everything that is known about SQL tables of datasets, and which engine serves a URL.
Not here: where rows come from, how they were typed.
"""

from sqlalchemy import make_url

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.warehouse.errors import (
    StaleLoadError,
    TableBusyError,
    TableNotOursError,
    TargetLimitError,
    TargetUnavailableError,
    VerificationError,
)
from qt_pipeline.warehouse.ledger import LoadJob, LoadRecord, LoadStatus
from qt_pipeline.warehouse.publish import PublishedLoad, Warehouse
from qt_pipeline.warehouse.sqlite import SqliteTarget
from qt_pipeline.warehouse.verify import Totals, Verification

__all__ = [
    "LoadJob",
    "LoadRecord",
    "LoadStatus",
    "PublishedLoad",
    "StaleLoadError",
    "TableBusyError",
    "TableNotOursError",
    "TargetLimitError",
    "TargetUnavailableError",
    "Totals",
    "Verification",
    "VerificationError",
    "Warehouse",
    "open_warehouse",
]


def open_warehouse(url: str, schema: str | None = None) -> Warehouse:
    """Open the target at `url`, a SQLAlchemy URL of SQLite or PostgreSQL; the ledger is made when it is missing.

    `schema` is where the tables are, on a server that has schemas.

    Raises:
        ConfigurationError: no target can live at this URL.
        TargetUnavailableError: the database cannot be opened or written.
    """
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "postgresql":
            # Its driver is imported for those alone who need it.
            from qt_pipeline.warehouse.postgres import PostgresTarget  # noqa: PLC0415

            return Warehouse(PostgresTarget(parsed, schema))
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
                raise ConfigurationError(
                    "The target must be a plain SQLite file.",
                    todo="Set QT_WAREHOUSE_URL to sqlite:////path/to/file.db.",
                )
            return Warehouse(SqliteTarget(parsed))
        case other:
            raise ConfigurationError(
                f"Tables cannot be written to {other} yet.", todo="Set QT_WAREHOUSE_URL to SQLite or PostgreSQL."
            )
