"""What every database of ours has in common, whatever is kept in it.

Here: how each engine is reached, how long one waits for it, what makes a commit durable, what its refusals mean, how a
moment is stored. Not here: any table of ours or statement on one (see inbox, warehouse).
"""

from qt_pipeline.database.address import address_of
from qt_pipeline.database.fault import Fault
from qt_pipeline.database.mssql import MSSQL_DRIVER_TODO, mssql_engine, take_mssql_lock
from qt_pipeline.database.mssql_faults import mssql_fault
from qt_pipeline.database.names import NameMatching
from qt_pipeline.database.pool import pool_options
from qt_pipeline.database.postgres import advisory_key, postgres_engine, postgres_fault, require_utf8
from qt_pipeline.database.sqlite import creating_sqlite, sqlite_engine, writing
from qt_pipeline.database.types import Number, UtcDateTime, case_sensitive

__all__ = [
    "MSSQL_DRIVER_TODO",
    "Fault",
    "NameMatching",
    "Number",
    "UtcDateTime",
    "address_of",
    "advisory_key",
    "case_sensitive",
    "creating_sqlite",
    "mssql_engine",
    "mssql_fault",
    "pool_options",
    "postgres_engine",
    "postgres_fault",
    "require_utf8",
    "sqlite_engine",
    "take_mssql_lock",
    "writing",
]
