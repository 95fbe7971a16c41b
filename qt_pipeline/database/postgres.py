"""PostgreSQL: how it is reached, how long one waits, and what its refusals mean.

Here: the engine with its bounds, words without rows, numbers for locks.
Not here: what is done with it (see inbox, warehouse).
"""

import hashlib
from collections.abc import Mapping

from sqlalchemy import URL, Engine, create_engine

from qt_pipeline.database.fault import Fault

_CONNECT_SECONDS = 30
# A server that is gone without a word is found out within a minute, also by who only waits for its answer.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
# Classes of SQLSTATE whose messages speak of servers, users and resources; those of others may repeat a row.
_WORDS_WITHOUT_ROWS = ("08", "0A", "28", "2B", "3D", "3F", "40", "42", "53", "55", "57")
# Classes that another try may find well: connections, serialization and deadlocks, resources, waiting, the operator.
_PASSING = ("08", "40", "53", "55", "57", "58")
# Classes that speak of one table: its values, its constraints, what depends on it, how much it holds.
_OF_TABLE = ("22", "23", "2B", "54")


def postgres_engine(
    url: URL,
    *,
    wait_seconds: float,
    connect_seconds: int = _CONNECT_SECONDS,
    settings: Mapping[str, str] | None = None,
    **options: object,
) -> Engine:
    """An engine for the database at `url`, by psycopg. Nothing is opened yet.

    `wait_seconds` bounds the wait for another's lock. `settings` are PostgreSQL's own, for each connection; what the
    URL sets by its own `options` stays. `options` go to SQLAlchemy's `create_engine`.
    """
    of_connection = {"lock_timeout": f"{round(wait_seconds * 1000)}ms", "timezone": "UTC", **(settings or {})}
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        # Parameters stay out of error messages: they hold events and rows.
        hide_parameters=True,
        # A server that was restarted, or a firewall, ends idle connections without a word.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": connect_seconds,
            "options": " ".join(
                [str(url.query.get("options", "")), *(f"-c {name}={value}" for name, value in of_connection.items())]
            ).strip(),
            "application_name": "qt_pipeline",
            **_KEEPALIVE,
        },
        **options,
    )


def postgres_fault(error: BaseException | None) -> Fault:
    """What the server, or the driver on its way to it, has said."""
    state: str | None = getattr(error, "sqlstate", None)
    passing = state is None or state.startswith(_PASSING)
    of_table = state is not None and state.startswith(_OF_TABLE)
    if state is None or state.startswith(_WORDS_WITHOUT_ROWS):
        return Fault(None, " ".join(_message(error).split()), passing, of_table)
    return Fault(None, f"{type(error).__name__} (SQLSTATE {state})", passing, of_table)


def advisory_key(*names: str) -> int:
    """A number for PostgreSQL's advisory locks, which know no names."""
    digest = hashlib.sha256("/".join(["qt_pipeline", *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _message(error: BaseException | None) -> str:
    # Without the context, which shows the line that COPY was at.
    told = getattr(error, "diag", None)
    parts = (getattr(told, "message_primary", None), getattr(told, "message_detail", None))
    return ": ".join(part for part in parts if part) or str(error)
