"""The three initial datasets of the sandbox.

Here: their ids, names and first bytes. Not here: their later versions (see change and state).
"""

import gzip
import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Self

from qt_pipeline.sandbox.bordereau import bordereau_csv

_BORDEREAU_STEM = "bordereau"


@dataclass(frozen=True, slots=True)
class SandboxDataset:
    """One dataset of the sandbox: the vendor's kind of id, a name for people, and the stem of its file."""

    id: str
    name: str
    stem: str


SANDBOX_DATASETS = (
    SandboxDataset("d-schedule-p-losses-000001", "Schedule P losses 2025", "clrd2025"),
    SandboxDataset("d-prism-claims-file-000002", "PRISM claims", "prism"),
    SandboxDataset("d-policy-bordereau-0000003", "Policy bordereau", _BORDEREAU_STEM),
)


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """The whole content of a dataset at one version, numbered from 1."""

    number: int
    csv: bytes = field(repr=False)
    sha256: str

    @classmethod
    def of(cls, number: int, csv: bytes) -> Self:
        """The version of this number and content, with its hash."""
        return cls(number, csv, hashlib.sha256(csv).hexdigest())


@cache
def first_version(dataset: SandboxDataset) -> DatasetVersion:
    """Version 1 of a dataset: a real file as shipped in `data/`, or the generated bordereau. Cached per process."""
    if dataset.stem == _BORDEREAU_STEM:
        return DatasetVersion.of(1, bordereau_csv())
    packed = files("qt_pipeline.sandbox") / "data" / f"{dataset.stem}.csv.gz"
    return DatasetVersion.of(1, gzip.decompress(packed.read_bytes()))
