import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Unicode, make_url, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from qt_pipeline.database import Number, UtcDateTime, creating_sqlite, sqlite_engine, writing
from qt_pipeline_tests.examples import few_examples

METADATA = MetaData()
MOMENTS = Table(
    "moments",
    METADATA,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("moment", UtcDateTime),
    Column("name", Unicode(50), unique=True),
    Column("size", Integer),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "own.db"


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    made = sqlite_engine(make_url(f"sqlite:///{file}"), wait_seconds=0.05)
    yield made
    made.dispose()


@pytest.fixture
def moments(engine: Engine) -> Engine:
    with creating_sqlite(engine, wait_seconds=5) as connection:
        METADATA.create_all(connection)
    return engine


def test_an_engine_opens_nothing_before_it_is_used(engine: Engine, file: Path) -> None:
    assert engine.dialect.name == "sqlite"
    assert not file.parent.exists()


def test_a_commit_is_made_to_survive_a_power_cut(moments: Engine) -> None:
    with writing(moments) as connection:
        pragmas = ("journal_mode", "synchronous", "fullfsync")
        assert [connection.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas] == ["wal", 2, 1]


def test_a_block_that_fails_leaves_nothing_schema_changes_included(moments: Engine) -> None:
    def fail_midway() -> None:
        with writing(moments) as connection:
            connection.execute(MOMENTS.insert().values(name="lost"))
            connection.execute(text("CREATE TABLE lost (x)"))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    with moments.begin() as connection:
        assert connection.execute(select(MOMENTS)).all() == []
        assert connection.scalar(text("SELECT count(*) FROM sqlite_master WHERE name = 'lost'")) == 0


def test_a_writer_has_the_lock_before_its_first_statement(moments: Engine, file: Path) -> None:
    with (
        closing(sqlite3.connect(file, timeout=0)) as other,
        writing(moments),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_a_reader_sees_one_state_while_others_write(moments: Engine, file: Path) -> None:
    with moments.begin() as connection, closing(sqlite3.connect(file)) as other:
        assert connection.scalar(text("SELECT count(*) FROM moments")) == 0
        with other:
            other.execute("INSERT INTO moments (name) VALUES ('new')")
        assert connection.scalar(text("SELECT count(*) FROM moments")) == 0


def test_the_wait_for_a_lock_is_bounded(moments: Engine, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"), writing(moments):
            raise AssertionError


def test_the_first_transaction_on_a_file_is_alone_and_its_wait_is_bounded(engine: Engine, file: Path) -> None:
    file.parent.mkdir(parents=True)
    with FileLock(f"{file}.lock"), pytest.raises(Timeout), creating_sqlite(engine, wait_seconds=0.05):
        raise AssertionError
    assert not file.exists()


def test_an_error_of_the_database_shows_no_value(moments: Engine) -> None:
    def insert() -> None:
        with writing(moments) as connection:
            connection.execute(MOMENTS.insert(), [{"name": "canary-4711"}])

    insert()
    with pytest.raises(IntegrityError, match="UNIQUE") as caught:
        insert()
    assert "canary" not in str(caught.value)


def test_a_row_is_given_its_number(moments: Engine) -> None:
    with writing(moments) as connection:
        assert connection.execute(MOMENTS.insert().values(name="a")).inserted_primary_key == (1,)


@few_examples()
@given(
    naive=st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2900, 1, 1)),  # noqa: DTZ001  # a zone follows
    minutes=st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_a_moment_comes_back_as_the_same_moment_in_utc(moments: Engine, naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    with writing(moments) as connection:
        connection.execute(MOMENTS.delete())
        connection.execute(MOMENTS.insert().values(moment=moment))
        stored = connection.scalar(select(MOMENTS.c.moment))
    assert stored == moment
    assert stored is not None
    assert stored.tzinfo is UTC


def test_moments_are_ordered_whatever_their_offsets(moments: Engine) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    later_with_an_earlier_hour = (noon + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=-5)))
    with writing(moments) as connection:
        connection.execute(MOMENTS.insert(), [{"moment": later_with_an_earlier_hour}, {"moment": noon}])
        found = connection.scalars(select(MOMENTS.c.moment).where(later_with_an_earlier_hour > MOMENTS.c.moment)).all()
    assert found == [noon]


def test_no_moment_stays_none_and_a_naive_one_is_refused(moments: Engine) -> None:
    with writing(moments) as connection:
        connection.execute(MOMENTS.insert().values(moment=None, name="none"))
        assert connection.scalar(select(MOMENTS.c.moment)) is None
        with pytest.raises(StatementError, match="without a time zone"):
            connection.execute(MOMENTS.insert().values(moment=datetime(2026, 1, 1)))  # noqa: DTZ001  # the fault under test


ADDS_A_ROW = """
import sqlite3, sys
from contextlib import closing
with closing(sqlite3.connect(sys.argv[1])) as connection, connection:
    connection.execute("INSERT INTO moments (number, name) SELECT max(number) + 1, max(number) + 1 FROM moments")
"""


def test_a_file_that_is_opened_once_more_stays_whole_for_the_connections_of_its_process(
    engine: Engine, file: Path
) -> None:
    with creating_sqlite(engine, wait_seconds=1) as connection:
        METADATA.create_all(connection)
        connection.execute(MOMENTS.insert().values(number=1, name="1"))
    again = sqlite_engine(make_url(f"sqlite:///{file}"), wait_seconds=1)
    with engine.connect() as open_connection:
        assert open_connection.scalar(select(MOMENTS.c.number)) == 1
        open_connection.rollback()
        with creating_sqlite(again, wait_seconds=1):
            pass
        again.dispose()
        for _ in range(2):
            subprocess.run([sys.executable, "-c", ADDS_A_ROW, str(file)], check=True)
        # Its journal would have been removed, had the process lost its locks.
        assert Path(f"{file}-wal").exists()
        assert open_connection.execute(select(MOMENTS.c.number)).scalars().all() == [1, 2, 3]
