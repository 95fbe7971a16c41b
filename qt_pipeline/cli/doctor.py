"""The command `doctor`: checks settings, connections and services, and shows how to fix problems.

Here: output of the findings. Not here: the checks (see the package doctor).
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


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check everything from settings to Dagster, and show how to fix each problem.

    Cleans up its test data; touches no event, run or dataset table, and shows no secret.

    Exit codes: 0 no failures, warnings are possible; 1 at least one failure.

    Examples:
        qt-pipeline doctor
        qt-pipeline doctor --json
        QT_ENV_FILE=.qt/demo/demo.env qt-pipeline doctor
    """
    failures = diagnose(as_json=as_json)
    _exit_if_timed_out(1 if failures else 0)
    if failures:
        raise typer.Exit(1)


def _exit_if_timed_out(code: int) -> None:
    """Exit immediately, without Python's cleanup, if a check is still running.

    Python's shutdown ends such a thread when it returns from a library, and a C++ library, such as SQL Server's driver,
    then aborts the process: the exit code would be 134.
    """
    if any(thread.name == CHECK_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def diagnose(*, as_json: bool = False) -> int:
    """Run all checks, print the findings, and return the number of failures."""
    output = console()
    report = report_settings()
    with _quiet(), console(err=True).status("Checking …"):
        findings = run_checks(report)
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
        _print_hints(output, findings)
        if report.settings.missing_credentials and (demo := running_demo()):
            output.print(
                f"A demo is running with separate settings. To check it: export QT_ENV_FILE={safe_markup(str(demo))}"
            )
    return counts[FindingState.FAILURE]


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("area", "checked", "state", "finding")
    for column in (0, 2):
        table.columns[column].no_wrap = True
    previous_area = None
    for finding in findings:
        if previous_area not in (None, finding.area):
            table.add_section()
        state = f"[{_COLOURS[finding.state]}]{finding.state.value}[/]"
        area = "" if previous_area == finding.area else finding.area.value
        table.add_row(area, safe_markup(finding.subject), state, safe_markup(finding.message))
        previous_area = finding.area
    return table


def _print_hints(output: Console, findings: Sequence[Finding]) -> None:
    for state in _NEEDS_ACTION:
        for finding in findings:
            if finding.state is state:
                colour = _COLOURS[state]
                subject, message = safe_markup(finding.subject), safe_markup(finding.message)
                output.print(f"[{colour}]{state.value}[/] {finding.area.value}, {subject}: {message}")
                output.print(f"  → {safe_markup(finding.hint)}")
    failures, warnings = (sum(finding.state is state for finding in findings) for state in _NEEDS_ACTION)
    output.print(f"{pluralize(failures, 'failure')}, {pluralize(warnings, 'warning')}.")


@contextmanager
def _quiet() -> Generator[None]:
    """Disable logging: findings state problems more clearly than library logs, and without secrets."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
