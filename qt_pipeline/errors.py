"""The base classes of all errors, and the scope of a failure.

Here: the base class, transient and permanent errors, and failure scopes.
Not here: the errors of one package; they are defined beside the code that raises them.
"""

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar

_MAX_CHARACTERS = 10_000


class FailureScope(StrEnum):
    """What failed: one dataset, or a resource that all datasets share."""

    DATASET = "dataset"
    TARGET = "target"
    QUANTEMPLATE = "quantemplate"
    LANDING = "landing"
    INBOX = "inbox"
    CONFIGURATION = "configuration"


class PipelineError(Exception):
    """An error with a message for people.

    `message` states what happened and `hint` how to fix it, in full sentences without secrets. Both are cut after
    10,000 characters, because they go to logs, tags, the ledger and alerts. `dataset_id` is the affected dataset, if
    there is one; `scope` is what failed.
    """

    scope: ClassVar[FailureScope] = FailureScope.DATASET

    def __init__(self, message: str, *, hint: str = "", dataset_id: str | None = None) -> None:
        self.message = _cut(message)
        self.hint = _cut(hint)
        self.dataset_id = dataset_id
        super().__init__(self.message)

    def __str__(self) -> str:
        subject = f"Dataset {self.dataset_id}: " if self.dataset_id else ""
        return f"{subject}{self.message} {self.hint}".rstrip()


def _cut(text: str) -> str:
    excess = len(text) - _MAX_CHARACTERS
    return text if excess <= 0 else f"{text[:_MAX_CHARACTERS]} … and {excess:,} more characters."


class TransientError(PipelineError):
    """A retry may succeed: network errors, an overloaded server, data that is not ready yet."""


class PermanentError(PipelineError):
    """A retry fails until a person or the vendor changes something."""


class ConfigurationError(PermanentError):
    """A setting or the catalog is missing or invalid."""

    scope = FailureScope.CONFIGURATION


@contextmanager
def about(dataset_id: str) -> Generator[None]:
    """Add the dataset id to every PipelineError that leaves this block."""
    try:
        yield
    except PipelineError as error:
        error.dataset_id = error.dataset_id or dataset_id
        raise
