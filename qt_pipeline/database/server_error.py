"""An error of a database server, with a message that is safe to show."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error of a server: its number, if known, a message without values of rows, and whether a retry may help.

    `table_scoped`: it is about one table: its content, its definition, or what depends on it. `hint` says how to fix
    it; empty if only the caller knows.
    """

    number: int | None
    message: str
    transient: bool
    table_scoped: bool = False
    hint: str = ""
