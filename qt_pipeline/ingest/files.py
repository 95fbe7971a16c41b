"""A file that is to be loaded: one of this machine, or one of the landing, into which the former is copied first.

Here: how it is opened, and what the ledger is to know of it. Not here: loading it (see load).
"""

import hashlib
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.landing import Landed, Landing, Provenance, Source
from qt_pipeline.tabular import OpenStream
from qt_pipeline.telemetry import ProgressCallback, ProgressLogger, ProgressTracker, span

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file to be loaded: how it is opened, and what the ledger is to know of it. `sha256` is of the CSV.

    `landed_at` says from when its data are: a download shows them as they were when it was landed; a file by hand is as
    old as its last change, whenever somebody loads it, and what comes out of a pipe is new. By it rows of many files
    are told apart, and staleness is told.
    `restores_load_id` is the load that had published it before, where a person wants it back; see `restore`.
    """

    open: OpenStream
    uri: str
    sha256: str
    bytes: int
    landed_at: datetime
    run_id: str
    landing_run_id: str
    inbox_id: str = ""
    through_seq: int = 0
    event_id: str | None = None
    restores_load_id: int | None = None


def local_file(path: Path, *, run_id: str, observe: ProgressCallback | None = None) -> CsvFile:
    """A CSV file on this machine, to be tried where it is; it is read once for its hash. `observe`: see `load_file`.

    Raises:
        ConfigurationError: it cannot be read, or only once: a trial reads it twice.
    """
    with _readable(path):
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ConfigurationError(
                f"{path} is not a regular file and can be read only once, which is not enough for a dry run.",
                hint="Save what comes from the pipe as a file, and name that.",
            )
    digest, size = hashlib.sha256(), 0
    with _opened(path, observe) as stream:
        for chunk in _chunks(path, stream):
            digest.update(chunk)
            size += len(chunk)
    source = _source(path)
    return CsvFile(
        open=lambda: path.open("rb"),
        uri=source.uri,
        sha256=digest.hexdigest(),
        bytes=size,
        landed_at=source.modified_at,
        run_id=run_id,
        landing_run_id=run_id,
    )


def land_manually(
    landing: Landing, dataset_id: str, path: Path, *, run_id: str, observe: ProgressCallback | None = None
) -> Landed:
    """Copy a file of this machine into the landing, in one read. `run_id` begins with `MANUAL`.

    It settles no event: nobody knows what was announced when it was written. `observe`: see `load_file`.

    Raises:
        ConfigurationError: it cannot be read; nothing is landed.
        LandingUnavailableError: the landing does not take it.
    """
    # Opened first: of a file that is not there, no trace shall be made.
    with span("land"), _opened(path, observe) as stream, landing.draft(dataset_id, run_id) as draft:
        source = _source(path)
        with draft.sink() as sink:
            for chunk in _chunks(path, stream):
                sink.write(chunk)
        return draft.commit(
            Provenance(run_id=run_id, trace_id=run_id, inbox_id="", through_seq=0, event_id=None, source=source)
        )


def landed_file(landed: Landed, run_id: str) -> CsvFile:
    """A file of the landing, for the load of a run or one by hand."""
    manifest = landed.manifest
    return CsvFile(
        open=landed.open,
        uri=landed.uri,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        landed_at=manifest.source.modified_at if manifest.source else manifest.landed_at,
        run_id=run_id,
        landing_run_id=manifest.run_id,
        inbox_id=manifest.inbox_id,
        through_seq=manifest.through_seq,
        event_id=manifest.event_id,
    )


def _source(path: Path) -> Source:
    with _readable(path):
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            return Source(uri=path.resolve().as_uri(), modified_at=datetime.fromtimestamp(status.st_mtime, UTC))
    # A pipe is as old as the command that made it, which says nothing of its data; behind /dev/stdin it has no path.
    return Source(uri=path.absolute().as_uri(), modified_at=datetime.now(UTC))


def _opened(path: Path, observe: ProgressCallback | None) -> BinaryIO:
    with _readable(path):
        meter = ProgressTracker(observe or ProgressLogger(path.name), total_bytes=path.stat().st_size or None)
        return meter.opening(lambda: path.open("rb"))()


def _chunks(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    with _readable(path):
        while chunk := stream.read(_CHUNK):
            yield chunk


@contextmanager
def _readable(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", hint="Name a CSV file.") from None
