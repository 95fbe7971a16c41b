"""`qt-pipeline doctor`: whether everything is as it must be, and the next step where it is not.

Here: how findings are shown, and whose settings they are of. Not here: what is looked at (see the room doctor).
"""

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from qt_pipeline.cli.output import console, pluralize, print_json, print_table, safe_markup
from qt_pipeline.demo import running_demo
from qt_pipeline.doctor import CHECK_THREAD, Finding, FindingState, run_checks
from qt_pipeline.settings import report_settings

_COLOURS = {
    FindingState.OK: "green",
    FindingState.WARNING: "yellow",
    FindingState.FAILURE: "red",
    FindingState.SKIPPED: "dim",
}
_NEEDS_ACTION = (FindingState.FAILURE, FindingState.WARNING)


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False) -> None:
    """Look at everything that is needed, from settings to Dagster, and say for each fault what to do next.

    What it tries out it cleans away; no event, run or dataset's table is touched, and no secret is shown.

    Exit codes: 0 no failure, though there may be warnings; 1 a failure.

    Examples:
        qt-pipeline doctor
        qt-pipeline doctor --json
        QT_ENV_FILE=.qt/demo/demo.env qt-pipeline doctor
    """
    failures = look(as_json=as_json)
    _exit_if_timed_out(1 if failures else 0)
    if failures:
        raise typer.Exit(1)


def _exit_if_timed_out(code: int) -> None:
    """End the process now, without what Python does at its end, if a check is still going on.

    Python ends such a thread when it comes back from a library, and one written in C++, such as the driver of SQL
    Server, aborts the process then: the exit code would be 134 in place of ours.
    """
    if any(thread.name == CHECK_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def look(*, as_json: bool = False) -> int:
    """Look, tell, and say how many failures there are."""
    told = console()
    survey = report_settings()
    with _quiet(), console(err=True).status("Looking at everything …"):
        findings = run_checks(survey)
    counts = Counter(finding.state for finding in findings)
    if as_json:
        print_json(
            {
                "failures": counts[FindingState.FAILURE],
                "warnings": counts[FindingState.WARNING],
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        print_table(_table(findings))
        _print_hints(told, findings)
        if survey.settings.missing_credentials and (demo := running_demo()):
            told.print(
                f"A demo runs, with settings of its own. To look at that: export QT_ENV_FILE={safe_markup(str(demo))}"
            )
    return counts[FindingState.FAILURE]


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("area", "looked at", "state", "found")
    for column in (0, 2):
        table.columns[column].no_wrap = True
    before = None
    for finding in findings:
        if before not in (None, finding.area):
            table.add_section()
        state = f"[{_COLOURS[finding.state]}]{finding.state.value}[/]"
        area = "" if before == finding.area else finding.area.value
        table.add_row(area, safe_markup(finding.subject), state, safe_markup(finding.message))
        before = finding.area
    return table


def _print_hints(told: Console, findings: Sequence[Finding]) -> None:
    for state in _NEEDS_ACTION:
        for finding in findings:
            if finding.state is state:
                colour = _COLOURS[state]
                subject, message = safe_markup(finding.subject), safe_markup(finding.message)
                told.print(f"[{colour}]{state.value}[/] {finding.area.value}, {subject}: {message}")
                told.print(f"  → {safe_markup(finding.hint)}")
    failures, warnings = (sum(finding.state is state for finding in findings) for state in _NEEDS_ACTION)
    told.print(f"{pluralize(failures, 'failure')}, {pluralize(warnings, 'warning')}.")


@contextmanager
def _quiet() -> Generator[None]:
    """Without the log: what libraries say of what is wrong is said better by the findings, and without secrets."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
