"""SQL Server and Azure SQL as a target.

Here: what differs from other engines: the target (engine), its connections (connect), loading rows (fill).
Not here: the order of a publish (see publish), the meaning of the server's errors (see database).
"""

from qt_pipeline.warehouse.mssql.engine import MssqlTarget

__all__ = ["MssqlTarget"]
