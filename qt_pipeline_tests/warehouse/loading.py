"""CSV files on their way into a SQLite file, and what a reader finds there."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import make_url

from qt_pipeline.tabular import Contract, Inspection, first_contract, inspect, read_typed
from qt_pipeline.warehouse import LoadJob, PublishedLoad, Warehouse, open_warehouse
from qt_pipeline.warehouse.sqlite import SqliteTarget
from qt_pipeline_tests.tabular.files import stream_of

JOB = LoadJob(
    dataset_id="d-one",
    table_name="paid",
    run_id="run-1",
    landing_run_id="run-1",
    landing_uri="file:///landing/d-one/run-1/data.csv.zst",
    sha256="0" * 64,
    bytes=10,
    inbox_id="inbox-1",
    through_seq=0,
    event_id="event-1",
    rows=0,
)

Batches = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def open_at(file: Path, target: type[SqliteTarget] | None = None) -> Warehouse:
    """The warehouse in `file`; with a target of the test's own, if one is given."""
    url = f"sqlite:///{file}"
    return Warehouse(target(make_url(url))) if target else open_warehouse(url)


def contract_for(warehouse: Warehouse, dataset_id: str, inspection: Inspection) -> Contract:
    known = warehouse.contract(dataset_id)
    if known is not None:
        return known.follow(inspection.header.names, inspection.seen)
    return first_contract(inspection.header.names, inspection.seen, max_name_bytes=warehouse.max_name_bytes)


def load(warehouse: Warehouse, data: bytes, *, through: Batches | None = None, **changes: Any) -> PublishedLoad:
    """Load a file under `JOB` with `changes`; its batches pass `through` on their way."""
    inspection = inspect(stream_of(data))
    job = replace(JOB, **{"rows": inspection.rows, **changes})
    contract = contract_for(warehouse, job.dataset_id, inspection)
    batches = read_typed(stream_of(data), inspection, contract)
    return warehouse.load(job, contract, through(batches) if through else batches)


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
