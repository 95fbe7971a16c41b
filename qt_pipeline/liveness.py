"""Which runs have a living process on this machine.

Here: a lock of the operating system for each run, held by its process and released by nothing but its end, however it
ends. So no process id is compared and no heartbeat can be late.
Not here: what is done about a run whose process is gone (see dispatch).
"""

import time
from enum import Enum, auto
from pathlib import Path

from filelock import FileLock, Timeout

from qt_pipeline.private import FILE_MODE, make_folder

_SWEEP_SECONDS = 86_400


class Process(Enum):
    """What is known of a run's process. `UNSEEN`: it has not come as far as to take the lock, or ran elsewhere."""

    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()


class RunLocks:
    """The locks of all runs on this machine, as files in one folder."""

    # Held until the process ends: a run is over only when nothing more can be reported of it.
    _held: dict[str, FileLock] = {}  # noqa: RUF012  # one process, one register

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def acquire(self, run_id: str) -> None:
        """Hold the lock of `run_id` until this process ends. Calling it again changes nothing."""
        if run_id in self._held:
            return
        make_folder(self._folder)
        self._sweep()
        # Locked first and then given its name: a look in between would find a file that nobody holds, call a run that
        # has just begun gone, and itself hold the lock that the run asks for.
        unseen = self._folder / f"{run_id}.new.lock"
        lock = FileLock(unseen, timeout=0, mode=FILE_MODE)
        lock.acquire()
        unseen.replace(self._path(run_id))
        self._held[run_id] = lock

    def status(self, run_id: str) -> Process:
        """What is known of the process of `run_id`."""
        path = self._path(run_id)
        if run_id in self._held:
            return Process.ALIVE
        if not path.exists():
            return Process.UNKNOWN
        return Process.DEAD if _is_free(path) else Process.ALIVE

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.lock"

    def _sweep(self) -> None:
        for path in self._folder.glob("*.lock"):
            if time.time() - path.stat().st_mtime > _SWEEP_SECONDS and _is_free(path):
                path.unlink(missing_ok=True)


def _is_free(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False
