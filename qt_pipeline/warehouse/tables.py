"""SQLAlchemy tables for datasets: how a table is to be written, and its system columns.

Here: the specification of a table, its SQLAlchemy definition, the batches that fit it.
Not here: how an engine stores a type (see the targets), the ledger's own tables (see ledger).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import BigInteger, Column, MetaData, String, Table
from sqlalchemy.sql import quoted_name
from sqlalchemy.types import TypeEngine

from qt_pipeline.tabular import (
    LOAD_COLUMN,
    LOADED_AT_COLUMN,
    ROW_COLUMN,
    SHORT_DIGITS,
    Array,
    ColumnType,
    Contract,
    Kind,
    Rows,
    convert,
    integers,
)
from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse.target import Batch, SqlTypes, Target

OWN_PREFIX = "_qt_"
"""The prefix of the project's own tables and columns."""
_TIMESTAMP = ColumnType(Kind.TIMESTAMP)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The specification of a dataset's table.

    `key` are the headers of the columns that identify a row, for `UPSERT`. `adopt` allows a table that this project did
    not create. `after_publish` is one SQL statement, run in the publish transaction or right after it.
    """

    name: str
    schema: str | None = None
    mode: WriteMode = WriteMode.REPLACE
    key: tuple[str, ...] = ()
    lineage_columns: bool = True
    adopt: bool = False
    after_publish: str | None = None
    after_publish_in_transaction: bool = True

    @property
    def keeps_rows(self) -> bool:
        """Whether rows of earlier loads stay."""
        return self.mode is not WriteMode.REPLACE

    @property
    def system_columns(self) -> tuple[str, ...]:
        """The names of the system columns in the table."""
        loaded_at = (LOADED_AT_COLUMN,) if self.mode is WriteMode.APPEND else ()
        return (*loaded_at, LOAD_COLUMN, ROW_COLUMN) if self.lineage_columns else ()

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class TableBuilder:
    """Builds the SQLAlchemy tables for one table of a target and its staging tables."""

    target: Target
    spec: TableSpec
    present: SqlTypes = field(default_factory=dict[str, TypeEngine[Any]])
    """The columns of the existing table. Their collations are kept, in staging too."""

    @property
    def system_columns(self) -> tuple[str, ...]:
        """The names of the system columns in the table. One left from another mode is still filled."""
        ours = (LOADED_AT_COLUMN, LOAD_COLUMN, ROW_COLUMN)
        return tuple(name for name in ours if name in self.spec.system_columns or name in self.present)

    def table(self, contract: Contract) -> Table:
        """The table that readers see."""
        return self._shape(self.spec.name, self.spec.schema, contract, self.system_columns)

    def stage(self, load_id: int, contract: Contract, prefixes: Sequence[str] = ()) -> Table:
        """The staging table of a load. It has the system columns whatever the table has."""
        loaded_at = (LOADED_AT_COLUMN,) if LOADED_AT_COLUMN in self.system_columns else ()
        own = (*loaded_at, LOAD_COLUMN, ROW_COLUMN)
        schema = self.target.staging_schema or self.spec.schema
        return self._shape(stage_name(load_id), schema, contract, own, prefixes)

    def own_type(self, name: str) -> TypeEngine[Any]:
        """The type of a system column."""
        return self.target.column_type(_TIMESTAMP) if name == LOADED_AT_COLUMN else BigInteger()

    def remarks(self, contract: Contract) -> Iterator[str]:
        """Sentences for readers about columns whose stored type differs from the declared one."""
        for column in contract.columns:
            if column.type.kind is Kind.DECIMAL and isinstance(self.target.column_type(column.type), String):
                yield (
                    f"The column {column.name!r} ({column.type}) is text here: this database has no exact number of so "
                    f"many digits. Compare and sort it by CAST(... AS REAL), or declare at most {SHORT_DIGITS} digits."
                    f"many digits. Compare and sort it by CAST(... AS REAL), or declare at most {SHORT_DIGITS} digits."
                )

    def _type(self, name: str, type_: ColumnType) -> TypeEngine[Any]:
        wanted = self.target.column_type(type_)
        present = self.present.get(name)
        if not (isinstance(wanted, String) and isinstance(present, String) and present.collation):
            return wanted
        return wanted.adapt(
            type(wanted), collation=present.collation, collation_schema=getattr(present, "collation_schema", None)
        )

    def _shape(
        self, name: str, schema: str | None, contract: Contract, own: Iterable[str], prefixes: Sequence[str] = ()
    ) -> Table:
        columns = [Column(_quoted(c.name), self._type(c.name, c.type), nullable=True) for c in contract.columns]
        ours = [Column(_quoted(name), self.own_type(name), nullable=False) for name in own]
        place = _quoted(schema) if schema else None
        return Table(_quoted(name), MetaData(), *columns, *ours, schema=place, prefixes=list(prefixes))


def stage_name(load_id: int) -> str:
    """The name of a load's staging table."""
    return f"{OWN_PREFIX}stage_{load_id}"


def batches_for(stage: Table, rows: Iterable[Rows], load_id: int, landed_at: datetime) -> Iterator[Batch]:
    """Rows with their system columns, in the order of a staging table's columns."""
    has_loaded_at = LOADED_AT_COLUMN in stage.c
    micros = round((landed_at - _EPOCH) / timedelta(microseconds=1))
    for batch in rows:
        count = len(batch)
        loaded_at = (convert(_constant(micros, count), pa.timestamp("us")),) if has_loaded_at else ()
        yield Batch(batch, (*loaded_at, _constant(load_id, count), integers(batch.lines)))


def _constant(value: int, count: int) -> Array:
    return integers(np.full(count, value, dtype=np.int64))


def _quoted(name: str) -> quoted_name:
    return quoted_name(name, quote=True)
