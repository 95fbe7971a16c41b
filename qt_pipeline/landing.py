"""The raw bytes of every download, kept unchanged: a local folder, or any store that fsspec can write.

Here: how a download becomes a landed file with a manifest, and how landed files are found again.
Not here: what is in them (see tabular), who downloads (see ingest).

A landing is a folder `<dataset id>/<number>-<run>` with `data.csv.zst` and, written last, `manifest.json`: without a
manifest it does not count.
"""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast
from uuid import uuid4

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from qt_pipeline.errors import Concern, ConfigurationError, PermanentError, PipelineError, TransientError
from qt_pipeline.values import utc_now

if TYPE_CHECKING:
    from upath import UPath

Folder: TypeAlias = "Path | UPath"

_DATA = "data.csv.zst"
_MANIFEST = "manifest.json"
_COMPRESSION = "zstd"
_RUN_LETTERS = 8
_CHUNK = 1 << 20
_FOLDER = re.compile(r"(?P<number>[0-9]{8,})-.+")


class Manifest(BaseModel):
    """What is known of a landed file. `bytes` and `sha256` are of the CSV as it was served, not of the stored file.

    `through_seq` is the highest event sequence that the inbox `inbox_id` held for the dataset when the download began:
    the file shows at least what those events announced. `waiting_since` is when the first of them came that no load had
    settled by then.
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


@dataclass(frozen=True, slots=True)
class Landed:
    """A complete landing: its manifest and where it is."""

    manifest: Manifest
    folder: Folder

    @property
    def uri(self) -> str:
        """The stored file, for people: `zstd -dc` shows it."""
        return str(self.folder / _DATA)

    def open(self) -> BinaryIO:
        """Open the CSV, decompressed, from its beginning."""
        stored = (self.folder / _DATA).open("rb")
        source = pa.CompressedInputStream(pa.PythonFile(cast("io.IOBase", stored), mode="r"), _COMPRESSION)
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
                todo="Bring it back from a backup, or take another load.",
                dataset_id=self.manifest.dataset_id,
            )

    def write_beside(self, name: str, text: str) -> None:
        """Keep a text about the landed file in its folder."""
        _write_at_once(self.folder / name, text)


class NothingLandedError(PermanentError):
    """There is no complete landing to load."""


class LandedFileChangedError(PermanentError):
    """A stored file has another content than the one that was landed."""

    concerns = Concern.LANDING


class LandingUnavailableError(TransientError):
    """The store refuses to take a file: a disk that is full, most often."""

    concerns = Concern.LANDING


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why and by whom a file is landed; see `Manifest`."""

    run_id: str
    trace_id: str
    inbox_id: str
    through_seq: int
    event_id: str | None
    waiting_since: datetime | None = None


class Landing:
    """All landed files below `url`, a folder or an fsspec URL."""

    def __init__(self, url: str) -> None:
        self._root = _root(url)

    @contextmanager
    def draft(self, dataset_id: str, run_id: str) -> Generator["Draft"]:
        """A new landing that counts only once `Draft.commit` has been called; otherwise nothing of it stays.

        Raises (all of a draft's methods, too):
            LandingUnavailableError: the store does not take it.
        """
        folders = self._folders(dataset_id)
        for _, folder in folders:
            # One run per dataset at a time: what is not complete was left by one that died.
            if not (folder / _MANIFEST).exists():
                _remove(folder)
        number = 1 + max((number for number, _ in folders), default=0)
        folder = self._root / dataset_id / f"{number:08d}-{run_id[:_RUN_LETTERS]}"
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=False)
        draft = Draft(dataset_id=dataset_id, number=number, folder=folder)
        try:
            yield draft
        finally:
            if not (folder / _MANIFEST).exists():
                _remove(folder)

    def probe(self) -> int | None:
        """Write a file, read it back and delete it; the bytes that are free there, or None where that is not known.

        Raises:
            LandingUnavailableError: one of the three does not work.
            ConfigurationError: nothing that is installed can reach the store.
        """
        file = self._root / f".qt-probe-{uuid4().hex}"
        try:
            with _explained(self._root):
                self._root.mkdir(parents=True, exist_ok=True)
                _write_and_delete(file)
        except PipelineError:
            raise
        except ImportError:
            raise _unknown_store(str(self._root).partition("://")[0]) from None
        except Exception as error:  # noqa: BLE001  # each store has errors of its own, whose words may show its keys
            raise LandingUnavailableError(
                f"The landing {self._root} cannot be used ({type(error).__name__}).",
                todo="Check QT_LANDING_URL, and that this process may read, write and delete there.",
            ) from None
        return shutil.disk_usage(self._root).free if isinstance(self._root, Path) else None

    def newest(self, dataset_id: str) -> Landed:
        """The newest complete landing of a dataset.

        Raises:
            NothingLandedError: there is none.
        """
        landed = next(self.complete(dataset_id), None)
        if landed is None:
            raise NothingLandedError(
                "No landed file was found.",
                todo="Materialize both assets, to download it first.",
                dataset_id=dataset_id,
            )
        return landed

    def of_run(self, dataset_id: str, run_id: str) -> Landed | None:
        """The complete landing that a run made, if it made one."""
        its_own = (found for found in self.complete(dataset_id, run_id) if found.manifest.run_id == run_id)
        return next(its_own, None)

    def datasets(self) -> list[str]:
        """The ids of all datasets that may have landed files."""
        return sorted(home.name for home in self._root.iterdir() if home.is_dir()) if self._root.exists() else []

    def remove(self, landed: Landed) -> None:
        """Delete a landed file and all that is beside it. What a crash leaves of it does not count any more."""
        with _explained(landed.folder):
            (landed.folder / _MANIFEST).unlink(missing_ok=True)
            _remove(landed.folder)

    def complete(self, dataset_id: str, run_id: str = "") -> Iterator[Landed]:
        """Complete landings, newest first; with `run_id` those that may be of that run."""
        for _, folder in sorted(self._folders(dataset_id), key=lambda entry: entry[0], reverse=True):
            manifest = folder / _MANIFEST
            if folder.name.endswith(run_id[:_RUN_LETTERS]) and manifest.exists():
                yield Landed(Manifest.model_validate_json(manifest.read_text(encoding="utf-8")), folder)

    def _folders(self, dataset_id: str) -> list[tuple[int, Folder]]:
        home = self._root / dataset_id
        if not home.exists():
            return []
        found = ((_FOLDER.fullmatch(folder.name), folder) for folder in home.iterdir())
        return [(int(match["number"]), folder) for match, folder in found if match]


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
        with _explained(self._folder):
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
                stored_bytes=(self._folder / _DATA).stat().st_size,
                landed_at=utc_now(),
                waiting_since=provenance.waiting_since,
            )
            _write_at_once(self._folder / _MANIFEST, manifest.model_dump_json(indent=2))
        return Landed(manifest, self._folder)


class Sink:
    """Compresses what is written, and knows its size and hash."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        with _explained(folder):
            self._stored = (folder / _DATA).open("wb")
        into = pa.PythonFile(cast("io.IOBase", self._stored), mode="w")
        self._compressed = pa.CompressedOutputStream(into, _COMPRESSION)
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Take the next bytes of the CSV."""
        self._hash.update(data)
        with _explained(self._folder):
            self._compressed.write(data)
        self.bytes += len(data)
        return len(data)

    def finish(self) -> None:
        """Write what compression still holds back."""
        with _explained(self._folder):
            with self._stored:
                self._compressed.close()
            _sync(self._folder / _DATA)

    @property
    def sha256(self) -> str:
        """The hash of the CSV so far."""
        return self._hash.hexdigest()


def _root(url: str) -> Folder:
    if "://" not in url:
        return Path(url)
    # A tenth of a second at the start of each run, for those alone who land elsewhere than in a local folder.
    from upath import UPath  # noqa: PLC0415

    try:
        return UPath(url)
    except ValueError:
        raise _unknown_store(url.partition("://")[0]) from None


def _unknown_store(scheme: str) -> ConfigurationError:
    return ConfigurationError(
        f"Nothing that is installed can reach a landing at {scheme}://.",
        todo="Install what fsspec needs for it (adlfs for az:// and abfs://, s3fs for s3://), or name a folder in "
        "QT_LANDING_URL.",
    )


def _write_and_delete(file: Folder) -> None:
    content = file.name.encode()
    try:
        file.write_bytes(content)
        if file.read_bytes() != content:
            raise OSError("it gives back other bytes than were written")
    finally:
        with suppress(FileNotFoundError):
            file.unlink()


@contextmanager
def _explained(folder: Folder) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise LandingUnavailableError(
            f"The landing {folder} cannot be written: {error.strerror or type(error).__name__}.",
            todo="Check that there is space and that this user may write there; then it will be tried again.",
        ) from None


def _write_at_once(path: Folder, text: str) -> None:
    """Write a file so that it is there whole, or not at all, also after a power cut."""
    if not isinstance(path, Path):
        # An object store shows an object only when it is complete.
        path.write_text(text, encoding="utf-8")
        return
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    _sync(part)
    part.replace(path)
    _sync(path.parent)
    _sync(path.parent.parent)


def _sync(path: Folder) -> None:
    if isinstance(path, Path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(folder: Folder) -> None:
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        # An object store knows no empty folder.
        folder.rmdir(recursive=True)
