"""A CSV file → its dataset's table, by the rules of the catalog.

Here: the order of reading, settling the contract, staging, guarding and publishing.
Not here: where a file comes from (see ingest), how a table is written (see warehouse).
"""

import csv
import io
import json
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from qt_pipeline.catalog import Dataset
from qt_pipeline.errors import about
from qt_pipeline.ingest.files import CsvFile, landed_file
from qt_pipeline.ingest.guards import absent_columns, check_headers, check_rows, guarded
from qt_pipeline.landing import Landed
from qt_pipeline.safe_text import spreadsheet_text
from qt_pipeline.tabular import (
    ColumnType,
    Contract,
    DriftError,
    FileProfile,
    Header,
    InvalidValue,
    OpenStream,
    ResolvedContract,
    Rows,
    SchemaChange,
    SchemaRules,
    SpeculationFailedError,
    SpeculativeReader,
    align_headers,
    check_first_line,
    check_width,
    find_invalid_values,
    profile,
    profile_head,
    read_first_line,
    read_rows,
    read_text,
    resolve_contract,
)
from qt_pipeline.telemetry import LoadStage, ProgressCallback, ProgressLogger, ProgressTracker, log_context, span
from qt_pipeline.values import DriftPolicy, WriteMode
from qt_pipeline.warehouse import Load, LoadJob, LoadStatus, TableSpec, Totals, Warehouse

_PREVIEW_ROWS = 10
_INVALID_VALUES_FILE = 100

Exceptions: TypeAlias = tuple[type[Exception], ...]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows as text, under the names of the table's columns. Only where the catalog shows values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of a file: published, or found to be in the table already (`LoadStatus.UNCHANGED`).

    `seconds` are by stage; `system_columns` are those of the table that no file has. `changes` and `warnings` are for a
    person to read.
    """

    dataset: Dataset
    table: str
    contract: Contract
    status: LoadStatus
    load_id: int
    replaced_load_id: int | None
    totals: Totals
    table_rows: int
    seconds: dict[str, float]
    system_columns: tuple[str, ...]
    changes: tuple[SchemaChange, ...] = ()
    warnings: tuple[str, ...] = ()
    preview: Preview | None = None


def load_file(
    warehouse: Warehouse,
    dataset: Dataset,
    file: CsvFile,
    *,
    force: bool = False,
    max_rows: int | None = None,
    observe: ProgressCallback | None = None,
) -> FileOutcome:
    """Publish a file as the dataset's table. `force` loads it even if the table shows it already.

    A file of more than `max_rows` is left before it is read to its end. `observe` is told how far it has come; without
    one the log is, every few seconds.

    Raises:
        PipelineError: the table keeps its rows; the message says why and what to do.
    """
    meter = ProgressTracker(observe or ProgressLogger(f"Dataset {dataset.label}"), total_bytes=file.bytes)
    with (
        about(dataset.id),
        log_context(dataset_id=dataset.id, dataset=dataset.label, run_id=file.run_id),
        warehouse.begin(load_job_for(dataset, file), table_spec_for(dataset)) as load,
        log_context(load_id=load.load_id),
    ):
        outcome = FileLoader(load, dataset, file, force=force, max_rows=max_rows, meter=meter).run()
    for change in outcome.changes:
        _log.warning("Dataset %s: %s.", dataset.id, change)
    return outcome


def load_landed(
    warehouse: Warehouse,
    dataset: Dataset,
    landed: Landed,
    *,
    run_id: str,
    force: bool = False,
    max_rows: int | None = None,
    observe: ProgressCallback | None = None,
) -> FileOutcome:
    """Publish a landed file; see `load_file`. One that is refused stays landed, for its faults to be looked at.

    Raises:
        DriftError: the file breaks the contract. The values that do so are listed beside the landed file.
        PipelineError: the table keeps its rows; the message says why and what to do.
    """
    file = landed_file(landed, run_id)
    try:
        return load_file(warehouse, dataset, file, force=force, max_rows=max_rows, observe=observe)
    except DriftError as drift:
        if drift.invalid_values:
            landed.write_beside(f"invalid-values-{run_id}.csv", _as_csv(drift.invalid_values))
        raise


def table_spec_for(dataset: Dataset) -> TableSpec:
    """How the catalog wants the table of a dataset."""
    after = dataset.after_publish
    return TableSpec(
        name=dataset.table,
        schema=dataset.table_schema,
        mode=dataset.mode,
        key=dataset.key,
        lineage_columns=dataset.lineage_columns,
        adopt=dataset.adopt,
        after_publish=after.sql if after else None,
        after_publish_in_transaction=after.in_transaction if after else True,
    )


def schema_rules_for(dataset: Dataset, *, max_name_bytes: int) -> SchemaRules:
    """How the catalog wants the columns of a dataset."""
    return SchemaRules(
        max_name_bytes=max_name_bytes,
        policy=dataset.policy,
        naming=dataset.naming,
        declared={header: column.type for header, column in dataset.columns.items() if column.type is not None},
        keeps_rows=dataset.mode is not WriteMode.REPLACE,
    )


@dataclass(frozen=True, slots=True)
class FileReader:
    """A CSV file with its header, and what the rules of its dataset expect of it."""

    open: OpenStream
    header: Header
    contract: Contract | None
    rules: SchemaRules
    show_values: bool

    @classmethod
    def of(  # all that decides how a file is read
        cls,
        open_: OpenStream,
        dataset: Dataset,
        contract: Contract | None,
        rules: SchemaRules,
        *,
        max_columns: int,
        takes_over: bool,
    ) -> "FileReader":
        """A file as its dataset's rules want it read. The contract of a table that is taken over knows no headers yet.

        Raises:
            EmptyFileError: there is no byte in the file.
            BadCsvError: the header cannot be read.
            TooManyColumnsError: it has more than `max_columns`.
            NotAHeaderError: its first line would become the contract, or has nothing of it, and is no header.
        """
        header, head = read_first_line(open_)
        check_width(header, max_columns)
        if contract is not None and takes_over:
            contract = align_headers(contract, header.names, rules)
        if not dataset.first_line_is_header and (contract is None or contract.has_other_columns(header.names)):
            check_first_line(head, header)
        return cls(open_, header, contract, rules, dataset.show_values)

    def resolve(self, inspection: FileProfile) -> ResolvedContract:
        """The contract for what was seen.

        Raises:
            DeclarationError: the catalog declares types that cannot hold the rows which stay in the table.
            DriftError: the file does not keep the contract; with the places, unless it was only glanced at.
        """
        return resolve_contract(self.contract, self.header.names, inspection.seen, self.rules)

    def profile_head(self) -> FileProfile:
        """Look at the beginning of the file."""
        return profile_head(self.open, self.header, self._expected)

    def profile(self) -> FileProfile:
        """Look at the whole file."""
        return profile(self.open, self.header, self._expected)

    def open_rows(self, assumed: Contract, block_size: int) -> SpeculativeReader:
        """One pass under a contract that is assumed."""
        return SpeculativeReader(self.open, self.header, self._expected, assumed, block_size=block_size)

    def with_places(self, drift: DriftError, inspection: FileProfile) -> DriftError:
        """The same error, naming the values that do not fit."""
        broken = drift.columns_of_another_type
        if not broken:
            return drift
        show = self.show_values
        return drift.at(
            find_invalid_values(self.open, inspection, broken, self.rules, limit=_INVALID_VALUES_FILE, show_values=show)
        )

    @property
    def _expected(self) -> tuple[ColumnType | None, ...]:
        return self.rules.expected(self.contract, self.header.names)


class FileLoader:
    """The steps of one file into a load that has begun, or into a dry run: every check stands here or in the load.

    `rows` counts those that were read so far, `settled` is the contract as far as it is known.
    """

    def __init__(  # all that a load depends on
        self, load: Load, dataset: Dataset, file: CsvFile, *, force: bool, max_rows: int | None, meter: ProgressTracker
    ) -> None:
        self.rows = 0
        self.settled: ResolvedContract | None = None
        self._load = load
        self._dataset = _rules_for(dataset, file)
        self._file = file
        self._force = force
        self._max_rows = max_rows
        self._meter = meter

    def run(self) -> FileOutcome:
        """Load the file, unless the table shows it already.

        Raises:
            PipelineError: the table keeps its rows; the message says why and what to do.
        """
        self._load.check_order()
        if not self._force and self._load.is_up_to_date():
            return _unchanged(self._load, self._dataset)
        return self._publish(self._read())

    def _read(self) -> FileReader:
        return FileReader.of(
            self._meter.opening(self._file.open),
            self._dataset,
            self._load.contract,
            schema_rules_for(self._dataset, max_name_bytes=self._load.target.max_name_bytes),
            max_columns=self._load.target.max_columns,
            takes_over=self._load.adopting,
        )

    def _publish(self, reading: FileReader) -> FileOutcome:
        began = time.monotonic()
        settled, inspection, totals = self._stage(reading)
        staged = time.monotonic()
        check_rows(self._dataset, totals.rows, self._load.last)
        self._meter.enter(LoadStage.PUBLISH, rows=totals.rows)
        with span("publish") as publishing:
            publishing.set_attributes(rows=totals.rows)
            published = self._load.publish(settled.changes)
        return FileOutcome(
            dataset=self._dataset,
            table=str(self._load.spec),
            contract=settled.contract,
            status=LoadStatus.PUBLISHED,
            load_id=published.load_id,
            replaced_load_id=published.replaced_load_id,
            totals=totals,
            table_rows=published.table_rows,
            seconds={
                "inspect": staged - began - published.stage_seconds,
                "stage": published.stage_seconds,
                "publish": published.publish_seconds,
            },
            system_columns=self._load.system_columns,
            changes=settled.changes,
            warnings=(*published.warnings, *settled.warnings, *absent_columns(self._dataset, settled.contract)),
            preview=_preview(reading, inspection, settled.contract) if self._dataset.show_values else None,
        )

    def _stage(self, reading: FileReader) -> tuple[ResolvedContract, FileProfile, Totals]:
        """Stage the rows: in one pass if the file keeps the contract that its beginning suggests, else in two."""
        try:
            with self._profiled(unless=(DriftError,)):
                first = reading.profile_head()
                self.settled = assumed = reading.resolve(first)
                check_headers(self._dataset, assumed.contract)
            passage = reading.open_rows(assumed.contract, first.block_size)
            totals = self._stage_rows(assumed.contract, passage.rows(), unless=(SpeculationFailedError, DriftError))
        except (SpeculationFailedError, DriftError):
            pass
        else:
            return assumed, passage.profile, totals
        with self._profiled():
            self.settled = None
            inspection = reading.profile()
            self.rows = inspection.rows
            try:
                self.settled = settled = reading.resolve(inspection)
            except DriftError as drift:
                raise reading.with_places(drift, inspection) from None
            check_headers(self._dataset, settled.contract)
        rows = read_rows(reading.open, inspection, settled.contract)
        return settled, inspection, self._stage_rows(settled.contract, rows)

    @contextmanager
    def _profiled(self, *, unless: Exceptions = ()) -> Generator[None]:
        self._meter.enter(LoadStage.READ)
        with span("inspect", unless=unless):
            yield

    def _stage_rows(self, contract: Contract, rows: Iterator[Rows], *, unless: Exceptions = ()) -> Totals:
        self._meter.enter(LoadStage.STAGE)
        with span("stage", unless=unless) as staging:
            counted = self._meter.counting(guarded(self._dataset, self._max_rows, self._counted(rows)))
            totals = self._load.stage(contract, counted)
            staging.set_attributes(rows=totals.rows)
        return totals

    def _counted(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        self.rows = 0
        for some in rows:
            self.rows += len(some)
            yield some


def _unchanged(load: Load, dataset: Dataset) -> FileOutcome:
    began = time.monotonic()
    record = load.mark_unchanged()
    assert load.contract is not None  # noqa: S101  # the table shows the file already
    return FileOutcome(
        dataset=dataset,
        table=str(load.spec),
        contract=load.contract,
        status=LoadStatus.UNCHANGED,
        load_id=record.load_id,
        replaced_load_id=None,
        totals=Totals(record.rows or 0),
        table_rows=record.table_rows or 0,
        seconds={"compare": time.monotonic() - began},
        system_columns=load.system_columns,
        warnings=absent_columns(dataset, load.contract),
    )


def load_job_for(dataset: Dataset, file: CsvFile) -> LoadJob:
    """What the ledger is to know of the load of a file."""
    return LoadJob(
        dataset_id=dataset.id,
        run_id=file.run_id,
        landing_run_id=file.landing_run_id,
        landing_uri=file.uri,
        landed_at=file.landed_at,
        sha256=file.sha256,
        bytes=file.bytes,
        inbox_id=file.inbox_id,
        through_seq=file.through_seq,
        event_id=file.event_id,
        rules=dataset.rules,
        restores_load_id=file.restores_load_id,
        declared=json.dumps({header: str(column.type) for header, column in dataset.columns.items() if column.type}),
    )


def _rules_for(dataset: Dataset, file: CsvFile) -> Dataset:
    """What holds for a file: one that was in the table before may lack columns that came later, and have fewer rows."""
    if file.restores_load_id is None:
        return dataset
    return dataset.model_copy(
        update={"policy": DriftPolicy.EVOLVE, "max_drop_percent": None, "first_line_is_header": True}
    )


def _preview(reading: FileReader, inspection: FileProfile, contract: Contract) -> Preview:
    positions = contract.positions(reading.header.names)
    batch = next(read_text(reading.open, reading.header, block_size=inspection.block_size, checked=True), None)
    blank = [None] * _PREVIEW_ROWS
    columns = (
        [
            batch.columns[position][:_PREVIEW_ROWS].to_pylist() if position is not None else blank[: batch.rows]
            for position in positions
        ]
        if batch
        else []
    )
    rows = tuple(islice(zip(*columns, strict=True), _PREVIEW_ROWS))
    return Preview(columns=tuple(column.name for column in contract.columns), rows=rows)


def _as_csv(misfits: Sequence[InvalidValue]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["line", "column", "expected", "value"])
    writer.writerows(
        [one.line, spreadsheet_text(one.column), one.type, spreadsheet_text(one.value or "")] for one in misfits
    )
    return text.getvalue()
