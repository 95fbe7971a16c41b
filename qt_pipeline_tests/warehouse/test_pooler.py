"""Loads through a real PgBouncer: what each pooling mode allows, and that nothing stays with the pool."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from qt_pipeline.warehouse import TableBusyError, TargetRefusedError, open_warehouse, postgres
from qt_pipeline.warehouse.errors import StageLostError
from qt_pipeline_tests.postgres import running_pgbouncer
from qt_pipeline_tests.warehouse.engines import Postgres
from qt_pipeline_tests.warehouse.loading import _with as job_and_table
from qt_pipeline_tests.warehouse.loading import load, publish

FIRST = b"Name,Paid\nAnn,1.50\n"
SECOND = b"Name,Paid\nBob,2.25\nCleo,3.00\n"
_HOLDS_A_TABLE = """
import sys, time
from qt_pipeline.warehouse import open_warehouse
from qt_pipeline_tests.warehouse.loading import _with
with open_warehouse(sys.argv[1], sys.argv[2]).begin(*_with({})):
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module", params=["transaction", "session"])
def pooler(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    with running_pgbouncer(postgres_server, request.param) as url:
        yield url


@pytest.fixture
def pooled(postgres: Postgres, pooler: str) -> Postgres:
    """A schema on the server, reached through the pooler."""
    direct = postgres.url
    postgres.url = pooler
    assert postgres.url != direct
    return postgres


def left_behind(server: str) -> list[tuple[object, ...]]:
    """Advisory locks, prepared statements of the pooler's connections and transactions left open."""
    with psycopg.connect(server) as connection:
        return connection.execute(
            "SELECT locktype, mode FROM pg_locks WHERE locktype = 'advisory' UNION ALL "
            "SELECT 'transaction', query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        ).fetchall()


def test_loads_follow_each_other_and_nothing_stays_with_the_pool(pooled: Postgres, postgres_server: str) -> None:
    for data, names in ((FIRST, ["Ann"]), (SECOND, ["Bob", "Cleo"]), (FIRST, ["Ann"])):
        warehouse = pooled.open()
        # More often than psycopg would wait before it prepares a statement.
        for _ in range(8):
            warehouse.loads()
        load(warehouse, data)
        assert pooled.column("Name") == names
        assert left_behind(postgres_server) == []
    assert [record.error for record in pooled.open().loads()] == [None] * 3


def test_a_load_of_the_same_table_waits_and_is_refused_in_the_end(
    pooled: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(pooled.open(), FIRST)
    with pooled.open().begin(*job_and_table({})) as begun:
        with monkeypatch.context() as patch:
            patch.setattr(postgres, "_WAIT_SECONDS", 1)
            with pytest.raises(TableBusyError, match=r"the table .*paid"):
                load(pooled.open(), SECOND)
        waiting = threading.Thread(target=lambda: load(pooled.open(), SECOND))
        waiting.start()
        publish(begun, FIRST)
    waiting.join(60)
    assert pooled.column("Name") == ["Bob", "Cleo"]


def test_a_killed_loader_gives_its_table_back(pooled: Postgres, postgres_server: str) -> None:
    load(pooled.open(), FIRST)
    command = [sys.executable, "-c", _HOLDS_A_TABLE, pooled.url, str(pooled.schema)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert left_behind(postgres_server)
        process.send_signal(signal.SIGKILL)
    load(pooled.open(), SECOND)
    assert pooled.column("Name") == ["Bob", "Cleo"]
    assert [record.status.value for record in pooled.open().loads()] == ["published", "abandoned", "published"]
    assert left_behind(postgres_server) == []


def test_a_lock_that_the_pool_has_lost_is_noticed_before_anything_is_published(
    pooled: Postgres, postgres_server: str
) -> None:
    def lose_locks() -> None:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")

    load(pooled.open(), FIRST)
    with pooled.open().begin(*job_and_table({})) as begun:
        lose_locks()
        with pooled.open().begin(*job_and_table({"sha256": "1" * 64})) as other:
            with pytest.raises(StageLostError, match="another process loads it"):
                publish(begun, SECOND)
            publish(other, SECOND)
    with pooled.open().begin(*job_and_table({"sha256": "2" * 64})) as begun:
        lose_locks()
        publish(begun, FIRST)
    assert pooled.column("Name") == ["Ann"]


def test_what_a_pooler_refuses_is_named_before_the_first_load(postgres: Postgres, postgres_server: str) -> None:
    with running_pgbouncer(postgres_server, "transaction") as pooler:
        url = make_url(pooler).update_query_dict({"options": "-c search_path=x"})
        with pytest.raises(TargetRefusedError, match=r"unsupported startup parameter.*Remove `options`"):
            open_warehouse(url.render_as_string(hide_password=False), postgres.schema)
    with (
        running_pgbouncer(postgres_server, "statement") as pooler,
        pytest.raises(TargetRefusedError, match=r"statement pooling mode.*`pool_mode`"),
    ):
        open_warehouse(pooler, postgres.schema)
    assert postgres.tables() == set()
