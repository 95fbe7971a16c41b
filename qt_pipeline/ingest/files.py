"""A file that is to be loaded: one of this machine, or one of the landing.

Here: how it is opened, and what the ledger is to know of it. Not here: loading it (see load).
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.landing import Landed
from qt_pipeline.tabular import OpenStream
from qt_pipeline.telemetry import Meter, Observer, Ticker

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file to be loaded: how it is opened, and what the ledger is to know of it. `sha256` is of the CSV.

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


def local_file(path: Path, *, run_id: str, observe: Observer | None = None) -> CsvFile:
    """A CSV file on this machine, which is read once for its hash. `observe`: see `load_file`.

    Raises:
        ConfigurationError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        meter = Meter(observe or Ticker(path.name), total_bytes=path.stat().st_size)
        with meter.opening(lambda: path.open("rb"))() as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", todo="Name a CSV file.") from None
    return CsvFile(
        open=lambda: path.open("rb"),
        uri=path.resolve().as_uri(),
        sha256=digest.hexdigest(),
        bytes=size,
        landed_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        run_id=run_id,
        landing_run_id=run_id,
    )


def landed_file(landed: Landed, run_id: str) -> CsvFile:
    """A file of the landing, for the load of a run."""
    manifest = landed.manifest
    return CsvFile(
        open=landed.open,
        uri=landed.uri,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        landed_at=manifest.landed_at,
        run_id=run_id,
        landing_run_id=manifest.run_id,
        inbox_id=manifest.inbox_id,
        through_seq=manifest.through_seq,
        event_id=manifest.event_id,
    )
