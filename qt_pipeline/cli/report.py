"""Loads that Dagster did not make, told to the Dagster that is running, so that its UI shows them too.

Here: what it is told, within a short time. Not here: the loads (see ingest), the ledger, which has them in any case.
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
    """Whether Dagster shows a load from now on. Of a dataset that it does not know it would not, and is not told."""
    told: dict[str, str | int] = {
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
        inert = {name: printable(value) if isinstance(value, str) else value for name, value in told.items()}
        api.report_table(file.dataset.id, description=description, metadata=inert)
    except PipelineError:
        return False
    return True
