"""What the commands share when they answer."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from rich.table import Table
from rich.text import Text

from qt_pipeline.cli.output import (
    format_age,
    format_duration,
    format_size,
    pluralize,
    print_table,
    printable,
    safe_markup,
)
from qt_pipeline.values import utc_now


@pytest.mark.parametrize(
    "text",
    ["plain", "[bold]not bold[/bold]", "\\[bold]x[/]", "ends in \\", "\N{NO-BREAK SPACE}é", "a\\\\[red]b"],
)
def test_text_from_outside_is_shown_as_it_is(text: str) -> None:
    marked = Text.from_markup(f"{safe_markup(text)}[b]ours[/b]")
    assert marked.plain == f"{text}ours"
    assert [(span.start, span.end) for span in marked.spans] == [(len(text), len(text) + 4)]


@pytest.mark.parametrize("steering", ["\x1b[2J", "\r", "\n", "\x07", "\u202e", "\x9b", "\u2028"])
def test_what_would_steer_the_terminal_is_replaced(steering: str) -> None:
    assert printable(f"a{steering[0]}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_how_long_something_took(seconds: float, words: str) -> None:
    assert format_duration(seconds) == format_duration(timedelta(seconds=seconds)) == words


def test_how_long_ago_something_was() -> None:
    now = utc_now()
    assert format_age(now - timedelta(minutes=3, seconds=20)) == "3 min ago"
    assert format_age(now + timedelta(minutes=3)) == "0 s ago"
    assert format_age(None) == ""


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (1_234_567, "1.2 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    assert format_size(count) == words


def test_counts() -> None:
    assert [pluralize(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


ID = "d-e4tf3yyxerabcvicidv5oyey"


@pytest.fixture
def print_at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a table looks like in a terminal of so many columns; None for a pipe."""

    def printed(columns: int | None, id_: str = ID) -> str:
        for name in ("FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        if columns is not None:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        table = Table("name", "id", "file", "words")
        table.columns[1].no_wrap = True
        table.add_row("Claims", id_, "/srv/landing/" + "f" * 60, "a few words, and then a few more of them " * 2)
        print_table(table, spare=("file", "name"))
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)

    return printed


@pytest.mark.parametrize("columns", [10, 40, 60, 80, 100, 120, 200, None])
def test_an_id_is_never_cut_and_nothing_else_is_lost_silently(
    print_at: Callable[..., str], columns: int | None
) -> None:
    told = print_at(columns)
    assert ID in told
    assert "…" not in told
    assert ("file" in told.splitlines()[1]) != ("Omitted in this narrow terminal: file" in told)


def test_a_narrow_terminal_goes_without_the_spare_columns_the_first_of_them_first(
    print_at: Callable[..., str],
) -> None:
    told = {columns: print_at(columns) for columns in (46, 56, 90)}
    headers = {columns: re.findall(r"\w+", lines.splitlines()[1]) for columns, lines in told.items()}
    assert headers == {46: ["id", "words"], 56: ["name", "id", "words"], 90: ["name", "id", "file", "words"]}
    assert told[46].splitlines()[-1].endswith("terminal: file, name.")
    assert all(len(line) <= columns for columns, lines in told.items() for line in lines.splitlines()[:-1])


def test_a_pipe_gets_every_column_on_lines_as_long_as_they_need(print_at: Callable[..., str]) -> None:
    lines = print_at(None).splitlines()
    assert "f" * 60 in lines[3]
    assert len(lines) == 5
    assert "file" in print_at(None, "d" * 400).splitlines()[1]
