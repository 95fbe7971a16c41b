"""CSV files on their way into a table, as the rooms above this one bring them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from qt_pipeline.tabular import (
    Rows,
    SchemaRules,
    align_headers,
    parse_type,
    profile,
    read_header,
    read_rows,
    resolve_contract,
)
from qt_pipeline.values import DriftPolicy
from qt_pipeline.warehouse import Load, LoadJob, LoadRecord, PublishedLoad, TableSpec, Warehouse
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


class CableCutError(Exception):
    """The end of a download that broke in the middle."""


def then_broken(rows: Iterable[Rows]) -> Iterator[Rows]:
    yield from rows
    raise CableCutError("canary")


def load(
    warehouse: Warehouse,
    data: bytes,
    *,
    through: Passing | None = None,
    policy: DriftPolicy = DriftPolicy.ADDITIVE,
    declared: Mapping[str, str] | None = None,
    **changes: Any,
) -> PublishedLoad:
    """Load a file under `JOB` and `TABLE` with `changes`; its rows pass `through` on their way."""
    with warehouse.begin(*_with({"sha256": sha256(data).hexdigest(), **changes})) as begun:
        return publish(begun, data, through=through, policy=policy, declared=declared)


def load_or_leave(warehouse: Warehouse, data: bytes, **changes: Any) -> LoadRecord | PublishedLoad:
    """Like `load`, unless the table shows the file already."""
    with warehouse.begin(*_with({"sha256": sha256(data).hexdigest(), **changes})) as begun:
        return begun.mark_unchanged() if begun.is_up_to_date() else publish(begun, data)


def publish(
    begun: Load,
    data: bytes,
    *,
    through: Passing | None = None,
    policy: DriftPolicy = DriftPolicy.ADDITIVE,
    declared: Mapping[str, str] | None = None,
) -> PublishedLoad:
    """Stage and publish a file in a load that has begun."""
    rules = SchemaRules(
        max_name_bytes=begun.target.max_name_bytes,
        policy=policy,
        declared={header: parse_type(text) for header, text in (declared or {}).items()},
        keeps_rows=begun.spec.keeps_rows,
    )
    header = read_header(stream_of(data))
    contract = begun.contract
    if contract is not None and begun.adopting:
        contract = align_headers(contract, header.names, rules)
    inspection = profile(stream_of(data), header, rules.expected(contract, header.names))
    settled = resolve_contract(contract, header.names, inspection.seen, rules)
    rows = read_rows(stream_of(data), inspection, settled.contract)
    begun.stage(settled.contract, through(rows) if through else rows)
    return begun.publish(settled.changes)


def _with(changes: Mapping[str, Any]) -> tuple[LoadJob, TableSpec]:
    assert changes.keys() <= _IN_JOB | _IN_TABLE
    job = replace(JOB, **{name: value for name, value in changes.items() if name in _IN_JOB})
    return job, replace(TABLE, **{name: value for name, value in changes.items() if name in _IN_TABLE})
