"""All landings of a place.

Here: how a landing is begun and found again, and which drafts were left by the dead. Not here: how one is written (see
draft).

A landing is a folder `<dataset id>/<number>-<run>` with `data.csv.zst` and, written last, `manifest.json`: without a
manifest it does not count. One by hand is `<dataset id>/<number>-manual-<when it was begun>-<letters>`. Two that are
begun at one moment may have one number: no order between them is promised.
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
from qt_pipeline.landing.store import Folder, explained, make_private, remove, root_of, write_and_delete
from qt_pipeline.values import utc_now

MANUAL = "manual-"
"""What the id of a load by hand begins with, in the place of a run's: its draft is told apart by it."""
_RUN_LETTERS = 8
_FOLDER = re.compile(r"(?P<number>[0-9]{8,})-(manual-(?P<begun>[0-9]{8}T[0-9]{6}Z)-)?.+")
_MAX_MANUAL_NAME = timedelta(days=1)


class NothingLandedError(PermanentError):
    """There is no complete landing to load."""


class Landing:
    """All landed files below `url`, a folder or an fsspec URL."""

    def __init__(self, url: str) -> None:
        self._root = root_of(url)

    @contextmanager
    def draft(self, dataset_id: str, run_id: str) -> Generator[Draft]:
        """A new landing that counts only once `Draft.commit` has been called; otherwise nothing of it stays.

        What others have left that died is removed. A `run_id` that begins with `MANUAL` may go beside a run and beside
        others of its kind, and none of them takes another's draft for a dead one.

        Raises (all of a draft's methods, too):
            LandingUnavailableError: the store does not take it.
        """
        home = self._root / dataset_id
        with explained(home):
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
        """Write a file, read it back and delete it; the bytes that are free there, or None where that is not known.

        Raises:
            LandingUnavailableError: one of the three does not work.
            ConfigurationError: nothing that is installed can reach the store.
        """
        with explained(self._root):
            make_private(self._root)
            write_and_delete(self._root / f".qt-probe-{uuid4().hex}")
        return shutil.disk_usage(self._root).free if isinstance(self._root, Path) else None

    def newest(self, dataset_id: str) -> Landed:
        """The newest complete download of a dataset.

        A file that was landed by hand is never it: somebody chose it for one load, which may have refused it.

        Raises:
            NothingLandedError: there is none.
        """
        only_by_hand = False
        for landed in self.complete(dataset_id):
            if not landed.is_manual:
                return landed
            only_by_hand = True
        raise NothingLandedError(
            "Its landed files were all loaded by hand." if only_by_hand else "No landed file was found.",
            hint="Materialize both assets, to download it first.",
            dataset_id=dataset_id,
        )

    def of_run(self, dataset_id: str, run_id: str) -> Landed | None:
        """The complete landing that a run made, if it made one."""
        its_own = (found for found in self.complete(dataset_id, run_id) if found.manifest.run_id == run_id)
        return next(its_own, None)

    def datasets(self) -> list[str]:
        """The ids of all datasets that may have landed files."""
        return sorted(home.name for home in self._root.iterdir() if home.is_dir()) if self._root.exists() else []

    def remove(self, landed: Landed) -> None:
        """Delete a landed file and all that is beside it. What a crash leaves of it does not count any more."""
        with explained(landed.folder):
            (landed.folder / MANIFEST).unlink(missing_ok=True)
            remove(landed.folder)

    def complete(self, dataset_id: str, run_id: str = "") -> Iterator[Landed]:
        """Complete landings, newest first; with `run_id` those that may be of that run."""
        for _, folder in sorted(self._folders(dataset_id), key=lambda entry: (entry[0], entry[1].name), reverse=True):
            manifest = folder / MANIFEST
            if folder.name.endswith(_letters(run_id)) and manifest.exists():
                yield Landed(Manifest.model_validate_json(manifest.read_text(encoding="utf-8")), folder)

    def _folders(self, dataset_id: str) -> list[tuple[int, Folder]]:
        home = self._root / dataset_id
        if not home.exists():
            return []
        found = ((_FOLDER.fullmatch(folder.name), folder) for folder in home.iterdir())
        return [(int(match["number"]), folder) for match, folder in found if match]


def _name(number: int, run_id: str) -> str:
    begun = f"{MANUAL}{_stamp(utc_now())}-" if run_id.startswith(MANUAL) else ""
    return f"{number:08d}-{begun}{_letters(run_id)}"


def _letters(run_id: str) -> str:
    return run_id.removeprefix(MANUAL)[:_RUN_LETTERS]


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _is_abandoned(folder: Folder, run_id: str) -> bool:
    """Whether a folder is the draft of a process that died, as far as the draft of `run_id`, which begins, can know.

    There is one run per dataset at a time: for a run, that of any other was left. A draft by hand may be anybody's who
    is at it, so that it is given a day. The name tells since when, for not every store knows times.
    """
    if (folder / MANIFEST).exists():
        return False
    match = _FOLDER.fullmatch(folder.name)
    begun = match["begun"] if match else None
    if begun is None:
        return not run_id.startswith(MANUAL)
    return begun < _stamp(utc_now() - _MAX_MANUAL_NAME)
