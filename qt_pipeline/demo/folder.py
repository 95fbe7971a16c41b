"""The folder of a demo: where it is, whose it is, and how other commands find the demo that runs on it.

Here: the lock on the folder and the path of the file with its settings. Not here: what is in that file (see stack).
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qt_pipeline.demo.errors import DemoError
from qt_pipeline.private import FILE_MODE, make_folder
from qt_pipeline.settings import PROJECT_ROOT

DEMO_FOLDER = PROJECT_ROOT / ".qt" / "demo"
"""Where `make demo` keeps its state: apart from that of the user's own settings, whatever these point at."""
_LOCK = "demo.lock"


def env_file_of(folder: Path) -> Path:
    """The settings of the demo that runs on a folder; there as long as it runs."""
    return folder / "demo.env"


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold the folder: two demos would each find the other's rows in the tables.

    Raises:
        DemoError: a demo runs on it already.
    """
    make_folder(folder)
    try:
        with FileLock(folder / _LOCK, blocking=False, mode=FILE_MODE):
            yield
    except Timeout:
        raise DemoError(f"A demo runs already on {folder}.", hint="End it first, by Ctrl-C in its terminal.") from None


def running_demo(folder: Path = DEMO_FOLDER) -> Path | None:
    """The settings of the demo that runs on a folder; None if none does."""
    if not env_file_of(folder).exists():
        return None
    try:
        with held(folder):
            return None  # It was killed, and left its settings behind.
    except DemoError:
        return env_file_of(folder)
