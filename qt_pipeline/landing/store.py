"""Where landings are kept: a folder, or what fsspec can write; and what it means that one of them refuses.

Here: how each is reached, written and cleared. Not here: what a landing is.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from qt_pipeline.errors import ConfigurationError, FailureScope, TransientError
from qt_pipeline.private import make_folder, opener
from qt_pipeline.urls import redacted_url

if TYPE_CHECKING:
    from upath import UPath

Folder: TypeAlias = "Path | UPath"


class LandingUnavailableError(TransientError):
    """The store refuses to take a file: a disk that is full, most often."""

    scope = FailureScope.LANDING


def root_of(url: str) -> Folder:
    """The place that a folder's path or an fsspec URL names.

    Raises:
        ConfigurationError: nobody knows such a URL.
    """
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
        hint="Install what fsspec needs for it (adlfs for az:// and abfs://, s3fs for s3://), or name a folder in "
        "QT_LANDING_URL.",
    )


def uri_of(place: Folder) -> str:
    """Where something is, for people and for the ledger: a path, or a URL with its host and without any secret."""
    text = str(place)
    if isinstance(place, Path):
        return text
    host, port = place.storage_options.get("host"), place.storage_options.get("port")
    if host and "://" in text and not text.partition("://")[2].startswith(str(host)):
        # Some stores leave it out of their paths.
        text = f"{place.protocol}://{host}{f':{port}' if port else ''}/{place.path.lstrip('/')}"
    return redacted_url(text)


def make_private(folder: Folder) -> None:
    """Make a folder, if it is missing; a local one for its owner alone."""
    if isinstance(folder, Path):
        make_folder(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)


def open_private(file: Folder) -> BinaryIO:
    """Open a file to write it anew; a local one is for its owner alone."""
    if isinstance(file, Path):
        return open(file, "wb", opener=opener)  # a path's own takes no opener; the caller closes it
    return file.open("wb")


def write_and_delete(file: Folder) -> None:
    """Write a file, read it back and delete it.

    Raises:
        OSError: one of the three does not work.
    """
    content = file.name.encode()
    try:
        file.write_bytes(content)
        if file.read_bytes() != content:
            raise OSError("it gives back other bytes than were written")
    finally:
        with suppress(FileNotFoundError):
            file.unlink()


@contextmanager
def explained(folder: Folder) -> Generator[None]:
    """What the store refuses within the block is told as of the landing.

    Raises:
        LandingUnavailableError: it refuses.
        ConfigurationError: nothing that is installed can reach it.
    """
    try:
        yield
    except OSError as error:
        raise LandingUnavailableError(
            f"The landing {uri_of(folder)} cannot be written: {error.strerror or type(error).__name__}.",
            hint="Check that there is space and that this user may write there. A run is tried again by itself.",
        ) from None
    except Exception as error:
        if isinstance(folder, Path):
            raise
        if isinstance(error, ImportError):
            raise _unknown_store(str(folder).partition("://")[0]) from None
        # Each store has errors of its own, whose words may show its keys.
        raise LandingUnavailableError(
            f"The landing {uri_of(folder)} cannot be used ({type(error).__name__}).",
            hint="Check QT_LANDING_URL, and that this process may read, write and delete there.",
        ) from None


def write_at_once(path: Folder, text: str) -> None:
    """Write a file so that it is there whole, or not at all, also after a power cut."""
    if not isinstance(path, Path):
        # An object store shows an object only when it is complete.
        path.write_text(text, encoding="utf-8")
        return
    part = path.with_suffix(".part")
    with open_private(part) as stream:
        stream.write(text.encode())
    sync(part)
    part.replace(path)
    sync(path.parent)
    sync(path.parent.parent)


def sync(path: Folder) -> None:
    """Return when a local file or folder is on its disk."""
    if isinstance(path, Path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(folder: Folder) -> None:
    """Delete a folder and all that is in it."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        # An object store knows no empty folder.
        folder.rmdir(recursive=True)
