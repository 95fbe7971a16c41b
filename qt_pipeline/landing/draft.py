"""Write a landing: the file is compressed as it arrives, and the manifest is written last.

Here: that order. Not here: which drafts are abandoned, and which landings are complete (see landing).
"""

import hashlib
import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import pyarrow as pa

from qt_pipeline.landing.landed import COMPRESSION, DATA, MANIFEST, Landed, Manifest, Provenance
from qt_pipeline.landing.store import Folder, mapped_errors, open_private, sync, write_atomically
from qt_pipeline.values import utc_now


class Draft:
    """A landing that is being written."""

    def __init__(self, *, dataset_id: str, number: int, folder: Folder) -> None:
        self._dataset_id = dataset_id
        self._number = number
        self._folder = folder
        self._sink: Sink | None = None

    @contextmanager
    def sink(self) -> Generator["Sink"]:
        """The sink for one attempt of a download. Each call starts the file over."""
        self._sink = None
        sink = Sink(self._folder)
        try:
            yield sink
        finally:
            sink.finish()
        self._sink = sink

    def commit(self, provenance: Provenance) -> Landed:
        """Write the manifest, which makes the landing complete."""
        if self._sink is None:
            raise RuntimeError("A landing can be committed only after its sink was closed without an error.")
        with mapped_errors(self._folder):
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
            write_atomically(self._folder / MANIFEST, manifest.model_dump_json(indent=2))
        return Landed(manifest, self._folder)


class Sink:
    """Compresses what is written, and computes its size and hash."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        with mapped_errors(folder):
            self._stored = open_private(folder / DATA)
        buffer = pa.PythonFile(cast("io.IOBase", self._stored), mode="w")
        self._compressed = pa.CompressedOutputStream(buffer, COMPRESSION)
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Write the next bytes of the CSV."""
        self._hash.update(data)
        with mapped_errors(self._folder):
            self._compressed.write(data)
        self.bytes += len(data)
        return len(data)

    def finish(self) -> None:
        """Flush the compressor and close the file."""
        with mapped_errors(self._folder):
            with self._stored:
                self._compressed.close()
            sync(self._folder / DATA)

    @property
    def sha256(self) -> str:
        """The hash of the CSV so far."""
        return self._hash.hexdigest()
