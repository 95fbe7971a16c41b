"""Detects whether the process of a run on this machine is alive.

Here: an operating system lock per run, which its process holds until it ends in any way. No process id is compared, and
no heartbeat can be late.
Not here: what happens to a run whose process is dead (see dispatch).
"""

import time
from enum import Enum, auto
from pathlib import Path

from filelock import FileLock, Timeout

from qt_pipeline.private import FILE_MODE, make_folder

_SWEEP_SECONDS = 86_400


class Process(Enum):
    """The state of a run's process. `UNKNOWN`: it has not taken the lock yet, or runs on another machine."""

    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()


class RunLocks:
    """The locks of all runs on this machine, as files in one folder."""

    # Held until the process ends: before that, the run may still report events.
    _held: dict[str, FileLock] = {}  # noqa: RUF012  # shared by the whole process

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def acquire(self, run_id: str) -> None:
        """Hold the lock of `run_id` until this process ends. Calling it again changes nothing."""
        if run_id in self._held:
            return
        make_folder(self._folder)
        self._sweep()
        # The file is locked before it gets its name. Otherwise `status` could find an unlocked file, report a run that
        # has just started as dead, and hold the lock that the run requests.
        new_file = self._folder / f"{run_id}.new.lock"
        lock = FileLock(new_file, timeout=0, mode=FILE_MODE)
        lock.acquire()
        new_file.replace(self._path(run_id))
        self._held[run_id] = lock

    def status(self, run_id: str) -> Process:
        """The state of the process of `run_id`."""
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
