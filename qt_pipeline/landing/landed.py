"""A landed file and its manifest.

Here: what is known of it, how it is opened and held against its hash. Not here: how it came to be (see draft).
"""

import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from qt_pipeline.errors import FailureScope, PermanentError
from qt_pipeline.landing.store import Folder, uri_of, write_at_once

DATA = "data.csv.zst"
"""The name of every stored file."""
MANIFEST = "manifest.json"
"""The name of every manifest."""
COMPRESSION = "zstd"
"""How the stored file is compressed."""
_CHUNK = 1 << 20


class Source(BaseModel):
    """The file that somebody landed by hand: where it was, and when it had last been changed."""

    model_config = ConfigDict(frozen=True)

    uri: str
    modified_at: datetime


class Manifest(BaseModel):
    """What is known of a landed file. `bytes` and `sha256` are of the CSV as it came, not of the stored file.

    `through_seq` is the highest event sequence that the inbox `inbox_id` held for the dataset when the download began:
    the file shows at least what those events announced. `waiting_since` is when the first of them came that no load had
    settled by then. A file that was landed by hand has a `source`, and belongs to no inbox.
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
    """A complete landing: its manifest and where it is."""

    manifest: Manifest
    folder: Folder

    @property
    def uri(self) -> str:
        """The stored file, for people: `zstd -dc` shows it."""
        return uri_of(self.folder / DATA)

    @property
    def is_manual(self) -> bool:
        """Whether somebody chose the file; else it was downloaded."""
        return self.manifest.source is not None

    def open(self) -> BinaryIO:
        """Open the CSV, decompressed, from its beginning."""
        stored = (self.folder / DATA).open("rb")
        source = pa.CompressedInputStream(pa.PythonFile(cast("io.IOBase", stored), mode="r"), COMPRESSION)
        return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", source), buffer_size=1 << 20))

    def verify(self) -> None:
        """Return if the stored file still is what was landed; it is read from beginning to end.

        Raises:
            LandedFileChangedError: it is not.
        """
        digest = hashlib.sha256()
        try:
            with self.open() as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except OSError:
            # What no longer unpacks, or is gone.
            unread = True
        else:
            unread = False
        if unread or digest.hexdigest() != self.manifest.sha256:
            raise LandedFileChangedError(
                f"The landed file {self.uri} is not what was landed any more{': it cannot be read' if unread else ''}.",
                hint="Bring it back from a backup, or take another load.",
                dataset_id=self.manifest.dataset_id,
            )

    def write_beside(self, name: str, text: str) -> None:
        """Keep a text about the landed file in its folder."""
        write_at_once(self.folder / name, text)


class LandedFileChangedError(PermanentError):
    """A stored file has another content than the one that was landed."""

    scope = FailureScope.LANDING


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why and by whom a file is landed; see `Manifest`."""

    run_id: str
    trace_id: str
    inbox_id: str
    through_seq: int
    event_id: str | None
    waiting_since: datetime | None = None
    source: Source | None = None
