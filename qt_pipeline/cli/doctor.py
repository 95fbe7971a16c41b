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

from qt_pipeline.cli.output import answer_json, console, print_table, several, shown
from qt_pipeline.demo import running_demo
from qt_pipeline.doctor import CHECK_THREAD, Finding, State, examine
from qt_pipeline.settings import survey_settings

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAILURE: "red", State.SKIPPED: "dim"}
_TO_DO = (State.FAILURE, State.WARNING)


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
    _leave_if_late(1 if failures else 0)
    if failures:
        raise typer.Exit(1)


def _leave_if_late(code: int) -> None:
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
    survey = survey_settings()
    with _quiet(), console(err=True).status("Looking at everything …"):
        findings = examine(survey)
    counts = Counter(finding.state for finding in findings)
    if as_json:
        answer_json(
            {
                "failures": counts[State.FAILURE],
                "warnings": counts[State.WARNING],
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        print_table(_table(findings))
        _tell_what_to_do(told, findings)
        if survey.settings.missing_credentials and (demo := running_demo()):
            told.print(f"A demo runs, with settings of its own. To look at that: export QT_ENV_FILE={shown(str(demo))}")
    return counts[State.FAILURE]


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
        table.add_row(area, shown(finding.subject), state, shown(finding.found))
        before = finding.area
    return table


def _tell_what_to_do(told: Console, findings: Sequence[Finding]) -> None:
    for state in _TO_DO:
        for finding in findings:
            if finding.state is state:
                colour = _COLOURS[state]
                told.print(
                    f"[{colour}]{state.value}[/] {finding.area.value}, {shown(finding.subject)}: {shown(finding.found)}"
                )
                told.print(f"  → {shown(finding.todo)}")
    failures, warnings = (sum(finding.state is state for finding in findings) for state in _TO_DO)
    told.print(f"{several(failures, 'failure')}, {several(warnings, 'warning')}.")


@contextmanager
def _quiet() -> Generator[None]:
    """Without the log: what libraries say of what is wrong is said better by the findings, and without secrets."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
