"""The commands `events` and `replay`: what the inbox holds, and trying once more.

Here: options, and how events are shown. Not here: what a replay means (see inbox), when it is planned (see dispatch).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from qt_pipeline.inbox import EventState, Inbox, StoredEvent, open_inbox
from qt_pipeline.settings import load_settings

_MOST_AT_ONCE = 100_000

Dataset = Annotated[str | None, typer.Option("--dataset-id", help="Only events for this dataset.")]


def events(
    *,
    state: Annotated[EventState | None, typer.Option(help="Only events in this state.")] = None,
    dataset_id: Dataset = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST_AT_ONCE, help="At most so many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each event.")] = False,
) -> None:
    """Show the events of the inbox, newest first, and what became of each."""
    inbox = _inbox()
    found = inbox.events(state=state, dataset_id=dataset_id, limit=limit)
    if as_json:
        for event in found:
            typer.echo(json.dumps(_plain(event)))
        return
    Console().print(_table(found))
    counts = inbox.counts()
    typer.echo(", ".join(f"{count} {state.value}" for state, count in counts.items()) + ".")


def replay(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="Events by number.")] = None,
    *,
    parked: Annotated[bool, typer.Option("--parked", help="Every parked event.")] = False,
    dataset_id: Dataset = None,
) -> None:
    """Make settled events pending again: the dataset is downloaded and loaded once more.

    Name events by number, or --parked, or --dataset-id for the newest event of a dataset; --parked with --dataset-id
    means the parked events of that dataset.
    """
    if not (numbers or parked or dataset_id):
        raise typer.BadParameter("Say which: numbers of events, --parked, or --dataset-id.")
    inbox = _inbox()
    chosen = list(numbers or ())
    if parked:
        found = inbox.events(state=EventState.PARKED, dataset_id=dataset_id, limit=_MOST_AT_ONCE)
        chosen += [event.seq for event in found]
    elif dataset_id:
        chosen += [event.seq for event in inbox.events(dataset_id=dataset_id, limit=1)]
    again = inbox.replay(sorted(set(chosen)))
    typer.echo(
        f"{again} event{'' if again == 1 else 's'} pending again; the sensor asks for their runs within seconds."
    )
    if again < len(set(chosen)):
        typer.echo("The others are unknown, or pending already.", err=True)
    if not again:
        raise typer.Exit(1)


def _inbox() -> Inbox:
    return open_inbox(load_settings().inbox_url)


def _table(found: Sequence[StoredEvent]) -> Table:
    table = Table("number", "received (UTC)", "event", "dataset", "state", "tries", "what became of it")
    for event in found:
        tries = event.attempts - event.attempts_before_replay
        table.add_row(
            str(event.seq),
            f"{event.received_at:%Y-%m-%d %H:%M:%S}",
            _shown(event.name),
            _shown(event.dataset_id or ""),
            event.state.value,
            str(tries),
            _fate(event),
        )
    return table


def _fate(event: StoredEvent) -> str:
    if event.outcome:
        return _shown(event.outcome)
    if event.not_before is not None:
        return f"waits until {event.not_before:%H:%M:%S}"
    return f"delivery {event.delivery}" if event.delivery else "waits for the sensor"


def _shown(text: str) -> str:
    # What a sender chose must not steer the terminal, nor Rich.
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text).replace(
        "[", "\\["
    )


def _plain(event: StoredEvent) -> dict[str, object]:
    return {
        "number": event.seq,
        "event_id": event.event_id,
        "name": event.name,
        "dataset_id": event.dataset_id,
        "created": event.created,
        "received_at": _iso(event.received_at),
        "source_address": event.source_address,
        "state": event.state.value,
        "outcome": event.outcome,
        "tries": event.attempts - event.attempts_before_replay,
        "looks": event.looks,
        "delivery": event.delivery,
        "not_before": _iso(event.not_before),
        "settled_at": _iso(event.settled_at),
        "body": event.body.decode(errors="replace"),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
