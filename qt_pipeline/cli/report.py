"""Reports loads that Dagster did not run to the running Dagster, so that its UI shows them.

Here: the reported metadata. Not here: the loads (see ingest), the ledger, which always has them.
"""

from collections.abc import Mapping

from qt_pipeline.dagster_api import DagsterApi
from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import FileOutcome
from qt_pipeline.landing import Landed
from qt_pipeline.safe_text import printable


def report_to_dagster(
    api: DagsterApi, file: FileOutcome, landed: Landed, *, description: str, metadata: Mapping[str, str | int]
) -> bool:
    """Report a load to Dagster. Returns False if Dagster is unreachable or has no partition for the dataset."""
    reported: dict[str, str | int] = {
        "dagster/table_name": file.table,
        "dagster/partition_row_count": file.table_rows,
        "rows": file.totals.rows,
        "load": file.load_id,
        "status": file.status.value,
        "sha256": landed.manifest.sha256,
        "dagster/uri": landed.uri,
        **metadata,
    }
    try:
        if file.dataset.id not in api.partitions():
            return False
        printable_metadata = {
            name: printable(value) if isinstance(value, str) else value for name, value in reported.items()
        }
        api.report_table(file.dataset.id, description=description, metadata=printable_metadata)
    except PipelineError:
        return False
    return True
