"""Storage of landings: a local folder, or any store that fsspec can write; and its errors.

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
    """The store cannot be written, most often because a disk is full."""

    scope = FailureScope.LANDING


def root_of(url: str) -> Folder:
    """The root that a folder's path or an fsspec URL names.

    Raises:
        ConfigurationError: the URL has an unknown scheme.
    """
    if "://" not in url:
        return Path(url)
    # Imported on demand: it takes a tenth of a second, and local folders do not need it.
    from upath import UPath  # noqa: PLC0415

    try:
        return UPath(url)
    except ValueError:
        raise _unknown_store(url.partition("://")[0]) from None


def _unknown_store(scheme: str) -> ConfigurationError:
    return ConfigurationError(
        f"No installed package supports a landing at {scheme}://.",
        hint="Install the fsspec package for it (adlfs for az:// and abfs://, s3fs for s3://), or name a folder in "
        "QT_LANDING_URL.",
    )


def uri_of(place: Folder) -> str:
    """The location of a file, for people and for the ledger: a path, or a URL with its host and without secrets."""
    text = str(place)
    if isinstance(place, Path):
        return text
    host, port = place.storage_options.get("host"), place.storage_options.get("port")
    if host and "://" in text and not text.partition("://")[2].startswith(str(host)):
        # Some stores omit the host in their paths.
        text = f"{place.protocol}://{host}{f':{port}' if port else ''}/{place.path.lstrip('/')}"
    return redacted_url(text)


def make_private(folder: Folder) -> None:
    """Create a folder, if it is missing; a local one is accessible by its owner only."""
    if isinstance(folder, Path):
        make_folder(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)


def open_private(file: Folder) -> BinaryIO:
    """Open a file for writing; a local one is accessible by its owner only."""
    if isinstance(file, Path):
        return open(file, "wb", opener=opener)  # Path.open takes no opener; the caller closes it
    return file.open("wb")


def write_and_delete(file: Folder) -> None:
    """Write a file, read it back and delete it.

    Raises:
        OSError: one of the three fails.
    """
    content = file.name.encode()
    try:
        file.write_bytes(content)
        if file.read_bytes() != content:
            raise OSError("it returns other bytes than were written")
    finally:
        with suppress(FileNotFoundError):
            file.unlink()


@contextmanager
def mapped_errors(folder: Folder) -> Generator[None]:
    """Map errors of the store to errors of the landing.

    Raises:
        LandingUnavailableError: the store cannot be used.
        ConfigurationError: no installed package supports it.
    """
    try:
        yield
    except OSError as error:
        raise LandingUnavailableError(
            f"The landing {uri_of(folder)} cannot be written: {error.strerror or type(error).__name__}.",
            hint="Check that there is space and that this user may write there. A run will be retried.",
        ) from None
    except Exception as error:
        if isinstance(folder, Path):
            raise
        if isinstance(error, ImportError):
            raise _unknown_store(str(folder).partition("://")[0]) from None
        # Each store has its own errors, whose messages may show its keys.
        raise LandingUnavailableError(
            f"The landing {uri_of(folder)} cannot be used ({type(error).__name__}).",
            hint="Check QT_LANDING_URL, and that this process may read, write and delete there.",
        ) from None


def write_atomically(path: Folder, text: str) -> None:
    """Write a file atomically: it exists completely or not at all, even after a power failure."""
    if not isinstance(path, Path):
        # An object store shows an object only once it is complete.
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
    """Return once a local file or folder is durable."""
    if isinstance(path, Path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(folder: Folder) -> None:
    """Delete a folder and everything in it."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        # An object store has no empty folders.
        folder.rmdir(recursive=True)
