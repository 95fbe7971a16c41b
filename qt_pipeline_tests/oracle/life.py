"""What happens to the datasets of one target: steps as plain data, which can be printed, cut and led again.

Here: the steps. Not here: how they are made up (see generate), led (see stage) or cut (see shrink).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Rules:
    """The catalog says this of the dataset from now on."""

    dataset: int
    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Load:
    """A file comes. `seq` is "next", or "older" than what was loaded; `dry`: a dry run goes before it."""

    dataset: int
    data: bytes
    seq: str = "next"
    force: bool = False
    dry: bool = True


@dataclass(frozen=True)
class Made:
    """Somebody makes a table of the dataset's table name, columns with their SQL types, and rows of SQL literals."""

    dataset: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Hand:
    """Somebody does something to the dataset's table: `what` names it, `detail` is a name or a type."""

    dataset: int
    what: str
    detail: str = ""


@dataclass(frozen=True)
class Restore:
    """An earlier load is restored: that many lines of the dataset's ledger back."""

    dataset: int
    back: int


Step: TypeAlias = Rules | Load | Made | Hand | Restore


@dataclass(frozen=True)
class Life:
    """The steps of some datasets on one target. `block`: the bytes that the reader parses at a time; 0 is its own."""

    target: str
    block: int
    steps: tuple[Step, ...] = field(default=())

    def but(self, steps: tuple[Step, ...]) -> "Life":
        return replace(self, steps=steps)

    def __str__(self) -> str:
        lines = [f"    {step!r}," for step in self.steps]
        return "\n".join([f"Life({self.target!r}, {self.block}, (", *lines, "))"])
