"""Builds the metadata and failures that Dagster's UI shows.

Here: names and formats of metadata. All text is untrusted, and none of it is Markdown. Not here: computing any figure.
"""

from collections.abc import Sequence
from itertools import islice

import dagster as dg

from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import FileOutcome, LandOutcome, LoadOutcome
from qt_pipeline.landing import Landed
from qt_pipeline.safe_text import shortened
from qt_pipeline.tabular import LOAD_COLUMN, LOADED_AT_COLUMN, ROW_COLUMN, DriftError, InvalidValue, header_key
from qt_pipeline.warehouse import VerificationError

# The metadata of a run is bounded, however wide the file is and however long the messages are.
_MAX_COLUMNS = 1000
_MAX_TABLE_COLUMNS = 200
_MAX_ROWS = 200
_MAX_CHARACTERS = 5000
_MORE = "… and {:,} more"

_SYSTEM_COLUMNS = {
    LOADED_AT_COLUMN: ("timestamp", "When the row's file was landed, in UTC."),
    LOAD_COLUMN: ("integer", "The load of the row: its load_id in _qt_loads."),
    ROW_COLUMN: ("integer", "The line of the landed file on which the row begins."),
}

Metadata = dict[str, dg.MetadataValue]


def of_landing(outcome: LandOutcome) -> Metadata:
    """The metadata of a download."""
    shown = [dg.TableColumn(_inert(name), "text") for name in outcome.headers[:_MAX_COLUMNS]]
    headers = _columns(shown, len(outcome.headers))
    return {
        "name": _text(outcome.dataset.label),
        **({"dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(headers))} if headers else {}),
        **_provenance(outcome.landed),
        "bytes stored": dg.MetadataValue.int(outcome.landed.manifest.stored_bytes),
        "bytes on the wire": dg.MetadataValue.int(outcome.download.wire_bytes),
        "download tries": dg.MetadataValue.int(outcome.download.attempts),
        "seconds: download": dg.MetadataValue.float(round(outcome.download.seconds, 3)),
    }


def of_load(outcome: LoadOutcome, landed_as: dg.AssetKey) -> Metadata:
    """The metadata of a successful load; `landed_as` is the asset of the landed file."""
    file = outcome.file
    preview = {} if file.preview is None else {"preview": _table(file.preview.columns, file.preview.rows)}
    remarks = [*(f"{change}." for change in map(str, file.changes)), *file.warnings]
    return {
        "name": _text(file.dataset.label),
        "dagster/table_name": _text(file.table),
        "dagster/column_schema": dg.MetadataValue.table_schema(_schema(file)),
        "dagster/column_lineage": dg.MetadataValue.column_lineage(_lineage(file, landed_as)),
        **({"warnings": of_lines("warning", remarks)} if remarks else {}),
        **preview,
        "dagster/partition_row_count": dg.MetadataValue.int(file.table_rows),
        "rows": dg.MetadataValue.int(file.totals.rows),
        "load": dg.MetadataValue.int(file.load_id),
        "status": _text(file.status.value),
        "replaced load": _maybe_int(file.replaced_load_id),
        **_provenance(outcome.landed),
        **{f"seconds: {stage}": dg.MetadataValue.float(round(duration, 3)) for stage, duration in file.seconds.items()},
        **_delay(outcome),
    }


def of_source(outcome: LandOutcome) -> Metadata:
    """The metadata that a download provides about the dataset in Quantemplate."""
    manifest = outcome.landed.manifest
    return {
        "name": _text(outcome.dataset.label),
        "sha256": _text(manifest.sha256),
        "bytes": dg.MetadataValue.int(manifest.bytes),
        "trace id": _text(manifest.trace_id),
    }


def of_sums(outcome: LoadOutcome) -> Metadata:
    """The verified sums, unless they would reveal values of a row that must stay hidden."""
    totals = outcome.file.totals
    shown = totals.sums.items() if totals.hides_rows or outcome.file.dataset.show_values else ()
    sums: Metadata = {f"sum of {_inert(name)}": _text(f"{total:f}") for name, total in islice(shown, _MAX_ROWS)}
    if (more := len(shown) - _MAX_ROWS) > 0:
        sums["sums not shown"] = dg.MetadataValue.int(more)
    return {"rows": dg.MetadataValue.int(totals.rows), **sums}


def of_difference(error: VerificationError) -> Metadata:
    """The metadata of a failed verification: what differed, and where."""
    return {
        "where": _text(error.stage),
        "difference": _text(error.verification.difference),
        "rows in the file": dg.MetadataValue.int(error.verification.expected.rows),
        "rows found": dg.MetadataValue.int(error.verification.found.rows),
    }


def of_lines(name: str, lines: Sequence[str]) -> dg.TableMetadataValue:
    """A list of texts, as a table with the single column `name`."""
    return _table((name,), [(line,) for line in lines])


def failure(error: PipelineError) -> dg.Failure:
    """The failure of a run, which shows error and fix first.

    Raise it `from None`: causes of a PipelineError may contain values of rows.
    """
    # Retries have been exhausted where the error can be retried.
    return dg.Failure(_inert(str(error)), metadata=of_error(error), allow_retries=False)


def of_error(error: PipelineError) -> Metadata:
    """The metadata of an error: message, fix, dataset, and the positions of invalid values."""
    texts = {"error": error.message, "how to fix": error.hint, "dataset": error.dataset_id or ""}
    details: Metadata = {name: _text(text) for name, text in texts.items() if text}
    if isinstance(error, DriftError) and error.invalid_values:
        details["invalid_values"] = _invalid_values(error.invalid_values)
    return details


def _provenance(landed: Landed) -> Metadata:
    manifest = landed.manifest
    return {
        "dagster/uri": _text(landed.uri),
        "sha256": _text(manifest.sha256),
        "bytes": dg.MetadataValue.int(manifest.bytes),
        "trace id": _text(manifest.trace_id),
        "event": _text(manifest.event_id or "none: requested manually"),
        "events covered up to": dg.MetadataValue.int(manifest.through_seq),
    }


def _delay(outcome: LoadOutcome) -> Metadata:
    seconds = outcome.seconds_from_event
    return {} if seconds is None else {"seconds: event to commit": dg.MetadataValue.float(round(seconds, 3))}


def _lineage(file: FileOutcome, landed_as: dg.AssetKey) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            _inert(column.name): [dg.TableColumnDep(landed_as, _inert(column.header))]
            for column in file.contract.columns[:_MAX_COLUMNS]
        }
    )


def _schema(file: FileOutcome) -> dg.TableSchema:
    described = {
        header_key(header): column.description and _inert(column.description)
        for header, column in file.dataset.columns.items()
    }
    columns = [
        dg.TableColumn(_inert(c.name), str(c.type), described.get(header_key(c.header)))
        for c in file.contract.columns[:_MAX_COLUMNS]
    ]
    columns = _columns(columns, len(file.contract.columns))
    system = [dg.TableColumn(name, *_SYSTEM_COLUMNS[name]) for name in file.system_columns]
    return dg.TableSchema([*columns, *system])


def _invalid_values(invalid_values: Sequence[InvalidValue]) -> dg.TableMetadataValue:
    """The positions of invalid values, and the values if the catalog allows to show them."""
    with_values = any(invalid.value is not None for invalid in invalid_values)
    head = ("line", "column", "expected", *(("value",) if with_values else ()))
    rows = [
        (str(invalid.line), invalid.column, invalid.type, *((invalid.value,) if with_values else ()))
        for invalid in invalid_values
    ]
    return _table(head, rows)


def _maybe_int(value: int | None) -> dg.MetadataValue:
    return dg.MetadataValue.null() if value is None else dg.MetadataValue.int(value)


def _text(text: str) -> dg.TextMetadataValue:
    return dg.MetadataValue.text(_inert(text))


def _table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> dg.TableMetadataValue:
    """A table of texts, which the UI shows literally, without interpreting Markdown or links."""
    more_columns, more_rows = len(head) - _MAX_TABLE_COLUMNS, len(rows) - _MAX_ROWS
    names = list(map(_inert, head[:_MAX_TABLE_COLUMNS]))
    cells = [
        [None if cell is None else _inert(" ".join(cell.splitlines())) for cell in row[:_MAX_TABLE_COLUMNS]]
        for row in rows[:_MAX_ROWS]
    ]
    if more_columns > 0:
        names.append(_MORE.format(more_columns))
        cells = [[*row, None] for row in cells]
    if more_rows > 0:
        cells.append([_MORE.format(more_rows), *[None] * (len(names) - 1)])
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(names, row, strict=True))) for row in cells],
        dg.TableSchema([dg.TableColumn(name, "text") for name in names]),
    )


def _inert(text: str) -> str:
    return shortened(text, length=_MAX_CHARACTERS)


def _columns(columns: list[dg.TableColumn], total: int) -> list[dg.TableColumn]:
    """The columns to show, with a count of the omitted ones."""
    more = total - len(columns)
    return [*columns, dg.TableColumn(_MORE.format(more), "text")] if more > 0 else columns
