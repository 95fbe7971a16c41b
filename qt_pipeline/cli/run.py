"""The commands `run` and `cancel`: start and cancel runs in the running Dagster.

Here: options, validation before the start, output and exit codes.
Not here: waiting for runs (see watch), Dagster's API (see dagster_api).
"""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Annotated

import typer

from qt_pipeline.catalog import Catalog, catalog_for
from qt_pipeline.cli.output import console, error_as_json, print_error, print_json, safe_markup
from qt_pipeline.cli.watch import TimedOutError, WatchResult, expect_daemon, watch
from qt_pipeline.cli.watched_runs import WatchedBackfill, WatchedRuns
from qt_pipeline.composition import dagster_of
from qt_pipeline.dagster_api import DagsterUnavailableError, RunStatus
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.safe_text import printable
from qt_pipeline.settings import load_settings

REASON = "requested by qt-pipeline run"
FAILED, CANCELED, UNREACHABLE, TIMED_OUT, INTERRUPTED = 1, 3, 4, 124, 130

DatasetIds = Annotated[list[str] | None, typer.Argument(metavar="[DATASET_ID]...", help="The datasets.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the run to end.")]
All = Annotated[
    bool, typer.Option("--all", help="Load every dataset that the catalog or Dagster knows, as a backfill.")
]
Force = Annotated[bool, typer.Option("--force", help="Load the file even if the table is up to date with it.")]
New = Annotated[bool, typer.Option("--new", help="Allow datasets that neither the catalog nor Dagster knows yet.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per run, or for the backfill.")]
Timeout = Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Maximum time to wait; requires --wait.")]


def run(
    dataset_ids: DatasetIds = None,
    *,
    wait: Wait = False,
    everything: All = False,
    force: Force = False,
    new: New = False,
    as_json: AsJson = False,
    timeout: Timeout = None,
) -> None:
    """Start a run in the running Dagster that downloads and loads a dataset.

    Exit codes: 0 done, or requested; 1 rejected or failed; 3 canceled;
    4 Dagster unreachable, or its daemon is not running;
    124 timed out, 130 Ctrl-C: after these the run continues.

    Examples:
        qt-pipeline run d-claims --wait
        qt-pipeline run --all --wait --timeout 3600
    """
    if bool(dataset_ids) is everything:
        raise typer.BadParameter("Specify dataset ids, or --all.")
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout requires --wait.")
    deadline = None if timeout is None else time.monotonic() + timeout
    with _error_output(as_json=as_json):
        settings = load_settings()
        catalog, api = catalog_for(settings), dagster_of(settings)
        partitions = api.partitions()
        wanted = (
            _all(catalog, partitions) if everything else _known(dataset_ids or (), catalog, partitions, may_be_new=new)
        )
        expect_daemon(api)
        api.add_partitions(sorted(set(wanted).difference(partitions)))
        tags = {"qt/reason": REASON, **({"qt/force": "true"} if force else {})}
        started = WatchedBackfill(api) if everything else WatchedRuns(api)
        with ExitStack() as on_exit:
            # Also after an error: the started runs are printed.
            on_exit.callback(_print_started, started, as_json=as_json)
            _start(started, wanted, catalog, tags)
            if not (as_json and wait):
                on_exit.close()
            outcomes = _watch_all(started, deadline, as_json=as_json) if wait else ()
            on_exit.pop_all()
        for outcome in outcomes:
            _print_result(outcome, as_json=as_json)
        code = _exit_code(outcomes)
    raise typer.Exit(code)


def cancel(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN_ID...", help="The runs, as printed by `run`.")],
) -> None:
    """Cancel runs. Tables keep their rows; the events of a canceled run are parked.

    `replay` retries parked events.

    Examples:
        qt-pipeline cancel 4bed6fc3-592c-4f98-afc3-050a2300e77f
    """
    with _error_output(as_json=False):
        api = dagster_of(load_settings())
        for run_id in run_ids:
            api.terminate(run_id)
            console().print(f"Canceling run {safe_markup(run_id)}: {api.run_url(run_id)}")


@contextmanager
def _error_output(*, as_json: bool) -> Generator[None]:
    """Turn a PipelineError into output and an exit code."""
    try:
        yield
    except PipelineError as error:
        if as_json:
            print_json(error_as_json(error))
        else:
            print_error(error)
        code = FAILED
        if isinstance(error, DagsterUnavailableError):
            code = UNREACHABLE
        elif isinstance(error, TimedOutError):
            code = TIMED_OUT
        raise typer.Exit(code) from None


def _all(catalog: Catalog, partitions: Sequence[str]) -> list[str]:
    known = {*partitions, *(dataset.id for dataset in catalog.datasets)}
    if not known:
        raise ConfigurationError("There are no datasets.", hint="List one in the catalog, or pass an id with --new.")
    return sorted(dataset_id for dataset_id in known if catalog.accepts(dataset_id))


def _known(wanted: Sequence[str], catalog: Catalog, partitions: Sequence[str], *, may_be_new: bool) -> list[str]:
    """The distinct ids, if all of them may be requested."""
    known = {*partitions, *(dataset.id for dataset in catalog.datasets)}
    for dataset_id in wanted:
        catalog.dataset(dataset_id)
        if dataset_id not in known and not may_be_new:
            similar = get_close_matches(dataset_id, known, n=1)
            hint = f"Did you mean {similar[0]}? " if similar else ""
            raise ConfigurationError(
                "Neither the catalog nor Dagster knows this dataset.",
                hint=f"{hint}If the id is correct, list it in the catalog, or pass --new.",
                dataset_id=dataset_id,
            )
    return list(dict.fromkeys(wanted))


def _start(
    started: WatchedRuns | WatchedBackfill, wanted: Sequence[str], catalog: Catalog, tags: Mapping[str, str]
) -> None:
    if isinstance(started, WatchedBackfill):
        started.start(wanted, tags)
        return
    for dataset_id in wanted:
        started.start(dataset_id, {"qt/dataset": printable(catalog.dataset(dataset_id).label), **tags})


def _print_started(started: WatchedRuns | WatchedBackfill, *, as_json: bool) -> None:
    for answer in started.started():
        if as_json:
            print_json(answer)
        else:
            text = f"{answer['dataset_id']}: run {answer['run_id']}" if "run_id" in answer else "The backfill of "
            text += "" if "run_id" in answer else f"{answer['datasets']} datasets: {answer['backfill_id']}"
            console().print(f"{safe_markup(text)}  {answer['url']}")


def _watch_all(
    started: WatchedRuns | WatchedBackfill, deadline: float | None, *, as_json: bool
) -> Sequence[WatchResult]:
    try:
        return watch(started, deadline, silent=as_json)
    except KeyboardInterrupt:
        typer.secho(f"\nStopped waiting. {started.detach_hint()}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _print_result(outcome: WatchResult, *, as_json: bool) -> None:
    if as_json:
        print_json(outcome.answer)
        return
    console().print(outcome.headline)
    for line in outcome.complaints:
        print_error(line)


def _exit_code(outcomes: Sequence[WatchResult]) -> int:
    statuses = {status for outcome in outcomes for status in outcome.statuses}
    if RunStatus.FAILURE in statuses:
        return FAILED
    return CANCELED if RunStatus.CANCELED in statuses else 0
