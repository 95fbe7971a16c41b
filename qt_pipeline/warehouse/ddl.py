"""The tables of a target as SQL text, for whoever prepares them, and the rights that a login then needs to load.

Here: these statements, for a login that must not create tables where readers look. Not here: running them.
"""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Connection, Dialect, MetaData, create_mock_engine, make_url
from sqlalchemy.dialects.mssql.base import MSDialect
from sqlalchemy.schema import CreateSchema
from sqlalchemy.sql.ddl import ExecutableDDLElement

from qt_pipeline.tabular import Contract
from qt_pipeline.warehouse.ledger import columns, loads, metadata
from qt_pipeline.warehouse.tables import TableBuilder, TableSpec
from qt_pipeline.warehouse.target import Target

# The oldest that tells one transaction from another.
_SQL_SERVER_2016 = (13, 0)
# Where tables without a schema are made, unless somebody has changed that for a login.
_DEFAULT_SCHEMAS = {"mssql": "dbo", "postgresql": "public"}
_ON_TABLE = "SELECT, INSERT, DELETE"
# DELETE is for `qt-pipeline purge`.
_ON_LOADS = "SELECT, INSERT, UPDATE, DELETE"


def preparation(target: Target, backend: str, table: TableSpec | None, contract: Contract | None) -> list[str]:
    """The statements that make the ledger, and the empty `table` of a dataset if one is named with its contract."""
    made: list[str] = []

    def write_down(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
        made.append(_as_text(statement, engine.dialect))

    engine = create_mock_engine(f"{backend}://", write_down)
    if isinstance(engine.dialect, MSDialect):
        # Without a server to ask, SQLAlchemy would take it for one that knows neither DATE nor NVARCHAR(max).
        engine.dialect.server_version_info = _SQL_SERVER_2016
        engine.dialect.deprecate_large_types = True
    schemas = {target.schema, target.staging_schema, table.schema if table else None} - {None}
    for name in sorted(map(str, schemas if target.has_schemas else ())):
        write_down(CreateSchema(name))
    for own in metadata.sorted_tables:
        placed = own.to_metadata(MetaData(), schema=target.schema) if target.schema else own
        first_index = len(made) + 1
        placed.create(engine, checkfirst=False)
        # SQLAlchemy keeps the indexes of a table in no order.
        made[first_index:] = sorted(made[first_index:])
    if table is not None and contract is not None:
        # The target's own way to make a table, which takes a connection: this one only writes down.
        target.create_table(cast("Connection", engine), TableBuilder(target, table).table(contract))
    return made


def rights(target: Target, backend: str, tables: Sequence[TableSpec], login: str) -> list[str]:
    """The statements that let `login` load these tables, and make nothing but staging tables."""
    quote = make_url(f"{backend}://").get_dialect()().identifier_preparer
    to = f"TO {quote.quote_identifier(login)}"

    def name(table: str, schema: str | None) -> str:
        return (
            f"{quote.quote_schema(schema)}.{quote.quote_identifier(table)}" if schema else quote.quote_identifier(table)
        )

    statements = [f"GRANT {_ON_TABLE} ON {name(table.name, table.schema)} {to}" for table in tables]
    statements.append(f"GRANT {_ON_LOADS} ON {name(loads.name, target.schema)} {to}")
    statements.append(f"GRANT {_ON_TABLE} ON {name(columns.name, target.schema)} {to}")
    default = _DEFAULT_SCHEMAS.get(backend, "")
    ledger = target.schema or default
    placed = {table.schema or default for table in tables}
    # Where no schema is set for staging tables, they are made beside their table.
    staging = sorted({target.staging_schema} if target.staging_schema else placed or {ledger})
    match backend:
        case "postgresql":
            used = sorted({ledger, *placed, *staging})
            statements.append(f"GRANT USAGE ON SEQUENCE {name('_qt_loads_load_id_seq', target.schema)} {to}")
            statements += [f"GRANT USAGE ON SCHEMA {quote.quote_schema(schema)} {to}" for schema in used]
            statements += [f"GRANT CREATE ON SCHEMA {quote.quote_schema(schema)} {to}" for schema in staging]
        case "mssql":
            statements.append(f"GRANT CREATE TABLE {to}")
            if target.schema is None:
                # Names without a schema are looked up and made in that of the login.
                user = quote.quote_identifier(login)
                statements.append(f"ALTER USER {user} WITH DEFAULT_SCHEMA = {quote.quote_schema(default)}")
            statements += [
                f"GRANT ALTER, SELECT, INSERT, DELETE ON SCHEMA::{quote.quote_schema(schema)} {to}"
                for schema in staging
            ]
        case _:
            return []
    return statements


def _as_text(statement: ExecutableDDLElement, dialect: Dialect) -> str:
    return "\n".join(line.rstrip() for line in str(statement.compile(dialect=dialect)).strip().splitlines())
