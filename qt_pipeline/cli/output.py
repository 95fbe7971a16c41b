"""Output shared by the commands: tables, errors, JSON, counts, sizes, times and ages.

Here: formatting. Not here: the content of one command.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from qt_pipeline.errors import PipelineError
from qt_pipeline.safe_text import printable, rich_markup
from qt_pipeline.values import utc_now

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_STEP = 1000
_MAX_WIDTH = 300
_UNBOUNDED = 100_000
_READABLE = 12
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def console(*, err: bool = False) -> Console:
    """A console for output to people. Lines are not wrapped: a pipe gets them whole."""
    return Console(soft_wrap=True, highlight=False, emoji=False, stderr=err)


def print_table(table: Table, *, spare: Sequence[str] = ()) -> None:
    """Print a table; without a terminal, with a large width.

    A `no_wrap` column is never cut, because its values are arguments of other commands; other columns fold. In a narrow
    terminal, the columns `spare` are omitted in this order, with a note.
    """
    terminal = Console(emoji=False)
    width = terminal.width if terminal.is_terminal else _MAX_WIDTH
    omitted: list[str] = []
    for header in spare if terminal.is_terminal else ():
        if _least_width(table) <= width:
            break
        omitted.append(header)
        table.columns = [column for column in table.columns if column.header != header]
    for column in table.columns:
        column.overflow = "fold"
    Console(width=max(width, _least_width(table)), emoji=False).print(table)
    if omitted:
        console().print(f"[dim]Omitted in this narrow terminal: {', '.join(omitted)}.[/]")


def _least_width(table: Table) -> int:
    """The minimum width of a table, with borders, that cuts no `no_wrap` column and keeps the others readable."""
    unbounded = Console(width=_UNBOUNDED, emoji=False)
    measured = [
        (column, [Measurement.get(unbounded, unbounded.options, cell) for cell in (column.header, *column.cells)])
        for column in table.columns
    ]
    word_widths = [cell.minimum for column, cells in measured for cell in cells if not column.no_wrap]
    # Rich distributes the available width evenly.
    readable = min(max(word_widths, default=0), _READABLE)
    full_widths = ((column, max(cell.maximum for cell in cells)) for column, cells in measured)
    return 1 + sum(
        3 + (width if column.no_wrap else min(width, max(readable, column.min_width or 0)))
        for column, width in full_widths
    )


def safe_markup(text: str) -> str:
    """Escape untrusted text for a console or a table of this module."""
    return rich_markup(text)


def print_error(error: object) -> None:
    """Print an error as one line on standard error; untrusted text in it is escaped."""
    typer.secho(printable(str(error)), fg=typer.colors.RED, err=True)


def print_json(document: Mapping[str, object]) -> None:
    """Print one JSON object on one line."""
    typer.echo(json.dumps(document))


def error_as_json(error: PipelineError) -> dict[str, object]:
    """An error as JSON."""
    return {"status": "failed", "dataset_id": error.dataset_id, "error": error.message, "hint": error.hint}


def iso(timestamp: datetime | None) -> str | None:
    """A timestamp in ISO 8601, for scripts."""
    return None if timestamp is None else timestamp.isoformat()


def format_timestamp(timestamp: datetime | None) -> str:
    """A timestamp for people, in UTC."""
    return "" if timestamp is None else f"{timestamp:%Y-%m-%d %H:%M:%S}"


def format_duration(time: timedelta | float) -> str:
    """A duration: `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = int(time.total_seconds() if isinstance(time, timedelta) else time)
    for unit, label, lower_unit, lower_label in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= unit:
            rest = seconds % unit // lower_unit
            return f"{seconds // unit} {label} {rest} {lower_label}" if rest else f"{seconds // unit} {label}"
    return f"{seconds} s"


def format_age(timestamp: datetime | None) -> str:
    """The age of a timestamp, such as `4 min ago`; empty for None."""
    if timestamp is None:
        return ""
    number, unit, *_ = format_duration(max(timedelta(0), utc_now() - timestamp)).split()
    return f"{number} {unit} ago"


def format_size(count: int) -> str:
    """A number of bytes: `512 bytes`, `1.2 MB`."""
    amount, unit = float(count), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{count:,} {'byte' if count == 1 else 'bytes'}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
