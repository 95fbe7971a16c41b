"""CSV files on their way into a SQLite file, and what a reader finds there."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from qt_pipeline.tabular import Rows, Rules, inspect, read_header, read_rows, settle
from qt_pipeline.warehouse import Load, LoadJob, PublishedLoad, TableSpec, Warehouse, open_warehouse
from qt_pipeline.warehouse.sqlite import SqliteTarget
from qt_pipeline_tests.tabular.files import stream_of

JOB = LoadJob(
    dataset_id="d-one",
    run_id="run-1",
    landing_run_id="run-1",
    landing_uri="file:///landing/d-one/run-1/data.csv.zst",
    landed_at=datetime(2026, 1, 31, 10, tzinfo=UTC),
    sha256="0" * 64,
    bytes=10,
    inbox_id="inbox-1",
    through_seq=0,
    event_id="event-1",
    rules="rules-1",
)
TABLE = TableSpec("paid")

Passing = Callable[[Iterable[Rows]], Iterable[Rows]]

_IN_JOB = {field.name for field in fields(LoadJob)}
_IN_TABLE = {field.name for field in fields(TableSpec)}


def open_at(file: Path, target: type[SqliteTarget] | None = None) -> Warehouse:
    """The warehouse in `file`; with a target of the test's own, if one is given."""
    url = f"sqlite:///{file}"
    return Warehouse(target(make_url(url))) if target else open_warehouse(url)


def load(
    warehouse: Warehouse, data: bytes, *, through: Passing | None = None, rules: Rules | None = None, **changes: Any
) -> PublishedLoad:
    """Load a file under `JOB` and `TABLE` with `changes`; its rows pass `through` on their way."""
    job = replace(JOB, **{name: value for name, value in changes.items() if name in _IN_JOB})
    table = replace(TABLE, **{name: value for name, value in changes.items() if name in _IN_TABLE})
    assert changes.keys() <= _IN_JOB | _IN_TABLE
    with warehouse.begin(job, table) as begun:
        return publish(begun, data, through=through, rules=rules)


def publish(begun: Load, data: bytes, *, through: Passing | None = None, rules: Rules | None = None) -> PublishedLoad:
    rules = rules or Rules(max_name_bytes=begun.target.max_name_bytes, keeps_rows=begun.spec.keeps_rows)
    header = read_header(stream_of(data))
    inspection = inspect(stream_of(data), header, rules.expected(begun.contract, header.names))
    settled = settle(begun.contract, header.names, inspection.seen, rules)
    rows = read_rows(stream_of(data), inspection, settled.contract)
    begun.stage(settled.contract, through(rows) if through else rows)
    return begun.publish(settled.changes)


def query(file: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a reader that knows nothing of this project is answered."""
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        return connection.execute(sql, parameters).fetchall()


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def tables_in(file: Path) -> set[str]:
    found = {name for (name,) in query(file, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {name for name in found if not name.startswith("sqlite_")}
