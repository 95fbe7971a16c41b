"""Load a CSV file into its dataset's table, by the rules of the catalog.

Here: the order of the steps: profile, resolve the contract, stage, check, publish.
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
    """The outcome of a load: published, or unchanged because the table already shows the file.

    `seconds` are by stage; `system_columns` are the table's columns that no file has. `changes` and `warnings` are for
    people to read.
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
    """Publish a file as the dataset's table. `force` loads it even if the table already shows it.

    Reading stops once the file exceeds `max_rows`. `observe` receives the progress; without it, progress is logged
    every few seconds.

    Raises:
        PipelineError: the table keeps its rows; the message says why and what to do.
    """
    tracker = ProgressTracker(observe or ProgressLogger(f"Dataset {dataset.label}"), total_bytes=file.bytes)
    with (
        about(dataset.id),
        log_context(dataset_id=dataset.id, dataset=dataset.label, run_id=file.run_id),
        warehouse.begin(load_job_for(dataset, file), table_spec_for(dataset)) as load,
        log_context(load_id=load.load_id),
    ):
        outcome = FileLoader(load, dataset, file, force=force, max_rows=max_rows, tracker=tracker).run()
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
    """Publish a landed file; see `load_file`. A file that fails stays landed, for inspection.

    Raises:
        DriftError: the file breaks the contract. The invalid values are listed beside the landed file.
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
    """The table that the catalog declares for a dataset."""
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
    """The rules that the catalog declares for the columns of a dataset."""
    return SchemaRules(
        max_name_bytes=max_name_bytes,
        policy=dataset.policy,
        naming=dataset.naming,
        declared={header: column.type for header, column in dataset.columns.items() if column.type is not None},
        keeps_rows=dataset.mode is not WriteMode.REPLACE,
    )


@dataclass(frozen=True, slots=True)
class FileReader:
    """A CSV file with its header and the rules that its dataset sets for it."""

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
        adopting: bool,
    ) -> "FileReader":
        """Read the header and apply the dataset's rules to it. An adopted table's contract has no headers yet.

        Raises:
            EmptyFileError: the file has no bytes.
            BadCsvError: the header cannot be read.
            TooManyColumnsError: the header has more than `max_columns`.
            NotAHeaderError: the first line would become the contract, or shares no column with it, and is no header.
        """
        header, head = read_first_line(open_)
        check_width(header, max_columns)
        if contract is not None and adopting:
            contract = align_headers(contract, header.names, rules)
        if not dataset.first_line_is_header and (contract is None or contract.has_other_columns(header.names)):
            check_first_line(head, header)
        return cls(open_, header, contract, rules, dataset.show_values)

    def resolve(self, file_profile: FileProfile) -> ResolvedContract:
        """The contract for a profile of the file.

        Raises:
            DeclarationError: the catalog declares types that cannot hold the rows which stay in the table.
            DriftError: the file breaks the contract.
        """
        return resolve_contract(self.contract, self.header.names, file_profile.seen, self.rules)

    def profile_head(self) -> FileProfile:
        """Profile the beginning of the file."""
        return profile_head(self.open, self.header, self._expected)

    def profile(self) -> FileProfile:
        """Profile the whole file."""
        return profile(self.open, self.header, self._expected)

    def open_rows(self, assumed: Contract, block_size: int) -> SpeculativeReader:
        """A reader that types the rows in one pass, under an assumed contract."""
        return SpeculativeReader(self.open, self.header, self._expected, assumed, block_size=block_size)

    def with_places(self, drift: DriftError, file_profile: FileProfile) -> DriftError:
        """The same error, with the invalid values listed."""
        broken = drift.columns_of_another_type
        if not broken:
            return drift
        show = self.show_values
        return drift.at(
            find_invalid_values(
                self.open, file_profile, broken, self.rules, limit=_INVALID_VALUES_FILE, show_values=show
            )
        )

    @property
    def _expected(self) -> tuple[ColumnType | None, ...]:
        return self.rules.expected(self.contract, self.header.names)


class FileLoader:
    """Runs the steps of one file, for a load or a dry run: every check is made here or in the load.

    `rows` counts the rows read so far; `resolved` is the contract as far as it is known.
    """

    def __init__(  # all that a load depends on
        self,
        load: Load,
        dataset: Dataset,
        file: CsvFile,
        *,
        force: bool,
        max_rows: int | None,
        tracker: ProgressTracker,
    ) -> None:
        self.rows = 0
        self.resolved: ResolvedContract | None = None
        self._load = load
        self._dataset = _rules_for(dataset, file)
        self._file = file
        self._force = force
        self._max_rows = max_rows
        self._tracker = tracker

    def run(self) -> FileOutcome:
        """Load the file, unless the table already shows it.

        Raises:
            PipelineError: the table keeps its rows; the message says why and what to do.
        """
        self._load.check_order()
        if not self._force and self._load.is_up_to_date():
            return _unchanged(self._load, self._dataset)
        return self._publish(self._read())

    def _read(self) -> FileReader:
        return FileReader.of(
            self._tracker.opening(self._file.open),
            self._dataset,
            self._load.contract,
            schema_rules_for(self._dataset, max_name_bytes=self._load.target.max_name_bytes),
            max_columns=self._load.target.max_columns,
            adopting=self._load.adopting,
        )

    def _publish(self, file_reader: FileReader) -> FileOutcome:
        began = time.monotonic()
        resolved, file_profile, totals = self._stage(file_reader)
        staged = time.monotonic()
        check_rows(self._dataset, totals.rows, self._load.last)
        self._tracker.enter(LoadStage.PUBLISH, rows=totals.rows)
        with span("publish") as publishing:
            publishing.set_attributes(rows=totals.rows)
            published = self._load.publish(resolved.changes)
        return FileOutcome(
            dataset=self._dataset,
            table=str(self._load.spec),
            contract=resolved.contract,
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
            changes=resolved.changes,
            warnings=(*published.warnings, *resolved.warnings, *absent_columns(self._dataset, resolved.contract)),
            preview=_preview(file_reader, file_profile, resolved.contract) if self._dataset.show_values else None,
        )

    def _stage(self, file_reader: FileReader) -> tuple[ResolvedContract, FileProfile, Totals]:
        """Stage the rows: in one pass if the file keeps the contract that its head suggests, else in two."""
        try:
            with self._profiled(unless=(DriftError,)):
                first = file_reader.profile_head()
                self.resolved = assumed = file_reader.resolve(first)
                check_headers(self._dataset, assumed.contract)
            speculative = file_reader.open_rows(assumed.contract, first.block_size)
            totals = self._stage_rows(assumed.contract, speculative.rows(), unless=(SpeculationFailedError, DriftError))
        except (SpeculationFailedError, DriftError):
            pass
        else:
            return assumed, speculative.profile, totals
        with self._profiled():
            self.resolved = None
            file_profile = file_reader.profile()
            self.rows = file_profile.rows
            try:
                self.resolved = resolved = file_reader.resolve(file_profile)
            except DriftError as drift:
                raise file_reader.with_places(drift, file_profile) from None
            check_headers(self._dataset, resolved.contract)
        rows = read_rows(file_reader.open, file_profile, resolved.contract)
        return resolved, file_profile, self._stage_rows(resolved.contract, rows)

    @contextmanager
    def _profiled(self, *, unless: Exceptions = ()) -> Generator[None]:
        self._tracker.enter(LoadStage.READ)
        with span("inspect", unless=unless):
            yield

    def _stage_rows(self, contract: Contract, rows: Iterator[Rows], *, unless: Exceptions = ()) -> Totals:
        self._tracker.enter(LoadStage.STAGE)
        with span("stage", unless=unless) as staging:
            counted = self._tracker.counting(guarded(self._dataset, self._max_rows, self._counted(rows)))
            totals = self._load.stage(contract, counted)
            staging.set_attributes(rows=totals.rows)
        return totals

    def _counted(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        self.rows = 0
        for batch in rows:
            self.rows += len(batch)
            yield batch


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
    """What the ledger records about the load of a file."""
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
    """The dataset's rules for a file. A restored file may lack later columns and may have fewer rows."""
    if file.restores_load_id is None:
        return dataset
    return dataset.model_copy(
        update={"policy": DriftPolicy.EVOLVE, "max_drop_percent": None, "first_line_is_header": True}
    )


def _preview(file_reader: FileReader, file_profile: FileProfile, contract: Contract) -> Preview:
    positions = contract.positions(file_reader.header.names)
    batch = next(
        read_text(file_reader.open, file_reader.header, block_size=file_profile.block_size, checked=True), None
    )
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


def _as_csv(values: Sequence[InvalidValue]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["line", "column", "expected", "value"])
    writer.writerows(
        [value.line, spreadsheet_text(value.column), value.type, spreadsheet_text(value.value or "")]
        for value in values
    )
    return text.getvalue()
