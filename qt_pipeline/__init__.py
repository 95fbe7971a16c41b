"""Quantemplate datasets as tables in a SQL database, kept up to date by Dagster.

The rooms of this package and who may import whom are described in ARCHITECTURE.md.
"""

__version__ = "0.1.0"
