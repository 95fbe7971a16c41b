"""The commands `run` and `cancel`: runs in the Dagster that is running.

Here: options, what is refused before anything starts, answers and exit codes.
Not here: how runs are followed (see following), how Dagster is asked (see dagster_api).
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

REASON = "asked for by qt-pipeline run"
FAILED, CANCELED, UNREACHABLE, TIME_IS_UP, INTERRUPTED = 1, 3, 4, 124, 130

DatasetIds = Annotated[list[str] | None, typer.Argument(metavar="[DATASET_ID]...", help="The datasets.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its end.")]
All = Annotated[bool, typer.Option("--all", help="Every dataset that the catalog or Dagster knows, as a backfill.")]
Force = Annotated[bool, typer.Option("--force", help="Load the file even if the table shows it already.")]
New = Annotated[bool, typer.Option("--new", help="Also datasets that neither the catalog nor Dagster knows yet.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object for each run, or for the backfill.")]
Timeout = Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="The longest wait.")]


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
    """Start a run that downloads and loads a dataset, in the Dagster that is running.

    Exit codes: 0 done, or asked for; 1 refused or failed; 3 canceled;
    4 Dagster cannot be reached, or its daemon does not run;
    124 the time is up, 130 Ctrl-C: after these the run goes on.

    Examples:
        qt-pipeline run d-claims --wait
        qt-pipeline run --all --wait --timeout 3600
    """
    if bool(dataset_ids) is everything:
        raise typer.BadParameter("Say which: ids of datasets, or --all.")
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout goes with --wait.")
    deadline = None if timeout is None else time.monotonic() + timeout
    with _answered(as_json=as_json):
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
        with ExitStack() as untold:
            # Whatever goes wrong, what was started is told.
            untold.callback(_print_started, started, as_json=as_json)
            _start(started, wanted, catalog, tags)
            if not (as_json and wait):
                untold.close()
            outcomes = _watch_all(started, deadline, as_json=as_json) if wait else ()
            untold.pop_all()
        for outcome in outcomes:
            _print_result(outcome, as_json=as_json)
        code = _exit_code(outcomes)
    raise typer.Exit(code)


def cancel(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN_ID...", help="The runs, as `run` has printed them.")],
) -> None:
    """Cancel runs. The tables keep the rows they have; events that a run was for are parked.

    Parked events are tried again by replay.

    Examples:
        qt-pipeline cancel 4bed6fc3-592c-4f98-afc3-050a2300e77f
    """
    with _answered(as_json=False):
        api = dagster_of(load_settings())
        for run_id in run_ids:
            api.terminate(run_id)
            console().print(f"Run {safe_markup(run_id)} ends: {api.run_url(run_id)}")


@contextmanager
def _answered(*, as_json: bool) -> Generator[None]:
    """Errors become words and exit codes."""
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
            code = TIME_IS_UP
        raise typer.Exit(code) from None


def _all(catalog: Catalog, partitions: Sequence[str]) -> list[str]:
    known = {*partitions, *(dataset.id for dataset in catalog.datasets)}
    if not known:
        raise ConfigurationError("No dataset is known.", hint="List one in the catalog, or name it with --new.")
    return sorted(dataset_id for dataset_id in known if catalog.accepts(dataset_id))


def _known(wanted: Sequence[str], catalog: Catalog, partitions: Sequence[str], *, may_be_new: bool) -> list[str]:
    """The ids, each once, if all of them may be asked for."""
    known = {*partitions, *(dataset.id for dataset in catalog.datasets)}
    for dataset_id in wanted:
        catalog.dataset(dataset_id)
        if dataset_id not in known and not may_be_new:
            near = get_close_matches(dataset_id, known, n=1)
            hint = f"Perhaps {near[0]} is meant. " if near else ""
            raise ConfigurationError(
                "Neither the catalog nor Dagster knows it.",
                hint=f"{hint}If it is right, list it in the catalog, or say --new.",
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
            words = f"{answer['dataset_id']}: run {answer['run_id']}" if "run_id" in answer else "The backfill of "
            words += "" if "run_id" in answer else f"{answer['datasets']} datasets: {answer['backfill_id']}"
            console().print(f"{safe_markup(words)}  {answer['url']}")


def _watch_all(
    started: WatchedRuns | WatchedBackfill, deadline: float | None, *, as_json: bool
) -> Sequence[WatchResult]:
    try:
        return watch(started, deadline, silent=as_json)
    except KeyboardInterrupt:
        typer.secho(f"\nNo longer followed. {started.detach_hint()}", err=True)
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
