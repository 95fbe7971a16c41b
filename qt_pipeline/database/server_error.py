"""What a server has said when it refused, in words that may be told.

Here: the value. Not here: how it is read from what a driver raises (see postgres, mssql_faults).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerError:
    """One refusal: its number, where it is known, words without a value of any row, and whether a repeat may help.

    `of_table` says that it is about one table: what that would hold, how it is made, or what depends on it.
    `hint` is what a person may do about it, in a sentence; empty where only the caller knows.
    """

    number: int | None
    message: str
    transient: bool
    table_scoped: bool = False
    hint: str = ""
