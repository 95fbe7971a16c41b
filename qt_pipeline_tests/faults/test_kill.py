"""kill -9 at any point of a run: the table is whole, the ledger says how far it came, the next run brings it right."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qt_pipeline.landing import Landing
from qt_pipeline.liveness import Process, RunLocks
from qt_pipeline.sandbox import SandboxServer
from qt_pipeline.warehouse import LoadRecord, LoadStatus
from qt_pipeline_tests.faults.dying import DEATHS, WELL, Runs, runs_in
from qt_pipeline_tests.faults.place import NEW, OLD
from qt_pipeline_tests.warehouse.cells import assert_holds
from qt_pipeline_tests.warehouse.engines import Engine, Sqlite

DATASET_ID = "d-mortal"
TABLE = "mortal"

POINTS = [point for point in DEATHS if point != WELL]
OF_THE_TARGET = POINTS[POINTS.index("before the lock") :]
BEFORE_THE_LOAD = POINTS[: POINTS.index("mid-typing")]
AFTER_THE_PUBLISH = ["after the publish's commit", "before the run's end"]
WITH_A_DRAFT = ["mid-download", "before the landing's commit"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with runs_in(tmp_path_factory.mktemp("dagster")) as running:
        yield running


@dataclass(frozen=True)
class Mortal:
    """A dataset whose table holds `OLD`, and whose runs may be killed."""

    folder: Path
    sandbox: SandboxServer
    engine: Engine
    runs: Runs

    def run(self, *, dies: str = WELL) -> int:
        return self.runs.run(DATASET_ID, self.environment, dies=dies)

    @property
    def environment(self) -> dict[str, str]:
        (self.folder / "datasets.yaml").touch()
        return {
            "QT_ENV_FILE": "",
            "QT_API_URL": self.sandbox.api_url,
            "QT_TOKEN_URL": self.sandbox.token_url,
            "QT_CLIENT_ID": self.sandbox.client_id,
            "QT_CLIENT_SECRET": self.sandbox.client_secret,
            "QT_ORGANISATION_ID": self.sandbox.organisation_id,
            "QT_STATE_DIR": str(self.folder),
            "QT_CATALOG": str(self.folder / "datasets.yaml"),
            "QT_WAREHOUSE_URL": self.engine.url,
            "QT_WAREHOUSE_SCHEMA": self.engine.schema or "",
        }

    def loads(self) -> list[LoadRecord]:
        return self.engine.open().loads(dataset_id=DATASET_ID)

    def drafts(self) -> list[Path]:
        folders = (self.folder / "landing" / DATASET_ID).iterdir()
        return [folder for folder in folders if not (folder / "manifest.json").exists()]

    def assert_table_is(self, csv: bytes) -> None:
        contract = self.engine.open().contract(DATASET_ID)
        assert contract is not None
        assert_holds(self.engine, csv, contract, TABLE)

    def rows_by_load(self) -> list[int]:
        counted = f'SELECT count(*) FROM {self.engine.table(TABLE)} GROUP BY "_qt_load" ORDER BY "_qt_load"'
        return [rows for (rows,) in self.engine.query(counted)]

    def assert_dead(self) -> None:
        """Whoever looks can tell that the process of the newest run is gone."""
        newest = max((self.folder / "runs").glob("*.lock"), key=lambda file: file.stat().st_mtime)
        assert RunLocks(self.folder / "runs").status(newest.stem) is Process.DEAD


@pytest.fixture
def mortal(tmp_path: Path, sandbox: SandboxServer, runs: Runs) -> Callable[..., Mortal]:
    def make(engine: Engine, mode: str = "replace") -> Mortal:
        (tmp_path / "datasets.yaml").write_text(f"datasets: {{{DATASET_ID}: {{table: {TABLE}, mode: {mode}}}}}")
        made = Mortal(tmp_path, sandbox, engine, runs)
        sandbox.state.put(DATASET_ID, OLD)
        assert made.run() == 0
        sandbox.state.put(DATASET_ID, NEW)
        return made

    return make


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path / "warehouse.db")


@pytest.mark.parametrize(
    ("target", "point"),
    [
        *(("sqlite", point) for point in POINTS),
        *(pytest.param("postgres", point, marks=pytest.mark.long) for point in OF_THE_TARGET),
    ],
)
def test_a_killed_run_leaves_a_whole_table_and_the_next_run_brings_it_right(
    mortal: Callable[..., Mortal], target: str, point: str, request: pytest.FixtureRequest
) -> None:
    place = mortal(request.getfixturevalue(target))
    first = place.loads()

    assert place.run(dies=point) == -signal.SIGKILL

    place.assert_dead()
    landed = Landing(str(place.folder / "landing")).newest(DATASET_ID).manifest.bytes
    assert bool(place.drafts()) == (point in WITH_A_DRAFT)
    assert (landed == len(OLD)) == (point in WITH_A_DRAFT)
    if point in AFTER_THE_PUBLISH:
        place.assert_table_is(NEW)
    else:
        place.assert_table_is(OLD)
    begun = place.loads()[: -len(first)]
    if point in BEFORE_THE_LOAD:
        assert begun == []
    else:
        [load] = begun
        assert load.status is (LoadStatus.PUBLISHED if point in AFTER_THE_PUBLISH else LoadStatus.STAGING)

    assert place.run() == 0

    place.assert_table_is(NEW)
    assert place.rows_by_load() == [400]
    assert place.drafts() == []
    assert place.engine.stages() == set()
    newest, *dead = place.loads()[: -len(first)]
    assert newest.status is (LoadStatus.UNCHANGED if point in AFTER_THE_PUBLISH else LoadStatus.PUBLISHED)
    if begun and point not in AFTER_THE_PUBLISH:
        assert [(load.status, load.error) for load in dead] == [(LoadStatus.ABANDONED, "Its process died.")]


@pytest.mark.long
@pytest.mark.parametrize("point", [*AFTER_THE_PUBLISH, "inside the publish"])
@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_rows_that_a_killed_run_has_appended_are_not_appended_again(
    mortal: Callable[..., Mortal], target: str, point: str, request: pytest.FixtureRequest
) -> None:
    place = mortal(request.getfixturevalue(target), mode="append")
    assert place.run(dies=point) == -signal.SIGKILL
    assert place.rows_by_load() == ([300, 400] if point in AFTER_THE_PUBLISH else [300])
    assert place.run() == 0
    assert place.rows_by_load() == [300, 400]
    assert place.engine.stages() == set()
