"""Retention of the ledger: which rows must stay, and deleting the others.

Here: what needs a row. Not here: how old a row must be (see ingest), the rows themselves (see ledger).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse.ledger import CURRENT_STATUSES, LoadStatus, columns, loads

_BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class RetainedLoads:
    """The ids of a dataset's loads that are still needed.

    `in_table` are the loads whose rows the table may hold, and the one whose file it shows. `lines` are all whose
    ledger rows must stay: those, the last of each table, which a later load reads, those that say which events are
    settled, and those that the contract names.
    """

    in_table: frozenset[int] = frozenset()
    lines: frozenset[int] = frozenset()


def needed(connection: Connection, dataset_id: str) -> RetainedLoads:
    """The loads of a dataset that must stay, whatever their age."""
    of_dataset = loads.c.dataset_id == dataset_id
    lines = connection.execute(
        select(loads.c.load_id, loads.c.table_schema, loads.c.table_name, loads.c.mode, loads.c.status)
        .where(of_dataset)
        .order_by(loads.c.load_id.desc())
    ).all()
    kept = {line.load_id for line in lines if line.status is LoadStatus.STAGING}
    in_table = set([line.load_id for line in lines if line.status in CURRENT_STATUSES][:1])
    last_of_table: set[tuple[str | None, str]] = set()
    last_written: set[tuple[str | None, str]] = set()
    rows_are_replaced = False
    for line in lines:
        place = line.table_schema, line.table_name
        if place not in last_of_table:
            last_of_table.add(place)
            kept.add(line.load_id)
        if line.status is LoadStatus.PUBLISHED and place not in last_written:
            # It says which dataset owns the table, and which rows the same file replaces.
            last_written.add(place)
            kept.add(line.load_id)
        if line.status is LoadStatus.PUBLISHED and not rows_are_replaced:
            in_table.add(line.load_id)
            rows_are_replaced = line.mode == WriteMode.REPLACE.value
    named = connection.execute(
        select(columns.c.first_load, columns.c.last_load).where(columns.c.dataset_id == dataset_id)
    ).all()
    kept.update(in_table, _settling(connection, of_dataset), *named)
    return RetainedLoads(frozenset(in_table), frozenset(kept))


def _settling(connection: Connection, of_dataset: ColumnElement[bool]) -> set[int]:
    """The loads that `reached` takes its sequence numbers from."""
    load_ids: set[int] = set()
    for statuses in ((LoadStatus.PUBLISHED,), CURRENT_STATUSES):
        counting = and_(of_dataset, loads.c.status.in_(statuses), loads.c.landing_run_id == loads.c.run_id)
        highest = (
            select(loads.c.inbox_id, func.max(loads.c.through_seq).label("seq"))
            .where(counting)
            .group_by(loads.c.inbox_id)
            .subquery()
        )
        is_highest = and_(loads.c.inbox_id == highest.c.inbox_id, loads.c.through_seq == highest.c.seq)
        newest = select(func.max(loads.c.load_id)).join(highest, is_highest).where(counting).group_by(loads.c.inbox_id)
        load_ids.update(connection.scalars(newest).all())
    return load_ids


def delete_loads(connection: Connection, load_ids: Iterable[int]) -> None:
    """Delete rows of the ledger."""
    remaining = iter(load_ids)
    while batch := list(islice(remaining, _BATCH_SIZE)):
        connection.execute(delete(loads).where(loads.c.load_id.in_(batch)))
