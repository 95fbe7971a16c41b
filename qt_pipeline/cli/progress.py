"""The progress display in a terminal.

Here: the display. Not here: the figures, and progress in the log without a terminal (see telemetry).
"""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn
from rich.progress import Progress as Display

from qt_pipeline.telemetry import LoadStage, Progress, ProgressCallback

_STAGE_LABELS = {
    LoadStage.DOWNLOAD: "downloading",
    LoadStage.READ: "reading",
    LoadStage.STAGE: "staging",
    LoadStage.PUBLISH: "publishing",
}


@contextmanager
def progress_display() -> Generator[ProgressCallback | None]:
    """Show the progress of the block on standard error; yields None if that is not a terminal."""
    console = Console(stderr=True, emoji=False)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
    )
    with Display(*columns, console=console, transient=True) as display:
        yield _ProgressDisplay(display)


class _ProgressDisplay:
    def __init__(self, display: Display) -> None:
        self._display = display
        self._task = display.add_task("", start=False, rows="")
        self._stage: LoadStage | None = None
        self._began = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.stage is not self._stage:
            self._stage, self._began = progress.stage, time.monotonic()
            self._display.reset(self._task, description=_STAGE_LABELS[progress.stage], total=progress.total_bytes)
        # Publishing works within the database: there are no bytes to count.
        publishing = progress.stage is LoadStage.PUBLISH
        done = progress.total_bytes if publishing and progress.total_bytes else progress.bytes
        self._display.update(self._task, completed=done, rows=self._rows(progress))

    def _rows(self, progress: Progress) -> str:
        seconds = time.monotonic() - self._began
        if not progress.rows:
            return ""
        speed = f" ({progress.rows / seconds:,.0f}/s)" if progress.stage is LoadStage.STAGE and seconds else ""
        return f"{progress.rows:,} rows{speed}"
