"""The commands `diff` and `show-row`: compare landed files, and show a record of one.

Here: choosing files, and output. Not here: comparing and reading (see tabular).
"""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from qt_pipeline.catalog import Dataset, catalog_for
from qt_pipeline.cli.output import console, pluralize, print_json, print_table, printable, safe_markup
from qt_pipeline.composition import landing_of, warehouse_of
from qt_pipeline.ingest import find_landed_file, find_load
from qt_pipeline.landing import Landed
from qt_pipeline.settings import load_settings
from qt_pipeline.tabular import Difference, DiffSide, RawRecord, compare, read_header, record_at, rows_at

_MAX_SHOWN = 10_000

DatasetId = Annotated[str, typer.Argument(metavar="DATASET_ID", help="The dataset.", show_default=False)]
LoadId = Annotated[int, typer.Argument(metavar="LOAD", help="The load's number, from `history`.", show_default=False)]
Row = Annotated[int, typer.Argument(metavar="ROW", help="The line number in its file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def diff(
    dataset_id: DatasetId,
    before: LoadId,
    after: LoadId,
    *,
    limit: Annotated[int, typer.Option(min=0, max=_MAX_SHOWN, help="Maximum number of rows per file.")] = 10,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show the rows, even if the catalog does not allow it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the rows that differ between the files of two loads.

    Compares rows as text, over the columns that both files have.
    A row that occurs twice in the first file and three times in the second
    was added once. Values are shown only if the catalog allows it,
    or with --show-values.

    Examples:
        qt-pipeline diff d-claims 16 17
        qt-pipeline diff d-claims 16 17 --limit 100 --json
    """
    dataset, files = _files(dataset_id, before, after)
    difference = compare(files[0].open, files[1].open, limit=limit)
    shows = show_values or dataset.show_values
    if as_json:
        sides = zip(("removed", "added"), (difference.before, difference.after), files, strict=True)
        print_json(
            {
                "dataset_id": dataset.id,
                "before": before,
                "after": after,
                "columns": list(difference.columns),
                **{name: _side_as_json(side, landed, difference, shows=shows) for name, side, landed in sides},
            }
        )
        return
    _print_difference(difference, files, before, after, shows=shows)


def show_row(dataset_id: DatasetId, load: LoadId, row: Row, *, as_json: AsJson = False) -> None:
    """Show the raw record of a landed file from which a row was loaded.

    LOAD and ROW are the row's values of the columns _qt_load and _qt_row.

    Examples:
        qt-pipeline show-row d-claims 17 4711
    """
    if row < 1:
        raise typer.BadParameter("ROW must be at least 1, the line of the header.")
    _, [landed] = _files(dataset_id, load)
    source = landed.manifest.source
    header, record = record_at(landed.open, row)
    if as_json:
        print_json(
            {
                "dataset_id": dataset_id,
                "load_id": load,
                "file": landed.uri,
                "source": source and source.uri,
                "header": _raw_as_json(header),
                "record": _raw_as_json(record),
            }
        )
        return
    console().print(safe_markup(landed.uri))
    if source is not None:
        console().print(f"Loaded manually from {safe_markup(source.uri)}")
    for raw in (header, record) if record.first_line > 1 else (header,):
        for number, text in enumerate(raw.lines, start=raw.first_line):
            typer.echo(f"{number:>9}  {printable(text)}")


def _files(dataset_id: str, *loads: int) -> tuple[Dataset, list[Landed]]:
    settings = load_settings()
    dataset = catalog_for(settings).dataset(dataset_id)
    warehouse, landing = warehouse_of(settings, prepare=False), landing_of(settings)
    return dataset, [find_landed_file(landing, find_load(warehouse, dataset.id, load)) for load in loads]


def _print_difference(difference: Difference, files: list[Landed], before: int, after: int, *, shows: bool) -> None:
    for side, subject in ((difference.before, f"Only load {before} has"), (difference.after, f"Only load {after} has")):
        if side.columns:
            named = ", ".join(map(repr, side.columns))
            console().print(f"{subject} the {'column' if len(side.columns) == 1 else 'columns'} {safe_markup(named)}.")
    rows = f"{difference.before.rows:,} rows before, {difference.after.rows:,} after"
    if difference.is_none:
        console().print(f"No differences: {rows}.")
        return
    console().print(f"{difference.before.extra_rows:,} removed, {difference.after.extra_rows:,} added: {rows}.")
    for side, landed, word in zip((difference.before, difference.after), files, ("removed", "added"), strict=True):
        if not side.lines:
            continue
        console().print(f"\n{word.capitalize()}, of {safe_markup(landed.uri)}:")
        if shows:
            table = Table("line", *map(safe_markup, difference.columns))
            for number, values in _rows(side, landed, difference):
                table.add_row(str(number), *(safe_markup(value or "") for value in values))
            print_table(table)
        else:
            console().print(f"  {'lines' if len(side.lines) > 1 else 'line'} {', '.join(map(str, side.lines))}")
        if side.extra_rows > len(side.lines):
            console().print(f"  ... and {pluralize(side.extra_rows - len(side.lines), 'row')} more.")
    if not shows:
        console().print("\nThe catalog hides values of this dataset; --show-values shows them.")


def _side_as_json(side: DiffSide, landed: Landed, difference: Difference, *, shows: bool) -> dict[str, object]:
    rows = {"values": [list(values) for _, values in _rows(side, landed, difference)]} if shows else {}
    return {"rows": side.extra_rows, "of": side.rows, "columns": list(side.columns), "lines": list(side.lines), **rows}


def _rows(side: DiffSide, landed: Landed, difference: Difference) -> Iterator[tuple[int, list[str | None]]]:
    """The differing rows, with values in the order of the common columns."""
    unmatched = list(enumerate(read_header(landed.open).names))
    positions: list[int] = []
    for name in difference.columns:
        pair = next(pair for pair in unmatched if pair[1] == name)
        unmatched.remove(pair)
        positions.append(pair[0])
    for number, values in rows_at(landed.open, side.lines):
        yield number, [values[position] for position in positions]


def _raw_as_json(raw: RawRecord) -> dict[str, object]:
    return {"first_line": raw.first_line, "last_line": raw.last_line, "text": list(raw.lines)}
