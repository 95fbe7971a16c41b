"""CSV files to load: local files, and landed files.

Here: how a file is opened, hashed and copied into the landing. Not here: loading it (see loader).
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
    """A CSV file to load: how to open it, and what the ledger records about it. `sha256` is the hash of the CSV.

    `landed_at` is the age of the data. A download is as old as its landing, a manually loaded file as old as its last
    modification, and the output of a pipe is new. Staleness and the order of a table's files follow from it.
    `restores_load_id` is the earlier load that published this file, if a person restores it; see `restore`.
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
    """A CSV file on this machine, for a dry run. It is read once to compute its hash. `observe`: see `load_file`.

    Raises:
        ConfigurationError: the file cannot be read, or only once: a dry run reads it twice.
    """
    with _readable(path):
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ConfigurationError(
                f"{path} is not a regular file and can be read only once, which is not enough for a dry run.",
                hint="Save the output of the pipe to a file, and pass that file.",
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
    """Copy a file from this machine into the landing, in one read. `run_id` begins with `MANUAL`.

    It settles no event: which events its data cover is unknown. `observe`: see `load_file`.

    Raises:
        ConfigurationError: the file cannot be read; nothing is landed.
        LandingUnavailableError: the landing cannot store it.
    """
    # Open first: a missing file must leave no trace in the landing.
    with span("land"), _opened(path, observe) as stream, landing.draft(dataset_id, run_id) as draft:
        source = _source(path)
        with draft.sink() as sink:
            for chunk in _chunks(path, stream):
                sink.write(chunk)
        return draft.commit(
            Provenance(run_id=run_id, trace_id=run_id, inbox_id="", through_seq=0, event_id=None, source=source)
        )


def landed_file(landed: Landed, run_id: str) -> CsvFile:
    """A landed file, for a run or a manual load."""
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
    # A pipe's timestamp is that of the command that made it, not of its data; behind /dev/stdin it has no path.
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
