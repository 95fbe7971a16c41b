"""SQL Server and Azure SQL as a target.

Here: what differs from other engines: the target itself (engine), how the server is reached (connect), the ways in
(fill). Not here: the order of a publish (see load), what the server's refusals mean (see database).
"""

from qt_pipeline.warehouse.mssql.engine import MssqlTarget

__all__ = ["MssqlTarget"]
