"""What the commands share when they answer: text from outside, JSON, counts, sizes, times and how long ago they were.

Here: forms alone. Not here: what any one command says.
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
    """Where people are answered. Lines are not cut: who reads them through a pipe wants them whole."""
    return Console(soft_wrap=True, highlight=False, emoji=False, stderr=err)


def print_table(table: Table, *, spare: Sequence[str] = ()) -> None:
    """A table; wide where no terminal bounds it.

    A column of `no_wrap` is never cut, for the next command is given what is in it; words of others fold. A terminal
    that is too narrow for that goes without the columns `spare`, the first of them first, and says so.
    """
    terminal = Console(emoji=False)
    width = terminal.width if terminal.is_terminal else _MAX_WIDTH
    left_out: list[str] = []
    for header in spare if terminal.is_terminal else ():
        if _least_width(table) <= width:
            break
        left_out.append(header)
        table.columns = [column for column in table.columns if column.header != header]
    for column in table.columns:
        column.overflow = "fold"
    Console(width=max(width, _least_width(table)), emoji=False).print(table)
    if left_out:
        console().print(f"[dim]Left out, since the terminal is narrow: {', '.join(left_out)}.[/]")


def _least_width(table: Table) -> int:
    """How wide a table must be, borders included, for nothing to be cut and all else to be readable."""
    unbounded = Console(width=_UNBOUNDED, emoji=False)
    measured = [
        (column, [Measurement.get(unbounded, unbounded.options, cell) for cell in (column.header, *column.cells)])
        for column in table.columns
    ]
    words = [one.minimum for column, cells in measured for one in cells if not column.no_wrap]
    # Rich shares out what there is evenly.
    readable = min(max(words, default=0), _READABLE)
    wholes = ((column, max(one.maximum for one in cells)) for column, cells in measured)
    return 1 + sum(
        3 + (whole if column.no_wrap else min(whole, max(readable, column.min_width or 0))) for column, whole in wholes
    )


def safe_markup(text: str) -> str:
    """Text from outside, for a console or a table of this module."""
    return rich_markup(text)


def print_error(error: object) -> None:
    """What went wrong, on a line of its own on the standard error: it may repeat text from outside."""
    typer.secho(printable(str(error)), fg=typer.colors.RED, err=True)


def print_json(answer: Mapping[str, object]) -> None:
    """One JSON object on a line of its own."""
    typer.echo(json.dumps(answer))


def error_as_json(error: PipelineError) -> dict[str, object]:
    """What scripts are told of an error."""
    return {"status": "failed", "dataset_id": error.dataset_id, "error": error.message, "hint": error.hint}


def iso(moment: datetime | None) -> str | None:
    """A moment for scripts."""
    return None if moment is None else moment.isoformat()


def format_timestamp(moment: datetime | None) -> str:
    """A moment for people, in UTC."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def format_duration(time: timedelta | float) -> str:
    """How long something took: `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = int(time.total_seconds() if isinstance(time, timedelta) else time)
    for unit, word, below, smaller in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s")):
        if seconds >= unit:
            rest = seconds % unit // below
            return f"{seconds // unit} {word} {rest} {smaller}" if rest else f"{seconds // unit} {word}"
    return f"{seconds} s"


def format_age(moment: datetime | None) -> str:
    """How long ago a moment was; nothing for none."""
    if moment is None:
        return ""
    number, unit, *_ = format_duration(max(timedelta(0), utc_now() - moment)).split()
    return f"{number} {unit} ago"


def format_size(count: int) -> str:
    """A number of bytes: `512 bytes`, `1.2 MB`."""
    amount, unit = float(count), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{count:,} {'byte' if count == 1 else 'bytes'}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def pluralize(count: int, word: str, plural: str = "") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {word if count == 1 else plural or f'{word}s'}"
