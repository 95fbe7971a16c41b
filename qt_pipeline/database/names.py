"""How each engine compares the names of tables and columns.

Here: the rule of an engine, for Python and for SQL. Not here: the names themselves (see warehouse, catalog).
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func

_ASCII_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class NameMatching(StrEnum):
    """Which names an engine considers the same.

    `EXACT`: only equal ones (PostgreSQL, since every name is quoted). `ASCII_CASE`: also names that differ only in the
    case of A to Z (SQLite). `CASE`: also names that differ only in case (SQL Server under its usual collations, and
    every other engine: a wrong match is rejected, never mixed up).
    """

    EXACT = "exact"
    ASCII_CASE = "ascii case"
    CASE = "case"

    @classmethod
    def of(cls, backend: str) -> "NameMatching":
        """The rule of an engine, by SQLAlchemy's name for it."""
        return {"postgresql": cls.EXACT, "sqlite": cls.ASCII_CASE}.get(backend, cls.CASE)

    def fold(self, name: str) -> str:
        """A comparison key: equal for names that are the same."""
        match self:
            case NameMatching.EXACT:
                return name
            case NameMatching.ASCII_CASE:
                return name.translate(_ASCII_UPPER)
            case NameMatching.CASE:
                return name.casefold()

    def is_name(self, stored: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """SQL condition: a stored name is the same as `name`."""
        # On SQL Server the collation of the stored name decides, as for the names themselves.
        return func.lower(stored) == self.fold(name) if self is NameMatching.ASCII_CASE else stored == name
