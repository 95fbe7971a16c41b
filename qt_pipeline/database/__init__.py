"""Database connections shared by the inbox and the target: engines, timeouts, durability, server errors, timestamps.

Here: how each engine is connected, how long callers wait, what makes a commit durable, how server errors are read and
how a timestamp is stored. Not here: tables and statements (see inbox, warehouse).
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
