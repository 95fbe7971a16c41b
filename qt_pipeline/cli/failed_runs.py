"""Runs that failed and that the ledger does not tell of, most of them because their download failed.

Here: asking Dagster for them within a short time, and telling one. Not here: the ledger (see datasets), following a run
to its end (see followed).
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
    """Those of the Dagster at a URL. Where it does not answer there are none, and that is said."""

    def __init__(self, dagster_url: str) -> None:
        self._api = DagsterApi(dagster_url, answer_seconds=_ANSWER_SECONDS)

    def since(self, last: Mapping[str, LoadRecord], *, dataset_id: str | None = None) -> dict[str, Run]:
        """For each dataset, or for one, its newest run, if that failed and its `last` load does not say so."""
        try:
            failed = self._api.last_failed(dataset_id)
        except PipelineError as error:
            told = f"{error.message} Runs that failed before they came to a load are not shown."
            console(err=True).print(f"[dim]{safe_markup(told)}[/]")
            return {}
        return {its: run for its, run in failed.items() if _is_newer(run, last.get(its))}

    def as_json(self, run: Run) -> dict[str, object]:
        """What scripts are told of it."""
        url = self._api.run_url(run.run_id)
        return {"run_id": run.run_id, "status": run.status.value, "ended_at": iso(run.last_change_at), "url": url}

    def print(self, run: Run, to: Console) -> None:
        """When it failed, what happened and what to do."""
        try:
            events = self._api.events(run.run_id)
        except PipelineError:
            events = RunEvents()
        failed_at = run.last_change_at
        to.print(f"[red]The newest run failed[/], {format_age(failed_at)}, at {format_timestamp(failed_at)} UTC.")
        for line in (*complaints(events.why_failed), f"Its log:       {self._api.run_url(run.run_id)}"):
            to.print(safe_markup(line))


def _is_newer(run: Run, last: LoadRecord | None) -> bool:
    if last is None:
        return True
    if run.run_id == last.run_id:
        # Otherwise it failed after its load was published, or died in the midst of it.
        return last.status not in (LoadStatus.FAILED, LoadStatus.ABANDONED)
    return run.last_change_at > (last.finished_at or last.started_at)
