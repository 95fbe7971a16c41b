"""Where inboxes are kept: the engines that the same rules are tested on, as somebody else than the inbox sees them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, NullPool, create_engine, event, make_url, text

MSSQL_URL = os.environ.get("QT_TEST_MSSQL_URL", "")

TABLES = ("_qt_events", "_qt_inbox")


class Place(ABC):
    """One place for an inbox, and other people's connections to it."""

    name: str
    hold_numbers: str
    """What makes the next append wait, in a transaction."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def drop(self) -> None:
        """Leave nothing behind."""

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Somebody else's, each statement a transaction of its own."""
        with self._engine().connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def numbers_held(self) -> Iterator[None]:
        """While somebody else is in the middle of giving out numbers."""
        with self._engine().connect() as connection, connection.begin():
            connection.execute(text(self.hold_numbers))
            yield

    def make_older(self) -> None:
        """Take away what inboxes once had not."""
        self.execute("DROP INDEX _qt_events_settled", "ALTER TABLE _qt_events DROP COLUMN unchanged_checks")

    def execute(self, *statements: str) -> None:
        with self.connection() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connection() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def _engine(self) -> Any:
        return create_engine(make_url(self.url), poolclass=NullPool)


class Sqlite(Place):
    """A file."""

    name = "sqlite"
    hold_numbers = "BEGIN IMMEDIATE"

    def __init__(self, file: Path) -> None:
        self.file = file
        super().__init__(f"sqlite:///{file}")

    def drop(self) -> None:
        """The folder of the test goes anyway."""

    def _engine(self) -> Any:
        engine = super()._engine()
        # Python's driver would begin no transaction before the first statement that writes.
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        return engine


class Postgres(Place):
    """A schema of its own on a real server, named in the URL."""

    name = "postgres"
    hold_numbers = "SELECT 1 FROM _qt_inbox FOR UPDATE"

    def __init__(self, server: str) -> None:
        self.schema = f"inbox_{uuid4().hex[:12]}"
        url = make_url(server).set(drivername="postgresql+psycopg")
        with create_engine(url, poolclass=NullPool).begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {self.schema}"))
        url = url.update_query_dict({"options": f"-csearch_path={self.schema}"}).set(drivername="postgresql")
        super().__init__(url.render_as_string(hide_password=False))

    def drop(self) -> None:
        self.execute(f"DROP SCHEMA {self.schema} CASCADE")

    def _engine(self) -> Any:
        return create_engine(make_url(self.url).set(drivername="postgresql+psycopg"), poolclass=NullPool)


class SqlServer(Place):
    """The database that `QT_TEST_MSSQL_URL` names: nobody else's inbox may be there."""

    name = "sqlserver"
    hold_numbers = "SELECT id FROM _qt_inbox WITH (UPDLOCK)"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.drop()

    def drop(self) -> None:
        self.execute(*(f"DROP TABLE IF EXISTS {table}" for table in TABLES))

    def make_older(self) -> None:
        """Take away what inboxes once had not. Here, a default is an object of its own."""
        [(default,)] = self.query(
            "SELECT name FROM sys.default_constraints WHERE OBJECT_NAME(parent_object_id) = '_qt_events'"
        )
        self.execute(
            "DROP INDEX _qt_events_settled ON _qt_events",
            f"ALTER TABLE _qt_events DROP CONSTRAINT {default}",
            "ALTER TABLE _qt_events DROP COLUMN unchanged_checks",
        )

    def _engine(self) -> Any:
        url = make_url(self.url)
        driver = url.drivername if "+" in url.drivername else "mssql+mssqlpython"
        return create_engine(url.set(drivername=driver), poolclass=NullPool)
