"""What a person sees of a run in the Dagster UI: outcomes as metadata, errors as failures.

Here: names and forms of metadata. Not here: any figure that the outcome does not bring along.
"""

import re
from collections.abc import Iterable, Sequence

import dagster as dg

from qt_pipeline.errors import PipelineError
from qt_pipeline.ingest import FileOutcome, LandOutcome, LoadOutcome, Preview
from qt_pipeline.landing import Landed
from qt_pipeline.tabular import LOAD_COLUMN, LOADED_AT_COLUMN, ROW_COLUMN, DriftError, Misfit, header_key
from qt_pipeline.warehouse import VerificationError

_OWN_COLUMNS = {
    LOADED_AT_COLUMN: ("timestamp", "When the file that the row came with was landed, in UTC."),
    LOAD_COLUMN: ("integer", "The load that brought the row: a line of _qt_loads."),
    ROW_COLUMN: ("integer", "The line of the landed file on which the row begins."),
}
_MARKS = re.compile(r"[!-/:-@[-`{-~]")

Metadata = dict[str, dg.MetadataValue]


def of_landing(outcome: LandOutcome) -> Metadata:
    """What is known of a download."""
    headers = [dg.TableColumn(name, "text") for name in outcome.headers]
    return {
        "name": dg.MetadataValue.text(outcome.dataset.label),
        **({"dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(headers))} if headers else {}),
        **_provenance(outcome.landed),
        "bytes stored": dg.MetadataValue.int(outcome.landed.manifest.stored_bytes),
        "bytes on the wire": dg.MetadataValue.int(outcome.download.wire_bytes),
        "download tries": dg.MetadataValue.int(outcome.download.attempts),
        "seconds: download": dg.MetadataValue.float(round(outcome.download.seconds, 3)),
    }


def of_load(outcome: LoadOutcome, landed_as: dg.AssetKey) -> Metadata:
    """What is known of a load whose file is in its table; `landed_as` is the asset that the file is."""
    file = outcome.file
    preview = {} if file.preview is None else {"preview": dg.MetadataValue.md(_markdown(file.preview))}
    remarks = [*(f"{change}." for change in map(str, file.changes)), *file.warnings]
    return {
        "name": dg.MetadataValue.text(file.dataset.label),
        "dagster/table_name": dg.MetadataValue.text(file.table),
        "dagster/column_schema": dg.MetadataValue.table_schema(_schema(file)),
        "dagster/column_lineage": dg.MetadataValue.column_lineage(_lineage(file, landed_as)),
        **({"warnings": dg.MetadataValue.md("\n".join(f"- {remark}" for remark in remarks))} if remarks else {}),
        **preview,
        "dagster/partition_row_count": dg.MetadataValue.int(file.table_rows),
        "rows": dg.MetadataValue.int(file.totals.rows),
        "load": dg.MetadataValue.int(file.load_id),
        "status": dg.MetadataValue.text(file.status.value),
        "replaced load": _maybe_int(file.replaced_load_id),
        **_provenance(outcome.landed),
        **{f"seconds: {stage}": dg.MetadataValue.float(round(took, 3)) for stage, took in file.seconds.items()},
        **_delay(outcome),
    }


def of_source(outcome: LandOutcome) -> Metadata:
    """What a download tells of the dataset in Quantemplate."""
    manifest = outcome.landed.manifest
    return {
        "name": dg.MetadataValue.text(outcome.dataset.label),
        "sha256": dg.MetadataValue.text(manifest.sha256),
        "bytes": dg.MetadataValue.int(manifest.bytes),
        "trace id": dg.MetadataValue.text(manifest.trace_id),
    }


def of_sums(outcome: LoadOutcome) -> Metadata:
    """The sums that agree between file and table, unless they would show a row that must be hidden."""
    totals = outcome.file.totals
    shown = totals.sums.items() if totals.hides_rows or outcome.file.dataset.show_values else ()
    sums: Metadata = {f"sum of {name}": dg.MetadataValue.text(f"{total:f}") for name, total in shown}
    return {"rows": dg.MetadataValue.int(totals.rows), **sums}


def of_difference(error: VerificationError) -> Metadata:
    """Which figure differed, and where."""
    return {
        "where": dg.MetadataValue.text(error.stage),
        "difference": dg.MetadataValue.text(error.verification.difference),
        "rows in the file": dg.MetadataValue.int(error.verification.expected.rows),
        "rows found": dg.MetadataValue.int(error.verification.found.rows),
    }


def failure(error: PipelineError) -> dg.Failure:
    """The failure of a run, with the explanation and the next step as the first thing one sees.

    Raise it `from None`: what lies below our own errors may repeat values of rows.
    """
    # Whatever may be tried again was, by those who know how.
    return dg.Failure(str(error), metadata=of_error(error), allow_retries=False)


def of_error(error: PipelineError) -> Metadata:
    """What an error says: what happened, to which dataset, what to do, and the places of values that do not fit."""
    words = {"what happened": error.what, "what to do": error.todo, "dataset": error.dataset_id or ""}
    said: Metadata = {k: dg.MetadataValue.text(v) for k, v in words.items() if v}
    if isinstance(error, DriftError) and error.misfits:
        said["misfits"] = dg.MetadataValue.md(_misfits(error.misfits))
    return said


def _provenance(landed: Landed) -> Metadata:
    manifest = landed.manifest
    return {
        "dagster/uri": dg.MetadataValue.text(landed.uri),
        "sha256": dg.MetadataValue.text(manifest.sha256),
        "bytes": dg.MetadataValue.int(manifest.bytes),
        "trace id": dg.MetadataValue.text(manifest.trace_id),
        "event": dg.MetadataValue.text(manifest.event_id or "none: asked for by hand"),
        "events covered up to": dg.MetadataValue.int(manifest.through_seq),
    }


def _delay(outcome: LoadOutcome) -> Metadata:
    seconds = outcome.seconds_from_event
    return {} if seconds is None else {"seconds: event to commit": dg.MetadataValue.float(round(seconds, 3))}


def _lineage(file: FileOutcome, landed_as: dg.AssetKey) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {column.name: [dg.TableColumnDep(landed_as, column.header)] for column in file.contract.columns}
    )


def _schema(file: FileOutcome) -> dg.TableSchema:
    described = {header_key(header): column.description for header, column in file.dataset.columns.items()}
    columns = [dg.TableColumn(c.name, str(c.type), described.get(header_key(c.header))) for c in file.contract.columns]
    own = [dg.TableColumn(name, *_OWN_COLUMNS[name]) for name in file.own_columns]
    return dg.TableSchema([*columns, *own])


def _misfits(misfits: Sequence[Misfit]) -> str:
    """Where the values are that do not fit; what they are only where the catalog shows values."""
    with_values = any(misfit.value is not None for misfit in misfits)
    head = ("line", "column", "expected", *(("value",) if with_values else ()))
    rows = [
        (str(misfit.line), misfit.column, misfit.type, *((misfit.value,) if with_values else ())) for misfit in misfits
    ]
    return _table(head, rows)


def _maybe_int(value: int | None) -> dg.MetadataValue:
    return dg.MetadataValue.null() if value is None else dg.MetadataValue.int(value)


def _markdown(preview: Preview) -> str:
    return _table(preview.columns, preview.rows)


def _table(head: Sequence[str], body: Iterable[Sequence[str | None]]) -> str:
    names, *rows = [" | ".join(_cell(value) for value in line) for line in (head, *body)]
    rule = " | ".join(["---"] * len(head))
    return "\n".join(f"| {line} |" for line in (names, rule, *rows))


def _cell(value: str | None) -> str:
    # Every mark is escaped: a value must look as it stands in the file, and must not become a link or a picture.
    return _MARKS.sub(r"\\\g<0>", " ".join((value or "").splitlines()))
