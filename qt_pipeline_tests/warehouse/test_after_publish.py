"""The statement that hangs behind a load: in the transaction that publishes, or right after it."""

from typing import Any

import pytest
from sqlalchemy import Connection

from qt_pipeline.errors import PermanentError
from qt_pipeline.warehouse import (
    AfterPublishError,
    Load,
    LoadRecord,
    LoadStatus,
    PublishedLoad,
    TargetRefusedError,
    TargetUnavailableError,
    TransactionEndedError,
    Warehouse,
)
from qt_pipeline.warehouse import publish as publish_module
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine
from qt_pipeline_tests.warehouse.loading import load, load_or_leave

OLD = b"Name,Paid\nAnn,1.00\n"
NEW = b"Name,Paid\nBob,2.00\nCleo,3.00\n"
ODD = "100 % :a %s %(b)s %% ? ; --"


@pytest.fixture
def log(engine: Engine, warehouse: Warehouse) -> str:
    """A table of somebody's own."""
    assert warehouse.loads() == []
    engine.execute(f"CREATE TABLE {engine.table('log')} (what VARCHAR(50), many INTEGER, UNIQUE (what))")
    return engine.table("log")


@pytest.mark.parametrize("in_transaction", [True, False], ids=["within", "after"])
def test_the_statement_sees_the_new_rows_and_runs_as_it_is_written(
    engine: Engine, warehouse: Warehouse, log: str, in_transaction: bool
) -> None:
    after = f"INSERT INTO {log} SELECT '{ODD}', count(*) FROM {engine.table()}"
    load(warehouse, NEW, after_publish=after, after_publish_in_transaction=in_transaction)
    assert engine.query(f"SELECT * FROM {log}") == [(ODD, 2)]


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("statement", ["INSERT INTO {} VALUES ('x', 1, 2, 3)", "nonsense", "SELECT * FROM nowhere"])
def test_a_statement_within_the_transaction_undoes_the_publish_by_failing(
    engine: Engine, warehouse: Warehouse, log: str, statement: str, first: bool
) -> None:
    if not first:
        load(warehouse, OLD)
    with pytest.raises(TargetRefusedError):
        load(warehouse, b"Name,Paid,New\nBob,2.00,x\n", after_publish=statement.format(log))
    assert engine.tables() == OWN_TABLES | {"log"} | (set() if first else {"paid"})
    if not first:
        assert engine.column("Name") == ["Ann"]
        assert "New" not in engine.columns()
    assert warehouse.loads()[0].status is LoadStatus.FAILED


def test_what_a_statement_within_the_transaction_did_is_undone_with_it(
    engine: Engine, warehouse: Warehouse, log: str
) -> None:
    after = f"INSERT INTO {log} VALUES ('x', 1)"
    load(warehouse, OLD, after_publish=after)
    with pytest.raises(TargetRefusedError):
        load(warehouse, NEW, after_publish=after)
    assert engine.query(f"SELECT * FROM {log}") == [("x", 1)]
    assert engine.column("Name") == ["Ann"]


def test_a_statement_that_fails_right_after_leaves_the_publish_and_the_file_is_loaded_again(
    engine: Engine, warehouse: Warehouse, log: str
) -> None:
    after = {"after_publish": f"INSERT INTO {log} VALUES ('x', 1)", "after_publish_in_transaction": False}
    engine.execute(str(after["after_publish"]))
    load(warehouse, OLD)
    with pytest.raises(AfterPublishError, match="The table is published, but the statement after it failed") as caught:
        load(warehouse, NEW, sha256="1" * 64, **after)
    assert isinstance(caught.value, PermanentError)
    assert caught.value.dataset_id == "d-one"
    assert engine.column("Name") == ["Bob", "Cleo"]
    assert engine.tables() == OWN_TABLES | {"paid", "log"}
    noted = warehouse.loads()[0]
    assert (noted.status, noted.error) == (LoadStatus.PUBLISHED, str(caught.value))
    engine.execute(f"DELETE FROM {log}")
    assert isinstance(load_or_leave(warehouse, NEW, sha256="1" * 64, **after), PublishedLoad)
    assert engine.query(f"SELECT * FROM {log}") == [("x", 1)]
    assert isinstance(load_or_leave(warehouse, NEW, sha256="1" * 64, **after), LoadRecord)


def test_a_process_that_dies_before_the_statement_leaves_word_that_it_has_not_run(
    warehouse: Warehouse, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = {"after_publish": f"INSERT INTO {log} VALUES ('x', 1)", "after_publish_in_transaction": False}
    monkeypatch.setattr(Load, "_run_after_publish", lambda _: None)
    load(warehouse, OLD, **outside)
    assert "has not run yet" in (warehouse.loads()[0].error or "")
    monkeypatch.undo()
    assert isinstance(load_or_leave(warehouse, OLD, **outside), PublishedLoad)
    assert warehouse.loads()[0].error is None
    assert isinstance(load_or_leave(warehouse, OLD, **outside), LoadRecord)


def test_what_the_statement_meets_is_told_without_values_of_rows(
    engine: Engine, warehouse: Warehouse, log: str
) -> None:
    after = f'INSERT INTO {log} SELECT "Name", 1 FROM {engine.table()}'
    for in_transaction in (True, False):
        with pytest.raises(PermanentError) as caught:
            load(
                warehouse,
                b"Name,Paid\ncanary,1.00\ncanary,2.00\n",
                after_publish=after,
                after_publish_in_transaction=in_transaction,
            )
        told = f"{caught.value!r} {caught.value} {caught.value.__cause__} {warehouse.loads()[0].error}"
        assert "canary" not in told


def test_no_statement_runs_for_a_file_that_is_left(engine: Engine, warehouse: Warehouse, log: str) -> None:
    after = f"INSERT INTO {log} VALUES ('x', 1)"
    load(warehouse, OLD, after_publish=after)
    assert isinstance(load_or_leave(warehouse, OLD, after_publish=after), LoadRecord)
    assert engine.query(f"SELECT * FROM {log}") == [("x", 1)]


# Statements that end the transaction they run in, or begin one that they leave open.
ENDING = {
    "sqlite": ["COMMIT", "ROLLBACK", "END"],
    "postgresql": ["COMMIT", "ROLLBACK", "ABORT", "ROLLBACK; BEGIN", "COMMIT; BEGIN", "SELECT 1; COMMIT; SELECT 2"],
    "sqlserver": [
        *("COMMIT", "ROLLBACK", "ROLLBACK; BEGIN TRANSACTION", "COMMIT; BEGIN TRANSACTION", "BEGIN TRANSACTION"),
        "BEGIN TRY SELECT 1 / 0 END TRY BEGIN CATCH IF @@TRANCOUNT > 0 ROLLBACK END CATCH",
    ],
}


@pytest.mark.parametrize("number", range(6))
def test_a_statement_that_ends_the_transaction_never_counts_as_a_publish(
    engine: Engine, warehouse: Warehouse, number: int
) -> None:
    if number >= len(ENDING[engine.name]):
        pytest.skip("This engine has fewer ways to end a transaction.")
    statement = ENDING[engine.name][number]
    load(warehouse, OLD)
    with pytest.raises(TransactionEndedError, match="'after_publish' ended or began a transaction") as caught:
        load(warehouse, NEW, sha256="1" * 64, after_publish=statement)
    assert isinstance(caught.value, PermanentError)
    assert caught.value.dataset_id == "d-one"
    newest = warehouse.loads()[0]
    assert (newest.status, newest.error) == (LoadStatus.FAILED, str(caught.value))
    assert engine.column("Name") == (["Bob", "Cleo"] if "COMMIT" in statement or statement == "END" else ["Ann"])
    assert isinstance(load_or_leave(warehouse, NEW, sha256="1" * 64), PublishedLoad)
    assert engine.column("Name") == ["Bob", "Cleo"]
    assert engine.tables() == OWN_TABLES | {"paid"}


def test_a_statement_right_after_that_rolls_back_does_not_count_as_run(
    engine: Engine, warehouse: Warehouse, log: str
) -> None:
    with pytest.raises(AfterPublishError, match="ended or began a transaction"):
        load(warehouse, NEW, after_publish="ROLLBACK", after_publish_in_transaction=False)
    noted = warehouse.loads()[0]
    assert noted.status is LoadStatus.PUBLISHED
    assert "ended or began a transaction" in (noted.error or "")
    assert engine.query(f"SELECT * FROM {log}") == []


@pytest.mark.usefixtures("tried_once")
def test_a_transaction_that_the_database_ended_unasked_is_never_committed_as_a_publish(
    engine: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(warehouse, OLD)
    write_contract = publish_module.ledger.write_contract

    def and_end(connection: Connection, *rest: Any) -> None:
        write_contract(connection, *rest)
        connection.exec_driver_sql("ROLLBACK")

    monkeypatch.setattr(publish_module.ledger, "write_contract", and_end)
    with pytest.raises(TargetUnavailableError, match="ended the publish transaction"):
        load(warehouse, NEW)
    monkeypatch.undo()
    assert engine.column("Name") == ["Ann"]
    assert [record.status for record in warehouse.loads()] == [LoadStatus.FAILED, LoadStatus.PUBLISHED]


# What a statement sets for its connection, and how the connection is asked for it.
SETTING = {
    "sqlite": ("PRAGMA cache_size = 77", "PRAGMA cache_size", 77),
    "postgresql": ("SET work_mem = '77MB'", "SHOW work_mem", "77MB"),
    "sqlserver": ("SET LOCK_TIMEOUT 77", "SELECT @@LOCK_TIMEOUT", 77),
}


@pytest.mark.parametrize("in_transaction", [True, False], ids=["within", "after"])
def test_what_a_statement_sets_is_gone_with_its_connection(
    engine: Engine, warehouse: Warehouse, in_transaction: bool
) -> None:
    statement, question, value = SETTING[engine.name]
    load(warehouse, OLD, after_publish=statement, after_publish_in_transaction=in_transaction)
    with warehouse._target.reading() as one, warehouse._target.reading() as other:
        assert value not in {connection.exec_driver_sql(question).scalar() for connection in (one, other)}
