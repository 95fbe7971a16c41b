"""The command `alert`: whether those who are to be told of failures can be.

Here: options, and how the outcome is shown. Not here: who is told of what, and when (see alerting).
"""

from typing import Annotated

import typer
from rich.table import Table

from qt_pipeline.alerting import TEST, Sender, SendResult, addresses_of
from qt_pipeline.cli.output import console, print_json, safe_markup
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import load_settings


def alert(
    *,
    test: Annotated[bool, typer.Option("--test", help="Send a test message to every address.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each address.")] = False,
) -> None:
    """Try the addresses of QT_ALERT_URLS, which Dagster's sensor of alerts tells of failures.

    An address is called by its place in QT_ALERT_URLS and its service: the URL itself is a secret.

    Exit codes: 0 all took the message; 1 one did not, or there is none.

    Examples:
        qt-pipeline alert --test
        qt-pipeline alert --test --json
    """
    if not test:
        raise typer.BadParameter("Say --test: alerts are sent by Dagster, this command only tries the addresses.")
    addresses = addresses_of(load_settings().alert_urls)
    if not addresses:
        raise ConfigurationError(
            "QT_ALERT_URLS is not set; nobody is told of failures.",
            hint="Set it to Apprise URLs, separated by blanks; https://appriseit.com/services lists them.",
        )
    outcomes = Sender().deliver(dict.fromkeys(addresses, TEST))
    if as_json:
        for outcome in outcomes:
            print_json({"address": outcome.address.label, "sent": outcome.taken, "problem": outcome.problem or None})
    else:
        console().print(_table(outcomes))
    if not all(outcome.taken for outcome in outcomes):
        raise typer.Exit(1)


def _table(outcomes: list[SendResult]) -> Table:
    table = Table("address", "test message")
    for outcome in outcomes:
        words = "[green]sent[/]" if outcome.taken else f"[red]not sent:[/] {safe_markup(outcome.problem)}"
        table.add_row(safe_markup(outcome.address.label), words)
    return table
