"""A landed file and its manifest.

Here: the manifest, opening the file, and verifying it against its hash. Not here: how it is written (see draft).
"""

import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from qt_pipeline.errors import FailureScope, PermanentError
from qt_pipeline.landing.store import Folder, uri_of, write_atomically

DATA = "data.csv.zst"
"""The name of every stored file."""
MANIFEST = "manifest.json"
"""The name of every manifest."""
COMPRESSION = "zstd"
"""The compression of the stored file."""
_CHUNK = 1 << 20


class Source(BaseModel):
    """The original of a manually landed file: its location, and when it was last modified."""

    model_config = ConfigDict(frozen=True)

    uri: str
    modified_at: datetime


class Manifest(BaseModel):
    """The manifest of a landed file. `bytes` and `sha256` are of the CSV as it arrived, not of the stored file.

    `through_seq` is the highest event number that the inbox `inbox_id` held for the dataset when the download began:
    the file includes at least what those events announced. `waiting_since` is when the first of them arrived that no
    load had settled by then. A manually landed file has a `source`, and belongs to no inbox.
    """

    model_config = ConfigDict(frozen=True)

    dataset_id: str
    number: int
    run_id: str
    trace_id: str
    inbox_id: str
    through_seq: int
    event_id: str | None
    sha256: str
    bytes: int
    stored_bytes: int
    landed_at: datetime
    waiting_since: datetime | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """A complete landing: its manifest and its folder."""

    manifest: Manifest
    folder: Folder

    @property
    def uri(self) -> str:
        """The stored file, for people: `zstd -dc` prints it."""
        return uri_of(self.folder / DATA)

    @property
    def is_manual(self) -> bool:
        """Whether a person landed the file; otherwise it was downloaded."""
        return self.manifest.source is not None

    def open(self) -> BinaryIO:
        """Open the CSV, decompressed, from its beginning."""
        stored = (self.folder / DATA).open("rb")
        source = pa.CompressedInputStream(pa.PythonFile(cast("io.IOBase", stored), mode="r"), COMPRESSION)
        return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", source), buffer_size=1 << 20))

    def verify(self) -> None:
        """Check that the stored file is still what was landed; reads it from beginning to end.

        Raises:
            LandedFileChangedError: it is not.
        """
        digest = hashlib.sha256()
        try:
            with self.open() as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except OSError:
            # It does not decompress, or is gone.
            unreadable = True
        else:
            unreadable = False
        if unreadable or digest.hexdigest() != self.manifest.sha256:
            reason = ": it cannot be read" if unreadable else ""
            raise LandedFileChangedError(
                f"The landed file {self.uri} is no longer what was landed{reason}.",
                hint="Restore it from a backup, or choose another load.",
                dataset_id=self.manifest.dataset_id,
            )

    def write_beside(self, name: str, text: str) -> None:
        """Write a text about the landed file into its folder."""
        write_atomically(self.folder / name, text)


class LandedFileChangedError(PermanentError):
    """The content of a stored file differs from what was landed."""

    scope = FailureScope.LANDING


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why and by which run a file is landed; see `Manifest`."""

    run_id: str
    trace_id: str
    inbox_id: str
    through_seq: int
    event_id: str | None
    waiting_since: datetime | None = None
    source: Source | None = None
