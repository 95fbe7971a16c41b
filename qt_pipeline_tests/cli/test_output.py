"""What the commands share when they answer."""

from datetime import timedelta

import pytest
from rich.text import Text

from qt_pipeline.cli.output import ago, lasting, printable, several, shown, size
from qt_pipeline.values import utc_now


@pytest.mark.parametrize(
    "text",
    ["plain", "[bold]not bold[/bold]", "\\[bold]x[/]", "ends in \\", "\N{NO-BREAK SPACE}é", "a\\\\[red]b"],
)
def test_text_from_outside_is_shown_as_it_is(text: str) -> None:
    marked = Text.from_markup(f"{shown(text)}[b]ours[/b]")
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
    assert lasting(seconds) == lasting(timedelta(seconds=seconds)) == words


def test_how_long_ago_something_was() -> None:
    now = utc_now()
    assert ago(now - timedelta(minutes=3, seconds=20)) == "3 min ago"
    assert ago(now + timedelta(minutes=3)) == "0 s ago"
    assert ago(None) == ""


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
    assert size(count) == words


def test_counts() -> None:
    assert [several(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
