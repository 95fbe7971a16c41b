"""Creates files and folders that only their owner can access, whatever the umask: they hold rows and secrets."""

import os
import stat
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_UMASK = 0o077
_OTHERS = 0o077


def keep_private() -> None:
    """Set the umask so that all files of this process and its child processes are accessible to the owner only."""
    os.umask(_UMASK)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if missing. Existing folders keep their mode."""
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(FOLDER_MODE, exist_ok=True)
        # The umask reduces the mode of mkdir, and may remove rights of the owner.
        path.chmod(FOLDER_MODE)


def make_file(file: Path) -> None:
    """Make an empty file, if it is missing. One that is there is not opened.

    Whoever closes a file gives up all locks that its process has on it, those of SQLite's open connections among them.
    Without these, another process takes itself for the last one and removes the journal that they still read.
    """
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, FILE_MODE))


def opener(path: str, flags: int) -> int:
    """An opener for `open` that creates private files."""
    return os.open(path, flags, FILE_MODE)


def mode_for_others(path: Path) -> int | None:
    """The mode of a path that other users can access; None if they cannot, or if the path is missing."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return mode if mode & _OTHERS else None
