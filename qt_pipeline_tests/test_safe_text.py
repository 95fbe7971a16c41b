"""Untrusted text is inert in every medium that shows it, and a person still reads it."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from qt_pipeline import safe_text
from qt_pipeline.alerting import Cause, FinishedRun, MessageContext, Observations, PendingNotifications, observe
from qt_pipeline.alerting.messages import compose
from qt_pipeline.cli.output import console
from qt_pipeline_tests.hostile import HOSTILE, addresses, as_read, controls, hostile_text, live_chat, live_markdown

PACKAGE = Path(safe_text.__file__).parent
NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)


@given(hostile_text)
def test_nothing_of_a_text_is_alive_in_markdown(text: str) -> None:
    inert = safe_text.markdown_text(text)
    assert "\n" not in inert
    assert live_markdown(inert) == []
    assert live_markdown(f"| a |\n|---|\n| {inert} |") == []
    assert live_markdown(f"Words. {inert} More words.") == []


@given(hostile_text)
def test_nothing_of_a_text_is_alive_in_a_chat(text: str) -> None:
    inert = safe_text.chat_text(text)
    assert live_chat(f"Dataset: {inert} (d-1)") == []


@given(hostile_text)
def test_nothing_of_a_text_steers_a_terminal(text: str) -> None:
    assert controls(safe_text.printable(text)) == []
    assert "\n" not in safe_text.printable(text)
    assert controls(safe_text.printable_lines(text)) == []


@given(hostile_text, hostile_text)
@example(":bomb:", "x\\")
def test_rich_shows_a_text_as_it_stands(first: str, second: str) -> None:
    out = console()
    out.file = io.StringIO()
    out.print(f"[red]{safe_text.rich_markup(first)}[/] {safe_text.rich_markup(second)}", end="")
    # Rich's own escape shows a backslash before the end of a text twice.
    printed, expected = out.file.getvalue(), f"{safe_text.printable(first)} {safe_text.printable(second)}"
    assert re.sub(r"\\+", "/", printed) == re.sub(r"\\+", "/", expected)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Gross Premium (GBP)", "Gross Premium (GBP)"),
        ("1.25 and -3,000.50", "1.25 and -3,000.50"),
        ("see datasets.yaml", "see datasets.yaml"),
        ("qt-pipeline replay --parked --dataset-id d-1", "qt-pipeline replay --parked --dataset-id d-1"),
        ("Ünïcødé 東京", "Ünïcødé 東京"),
    ],
)
def test_harmless_text_goes_into_a_chat_unchanged(text: str, shown: str) -> None:
    assert safe_text.chat_text(text) == shown


@given(st.sampled_from(HOSTILE))
def test_a_person_reads_what_stands_there(text: str) -> None:
    assert as_read(safe_text.chat_text(text)) == safe_text.printable(text).replace("\u200a", "")
    assert as_read(safe_text.markdown_text(text)) == safe_text.printable(" ".join(text.split())).replace("\u200a", "")


@given(hostile_text)
def test_no_cell_begins_a_formula(text: str) -> None:
    cell = safe_text.spreadsheet_text(text)
    if re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", cell):
        return
    # Also where a spreadsheet cuts at other separators than the file's own.
    assert [part for part in re.split(r"[;\t\r\n]", cell) if part.strip(" \xa0")[:1] in tuple("=+-@")] == []


@pytest.mark.parametrize("number", ["-1", "-1,234.50", "+7", "-.5", "-1e-05", "1.5", ""])
def test_a_number_is_the_same_in_a_spreadsheet(number: str) -> None:
    assert safe_text.spreadsheet_text(number) == number


@pytest.mark.parametrize("formula", ["-1+2", "=1", "+cmd", "-(1)", "@x", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_a_formula_gets_an_apostrophe(formula: str) -> None:
    assert "'" in safe_text.spreadsheet_text(formula)


@given(hostile_text, hostile_text, hostile_text)
def test_an_alert_of_a_hostile_dataset_is_inert(name: str, what: str, hint: str) -> None:
    failed = FinishedRun("run-1", "d-1", NOW, failed=True)
    incidents = tuple(observe({}, Observations(runs=[failed]), now=NOW).values())
    background = MessageContext({"d-1": name}, {"run-1": Cause(what, hint)}, {}, dagster_url="ui")
    message = compose(PendingNotifications(incidents, ()), background)
    assert live_chat(message.title) == live_chat(message.body) == []
    assert controls((message.title + message.body).replace("\u200a", "")) == []


def test_an_address_is_found_where_nothing_was_done() -> None:
    """The searches of these tests find what they are for."""
    alive = [text for text in HOSTILE if live_markdown(text) or live_chat(text)]
    assert len(alive) > len(HOSTILE) // 2
    assert addresses("x http://evil.example")
    assert live_markdown("http\\:\\/\\/evil\\.example")


def test_only_a_text_of_our_own_is_markdown_in_the_ui() -> None:
    """Metadata of Markdown would show untrusted text one slip later; tables, texts and JSON show it as it stands."""
    sources = {path.name: path.read_text("utf-8") for path in (PACKAGE / "defs").rglob("*.py")}
    assert [
        name for name, source in sources.items() if re.search(r"MetadataValue\.(md|url|path|notebook)\(", source)
    ] == []


def test_no_console_replaces_codes_of_emoji() -> None:
    made = [
        (path.name, call)
        for path in PACKAGE.rglob("*.py")
        for call in re.findall(r"\bConsole\((?!\))(?:[^()]|\([^()]*\))*\)|\bConsole\(\)", path.read_text("utf-8"))
    ]
    assert made
    assert [one for one in made if "emoji=False" not in one[1]] == []


def test_a_table_of_rich_shows_a_cell_as_it_stands() -> None:
    table = Table("column")
    for name in HOSTILE:
        table.add_row(safe_text.rich_markup(name))
    out = Console(width=300, emoji=False, file=io.StringIO())
    out.print(table)
    assert isinstance(out.file, io.StringIO)
    for name in HOSTILE:
        assert safe_text.printable(name).strip() in out.file.getvalue()
