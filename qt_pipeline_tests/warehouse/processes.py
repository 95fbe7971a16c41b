"""Loaders in processes of their own, to be killed.

Run as a script, this is one process that forks a loader for each line of its input: starting Python anew for each would
take most of a test's time. `load N` loads `TWO` once and dies at SQLite's N-th tick (0: never); `go on` loads for ever.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import event

from qt_pipeline_tests.warehouse.loading import load, open_at

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
def loaders_for(file: Path) -> Iterator[Loaders]:
    """Loaders of the table in `file`; none outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(file)],
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


def load_until(file: Path, last_tick: int) -> int:
    """Load `TWO`; how many ticks that took, unless the process dies at the last one allowed."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == last_tick:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(connection: Any, _record: object) -> None:
        # SQLite counts its own steps: the process dies in the middle of a statement, at the same place each time.
        connection.set_progress_handler(tick, 100)

    warehouse = open_at(file)
    engine: Any = warehouse._target._engine
    event.listen(engine, "connect", watch)
    engine.dispose()
    load(warehouse, TWO)
    return ticks


def load_for_ever(file: Path) -> None:
    warehouse = open_at(file)
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    while True:
        load(warehouse, TWO)
        load(warehouse, ONE)


def main(file: Path) -> None:
    sys.stdout.write("0\n")
    sys.stdout.flush()
    for request in sys.stdin:
        loader = os.fork()
        if loader == 0:
            if request.startswith("go on"):
                load_for_ever(file)
            sys.stdout.write(f"{load_until(file, int(request.split()[1]))}\n")
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(loader, 0)
        if status:
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
