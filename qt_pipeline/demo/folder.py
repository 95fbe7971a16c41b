"""The folder of a demo, its lock, and how other commands find the running demo.

Here: the lock and the path of the settings file. Not here: the content of that file (see stack).
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qt_pipeline.demo.errors import DemoError
from qt_pipeline.private import FILE_MODE, make_folder
from qt_pipeline.settings import PROJECT_ROOT

DEMO_FOLDER = PROJECT_ROOT / ".qt" / "demo"
"""The state of `make demo`, separate from the user's own settings and state."""
_LOCK = "demo.lock"


def env_file_of(folder: Path) -> Path:
    """The settings file of the demo that runs in a folder; it exists while the demo runs."""
    return folder / "demo.env"


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Lock the folder: two demos would load into the same tables.

    Raises:
        DemoError: a demo already runs in the folder.
    """
    make_folder(folder)
    try:
        with FileLock(folder / _LOCK, blocking=False, mode=FILE_MODE):
            yield
    except Timeout:
        raise DemoError(
            f"A demo is already running in {folder}.", hint="Stop it first, with Ctrl-C in its terminal."
        ) from None


def running_demo(folder: Path = DEMO_FOLDER) -> Path | None:
    """The settings file of the demo that runs in a folder; None if none does."""
    if not env_file_of(folder).exists():
        return None
    try:
        with held(folder):
            return None  # The demo was killed and left its settings file.
    except DemoError:
        return env_file_of(folder)
