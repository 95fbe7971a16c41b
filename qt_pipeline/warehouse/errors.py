"""Errors of the target database.

Here: the errors of this package. Not here: errors about a file's content (see tabular).
"""

from qt_pipeline.database import ServerError
from qt_pipeline.errors import FailureScope, PermanentError, TransientError
from qt_pipeline.warehouse.verify import Verification


class TargetUnavailableError(TransientError):
    """The target database rejects the request or cannot be reached; a retry may succeed."""

    scope = FailureScope.TARGET


class TargetRefusedError(PermanentError):
    """The target database denies the request permanently: a missing right, a rejected login."""

    scope = FailureScope.TARGET


class TableRefusedError(TargetRefusedError):
    """The target database rejects one table: its content, its name, or what depends on it."""

    scope = FailureScope.DATASET


def refused(error: ServerError) -> type[TargetUnavailableError | TargetRefusedError]:
    """The error class for an error of a server."""
    if error.transient:
        return TargetUnavailableError
    return TableRefusedError if error.table_scoped else TargetRefusedError


class StageLostError(TransientError):
    """The staged rows are gone and must be staged again."""


class TableBusyError(TransientError):
    """Another process loads the same table."""


class TableNotOursError(PermanentError):
    """A table of that name exists and was not created by this project, or belongs to another dataset."""


class ColumnTypeError(PermanentError):
    """A column of the table cannot hold the values of a file exactly."""


class ColumnDefaultError(PermanentError):
    """A column that has to change its type has a default that is none of the new type."""


class TargetLimitError(PermanentError):
    """The table would have more columns, or a longer name, than the target allows."""


class DuplicateKeyError(PermanentError):
    """Rows of the file have the same key, or no key."""


class AfterPublishError(PermanentError):
    """The table is published, but the catalog's statement after it failed."""


class TransactionEndedError(PermanentError):
    """The catalog's `after_publish` statement ended the transaction that it ran in."""


class StaleLoadError(PermanentError):
    """The table already has newer data of the dataset."""


class VerificationError(PermanentError):
    """Rows or sums differ between file, staging table and table; the publish was rolled back."""

    def __init__(self, stage: str, verification: Verification, dataset_id: str) -> None:
        self.stage = stage
        self.verification = verification
        super().__init__(
            f"What was {stage} is not what the file holds: {verification.difference}.",
            hint="The publish was rolled back and the table keeps its rows. Run it again; if it repeats, report it.",
            dataset_id=dataset_id,
        )
