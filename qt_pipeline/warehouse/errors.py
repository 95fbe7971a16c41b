"""What can go wrong between typed rows and a published table.

Here: the errors of this room, with what to do about each. Not here: errors of a file's content (see tabular).
"""

from qt_pipeline.database import ServerError
from qt_pipeline.errors import FailureScope, PermanentError, TransientError
from qt_pipeline.warehouse.verify import Verification


class TargetUnavailableError(TransientError):
    """The target database refuses or cannot be reached; a repeat may find it well."""

    scope = FailureScope.TARGET


class TargetRefusedError(PermanentError):
    """The target database says no, and will say so again: a missing right, a login that is not let in."""

    scope = FailureScope.TARGET


class TableRefusedError(TargetRefusedError):
    """The target database refuses one table: what it would hold, how it is named, or what depends on it."""

    scope = FailureScope.DATASET


def refused(fault: ServerError) -> type[TargetUnavailableError | TargetRefusedError]:
    """The error for what a server has said."""
    if fault.transient:
        return TargetUnavailableError
    return TableRefusedError if fault.table_scoped else TargetRefusedError


class StageLostError(TransientError):
    """The rows that were staged are there no longer, and must be staged again."""


class TableBusyError(TransientError):
    """Another process loads the same table."""


class TableNotOursError(PermanentError):
    """A table of that name exists and was not made by this project, or belongs to another dataset."""


class ColumnTypeError(PermanentError):
    """A column that the table has cannot hold the values of a file as they stand."""


class ColumnDefaultError(PermanentError):
    """A column that has to change its type has a default that is none of the new type."""


class TargetLimitError(PermanentError):
    """The table would have more columns, or a longer name, than the target takes."""


class DuplicateKeyError(PermanentError):
    """Rows of the file share a key that must be unique, or have none."""


class AfterPublishError(PermanentError):
    """The table is published, and the statement that the catalog wants after it failed."""


class TransactionEndedError(PermanentError):
    """The statement that the catalog wants after a load has ended the transaction that it ran in."""


class StaleLoadError(PermanentError):
    """Newer data of the dataset are in the table already."""


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
