"""A publish that meets a passing trouble is done again as a whole, and once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Table, update

from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import (
    LoadStatus,
    TargetRefusedError,
    TargetUnavailableError,
    VerificationError,
    Warehouse,
    ledger,
)
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine, watched_by
from qt_pipeline_tests.warehouse.loading import JOB, TABLE, load, load_or_leave, publish

pytestmark = pytest.mark.usefixtures("at_once")

OLD = b"Name,Paid\nAnn,1.00\n"
NEW = b"Name,Paid\nBob,2.00\nCleo,3.00\n"
GONE = TargetUnavailableError("The connection broke.")


def unwell(*troubles: str) -> type:
    """A target whose transactions that publish meet these troubles in turn, and go well when there are no more."""

    left = list(troubles)

    class Unwell:
        tries = 0

        @contextmanager
        def publishing(self: Any, stage: Table) -> Iterator[Connection]:
            Unwell.tries += 1
            trouble = left.pop(0) if left else ""
            if trouble == "before":
                raise GONE
            with super().publishing(stage) as connection:
                yield connection
                if trouble == "before the commit":
                    raise GONE
            if trouble == "after the commit":
                raise GONE

    return Unwell


TROUBLES = [
    ("before",),
    ("before the commit",),
    ("after the commit",),
    ("before", "before the commit", "before", "before the commit"),
    ("before the commit", "after the commit"),
]


@pytest.mark.parametrize(
    ("mode", "first"),
    [(WriteMode.REPLACE, True), *((mode, False) for mode in WriteMode)],
    ids=["first", *(f"later {mode}" for mode in WriteMode)],
)
@pytest.mark.parametrize("troubles", TROUBLES, ids="-".join)
def test_a_publish_that_breaks_off_is_repeated_until_it_is_done_and_never_twice(
    engine: Engine, warehouse: Warehouse, troubles: tuple[str, ...], first: bool, mode: WriteMode
) -> None:
    how: dict[str, Any] = {"mode": mode, "key": ("Name",) if mode is WriteMode.UPSERT else ()}
    log = engine.table("log")
    engine.execute(f"CREATE TABLE {log} (what VARCHAR(50))")
    if not first:
        load(warehouse, OLD, **how)
    target = unwell(*troubles)
    published = load(engine.open(target), NEW, after_publish=f"INSERT INTO {log} VALUES ('x')", **how)
    kept = ["Ann"] if mode is not WriteMode.REPLACE and not first else []
    assert sorted(engine.column("Name")) == sorted([*kept, "Bob", "Cleo"])
    assert engine.query(f"SELECT * FROM {log}") == [("x",)]
    assert target.tries == len(troubles) + (troubles[-1] != "after the commit")
    assert (published.totals.rows, published.table_rows) == (2, 2 + len(kept))
    newest = warehouse.loads()[0]
    assert (newest.load_id, newest.status, newest.error) == (published.load_id, LoadStatus.PUBLISHED, None)
    assert newest.table_rows == published.table_rows
    assert engine.tables() == OWN_TABLES | {"paid", "log"}
    assert not isinstance(load_or_leave(warehouse, NEW, **how), type(published))


def test_a_commit_that_arrives_while_the_publish_is_repeated_is_not_doubled(
    engine: Engine, warehouse: Warehouse
) -> None:
    class ArrivesLate:
        tries = 0

        @contextmanager
        def publishing(self: Any, stage: Table) -> Iterator[Connection]:
            ArrivesLate.tries += 1
            if ArrivesLate.tries == 1:
                raise GONE
            with self.writing() as connection:
                # What the first try would have left if its commit had only now come through.
                last = {"status": LoadStatus.PUBLISHED, "table_rows": 1}
                connection.execute(update(ledger.loads).values(last))
            with super().publishing(stage) as connection:
                yield connection

    load(warehouse, OLD, mode=WriteMode.APPEND)
    load(engine.open(ArrivesLate), NEW, mode=WriteMode.APPEND)
    assert ArrivesLate.tries == 2
    assert engine.column("Name") == ["Ann"]


@pytest.mark.usefixtures("tried_once")
def test_a_trouble_that_does_not_pass_fails_the_load_and_leaves_the_table(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    target = unwell("before", "before")
    with pytest.raises(TargetUnavailableError, match="broke"):
        load(engine.open(target), NEW)
    assert target.tries == 1
    assert engine.column("Name") == ["Ann"]
    assert engine.tables() == OWN_TABLES | {"paid"}
    assert (warehouse.loads()[0].status, warehouse.loads()[0].error) == (LoadStatus.FAILED, str(GONE))
    load(warehouse, NEW)
    assert engine.column("Name") == ["Bob", "Cleo"]


def test_what_a_repeat_cannot_help_is_not_repeated(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    engine.execute(f'CREATE UNIQUE INDEX one_of_each ON {engine.table()} ("Paid")')
    target = unwell()
    with pytest.raises(TargetRefusedError):
        load(engine.open(target), b"Name,Paid\nBob,2.00\nCleo,2.00\n")
    assert target.tries == 1

    class OneMore(target):
        def totals(self, *args: Any) -> Any:
            found = super().totals(*args)
            return type(found)(found.rows + 1, found.sums)

    with pytest.raises(VerificationError):
        load(engine.open(OneMore), NEW)
    assert target.tries == 2


def test_a_publish_stands_whatever_its_tidying_meets(engine: Engine, warehouse: Warehouse) -> None:
    class CannotDrop:
        def drop_stage(self, _: Table) -> None:
            raise GONE

    load(warehouse, OLD)
    broken = engine.open()
    with broken.begin(JOB, TABLE) as begun:
        watched_by(broken, CannotDrop)
        publish(begun, NEW)
    assert engine.column("Name") == ["Bob", "Cleo"]
    assert warehouse.loads()[0].status is LoadStatus.PUBLISHED
    assert engine.stages()
    load(warehouse, OLD)
    assert not engine.stages()


def test_how_a_load_ended_is_told_by_its_first_error_when_the_target_is_gone(
    engine: Engine, warehouse: Warehouse
) -> None:
    class GoesAway:
        def stage(self, *_: Any, **__: Any) -> int:
            GoesAway.writing = GoesAway.gone
            raise TargetRefusedError("The first trouble.")

        @contextmanager
        def gone(self) -> Iterator[Connection]:
            raise GONE
            yield

    load(warehouse, OLD)
    with pytest.raises(TargetRefusedError, match="The first trouble"):
        load(engine.open(GoesAway), NEW)
    assert warehouse.loads()[0].status is LoadStatus.STAGING
    load(warehouse, NEW)
    assert [record.status.value for record in warehouse.loads()] == ["published", "abandoned", "published"]
