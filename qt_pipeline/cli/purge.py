"""The command `purge`: deletes old landed files and ledger entries that are no longer needed.

Here: options, confirmation and output. Not here: what may be deleted (see ingest).
"""

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from qt_pipeline.cli.output import console, format_size, pluralize, print_json, print_table, safe_markup
from qt_pipeline.composition import landing_of, warehouse_of
from qt_pipeline.ingest import Purge, execute, find_purgeable
from qt_pipeline.settings import load_settings
from qt_pipeline.values import utc_now

OlderThan = Annotated[
    int, typer.Option("--older-than", min=1, max=36_500, metavar="DAYS", help="Minimum age.", show_default=False)
]
Keep = Annotated[int, typer.Option(min=1, metavar="N", help="How many of the newest files per dataset to keep.")]


def purge(
    *,
    older_than: OlderThan,
    keep: Keep = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per dataset; requires --yes or --dry-run.")
    ] = False,
) -> None:
    """Delete old landed files and their ledger entries.

    Keeps everything that tables show, and that later loads and events need.
    Events of the inbox expire separately: QT_INBOX_RETENTION_DAYS.

    Examples:
        qt-pipeline purge --older-than 90 --dry-run
        qt-pipeline purge --older-than 90 --keep 5 --yes
    """
    if as_json and not (yes or dry_run):
        raise typer.BadParameter("--json requires --yes or --dry-run, because it cannot ask for confirmation.")
    settings = load_settings()
    warehouse, landing = warehouse_of(settings), landing_of(settings)
    purges = find_purgeable(warehouse, landing, before=utc_now() - timedelta(days=older_than), keep=keep)
    if not (as_json or _print_purges(purges)):
        return
    if not (yes or dry_run):
        typer.confirm("Delete them?", abort=True)
    for purgeable in purges:
        if not dry_run:
            execute(warehouse, landing, purgeable)
        if as_json:
            print_json(_as_json(purgeable, is_deleted=not dry_run))
    if not as_json:
        freed = format_size(sum(purgeable.stored_bytes for purgeable in purges))
        console().print(f"Nothing was deleted. Deleting would free {freed}." if dry_run else f"Deleted. Freed {freed}.")


def _print_purges(purges: list[Purge]) -> bool:
    if not purges:
        console().print("Nothing to delete.")
        return False
    table = Table("dataset", "files", "size", "ledger entries", "from", "to")
    for purgeable in purges:
        dates = sorted(landed.manifest.landed_at for landed in purgeable.landed)
        dates = dates or sorted(load.started_at for load in purgeable.loads)
        table.add_row(
            safe_markup(purgeable.dataset_id),
            str(len(purgeable.landed)),
            format_size(purgeable.stored_bytes),
            str(len(purgeable.loads)),
            f"{dates[0]:%Y-%m-%d}",
            f"{dates[-1]:%Y-%m-%d}",
        )
    print_table(table)
    files = sum(len(purgeable.landed) for purgeable in purges)
    entries = sum(len(purgeable.loads) for purgeable in purges)
    console().print(f"{pluralize(files, 'file')} and {pluralize(entries, 'ledger entry', 'ledger entries')}.")
    return True


def _as_json(purgeable: Purge, *, is_deleted: bool) -> dict[str, object]:
    return {
        "dataset_id": purgeable.dataset_id,
        "deleted": is_deleted,
        "bytes": purgeable.stored_bytes,
        "files": [landed.uri for landed in purgeable.landed],
        "load_ids": [load.load_id for load in purgeable.loads],
    }
