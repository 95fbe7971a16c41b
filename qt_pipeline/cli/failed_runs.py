"""Failed runs that the ledger does not show, usually because the download failed.

Here: reading them from Dagster with a short timeout, and printing one. Not here: the ledger (see datasets), waiting for
a run (see watched_runs).
"""

from collections.abc import Mapping

from rich.console import Console

from qt_pipeline.cli.output import console, format_age, format_timestamp, iso, safe_markup
from qt_pipeline.cli.watched_runs import complaints
from qt_pipeline.dagster_api import DagsterApi, Run, RunEvents
from qt_pipeline.errors import PipelineError
from qt_pipeline.warehouse import LoadRecord, LoadStatus

_ANSWER_SECONDS = 2.0


class FailedRuns:
    """Failed runs of the Dagster at a URL. Prints a note and returns none if Dagster is unreachable."""

    def __init__(self, dagster_url: str) -> None:
        self._api = DagsterApi(dagster_url, answer_seconds=_ANSWER_SECONDS)

    def since(self, last: Mapping[str, LoadRecord], *, dataset_id: str | None = None) -> dict[str, Run]:
        """The newest run of each dataset, or of one, if it failed and the dataset's `last` load does not show that."""
        try:
            failed = self._api.last_failed(dataset_id)
        except PipelineError as error:
            note = f"{error.message} Runs that failed before loading are not shown."
            console(err=True).print(f"[dim]{safe_markup(note)}[/]")
            return {}
        return {dataset: run for dataset, run in failed.items() if _is_newer(run, last.get(dataset))}

    def as_json(self, run: Run) -> dict[str, object]:
        """The run as JSON."""
        url = self._api.run_url(run.run_id)
        return {"run_id": run.run_id, "status": run.status.value, "ended_at": iso(run.last_change_at), "url": url}

    def print(self, run: Run, to: Console) -> None:
        """Print when the run failed, the error and the fix."""
        try:
            events = self._api.events(run.run_id)
        except PipelineError:
            events = RunEvents()
        failed_at = run.last_change_at
        to.print(f"[red]The newest run failed[/], {format_age(failed_at)}, at {format_timestamp(failed_at)} UTC.")
        for line in (*complaints(events.why_failed), f"Log:        {self._api.run_url(run.run_id)}"):
            to.print(safe_markup(line))


def _is_newer(run: Run, last: LoadRecord | None) -> bool:
    if last is None:
        return True
    if run.run_id == last.run_id:
        # Otherwise it failed after its load was published, or died during the load.
        return last.status not in (LoadStatus.FAILED, LoadStatus.ABANDONED)
    return run.last_change_at > (last.finished_at or last.started_at)
