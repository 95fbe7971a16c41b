"""The commands `events` and `replay`: list the inbox's events and replay them.

Here: options and output. Not here: the effect of a replay (see inbox), planning (see dispatch).
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.table import Table

from qt_pipeline.cli.output import (
    console,
    format_age,
    format_timestamp,
    iso,
    pluralize,
    print_json,
    print_table,
    printable,
    safe_markup,
)
from qt_pipeline.composition import dagster_of, inbox_of
from qt_pipeline.errors import PermanentError, PipelineError
from qt_pipeline.inbox import EventState, Inbox, StoredEvent
from qt_pipeline.settings import load_settings

_MAX_SHOWN = 100_000
_DELIVERY_TAG = "qt/delivery"
_ANSWER_SECONDS = 5

Dataset = Annotated[str | None, typer.Option("--dataset-id", help="Only events for this dataset.")]


def events(
    number: Annotated[
        int | None, typer.Argument(metavar="[NUMBER]", help="Show one event with raw body and history.")
    ] = None,
    *,
    state: Annotated[EventState | None, typer.Option(help="Only events in this state.")] = None,
    dataset_id: Dataset = None,
    limit: Annotated[int, typer.Option(min=1, max=_MAX_SHOWN, help="Maximum number of events, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Show the events of the inbox with their state, newest first.

    Pending events wait for a load, parked events for a person.

    Examples:
        qt-pipeline events --state parked
        qt-pipeline events 17
    """
    inbox = _inbox()
    if number is not None:
        _print_event(_event(inbox, number), as_json=as_json)
        return
    listed = inbox.events(state=state, dataset_id=dataset_id, limit=limit)
    if as_json:
        for event in listed:
            print_json(_without_markup(event))
        return
    print_table(_table(listed), spare=("event", "tries", "received (UTC)"))
    counts = inbox.counts()
    typer.echo(", ".join(f"{count} {state.value}" for state, count in counts.items()) + ".")


def replay(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="Events by number.")] = None,
    *,
    parked: Annotated[bool, typer.Option("--parked", help="Every parked event.")] = False,
    dataset_id: Dataset = None,
) -> None:
    """Make settled events pending again, to download and load their datasets once more.

    Specify event numbers, --parked, or --dataset-id for the newest event of a dataset; --parked with --dataset-id
    selects the parked events of that dataset.

    Examples:
        qt-pipeline replay 17
        qt-pipeline replay --parked
    """
    if not (numbers or parked or dataset_id):
        raise typer.BadParameter("Specify event numbers, --parked, or --dataset-id.")
    inbox = _inbox()
    chosen = list(numbers or ())
    if parked:
        parked_events = inbox.events(state=EventState.PARKED, dataset_id=dataset_id, limit=_MAX_SHOWN)
        chosen += [event.seq for event in parked_events]
    elif dataset_id:
        chosen += [event.seq for event in inbox.events(dataset_id=dataset_id, limit=1)]
    if not chosen:
        typer.echo(_nothing_to_replay(dataset_id, parked=parked), err=True)
        raise typer.Exit(1)
    replayed = inbox.replay(sorted(set(chosen)))
    if replayed:
        typer.echo(
            f"{pluralize(replayed, 'event')} pending; the sensor requests {'the run' if replayed == 1 else 'the runs'} "
            "within seconds."
        )
    if replayed < len(set(chosen)):
        typer.echo("The other events are unknown or already pending.", err=True)
    if not replayed:
        raise typer.Exit(1)


def _nothing_to_replay(dataset_id: str | None, *, parked: bool) -> str:
    state = "parked " if parked else ""
    of_dataset = f" for {dataset_id}" if dataset_id else ""
    command = f"qt-pipeline run {dataset_id or 'DATASET_ID'} --wait"
    return f"No {state}events{of_dataset}. To load without an event: {command}"


def _inbox() -> Inbox:
    return inbox_of(load_settings())


def _event(inbox: Inbox, number: int) -> StoredEvent:
    event = inbox.event(number)
    if event is None:
        raise PermanentError(
            f"The inbox has no event {number}.",
            hint="`qt-pipeline events` lists the events; settled ones are deleted after QT_INBOX_RETENTION_DAYS.",
        )
    return event


def _print_event(event: StoredEvent, *, as_json: bool) -> None:
    runs = _runs(event)
    if as_json:
        print_json({**_without_markup(event), "runs": runs})
        return
    table = Table.grid(padding=(0, 2))
    details = {
        "number": str(event.seq),
        "event": event.name,
        "id": event.event_id,
        "dataset": event.dataset_id or "none",
        "received": f"{format_timestamp(event.received_at)} UTC, {format_age(event.received_at)}",
        "from": event.source_address or "",
        "created": event.created or "",
        "state": event.state.value,
        "why": event.outcome or _describe_outcome(event),
        "settled": f"{format_timestamp(event.settled_at)} UTC" if event.settled_at else "",
        "tries": str(event.attempts - event.attempts_before_replay),
        "unchanged_checks": str(event.unchanged_checks) if event.unchanged_checks else "",
        "replayed": "yes" if event.attempts_before_replay else "",
        "delivery": event.delivery or "",
        "runs": "\n".join(runs),
    }
    for name, text in details.items():
        if text:
            table.add_row(name, "\n".join(map(safe_markup, text.splitlines())))
    print_table(table)
    console().print("\nBody, as received:")
    for line in event.body.decode(errors="replace").splitlines():
        typer.echo(printable(line))


def _runs(event: StoredEvent) -> list[str]:
    """Status and URL of the runs of the newest delivery; empty if Dagster is unreachable."""
    if event.delivery is None:
        return []
    api = dagster_of(load_settings(), answer_seconds=_ANSWER_SECONDS)
    with suppress(PipelineError):
        return [f"{run.status}: {api.run_url(run.run_id)}" for run in api.runs(tags={_DELIVERY_TAG: event.delivery})]
    return []


def _table(listed: Sequence[StoredEvent]) -> Table:
    table = Table("number", "received (UTC)", "event", "dataset", "state", "tries", "outcome")
    for column in (0, 3, 4):
        table.columns[column].no_wrap = True
    for event in listed:
        tries = event.attempts - event.attempts_before_replay
        table.add_row(
            str(event.seq),
            format_timestamp(event.received_at),
            safe_markup(event.name),
            safe_markup(event.dataset_id or ""),
            event.state.value,
            str(tries),
            _describe_outcome(event),
        )
    return table


def _describe_outcome(event: StoredEvent) -> str:
    if event.outcome:
        return safe_markup(event.outcome)
    if event.not_before is not None:
        return f"waits until {event.not_before:%H:%M:%S}"
    return "a run was requested or is in progress" if event.delivery else "waits for the sensor"


def _without_markup(event: StoredEvent) -> dict[str, object]:
    return {
        "number": event.seq,
        "event_id": event.event_id,
        "name": event.name,
        "dataset_id": event.dataset_id,
        "created": event.created,
        "received_at": iso(event.received_at),
        "source_address": event.source_address,
        "state": event.state.value,
        "outcome": event.outcome,
        "tries": event.attempts - event.attempts_before_replay,
        "unchanged_checks": event.unchanged_checks,
        "delivery": event.delivery,
        "not_before": iso(event.not_before),
        "settled_at": iso(event.settled_at),
        "body": event.body.decode(errors="replace"),
    }
