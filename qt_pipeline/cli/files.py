"""The commands `diff` and `line`: what is in landed files.

Here: which files, and how differences and records are shown. Not here: how they are found (see tabular).
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
LoadId = Annotated[int, typer.Argument(metavar="LOAD", help="A number of `history`.", show_default=False)]
Row = Annotated[int, typer.Argument(metavar="ROW", help="A line of its file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]


def diff(
    dataset_id: DatasetId,
    before: LoadId,
    after: LoadId,
    *,
    limit: Annotated[int, typer.Option(min=0, max=_MAX_SHOWN, help="At most so many rows of each file.")] = 10,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show the rows themselves, also where the catalog does not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which rows the file of one load has that another's has not.

    Rows are compared as text, over the columns that both files have.
    A row that stands twice in the first file and three times in the second
    was added once. Values are shown only where the catalog allows it,
    or with --show-values.

    Examples:
        qt-pipeline diff d-claims 16 17
        qt-pipeline diff d-claims 16 17 --limit 100 --json
    """
    dataset, files = _files(dataset_id, before, after)
    found = compare(files[0].open, files[1].open, limit=limit)
    shows = show_values or dataset.show_values
    if as_json:
        sides = zip(("removed", "added"), (found.before, found.after), files, strict=True)
        print_json(
            {
                "dataset_id": dataset.id,
                "before": before,
                "after": after,
                "columns": list(found.columns),
                **{name: _side_as_json(side, landed, found, shows=shows) for name, side, landed in sides},
            }
        )
        return
    _print_difference(found, files, before, after, shows=shows)


def line(dataset_id: DatasetId, load: LoadId, row: Row, *, as_json: AsJson = False) -> None:
    """Show the record of a landed file that a row came from, as it stands there.

    LOAD and ROW are what the row has in its columns _qt_load and _qt_row.

    Examples:
        qt-pipeline line d-claims 17 4711
    """
    if row < 1:
        raise typer.BadParameter("Lines count from 1, which is the header's.")
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
        console().print(f"It was loaded by hand, from {safe_markup(source.uri)}")
    for raw in (header, record) if record.first_line > 1 else (header,):
        for number, text in enumerate(raw.lines, start=raw.first_line):
            typer.echo(f"{number:>9}  {printable(text)}")


def _files(dataset_id: str, *loads: int) -> tuple[Dataset, list[Landed]]:
    settings = load_settings()
    dataset = catalog_for(settings).dataset(dataset_id)
    warehouse, landing = warehouse_of(settings, prepare=False), landing_of(settings)
    return dataset, [find_landed_file(landing, find_load(warehouse, dataset.id, load)) for load in loads]


def _print_difference(found: Difference, files: list[Landed], before: int, after: int, *, shows: bool) -> None:
    for side, words in ((found.before, f"Only load {before} has"), (found.after, f"Only load {after} has")):
        if side.columns:
            named = ", ".join(map(repr, side.columns))
            console().print(f"{words} the {'column' if len(side.columns) == 1 else 'columns'} {safe_markup(named)}.")
    rows = f"{found.before.rows:,} rows before, {found.after.rows:,} after"
    if found.is_none:
        console().print(f"No row differs: {rows}.")
        return
    console().print(f"{found.before.extra_rows:,} removed, {found.after.extra_rows:,} added: {rows}.")
    for side, landed, word in zip((found.before, found.after), files, ("removed", "added"), strict=True):
        if not side.lines:
            continue
        console().print(f"\n{word.capitalize()}, of {safe_markup(landed.uri)}:")
        if shows:
            table = Table("line", *map(safe_markup, found.columns))
            for number, values in _rows(side, landed, found):
                table.add_row(str(number), *(safe_markup(value or "") for value in values))
            print_table(table)
        else:
            console().print(f"  {'lines' if len(side.lines) > 1 else 'line'} {', '.join(map(str, side.lines))}")
        if side.extra_rows > len(side.lines):
            console().print(f"  ... and {pluralize(side.extra_rows - len(side.lines), 'row')} more.")
    if not shows:
        console().print("\nThe catalog does not show values of this dataset: --show-values does.")


def _side_as_json(side: DiffSide, landed: Landed, found: Difference, *, shows: bool) -> dict[str, object]:
    rows = {"values": [list(values) for _, values in _rows(side, landed, found)]} if shows else {}
    return {"rows": side.extra_rows, "of": side.rows, "columns": list(side.columns), "lines": list(side.lines), **rows}


def _rows(side: DiffSide, landed: Landed, found: Difference) -> Iterator[tuple[int, list[str | None]]]:
    """The rows that differ, in the order of the common columns."""
    left = list(enumerate(read_header(landed.open).names))
    places: list[int] = []
    for name in found.columns:
        pair = next(pair for pair in left if pair[1] == name)
        left.remove(pair)
        places.append(pair[0])
    for number, values in rows_at(landed.open, side.lines):
        yield number, [values[place] for place in places]


def _raw_as_json(raw: RawRecord) -> dict[str, object]:
    return {"first_line": raw.first_line, "last_line": raw.last_line, "text": list(raw.lines)}
