"""All landings below one root.

Here: how a landing is begun and found, and which drafts are abandoned. Not here: how one is written (see draft).

A landing is a folder `<dataset id>/<number>-<run>` with `data.csv.zst` and, written last, `manifest.json`: without a
manifest it does not count. A manual one is `<dataset id>/<number>-manual-<when it began>-<letters>`. Two that begin at
the same time may have the same number: no order between them is guaranteed.
"""

import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from qt_pipeline.errors import PermanentError
from qt_pipeline.landing.draft import Draft
from qt_pipeline.landing.landed import MANIFEST, Landed, Manifest
from qt_pipeline.landing.store import Folder, make_private, mapped_errors, remove, root_of, write_and_delete
from qt_pipeline.values import utc_now

MANUAL = "manual-"
"""The prefix of the run id of a manual load; it identifies drafts of manual loads."""
_RUN_LETTERS = 8
_FOLDER = re.compile(r"(?P<number>[0-9]{8,})-(manual-(?P<begun>[0-9]{8}T[0-9]{6}Z)-)?.+")
_MAX_MANUAL_AGE = timedelta(days=1)


class NothingLandedError(PermanentError):
    """There is no complete landing to load."""


class Landing:
    """All landed files below `url`, a folder or an fsspec URL."""

    def __init__(self, url: str) -> None:
        self._root = root_of(url)

    @contextmanager
    def draft(self, dataset_id: str, run_id: str) -> Generator[Draft]:
        """A new landing that counts only once `Draft.commit` was called; otherwise it is removed.

        Abandoned drafts of dead processes are removed. Manual loads (`run_id` begins with `MANUAL`) may run beside a
        run and beside each other, and none of them removes another's draft as abandoned.

        Raises (also from the draft's methods):
            LandingUnavailableError: the store cannot be written.
        """
        home = self._root / dataset_id
        with mapped_errors(home):
            folders = self._folders(dataset_id)
            for _, folder in folders:
                if _is_abandoned(folder, run_id):
                    remove(folder)
            number = 1 + max((number for number, _ in folders), default=0)
            folder = home / _name(number, run_id)
            make_private(folder)
        draft = Draft(dataset_id=dataset_id, number=number, folder=folder)
        try:
            yield draft
        finally:
            if not (folder / MANIFEST).exists():
                remove(folder)

    def probe(self) -> int | None:
        """Write a file, read it back and delete it; returns the free bytes, or None if unknown.

        Raises:
            LandingUnavailableError: one of the three fails.
            ConfigurationError: no installed package supports the store.
        """
        with mapped_errors(self._root):
            make_private(self._root)
            write_and_delete(self._root / f".qt-probe-{uuid4().hex}")
        return shutil.disk_usage(self._root).free if isinstance(self._root, Path) else None

    def newest(self, dataset_id: str) -> Landed:
        """The newest complete download of a dataset.

        A manually landed file is never the newest: a person chose it for one load, which may have failed.

        Raises:
            NothingLandedError: there is none.
        """
        only_manual = False
        for landed in self.complete(dataset_id):
            if not landed.is_manual:
                return landed
            only_manual = True
        raise NothingLandedError(
            "All its landed files were loaded manually." if only_manual else "No landed file was found.",
            hint="Materialize both assets, to download it first.",
            dataset_id=dataset_id,
        )

    def of_run(self, dataset_id: str, run_id: str) -> Landed | None:
        """The complete landing that a run made, if any."""
        of_run = (landed for landed in self.complete(dataset_id, run_id) if landed.manifest.run_id == run_id)
        return next(of_run, None)

    def datasets(self) -> list[str]:
        """The ids of all datasets that may have landed files."""
        return sorted(home.name for home in self._root.iterdir() if home.is_dir()) if self._root.exists() else []

    def remove(self, landed: Landed) -> None:
        """Delete a landed file and its folder. What a crash leaves of it no longer counts."""
        with mapped_errors(landed.folder):
            (landed.folder / MANIFEST).unlink(missing_ok=True)
            remove(landed.folder)

    def complete(self, dataset_id: str, run_id: str = "") -> Iterator[Landed]:
        """Complete landings, newest first; with `run_id` those that may belong to that run."""
        for _, folder in sorted(self._folders(dataset_id), key=lambda entry: (entry[0], entry[1].name), reverse=True):
            manifest = folder / MANIFEST
            if folder.name.endswith(_letters(run_id)) and manifest.exists():
                yield Landed(Manifest.model_validate_json(manifest.read_text(encoding="utf-8")), folder)

    def _folders(self, dataset_id: str) -> list[tuple[int, Folder]]:
        home = self._root / dataset_id
        if not home.exists():
            return []
        matches = ((_FOLDER.fullmatch(folder.name), folder) for folder in home.iterdir())
        return [(int(match["number"]), folder) for match, folder in matches if match]


def _name(number: int, run_id: str) -> str:
    begun = f"{MANUAL}{_stamp(utc_now())}-" if run_id.startswith(MANUAL) else ""
    return f"{number:08d}-{begun}{_letters(run_id)}"


def _letters(run_id: str) -> str:
    return run_id.removeprefix(MANUAL)[:_RUN_LETTERS]


def _stamp(timestamp: datetime) -> str:
    return f"{timestamp:%Y%m%dT%H%M%SZ}"


def _is_abandoned(folder: Folder, run_id: str) -> bool:
    """Whether a folder is a dead process's draft, as far as the new draft of `run_id` can tell.

    A dataset has one run at a time, so a run treats any other run's draft as abandoned. A manual draft may belong to a
    living process, so it is kept for a day. Its age is in its name, because not every store keeps times.
    """
    if (folder / MANIFEST).exists():
        return False
    match = _FOLDER.fullmatch(folder.name)
    begun = match["begun"] if match else None
    if begun is None:
        return not run_id.startswith(MANUAL)
    return begun < _stamp(utc_now() - _MAX_MANUAL_AGE)
