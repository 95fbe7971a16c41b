"""The raw bytes of every file that is loaded, kept unchanged: a local folder, or any store that fsspec can write.

Here: how a download, or a file by hand, becomes a landed file with a manifest, and how landed files are found again.
Not here: what is in them (see tabular), who downloads (see ingest).
"""

from qt_pipeline.landing.draft import Draft, Sink
from qt_pipeline.landing.landed import Landed, LandedFileChangedError, Manifest, Provenance, Source
from qt_pipeline.landing.landing import MANUAL, Landing, NothingLandedError
from qt_pipeline.landing.store import LandingUnavailableError

__all__ = [
    "MANUAL",
    "Draft",
    "Landed",
    "LandedFileChangedError",
    "Landing",
    "LandingUnavailableError",
    "Manifest",
    "NothingLandedError",
    "Provenance",
    "Sink",
    "Source",
]
