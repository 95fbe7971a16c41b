"""Dry run of a load: the same steps and checks, without writing to the target.

Here: the steps of a load that a dry run replaces; its rows go to a temporary file at most.
Not here: a load, and the checks that both share (see publish).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from qt_pipeline.errors import PipelineError
from qt_pipeline.tabular import Contract, Rows, SchemaChange
from qt_pipeline.warehouse.errors import DuplicateKeyError
from qt_pipeline.warehouse.keys import try_key
from qt_pipeline.warehouse.ledger import LoadRecord
from qt_pipeline.warehouse.publish import Load, PublishedLoad
from qt_pipeline.warehouse.verify import Totals


@dataclass(slots=True)
class DryRun(Load):
    """A load whose steps raise what a real load's would, and leave the target unchanged.

    It does not find what only the database knows of rows: constraints of others, a collation that ignores case.
    """

    _rows: int = 0
    _duplicates: PipelineError | None = field(default=None, repr=False)

    def mark_unchanged(self) -> LoadRecord:
        """See Load."""
        assert self.last is not None  # noqa: S101  # is_up_to_date has checked it
        return self.last

    def stage(self, contract: Contract, rows: Iterable[Rows]) -> Totals:
        """See Load. The rows are read and counted, and their keys compared."""
        self.check(contract)
        self._rows = 0
        self._duplicates = None
        counted = self._counted(rows)
        if self.spec.key:
            try:
                try_key(self.spec.key, contract, counted, self.job.dataset_id)
            except DuplicateKeyError as error:
                # A load compares keys when it publishes, so the error waits for `publish`.
                self._duplicates = error
        for _ in counted:
            pass
        return Totals(self._rows)

    def publish(self, changes: tuple[SchemaChange, ...] = ()) -> PublishedLoad:
        """See Load. Nothing is published."""
        self.check_order()
        if self._duplicates is not None:
            raise self._duplicates
        return PublishedLoad(
            load_id=self.load_id,
            replaced_load_id=self.replaces,
            totals=Totals(self._rows),
            table_rows=0,
            changes=changes,
            warnings=(),
            stage_seconds=0.0,
            publish_seconds=0.0,
        )

    def _counted(self, rows: Iterable[Rows]) -> Iterator[Rows]:
        for batch in rows:
            self._rows += len(batch)
            yield batch
