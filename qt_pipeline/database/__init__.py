"""What every database of ours has in common, whatever is kept in it.

Here: how each engine is reached, how long one waits for it, what makes a commit durable, what its refusals mean, how a
moment is stored. Not here: any table of ours or statement on one (see inbox, warehouse).
"""

from qt_pipeline.database.mssql import MSSQL_DRIVER_HINT, mssql_engine, take_mssql_lock
from qt_pipeline.database.mssql_errors import mssql_fault
from qt_pipeline.database.names import NameMatching
from qt_pipeline.database.pool import pool_options
from qt_pipeline.database.postgres import advisory_key, postgres_engine, postgres_fault, require_utf8
from qt_pipeline.database.redact import redacted_database_url
from qt_pipeline.database.server_error import ServerError
from qt_pipeline.database.sqlite import creating_sqlite, sqlite_engine, writing
from qt_pipeline.database.types import Number, UtcDateTime, case_sensitive

__all__ = [
    "MSSQL_DRIVER_HINT",
    "NameMatching",
    "Number",
    "ServerError",
    "UtcDateTime",
    "advisory_key",
    "case_sensitive",
    "creating_sqlite",
    "mssql_engine",
    "mssql_fault",
    "pool_options",
    "postgres_engine",
    "postgres_fault",
    "redacted_database_url",
    "require_utf8",
    "sqlite_engine",
    "take_mssql_lock",
    "writing",
]
