"""Loaders in processes of their own, to be killed.

Run as a script, this is one process that forks a loader for each line of its input: starting Python anew for each would
take most of a test's time. `load` loads `TWO` once; `load until N` does and dies at SQLite's N-th tick (0: never);
`die at X` dies there, see `DEATHS`; `go on` loads for ever.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Table, event

from qt_pipeline.warehouse import Warehouse, open_warehouse, postgres, sqlite
from qt_pipeline_tests.warehouse.engines import Engine, watched_by
from qt_pipeline_tests.warehouse.loading import load

ONE = b"Name,Paid\n" + b"Ann,1.00\n" * 2000
TWO = b"Name,Paid\n" + b"Bob,2.50\n" * 1500


class Loaders:
    """The process that forks them, seen from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def ask(self, request: str) -> int:
        self._requests.write(request + "\n")
        self._requests.flush()
        return self.answer()

    def answer(self) -> int:
        return int(self._answers.readline())


@contextmanager
def loaders_for(engine: Engine) -> Iterator[Loaders]:
    """Loaders of the table in this place; none outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, engine.url, engine.schema or ""],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        loaders = Loaders(process)
        try:
            assert loaders.answer() == 0
            yield loaders
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DiesBeforeItPublishes:
    def publishing(self, stage: Table) -> Any:  # noqa: ARG002  # see Target
        die()


class DiesBeforeItCommits:
    @contextmanager
    def publishing(self: Any, stage: Table) -> Iterator[Connection]:
        with super().publishing(stage) as connection:
            yield connection
            die()


class DiesAfterItHasPublished:
    @contextmanager
    def publishing(self: Any, stage: Table) -> Iterator[Connection]:
        with super().publishing(stage) as connection:
            yield connection
        die()


class DiesInTheMiddleOfStaging:
    def stage(self: Any, stage: Table, batches: Iterable[Any], *, becomes_table: bool) -> int:
        def some() -> Iterator[Any]:
            yield from batches
            die()

        return super().stage(stage, some(), becomes_table=becomes_table)


DEATHS = {
    "staging": DiesInTheMiddleOfStaging,
    "publish": DiesBeforeItPublishes,
    "commit": DiesBeforeItCommits,
    "end": DiesAfterItHasPublished,
}


def load_until(warehouse: Warehouse, last_tick: int) -> int:
    """Load `TWO`; how many ticks that took, unless the process dies at the last one allowed."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == last_tick:
            die()

    def watch(connection: Any, _record: object) -> None:
        # SQLite counts its own steps: the process dies in the middle of a statement, at the same place each time.
        connection.set_progress_handler(tick, 1000)

    engine: Any = warehouse._target._engine
    event.listen(engine, "connect", watch)
    engine.dispose()
    load(warehouse, TWO)
    return ticks


def load_for_ever(warehouse: Warehouse) -> None:
    tell(os.getpid())
    while True:
        load(warehouse, TWO)
        load(warehouse, ONE)


def answer(request: str, warehouse: Warehouse) -> int:
    match request.split():
        case ["go", "on"]:
            load_for_ever(warehouse)
        case ["die", "at", place]:
            load(watched_by(warehouse, DEATHS[place]), TWO)
        case ["load", "until", tick]:
            return load_until(warehouse, int(tick))
        case ["load"]:
            load(warehouse, TWO)
    return 0


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main(url: str, schema: str) -> None:
    # Imported here already, so that no loader has to.
    assert sqlite
    assert postgres
    tell(0)
    for request in sys.stdin:
        loader = os.fork()
        if loader == 0:
            tell(answer(request, open_warehouse(url, schema or None)))
            os._exit(0)
        _, status = os.waitpid(loader, 0)
        if status:
            tell(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
