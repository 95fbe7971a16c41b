"""The landing: the raw bytes of every loaded file, kept unchanged in a local folder or any store that fsspec can write.

Here: how a download, or a manually loaded file, becomes a landed file with a manifest, and how landed files are found.
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
