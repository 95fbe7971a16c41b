"""Quantemplate datasets as tables in a SQL database, kept up to date by Dagster.

ARCHITECTURE.md describes the subpackages and which may import which.
"""

__version__ = "0.1.0"
