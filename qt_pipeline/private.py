"""Files and folders that only their owner may read, whatever the umask is: local state holds rows and secrets.

Here: how they are made. Not here: what is in them.
"""

import os
import stat
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_UMASK = 0o077
_OTHERS = 0o077


def keep_private() -> None:
    """From now on, whatever this process and those that it starts make is for its owner alone."""
    os.umask(_UMASK)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are missing. What is there keeps its mode."""
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(FOLDER_MODE, exist_ok=True)
        # The mode of mkdir is cut by the umask, which may take the owner's own rights.
        path.chmod(FOLDER_MODE)


def make_file(file: Path) -> None:
    """Make an empty file, if it is missing. One that is there is not opened.

    Whoever closes a file gives up all locks that its process has on it, those of SQLite's open connections among them.
    Without these, another process takes itself for the last one and removes the journal that they still read.
    """
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, FILE_MODE))


def opener(path: str, flags: int) -> int:
    """For `open`: a file that is made is private."""
    return os.open(path, flags, FILE_MODE)


def mode_for_others(path: Path) -> int | None:
    """The mode of a path that others may read, list or change; None if nobody else may, or it is not there."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return mode if mode & _OTHERS else None
