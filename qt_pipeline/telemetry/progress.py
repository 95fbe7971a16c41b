"""Progress of the stages of long work.

Here: the figures, counting them, and logging them every few seconds.
Not here: a display at a terminal (see the command line).
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import BinaryIO, Protocol, Self, TypeAlias, TypeVar, cast

_SECONDS = 5
_THOUSAND = 1000
_TWO_DIGITS = 10
_log = logging.getLogger(__name__)


class LoadStage(StrEnum):
    """The stages of a load. `READ` profiles a whole file before, or instead of, staging its rows."""

    DOWNLOAD = "download"
    READ = "read"
    STAGE = "stage"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Progress:
    """The figures of one stage so far. `total_bytes` is None if unknown."""

    stage: LoadStage
    bytes: int = 0
    total_bytes: int | None = None
    rows: int = 0


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Called for each chunk and batch, in any thread, one call at a time: it must be fast."""


class _Sized(Protocol):
    def __len__(self) -> int: ...


class _ByteSink(Protocol):
    def write(self, data: bytes, /) -> object: ...


Sized = TypeVar("Sized", bound=_Sized)
Open: TypeAlias = Callable[[], BinaryIO]
OpenSink: TypeAlias = Callable[[], AbstractContextManager[_ByteSink]]


class ProgressTracker:
    """Counts bytes and rows per stage, for a callback."""

    def __init__(self, observe: ProgressCallback, *, total_bytes: int | None = None) -> None:
        self._observe = observe
        self._total_bytes = total_bytes
        self._stage = LoadStage.READ
        # Each is written by one thread: bytes are read ahead of the rows that are made of them.
        self._bytes = 0
        self._rows = 0
        self._telling = Lock()

    def enter(self, stage: LoadStage, *, rows: int = 0) -> None:
        """Begin a stage."""
        self._stage, self._bytes, self._rows = stage, 0, rows
        self._report()

    def opening(self, open_: Open) -> Open:
        """The same file; what is read of it counts."""
        return lambda: cast("BinaryIO", _Watched(open_(), self._add_bytes))

    def sinking(self, open_sink: OpenSink) -> OpenSink:
        """The same sink; what is written to it counts, from the beginning for each that is opened."""

        @contextmanager
        def opened() -> Generator[_ByteSink]:
            with open_sink() as sink:
                self.enter(self._stage)
                yield _Counting(sink, self._add_bytes)

        return opened

    def counting(self, batches: Iterable[Sized]) -> Iterator[Sized]:
        """The same rows, counted."""
        for some in batches:
            yield some
            self._rows += len(some)
            self._report()

    def _add_bytes(self, number: int) -> None:
        self._bytes += number
        self._report()

    def _report(self) -> None:
        with self._telling:
            self._observe(Progress(self._stage, self._bytes, self._total_bytes, self._rows))


class _Watched:
    """As much of a file as its readers use."""

    def __init__(self, stream: BinaryIO, add: Callable[[int], None]) -> None:
        self._stream = stream
        self._add = add

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.__exit__(*error)  # pyright: ignore[reportArgumentType]  # passed on as it came

    def __iter__(self) -> Iterator[bytes]:
        # Whoever goes through the lines looks for a fault; that is no progress.
        return iter(self._stream)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._add(len(data))
        return data


class _Counting:
    def __init__(self, sink: _ByteSink, add: Callable[[int], None]) -> None:
        self._sink = sink
        self._add = add

    def write(self, data: bytes, /) -> None:
        self._sink.write(data)
        self._add(len(data))


class ProgressLogger:
    """Logs the progress of `subject` every five seconds; short work logs nothing."""

    def __init__(
        self, subject: str, *, say: Callable[[str], None] = _log.info, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._subject = subject
        self._say = say
        self._clock = clock
        self._began = clock()
        self._logged: Progress | None = None
        self._logged_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Log the progress if five seconds have passed."""
        now, logged = self._clock(), self._logged
        if logged is None or logged.stage is not progress.stage or progress.bytes < logged.bytes:
            self._logged, self._logged_at = progress, now
            # One transaction, which reports no progress.
            if progress.stage is LoadStage.PUBLISH and now - self._began >= _SECONDS:
                self._say(f"{self._subject}: publishes {progress.rows:,} rows.")
        elif now - self._logged_at >= _SECONDS and progress.stage is not LoadStage.PUBLISH:
            self._say(f"{self._subject}: {_so_far(logged, progress, now - self._logged_at)}.")
            self._logged, self._logged_at = progress, now


def _so_far(before: Progress, now: Progress, seconds: float) -> str:
    if now.stage is LoadStage.STAGE:
        part = f", {100 * now.bytes // now.total_bytes} % of the file" if now.total_bytes else ""
        return f"staged {now.rows:,} rows ({(now.rows - before.rows) / seconds:,.0f}/s){part}"
    verb = "downloaded" if now.stage is LoadStage.DOWNLOAD else "read"
    whole = f" of {_size(now.total_bytes)}" if now.total_bytes else ""
    return f"{verb} {_size(now.bytes)}{whole} ({_size((now.bytes - before.bytes) / seconds)}/s)"


def _size(number: float) -> str:
    """A number of bytes as text, with two or three digits."""
    if number < _THOUSAND:
        return f"{number:.0f} bytes"
    thousands = min(int(math.log10(number)) // 3, 3)
    size, unit = number / _THOUSAND**thousands, " kMG"[thousands]
    return f"{size:,.0f} {unit}B" if size >= _TWO_DIGITS else f"{size:.1f} {unit}B"
