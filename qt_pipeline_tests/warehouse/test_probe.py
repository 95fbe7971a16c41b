"""A trial of a target shows what a load would meet, and leaves nothing behind."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from qt_pipeline.warehouse import TargetRefusedError, open_warehouse, warehouse
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine, Postgres
from qt_pipeline_tests.warehouse.loading import load
from qt_pipeline_tests.warehouse.mssql_recorder import Driver
from qt_pipeline_tests.warehouse.test_mssql_snapshots import ANSWERS, SNAPSHOTS, target_over


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_trial_goes_the_way_of_a_load_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    opened = engine.open()
    opened.check()
    before = files(tmp_path)
    with opened.probe() as probe:
        probe.stage()
        assert len(engine.stages()) == 1
        probe.publish()
        assert engine.tables() - engine.stages() == OWN_TABLES
    assert engine.tables() == OWN_TABLES
    assert {name for name in files(tmp_path) - before if not name.endswith(("-wal", "-shm"))} == set()


def test_a_trial_that_fails_leaves_nothing(engine: Engine) -> None:
    def fail() -> None:
        with engine.open().probe() as probe:
            probe.stage()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert engine.tables() == OWN_TABLES


@pytest.mark.parametrize("server", ["postgres", "sqlserver"])
def test_a_schema_that_is_missing_is_made_and_taken_away_again(request: pytest.FixtureRequest, server: str) -> None:
    engine: Postgres = request.getfixturevalue(server)
    schema = f"another {uuid.uuid4().hex[:8]}"
    with engine.open().probe(schema) as probe:
        probe.stage()
        probe.publish()
    found = engine.query(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{schema}'")
    assert found == []


@pytest.fixture
def stranger(postgres: Postgres) -> Iterator[Postgres]:
    """Who may log in to the server and nothing else, in the place of `postgres`."""
    name = f"stranger_{uuid.uuid4().hex[:8]}"
    postgres.execute(f"CREATE ROLE {name} LOGIN")
    theirs = Postgres(make_url(postgres.url).set(username=name, password=None).render_as_string())
    theirs.schema = postgres.schema
    yield theirs
    postgres.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_who_may_make_no_table_is_told_so(postgres: Postgres, stranger: Postgres) -> None:
    load(postgres.open(), b"Name,Paid\nAnn,1.50\n")
    name = make_url(stranger.url).username
    postgres.execute(f"GRANT USAGE ON SCHEMA {postgres.quote(str(postgres.schema))} TO {name}")
    theirs = open_warehouse(stranger.url, stranger.schema, prepare=False)
    theirs.check()
    with pytest.raises(TargetRefusedError, match="permission denied for schema"), theirs.probe() as probe:
        probe.stage()


def test_asking_whether_a_file_answers_makes_none(tmp_path: Path) -> None:
    opened = open_warehouse(f"sqlite:///{tmp_path / 'none' / 'warehouse.db'}", prepare=False)
    opened.check()
    assert not opened.has_ledger()
    assert list(tmp_path.iterdir()) == []


def test_what_sql_server_is_sent_is_held_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qt_pipeline.warehouse.probe._any_number", lambda: 7)
    driver = Driver([("INFORMATION_SCHEMA", [("qt",)]), *ANSWERS], ["_qt_loads", "_qt_columns"])
    opened = warehouse.Warehouse(target_over(monkeypatch, driver))
    driver.lines.clear()
    with opened.probe() as probe:
        probe.stage()
        probe.publish()
    assert driver.text == (SNAPSHOTS / "probe.sql").read_text()
