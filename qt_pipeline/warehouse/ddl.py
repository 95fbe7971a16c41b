"""SQL that an administrator runs in advance: the tables of a target, and the rights a login needs to load.

Here: these statements, for a login that must not create tables in the readers' schema. Not here: running them.
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

# The oldest version with transaction ids.
_SQL_SERVER_2016 = (13, 0)
# The schema of tables that name none, unless it was changed for a login.
_DEFAULT_SCHEMAS = {"mssql": "dbo", "postgresql": "public"}
_ON_TABLE = "SELECT, INSERT, DELETE"
# `qt-pipeline purge` needs DELETE.
_ON_LOADS = "SELECT, INSERT, UPDATE, DELETE"


def preparation(target: Target, backend: str, table: TableSpec | None, contract: Contract | None) -> list[str]:
    """The statements that create the ledger, and the empty `table` of a dataset if given with its contract."""
    statements: list[str] = []

    def append(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(_as_text(statement, engine.dialect))

    engine = create_mock_engine(f"{backend}://", append)
    if isinstance(engine.dialect, MSDialect):
        # Without a server connection, SQLAlchemy would assume one without DATE and NVARCHAR(max).
        engine.dialect.server_version_info = _SQL_SERVER_2016
        engine.dialect.deprecate_large_types = True
    schemas = {target.schema, target.staging_schema, table.schema if table else None} - {None}
    for name in sorted(map(str, schemas if target.has_schemas else ())):
        append(CreateSchema(name))
    for own in metadata.sorted_tables:
        placed = own.to_metadata(MetaData(), schema=target.schema) if target.schema else own
        first_index = len(statements) + 1
        placed.create(engine, checkfirst=False)
        # SQLAlchemy does not order the indexes of a table.
        statements[first_index:] = sorted(statements[first_index:])
    if table is not None and contract is not None:
        # Uses the target's own method, which needs a connection: this mock only records the statements.
        target.create_table(cast("Connection", engine), TableBuilder(target, table).table(contract))
    return statements


def rights(target: Target, backend: str, tables: Sequence[TableSpec], login: str) -> list[str]:
    """The statements that let `login` load these tables, and create nothing but staging tables."""
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
    # Without a staging schema, staging tables are created in the schema of their table.
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
                # Names without a schema resolve to, and are created in, the login's default schema.
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
