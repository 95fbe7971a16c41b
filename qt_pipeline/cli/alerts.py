"""The command `alert`: sends a test message to every alert address.

Here: options and output. Not here: when alerts are sent (see alerting).
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per address.")] = False,
) -> None:
    """Test the addresses of QT_ALERT_URLS, to which Dagster's alerts sensor sends alerts.

    The output names an address by its position in QT_ALERT_URLS and its service: the URL itself is a secret.

    Exit codes: 0 every address accepted the message; 1 one did not, or no address is set.

    Examples:
        qt-pipeline alert --test
        qt-pipeline alert --test --json
    """
    if not test:
        raise typer.BadParameter("Pass --test: Dagster sends alerts, this command only tests the addresses.")
    addresses = addresses_of(load_settings().alert_urls)
    if not addresses:
        raise ConfigurationError(
            "QT_ALERT_URLS is not set: no alerts are sent.",
            hint="Set it to Apprise URLs, separated by spaces; https://appriseit.com/services lists them.",
        )
    results = Sender().deliver(dict.fromkeys(addresses, TEST))
    if as_json:
        for result in results:
            print_json({"address": result.address.label, "sent": result.delivered, "problem": result.problem or None})
    else:
        console().print(_table(results))
    if not all(result.delivered for result in results):
        raise typer.Exit(1)


def _table(results: list[SendResult]) -> Table:
    table = Table("address", "test message")
    for result in results:
        status = "[green]sent[/]" if result.delivered else f"[red]not sent:[/] {safe_markup(result.problem)}"
        table.add_row(safe_markup(result.address.label), status)
    return table
