"""A login on a server: what it may not do, found before a load needs it."""

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from qt_pipeline.doctor import Area, Finding, FindingState
from qt_pipeline_tests.doctor.conftest import Place, only
from qt_pipeline_tests.postgres import close_idle_connections
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Postgres


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[Postgres]:
    engine = Postgres(postgres_server)
    yield engine
    engine.drop()
    close_idle_connections(postgres_server)


@pytest.fixture
def login(postgres: Postgres) -> Iterator[str]:
    """Somebody who may log in."""
    name = f"loader_{uuid.uuid4().hex[:8]}"
    postgres.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    postgres.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def target(place: Place, postgres: Postgres, login: str | None = None, **settings: str) -> list[Finding]:
    url = make_url(postgres.url)
    url = url.set(username=login, password=None) if login else url
    place.settings["QT_WAREHOUSE_URL"] = url.render_as_string(hide_password=False)
    place.settings["QT_WAREHOUSE_SCHEMA"] = str(postgres.schema)
    place.settings |= settings
    place.write()
    return [finding for finding in place.look() if finding.area is Area.TARGET]


def test_who_may_do_all_meets_nothing(place: Place, postgres: Postgres) -> None:
    assert {finding.state for finding in target(place, postgres)} == {FindingState.OK}
    assert postgres.tables() == OWN_TABLES


def test_each_schema_of_the_catalog_is_tried(place: Place, postgres: Postgres) -> None:
    schema = f"another {uuid.uuid4().hex[:8]}"
    place.dataset(schema=schema)
    subjects = [finding.subject for finding in target(place, postgres) if finding.state is FindingState.OK]
    assert f"a load in the schema {schema}" in subjects
    assert postgres.query(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{schema}'") == []


def test_who_may_not_make_the_ledger_is_told_of_ddl(place: Place, postgres: Postgres, login: str) -> None:
    [found] = only(target(place, postgres, login), Area.TARGET, FindingState.FAILURE)
    assert "The ledger does not exist and cannot be created" in found.message
    assert "qt-pipeline ddl" in found.hint


def test_who_may_not_stage_is_told_of_ddl(place: Place, postgres: Postgres, login: str) -> None:
    postgres.open()
    postgres.execute(f"GRANT USAGE ON SCHEMA {postgres.quote(str(postgres.schema))} TO {login}")
    [found] = only(target(place, postgres, login), Area.TARGET, FindingState.FAILURE)
    assert "Staging tables cannot be created" in found.message
    assert "qt-pipeline ddl" in found.hint


def test_who_may_only_stage_is_warned_that_tables_are_to_be_made_for_it(
    place: Place, postgres: Postgres, login: str
) -> None:
    postgres.open()
    staging = Postgres(postgres.url)
    own, others = postgres.quote(str(postgres.schema)), postgres.quote(str(staging.schema))
    postgres.execute(
        f"CREATE SCHEMA {others}",
        f"GRANT USAGE ON SCHEMA {own}, {others} TO {login}",
        f"GRANT CREATE ON SCHEMA {others} TO {login}",
    )
    findings = target(place, postgres, login, QT_STAGING_SCHEMA=str(staging.schema))
    left = staging.tables()
    staging.drop()
    assert left == set()
    assert only(findings, Area.TARGET, FindingState.FAILURE) == []
    [warned] = only(findings, Area.TARGET, FindingState.WARNING)
    assert "Tables cannot be created" in warned.message
    assert "before a dataset's first load" in warned.hint
