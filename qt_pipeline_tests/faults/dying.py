"""Runs of both assets in processes of their own, which kill themselves where they are told to.

Run as a script, this is one process that forks a run for each line of its input: starting Python and Dagster anew for
each would take most of a test's time.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import dagster as dg

from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.assets import DATASET, TABLE
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.ingest import Ingest
from qt_pipeline.landing import Draft, Sink
from qt_pipeline.tabular.profiler import Profiler
from qt_pipeline.warehouse.postgres import PostgresTarget
from qt_pipeline.warehouse.sqlite import SqliteTarget

TARGETS: tuple[type[Any], ...] = (SqliteTarget, PostgresTarget)
WELL = "nowhere"


class Runs:
    """The process that forks them, seen from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def run(self, dataset_id: str, environment: Mapping[str, str], *, dies: str = WELL) -> int:
        """How the process of a run ended: 0 after a run that went well, less than 0 by a signal."""
        self._requests.write(json.dumps([dataset_id, dict(environment), dies]) + "\n")
        self._requests.flush()
        return int(self._answers.readline())


@contextmanager
def runs_in(home: Path) -> Iterator[Runs]:
    """Runs of a Dagster instance that lives in this folder; none outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(home)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield Runs(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at_call(number: int, owner: type[Any], name: str) -> None:
    """Die as `owner.name` is called for this time."""
    original, calls = getattr(owner, name), iter(range(1, number))

    def perhaps(*args: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            die()
        return original(*args, **named)

    setattr(owner, name, perhaps)


def dies_after(owner: type[Any], name: str) -> None:
    """Die as `owner.name` has returned."""
    original = getattr(owner, name)

    def for_the_last_time(*args: Any, **named: Any) -> None:
        original(*args, **named)
        die()

    setattr(owner, name, for_the_last_time)


def dies_amid_the_copy() -> None:
    for target in TARGETS:

        def stage(self: Any, stage: Any, batches: Any, *, original: Any = target.stage, becomes_table: bool) -> int:
            def first() -> Iterator[Any]:
                yield next(iter(batches))
                die()

            return original(self, stage, first(), becomes_table=becomes_table)

        target.stage = stage


def dies_around_the_commit(*, before: bool) -> None:
    for target in TARGETS:

        @contextmanager
        def publishing(self: Any, stage: Any, *, original: Any = target.publishing) -> Iterator[Any]:
            with original(self, stage) as connection:
                yield connection
                if before:
                    die()
            die()

        target.publishing = publishing


DEATHS: dict[str, Callable[[], object]] = {
    WELL: lambda: None,
    "mid-download": lambda: dies_at_call(10, Sink, "write"),
    "before the landing's commit": lambda: dies_at_call(1, Draft, "commit"),
    "after the landing's commit": lambda: dies_after(Draft, "commit"),
    "before the lock": lambda: [dies_at_call(1, target, "table_lock") for target in TARGETS],
    # The first four are a glance at the beginning of the file.
    "mid-typing": lambda: dies_at_call(6, Profiler, "add"),
    "mid-copy": dies_amid_the_copy,
    "inside the publish": lambda: dies_around_the_commit(before=True),
    "after the publish's commit": lambda: dies_around_the_commit(before=False),
    "before the run's end": lambda: dies_after(Ingest, "load"),
}


@dg.asset
def nothing() -> None:
    """What Dagster needs to make and import for its first run, it need not again for every process."""


def run(home: str, dataset_id: str) -> int:
    with dg.DagsterInstance.local_temp(home) as instance:
        instance.add_dynamic_partitions(str(datasets.name), [dataset_id])
        job = build_defs().resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance, partition_key=dataset_id, asset_selection=[DATASET, TABLE], raise_on_error=False
        )
        return 0 if result.success else 1


def main(home: str) -> None:
    # A small file, too, is to be read in several parts.
    reading = sys.modules[Profiler.__module__]
    reading.BLOCK_SIZES = (4096, *reading.BLOCK_SIZES)
    with dg.DagsterInstance.local_temp(home) as instance:
        dg.materialize([nothing], instance=instance)
    build_defs().resolve_implicit_global_asset_job_def()
    for request in sys.stdin:
        dataset_id, environment, death = json.loads(request)
        process = os.fork()
        if process == 0:
            os.environ.update(environment)
            DEATHS[death]()
            os._exit(run(home, dataset_id))
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
