"""Holds that no result stays open: SQL Server's driver takes no statement while an earlier one has rows left to read.

CPython frees a result that nobody holds at once, and so closes it by chance: here each is held.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

_OPEN: dict[int, list[tuple[Any, str]]] = {}


@pytest.fixture(autouse=True)
def no_result_stays_open() -> Iterator[None]:
    """Fail where a statement is executed before the rows of the last one on its connection were read, or let go."""
    _OPEN.clear()
    event.listen(Engine, "before_cursor_execute", _check)
    event.listen(Engine, "after_cursor_execute", _keep)
    yield
    event.remove(Engine, "before_cursor_execute", _check)
    event.remove(Engine, "after_cursor_execute", _keep)
    _OPEN.clear()


def _keep(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
    if cursor.description is not None:
        _OPEN.setdefault(id(connection.connection.dbapi_connection), []).append((cursor, statement))


def _check(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    for cursor, earlier in _OPEN.pop(id(connection.connection.dbapi_connection), []):
        try:
            left = cursor.fetchone()
        except Exception:  # noqa: BLE001  # each driver has its own for a cursor that is closed
            left = None
        if left is not None:
            pytest.fail(f"The result of {earlier!r} is still open when this is executed: {statement!r}")
