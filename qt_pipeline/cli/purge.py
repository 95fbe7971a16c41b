"""The command `purge`: landed files and lines of the ledger that are old and needed by nobody.

Here: options, the question before, and what is told. Not here: what may go (see ingest).
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
    int, typer.Option("--older-than", min=1, max=36_500, metavar="DAYS", help="How old at least.", show_default=False)
]
Keep = Annotated[int, typer.Option(min=1, metavar="N", help="The newest files of each dataset that stay anyway.")]


def purge(
    *,
    older_than: OlderThan,
    keep: Keep = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each dataset; needs --yes or --dry-run.")
    ] = False,
) -> None:
    """Delete landed files, and the ledger's lines of them, that are old.

    What a table shows stays, and so does what later loads and events need.
    Events of the inbox go by themselves: QT_INBOX_RETENTION_DAYS.

    Examples:
        qt-pipeline purge --older-than 90 --dry-run
        qt-pipeline purge --older-than 90 --keep 5 --yes
    """
    if as_json and not (yes or dry_run):
        raise typer.BadParameter("--json needs --yes or --dry-run: nobody would see the question.")
    settings = load_settings()
    warehouse, landing = warehouse_of(settings), landing_of(settings)
    found = find_purgeable(warehouse, landing, before=utc_now() - timedelta(days=older_than), keep=keep)
    if not (as_json or _print_purge(found)):
        return
    if not (yes or dry_run):
        typer.confirm("Delete them?", abort=True)
    for one in found:
        if not dry_run:
            execute(warehouse, landing, one)
        if as_json:
            print_json(_as_json(one, is_deleted=not dry_run))
    if not as_json:
        freed = format_size(sum(one.stored_bytes for one in found))
        console().print(f"Nothing was deleted; it would free {freed}." if dry_run else f"Deleted; {freed} are free.")


def _print_purge(found: list[Purge]) -> bool:
    if not found:
        console().print("There is nothing to delete.")
        return False
    table = Table("dataset", "files", "size", "lines of the ledger", "from", "to")
    for one in found:
        days = sorted(landed.manifest.landed_at for landed in one.landed)
        days = days or sorted(load.started_at for load in one.loads)
        table.add_row(
            safe_markup(one.dataset_id),
            str(len(one.landed)),
            format_size(one.stored_bytes),
            str(len(one.loads)),
            f"{days[0]:%Y-%m-%d}",
            f"{days[-1]:%Y-%m-%d}",
        )
    print_table(table)
    files, lines = sum(len(one.landed) for one in found), sum(len(one.loads) for one in found)
    console().print(f"{pluralize(files, 'file')} and {pluralize(lines, 'line')} of the ledger.")
    return True


def _as_json(one: Purge, *, is_deleted: bool) -> dict[str, object]:
    return {
        "dataset_id": one.dataset_id,
        "deleted": is_deleted,
        "bytes": one.stored_bytes,
        "files": [landed.uri for landed in one.landed],
        "load_ids": [load.load_id for load in one.loads],
    }
