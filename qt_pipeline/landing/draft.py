"""A landing in the making: the file is compressed while it comes, and the manifest is written last.

Here: that order. Not here: which drafts are left over, and what is complete (see landing).
"""

import hashlib
import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import pyarrow as pa

from qt_pipeline.landing.landed import COMPRESSION, DATA, MANIFEST, Landed, Manifest, Provenance
from qt_pipeline.landing.store import Folder, explained, open_private, sync, write_at_once
from qt_pipeline.values import utc_now


class Draft:
    """A landing in the making."""

    def __init__(self, *, dataset_id: str, number: int, folder: Folder) -> None:
        self._dataset_id = dataset_id
        self._number = number
        self._folder = folder
        self._sink: Sink | None = None

    @contextmanager
    def sink(self) -> Generator["Sink"]:
        """Where one try of a download writes the CSV. Each call begins the file anew."""
        self._sink = None
        sink = Sink(self._folder)
        try:
            yield sink
        finally:
            sink.finish()
        self._sink = sink

    def commit(self, provenance: Provenance) -> Landed:
        """Write the manifest: from here on the landing counts."""
        if self._sink is None:
            raise RuntimeError("A landing is committed after its sink has been left without an error.")
        with explained(self._folder):
            manifest = Manifest(
                dataset_id=self._dataset_id,
                number=self._number,
                run_id=provenance.run_id,
                trace_id=provenance.trace_id,
                inbox_id=provenance.inbox_id,
                through_seq=provenance.through_seq,
                event_id=provenance.event_id,
                sha256=self._sink.sha256,
                bytes=self._sink.bytes,
                stored_bytes=(self._folder / DATA).stat().st_size,
                landed_at=utc_now(),
                waiting_since=provenance.waiting_since,
                source=provenance.source,
            )
            write_at_once(self._folder / MANIFEST, manifest.model_dump_json(indent=2))
        return Landed(manifest, self._folder)


class Sink:
    """Compresses what is written, and knows its size and hash."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        with explained(folder):
            self._stored = open_private(folder / DATA)
        into = pa.PythonFile(cast("io.IOBase", self._stored), mode="w")
        self._compressed = pa.CompressedOutputStream(into, COMPRESSION)
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Take the next bytes of the CSV."""
        self._hash.update(data)
        with explained(self._folder):
            self._compressed.write(data)
        self.bytes += len(data)
        return len(data)

    def finish(self) -> None:
        """Write what compression still holds back."""
        with explained(self._folder):
            with self._stored:
                self._compressed.close()
            sync(self._folder / DATA)

    @property
    def sha256(self) -> str:
        """The hash of the CSV so far."""
        return self._hash.hexdigest()
