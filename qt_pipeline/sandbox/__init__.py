"""A stand-in Quantemplate that speaks real HTTP, for the demo and the tests. It plays no part in production.

Here: the vendor's token endpoint, downloads and executions as documented, three datasets, and control routes that
change a dataset, fire its event and switch faults on. Not here: the client of all this (see quantemplate).
"""

from qt_pipeline.sandbox.datasets import SANDBOX_DATASETS, SandboxDataset
from qt_pipeline.sandbox.faults import Fault
from qt_pipeline.sandbox.server import SandboxServer, serve
from qt_pipeline.sandbox.state import ORGANISATION_ID, SandboxState

__all__ = [
    "ORGANISATION_ID",
    "SANDBOX_DATASETS",
    "Fault",
    "SandboxDataset",
    "SandboxServer",
    "SandboxState",
    "serve",
]
