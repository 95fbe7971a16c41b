"""What can go wrong, as types a caller can act on.

Here: the one base class and the two families every room's own errors belong to; what an error is about.
Not here: the errors of a single room; those live beside the code that raises them.
"""

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar

_MAX_CHARACTERS = 10_000


class FailureScope(StrEnum):
    """What an error is about: one dataset, or something that all datasets share and that fails for all at once."""

    DATASET = "dataset"
    TARGET = "target"
    QUANTEMPLATE = "quantemplate"
    LANDING = "landing"
    INBOX = "inbox"
    CONFIGURATION = "configuration"


class PipelineError(Exception):
    """Something a person must be able to understand without reading code.

    `what` says what happened and `hint` the next step; both are whole sentences and hold no secret. What is longer than
    10,000 characters is cut, since it goes to logs, tags, the ledger and alerts.
    `dataset_id` names the dataset it happened to, where there is one; `scope` says what failed.
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
    more = len(text) - _MAX_CHARACTERS
    return text if more <= 0 else f"{text[:_MAX_CHARACTERS]} … and {more:,} more characters."


class TransientError(PipelineError):
    """A repeat may help: the network, a server under load, data that is not ready yet."""


class PermanentError(PipelineError):
    """A repeat will not help until a person or the vendor changes something."""


class ConfigurationError(PermanentError):
    """A setting or the catalog is missing or wrong."""

    scope = FailureScope.CONFIGURATION


@contextmanager
def about(dataset_id: str) -> Generator[None]:
    """Errors that leave this block name the dataset, also those of rooms that do not know it."""
    try:
        yield
    except PipelineError as error:
        error.dataset_id = error.dataset_id or dataset_id
        raise
