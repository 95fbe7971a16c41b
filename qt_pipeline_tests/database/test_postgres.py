"""What PostgreSQL's refusals mean, and which bounds a connection has. See the rooms' own tests for a real server."""

from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import event, make_url

from qt_pipeline.database import advisory_key, postgres_engine, postgres_fault


@pytest.mark.parametrize(
    ("error", "words", "passing"),
    [
        (
            errors.ProgramLimitExceeded("row is too big: size 9008, maximum size 8160"),
            "row is too big: size 9008, maximum size 8160",
            False,
        ),
        (errors.DataCorrupted("invalid page in block 1"), "invalid page in block 1", False),
        (errors.ReadOnlySqlTransaction("cannot execute INSERT"), "cannot execute INSERT", False),
        (errors.NumericValueOutOfRange("canary"), "NumericValueOutOfRange (SQLSTATE 22003)", False),
        (errors.RaiseException("canary"), "RaiseException (SQLSTATE P0001)", False),
        (errors.ExternalRoutineException("canary"), "ExternalRoutineException (SQLSTATE 38000)", False),
        (errors.InternalError_("canary"), "InternalError_ (SQLSTATE XX000)", False),
        (errors.WithCheckOptionViolation("canary"), "WithCheckOptionViolation (SQLSTATE 44000)", False),
        (errors.UniqueViolation("Key (name)=(canary) already exists."), "UniqueViolation (SQLSTATE 23505)", False),
        (errors.InvalidTextRepresentation("canary"), "InvalidTextRepresentation (SQLSTATE 22P02)", False),
        (errors.UndefinedTable('relation "nowhere"  does\nnot exist'), 'relation "nowhere" does not exist', False),
        (errors.DeadlockDetected("deadlock detected"), "deadlock detected", True),
        (errors.LockNotAvailable("canceling due to lock timeout"), "canceling due to lock timeout", True),
        (errors.DiskFull("could not extend file"), "could not extend file", True),
        (psycopg.OperationalError("connection refused"), "connection refused", True),
        (None, "None", True),
    ],
)
def test_a_refusal_is_known_by_its_state_and_no_row_is_told(
    error: Exception | None, words: str, *, passing: bool
) -> None:
    fault = postgres_fault(error)
    assert (fault.message, fault.transient) == (words, passing)


def test_each_connection_has_bounds_and_its_encoding_and_what_the_url_sets_stays() -> None:
    engine = postgres_engine(
        make_url("postgresql://h/d?options=-csearch_path%3Dx&client_encoding=latin1"), setting="X", wait_seconds=0.5
    )
    given: dict[str, Any] = {}

    class NotDialledError(Exception):
        pass

    @event.listens_for(engine, "do_connect")
    def _note(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
        given.update(options)
        raise NotDialledError

    with pytest.raises(NotDialledError):
        engine.connect()
    assert given["options"] == "-csearch_path=x"
    assert given["client_encoding"] == "UTF8"
    assert given["prepare_threshold"] is None
    assert 0 < given["connect_timeout"] <= 30
    assert 0 < given["tcp_user_timeout"] <= 60_000
    assert given["keepalives_idle"] + given["keepalives_interval"] * given["keepalives_count"] <= 60


def test_the_number_of_a_lock_is_the_same_in_every_process_and_another_for_another_name() -> None:
    assert advisory_key("", "the ledger") == advisory_key("", "the ledger")
    assert len({advisory_key(*names) for names in (("", "a"), ("", "b"), ("s", "a"), ("a",))}) == 4
    assert advisory_key("", "a") == 7388730699893795624


@pytest.mark.parametrize(
    ("error", "of_table"),
    [
        (errors.DependentObjectsStillExist("cannot drop"), True),
        (errors.UniqueViolation("canary"), True),
        (errors.TooManyColumns("tables can have at most 1600 columns"), True),
        (errors.InsufficientPrivilege("permission denied for schema"), False),
        (errors.InvalidPassword("password authentication failed"), False),
        (errors.DiskFull("could not extend file"), False),
    ],
)
def test_a_refusal_says_whether_it_is_about_one_table(error: Exception, *, of_table: bool) -> None:
    assert postgres_fault(error).table_scoped is of_table
