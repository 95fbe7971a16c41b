"""A life is led: each step on the product and on the model, and both are compared after it.

Here: the order of things, and what is counted. Not here: what is right (see model), what is made up (see generate).
"""

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from qt_pipeline_tests.oracle import csvfile, model
from qt_pipeline_tests.oracle.csvfile import CsvFaultError, CsvText
from qt_pipeline_tests.oracle.forms import Type, digits_of, is_canonical, loses_sign, narrowest
from qt_pipeline_tests.oracle.life import Hand, Life, Load, Made, Restore, Rules
from qt_pipeline_tests.oracle.model import (
    Cell,
    ColumnState,
    DatasetModel,
    Past,
    RowModel,
    TableModel,
    Wrong,
    model_of,
)
from qt_pipeline_tests.oracle.product import Answer, Product, reading_blocks_of
from qt_pipeline_tests.oracle.targets import Table, Target, kind_of, quoted, snapshot

Opener = Callable[[Path], Target]
_ROW_IN_SHOWN = 12
"""Of so many loads, one is asked for by `line` and `diff`."""


@dataclass
class Verdict:
    """How a life went: the first disagreement, at which step; what was counted."""

    wrong: Wrong | None = None
    step: int = 0
    says: str = ""
    during: str = ""
    """What was going on: the kind of the step, and the mode of its dataset."""
    count: Counter[str] = field(default_factory=Counter[str])


class _DisagreementError(Exception):
    def __init__(self, wrong: Wrong, says: str = "") -> None:
        super().__init__(wrong.what)
        self.wrong = wrong
        self.says = says


def lead(life: Life, opener: Opener, *, shows: bool = False) -> Verdict:
    """Lead a life to its end, or to the first disagreement. `shows`: `line` and `diff` are asked too."""
    verdict = Verdict()
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # faster; nothing is to survive
    with tempfile.TemporaryDirectory(dir=scratch) as folder, reading_blocks_of(life.block):
        target = opener(Path(folder))
        stage = _Stage(target, Product(Path(folder), target.url, target.schema), verdict.count, shows=shows)
        try:
            for number, step in enumerate(life.steps):
                verdict.step = number
                stage.take(step)
        except _DisagreementError as found:
            verdict.wrong, verdict.says = found.wrong, found.says
            step = life.steps[verdict.step]
            verdict.during = f"{type(step).__name__} {stage.mode_of(step.dataset)}"
        finally:
            target.close()
    return verdict


class _Stage:
    def __init__(self, target: Target, product: Product, count: Counter[str], *, shows: bool) -> None:
        self.target = target
        self.product = product
        self.count = count
        self.shows = shows
        self.datasets: dict[int, DatasetModel] = {}
        self.tables: dict[str, TableModel] = {}
        self.folds = target.folds_case
        self.hands = 0
        self.rng = Random(0)

    def take(self, step: object) -> None:
        if isinstance(step, Rules):
            self._dataset(step.dataset).entry = dict(step.entry)
        elif isinstance(step, Load):
            self._load(step)
        elif isinstance(step, Made):
            self._make(step)
        elif isinstance(step, Hand):
            self._hand(step)
        elif isinstance(step, Restore):
            self._restore(step)

    def mode_of(self, number: int) -> str:
        return self._dataset(number).mode

    def _dataset(self, number: int) -> DatasetModel:
        return self.datasets.setdefault(number, DatasetModel(number, {}))

    def _cased(self, name: str) -> str:
        return name.lower() if self.folds else name

    def _catalog(self) -> dict[str, Any]:
        return {"datasets": {dataset.id: dataset.entry for dataset in self.datasets.values()}}

    def _own_dataset(self, dataset: DatasetModel) -> Any:
        """As the catalog has it; None where the whole catalog is refused, as one of two datasets on a table is."""
        found = self.product.dataset(dataset.id, self._catalog())
        if isinstance(found, Answer):
            found = self.product.dataset(dataset.id, {"datasets": {dataset.id: dataset.entry}})
            self.count["catalogs refused"] += 1
        return None if isinstance(found, Answer) else found

    # Loads.

    def _load(self, step: Load) -> None:
        dataset = self._dataset(step.dataset)
        stated = self._own_dataset(dataset)
        if stated is None:
            return
        older = step.seq == "older" and dataset.seq > 1
        seq = dataset.seq - 1 if older else dataset.seq + 1
        before = self.target.tables()
        expected = model.expect(
            dataset, self.tables, before, step.data, older=older, force=step.force, folds=self.folds
        )
        dry = None
        if step.dry and not step.force and not older:
            dry = self.product.dry_run(stated, step.data)
            self.count["dry runs"] += 1
            self._crashed(dry)
        answer = self.product.load(stated, step.data, seq, force=step.force)
        self.count["loads"] += 1
        self._crashed(answer)
        after = self.target.tables()
        self.count[f"loads {answer.status}"] += 1
        self.count[f"expected {expected.status}"] += 1
        for why in expected.why if expected.status == "open" else ():
            self.count["open: " + why.partition("'")[0].partition('"')[0]] += 1
        self._others_stay(dataset, before, after, answer)
        if answer.status == "refused":
            self._refused(expected, answer, before, after, dry)
            return
        self._check_status(expected, answer, dry)
        if answer.status == "unchanged":
            self._unchanged(dataset, step.data, before, after, answer)
        else:
            dataset.seq = max(dataset.seq, seq)
            self._published(dataset, step.data, answer, before, after, restored=None)
        if self.shows and self.rng.randrange(_ROW_IN_SHOWN) == 0:
            self._ask_line(dataset, step.data, answer)
            self._ask_diff(dataset)

    def _crashed(self, answer: Answer) -> None:
        if answer.status == "crashed":
            raise _DisagreementError(Wrong("crash", answer.says.strip().splitlines()[-1][:300]), answer.says)

    def _refused(
        self,
        expected: model.Expected,
        answer: Answer,
        before: dict[str, Table],
        after: dict[str, Table],
        dry: Answer | None,
    ) -> None:
        left = {name: table for name, table in after.items() if name in before or not name.startswith("_qt_")}
        if snapshot(before) != snapshot(left):
            raise _DisagreementError(Wrong("changed", _difference(before, left)), answer.says)
        if expected.status in {"published", "unchanged"}:
            raise _DisagreementError(
                Wrong("refused", f"ought to be {expected.status}: {answer.says[:600]}"), answer.says
            )
        if answer.blames_target and re.search("Check that (the server runs|its disk)", answer.says):
            raise _DisagreementError(Wrong("reason", f"blames the server: {answer.says[:600]}"), answer.says)
        if dry is not None and dry.status == "would load":
            if any("constraint" in why for why in expected.why):
                # A dry run does not write, so that it does not meet what somebody's constraint refuses.
                self.count["dry runs that a constraint contradicts"] += 1
                return
            raise _DisagreementError(Wrong("dry run", f"would load, and fails: {answer.says[:600]}"), answer.says)

    def _check_status(self, expected: model.Expected, answer: Answer, dry: Answer | None) -> None:
        if expected.status == "refused":
            raise _DisagreementError(
                Wrong("published", f"{answer.status}, and ought to be refused: {'; '.join(expected.why)}")
            )
        if expected.status in {"published", "unchanged"} and expected.status != answer.status:
            raise _DisagreementError(Wrong("status", f"{answer.status}, and ought to be {expected.status}"))
        if dry is not None and dry.status == "would fail":
            raise _DisagreementError(Wrong("dry run", f"would fail, and is {answer.status}: {dry.says[:600]}"))

    def _others_stay(
        self, dataset: DatasetModel, before: dict[str, Table], after: dict[str, Table], answer: Answer
    ) -> None:
        own = [name for name in {*before, *after} if self._cased(name) == self._cased(dataset.table)]
        ours = [name for name in after if name.startswith("_qt_") and name not in before]
        if snapshot(before, but=own) != snapshot(after, but=[*own, *ours]):
            raise _DisagreementError(Wrong("another table", f"{answer.status} changed another table"), answer.says)

    def _unchanged(
        self, dataset: DatasetModel, data: bytes, before: dict[str, Table], after: dict[str, Table], answer: Answer
    ) -> None:
        if snapshot(before) != snapshot(after):
            raise _DisagreementError(Wrong("changed", "unchanged, " + _difference(before, after)))
        table = model_of(self.tables, dataset.table, folds=self.folds)
        newest = dataset.newest()
        if table is None or newest is None or newest.data != data:
            raise _DisagreementError(Wrong("status", "unchanged, and the table does not show the file"))
        if answer.load_id is not None:
            dataset.past.append(
                Past(answer.load_id, data, dict(dataset.entry), dataset.table, shows=True, cells=newest.cells)
            )
        dataset.seq += 1

    def _published(
        self,
        dataset: DatasetModel,
        data: bytes,
        answer: Answer,
        before: dict[str, Table],
        after: dict[str, Table],
        *,
        restored: Past | None,
    ) -> None:
        try:
            text = csvfile.read(data)
        except CsvFaultError as fault:
            raise _DisagreementError(Wrong("published", f"{answer.status}, and is no CSV: {fault}")) from None
        self.count["cells in files"] += len(text.rows) * len(text.header)
        self.count["rows published"] += len(text.rows)
        name = next((name for name in after if self._cased(name) == self._cased(dataset.table)), None)
        if name is None or answer.load_id is None:
            raise _DisagreementError(Wrong("rows", f"published, and there is no table {dataset.table!r}"))
        actual = after[name]
        self._hung_stays(before.get(name), actual)
        was = [(column.header, column.kind) for column in dataset.columns]
        read_as, text_then = model.as_of(dataset, restored) if restored else (dataset.entry, False)
        self._read_contract(dataset, text, actual, read_as)
        if restored is None:
            self._check_kinds(dataset, text, dict(was))
        table = model_of(self.tables, name, folds=self.folds)
        if table is None:
            table = self.tables[name] = TableModel(owner=None)
        new = self._new_rows(dataset, text, answer.load_id, restored)
        self._place(dataset, table, new, data)
        table.owner, table.newest, table.newest_id, table.touched = dataset.number, data, answer.load_id, False
        kinds = {self._cased(column.name): column.kind for column in dataset.columns}
        wrong = model.compare(actual, table.rows, kinds, self.count, folds=self.folds)
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise _DisagreementError(Wrong(wrong[0].kind, wrong[0].what[:800] + more))
        self._settle_optional(table, actual)
        cells = {(row.line or 0, column): cell for row in new for column, cell in row.cells.items()}
        past = Past(answer.load_id, data, dict(dataset.entry), dataset.table, shows=True, cells=cells)
        if restored is not None:
            past.entry, past.read_as_text = read_as, text_then
        dataset.past.append(past)
        dataset.strange = dataset.strange and len(dataset.past) > 1

    def _hung_stays(self, before: Table | None, after: Table) -> None:
        if before is None:
            return
        if lost := before.hung - after.hung:
            raise _DisagreementError(Wrong("destroyed", f"lost: {sorted(lost)}"))
        if lost := {self._cased(name) for name in before.columns} - {self._cased(name) for name in after.columns}:
            raise _DisagreementError(Wrong("destroyed", f"lost columns: {sorted(lost)}"))

    def _read_contract(self, dataset: DatasetModel, text: CsvText, actual: Table, entry: Mapping[str, Any]) -> None:
        """The columns as the ledger's own table tells them, held against the table and the documents."""
        known = {column.header: column for column in dataset.columns}
        columns: list[ColumnState] = []
        sql_kinds = {self._cased(name): kind_of(kind) for name, kind in actual.columns.items()}
        declared = {header: Type.of(stated) for header, stated in model.stated_types(entry).items()}
        for header, name, stored_kind, _ in self.target.contract(dataset.id):
            old = known.get(header)
            if self._cased(name) not in sql_kinds:
                # Of a column that another table of the dataset has.
                if header in text.header:
                    raise _DisagreementError(Wrong("columns", f"header {header!r} is not in the table as {name!r}"))
                continue
            kind = "blank" if stored_kind == "open" else stored_kind
            last = declared.get(header) or (old.declared if old else None)
            if last is not None and last.kind != kind:
                last = None
            column = ColumnState(header, name, kind, last)
            if old is not None:
                column.whole, column.places = old.whole, old.places
            columns.append(column)
            if dataset.entry.get("naming", "verbatim") == "verbatim" and old is None and not dataset.columns:
                self._check_name(text, header, name)
        dataset.columns = columns
        places = model.map_columns(text.header, columns)
        if None in places:
            missing = [header for header, place in zip(text.header, places, strict=True) if place is None]
            raise _DisagreementError(Wrong("columns", f"no column for {missing} among {[c.header for c in columns]}"))
        for place, column in enumerate(places):
            assert column is not None
            values = [value for record in text.rows if (value := record.texts[place])]
            numbers = [value for value in values if is_canonical(value)]
            digits, after = digits_of(numbers)
            column.whole, column.places = max(column.whole, digits - after), max(column.places, after)

    def _check_kinds(self, dataset: DatasetModel, text: CsvText, was: Mapping[str, str]) -> None:
        for place, column in enumerate(model.map_columns(text.header, dataset.columns)):
            if column is not None:
                values = [record.texts[place] for record in text.rows]
                self._check_kind(dataset, column, values, fresh=column.header not in was)

    def _check_name(self, text: CsvText, header: str, name: str) -> None:
        alike = [one for one in text.header if model.fold(one).casefold() == model.fold(header).casefold()]
        if header in alike and len(alike) == 1 and model.is_plain(header) and name != header:
            raise _DisagreementError(Wrong("columns", f"{header!r} is named {name!r}"))

    def _check_kind(
        self,
        dataset: DatasetModel,
        column: ColumnState,
        values: list[str],
        *,
        fresh: bool,
    ) -> None:
        declared = dataset.declared().get(column.header)
        if declared is not None and column.kind != declared.kind:
            raise _DisagreementError(Wrong("kind", f"{column.header!r} is {column.kind}, and declared as {declared}"))
        if not fresh or declared is not None or self._is_known_to_hand(dataset):
            return
        alike = [
            header
            for header in (*(c.header for c in dataset.columns), *dataset.declared())
            if model.fold(header).casefold() == model.fold(column.header).casefold()
        ]
        got = None if len(alike) > 1 else "text" if loses_sign(values) else narrowest(values)
        headed = model.REFERENCE.search(column.header) or not model.is_plain(column.header)
        if got in {None, "blank"} or headed or (got == "integer" and all(len(value) == 8 for value in values if value)):
            return
        if column.kind != got:
            raise _DisagreementError(
                Wrong("kind", f"{column.header!r} is {column.kind} and ought to be {got}: {values[:5]}")
            )

    def _is_known_to_hand(self, dataset: DatasetModel) -> bool:
        table = model_of(self.tables, dataset.table, folds=self.folds)
        return table is not None and (table.owner is None or bool(table.by_hand) or table.touched)

    def _new_rows(self, dataset: DatasetModel, text: CsvText, load_id: int, restored: Past | None) -> list[RowModel]:
        wrong: list[Wrong] = []
        places = [column for column in model.map_columns(text.header, dataset.columns) if column is not None]
        forms = {column.header: column.declared.form for column in dataset.columns if column.declared is not None}
        lineage = dataset.entry.get("lineage_columns", True)
        rows: list[RowModel] = []
        for record in text.rows:
            cells = model.cells_of(record.texts, places, forms, wrong, record.line)
            rows.append(RowModel(cells, load_id, record.line, lineage=lineage))
        if restored is not None:
            self._as_then(rows, restored)
            wrong = []
        if wrong:
            raise _DisagreementError(wrong[0])
        return rows

    def _as_then(self, rows: list[RowModel], restored: Past) -> None:
        """Days and moments of a restored file are those that its load showed."""
        for row in rows:
            for name, cell in row.cells.items():
                then = restored.cells.get((row.line or 0, name))
                if then is not None and not isinstance(then.said, str | None) and not isinstance(cell.said, str | None):
                    row.cells[name] = then

    def _place(self, dataset: DatasetModel, table: TableModel, new: list[RowModel], data: bytes) -> None:
        """The rows of the model's table after a load."""
        if dataset.mode == "replace":
            table.rows = new
        elif dataset.mode == "append":
            if table.newest == data and table.owner == dataset.number:
                table.rows = [row for row in table.rows if row.load_id != table.newest_id]
            table.rows = [*table.rows, *new]
        else:
            names = [column.name for column in dataset.columns if column.header in dataset.entry["key"]]
            for number, row in enumerate(new):
                if any(model.same_key(row, other, names) for other in new[:number]):
                    raise _DisagreementError(Wrong("key", f"a key twice, line {row.line}"))
            kept: list[RowModel] = []
            for old in table.rows:
                verdicts = {model.same_key(old, row, names) for row in new}
                if True in verdicts:
                    continue
                kept.append(replace(old, optional=True) if None in verdicts else old)
            table.rows = [*kept, *new]

    def _settle_optional(self, table: TableModel, actual: Table) -> None:
        if not any(row.optional for row in table.rows):
            return
        self.count["rows whose key the documents leave open"] += 1
        names = [name.lower() for name in actual.columns]
        load_at, row_at = names.index("_qt_load"), names.index("_qt_row")
        there = {(row[load_at], row[row_at]) for row in actual.rows}
        table.rows = [
            replace(row, optional=False) for row in table.rows if not row.optional or (row.load_id, row.line) in there
        ]

    # Restores, line, diff.

    def _restore(self, step: Restore) -> None:
        dataset = self._dataset(step.dataset)
        stated = self._own_dataset(dataset)
        if stated is None or not dataset.past:
            return
        past = dataset.past[-min(step.back, len(dataset.past))]
        before = self.target.tables()
        answer = self.product.restore(stated, past.load_id)
        self.count["restores"] += 1
        self.count[f"restores {answer.status}"] += 1
        self._crashed(answer)
        after = self.target.tables()
        self._others_stay(dataset, before, after, answer)
        if answer.status == "published":
            if dataset.mode != "replace":
                raise _DisagreementError(Wrong("published", f"a restore in mode {dataset.mode}"))
            self._published(dataset, past.data, answer, before, after, restored=past)
            return
        left = {name: table for name, table in after.items() if name in before or not name.startswith("_qt_")}
        if snapshot(before) != snapshot(left):
            raise _DisagreementError(Wrong("changed", _difference(before, left)), answer.says)
        if answer.status == "refused" and self._must_be_restored(dataset, past):
            raise _DisagreementError(Wrong("refused", f"a restore: {answer.says[:500]}"), answer.says)
        if answer.status == "unchanged" and dataset.newest() is not None and dataset.newest().data != past.data:  # type: ignore[union-attr]
            raise _DisagreementError(Wrong("status", "a restore is unchanged, and the table shows another file"))

    def _must_be_restored(self, dataset: DatasetModel, past: Past) -> bool:
        """Whether nothing at all has changed since an earlier load but the rows."""
        now = model.decisive(dataset.entry)
        if dataset.mode != "replace" or past.table != dataset.table or self._is_known_to_hand(dataset):
            return False
        if dataset.entry.get("min_rows") or dataset.entry.get("key") or model.required(dataset.entry):
            return False
        headers = {tuple(sorted(csvfile.read(one.data).header)) for one in dataset.past}
        return len(headers) == 1 and all(model.decisive(one.entry) == now for one in dataset.past)

    def _ask_line(self, dataset: DatasetModel, data: bytes, answer: Answer) -> None:
        text = csvfile.read(data)
        if not text.rows or answer.status != "published":
            return
        record = self.rng.choice(text.rows)
        said = self.product.ask("show-row", dataset.id, str(answer.load_id), str(record.line))
        self.count["line"] += 1
        lines = (
            data[record.start : record.end]
            .decode()
            .replace("\r\n", "\n")
            .replace("\r", "\n")
            .removesuffix("\n")
            .split("\n")
        )
        if not isinstance(said, dict) or said["record"]["text"] != lines or said["record"]["first_line"] != record.line:
            raise _DisagreementError(Wrong("line", f"line {record.line} ought to be {lines!r}: {said!r}"[:900]))

    def _ask_diff(self, dataset: DatasetModel) -> None:
        if len(dataset.past) < 2:
            return
        older, newer = dataset.past[-2], dataset.past[-1]
        texts = [csvfile.read(older.data), csvfile.read(newer.data)]
        headers = [text.header for text in texts]
        plain = all(model.is_plain(name) for header in headers for name in header)
        if not plain or any(len({name.casefold() for name in header}) < len(header) for header in headers):
            return
        common = [name for name in headers[0] if name in headers[1]]
        if not common:
            return
        rows = [
            Counter(tuple(record.texts[text.header.index(name)] for name in common) for record in text.rows)
            for text in texts
        ]
        said = self.product.ask("diff", dataset.id, str(older.load_id), str(newer.load_id))
        self.count["diff"] += 1
        ought = [(rows[0] - rows[1]).total(), (rows[1] - rows[0]).total()]
        if not isinstance(said, dict) or [said["removed"]["rows"], said["added"]["rows"]] != ought:
            raise _DisagreementError(Wrong("diff", f"removed and added ought to be {ought}: {said!r}"[:900]))

    # People.

    def _make(self, step: Made) -> None:
        dataset = self._dataset(step.dataset)
        table = dataset.table
        columns: list[str] = []
        for column in step.columns:
            name, _, kind = column.rpartition(":")
            if not self.folds:
                kind = kind.replace(" COLLATE nocase", ' COLLATE "C"' if kind.startswith(("TEXT", "VARCHAR")) else "")
            columns.append(f"{quoted(name or 'blank')} {kind}")
        values = [f"INSERT INTO {self.target.place(table)} VALUES ({', '.join(row)})" for row in step.rows]
        said = self.target.execute(f"CREATE TABLE {self.target.place(table)} ({', '.join(columns)})", *values)
        if not said:
            self.count["tables made by hand"] += 1
            made = self.tables[table] = TableModel(owner=None)
            self._reread(made, table)

    def _hand(self, step: Hand) -> None:
        dataset = self._dataset(step.dataset)
        found = self.target.tables()
        name = next((name for name in found if self._cased(name) == self._cased(dataset.table)), None)
        table = model_of(self.tables, name or "", folds=self.folds)
        if name is None or table is None:
            return
        self.hands += 1
        own = f"hand_{self.hands}"
        columns = found[name].columns
        column = next((one for one in columns if one == step.detail), next(iter(columns)))
        statements = self._statements(step, name, own, column, columns)
        if not statements or self.target.execute(*statements):
            return
        self.count["by hand"] += 1
        if step.what == "add":
            table.by_hand.add(step.detail.rpartition(":")[0])
        elif step.what in {"alter", "delete", "drop rows"}:
            table.touched = True
            dataset.strange = dataset.strange or step.what == "alter"
        elif step.what.startswith("default"):
            table.by_hand.add(column)
        self._reread(table, name)

    def _statements(  # noqa: PLR0911  # one return for each
        self, step: Hand, name: str, own: str, column: str, columns: Mapping[str, str]
    ) -> list[str]:
        place = self.target.place(name)
        if step.what == "add":
            header, _, kind = step.detail.rpartition(":")
            literal = {
                "INTEGER": "7",
                "REAL": "0.5",
                "NUMERIC(5,1)": "1.5",
                "DATE": "'2020-01-31'",
                "TIMESTAMP": "'2020-01-31 10:00:00'",
            }
            value = literal.get(kind, "'own'")
            return [
                f"ALTER TABLE {place} ADD COLUMN {quoted(header)} {kind}",
                f"UPDATE {place} SET {quoted(header)} = {value}",
            ]
        if step.what == "index":
            if column.lower() in {"_qt_load", "_qt_row"}:
                return []
            return [f"CREATE INDEX {quoted(own)} ON {place} ({quoted(column)})"]
        if step.what == "trigger":
            return self.target.trigger(name, own)
        if step.what == "drop rows":
            return [f"DELETE FROM {place}"]
        if step.what == "delete" and "_qt_row" in columns:
            return [f"DELETE FROM {place} WHERE _qt_row = (SELECT min(_qt_row) FROM {place})"]
        text_column = self.target.name == "postgres" and kind_of(columns[column]) == "text"
        if step.what in {"default", "default number"} and text_column:
            value = "'own'" if step.what == "default" else "'7'"
            return [f"ALTER TABLE {place} ALTER COLUMN {quoted(column)} SET DEFAULT {value}"]
        if step.what == "alter" and column.lower() not in {"_qt_load", "_qt_row", "_qt_loaded_at"}:
            kind = "TEXT" if kind_of(columns[column]) != "text" else "VARCHAR(200)"
            if self.target.name == "postgres":
                return [f"ALTER TABLE {place} ALTER COLUMN {quoted(column)} TYPE {kind} USING {quoted(column)}::{kind}"]
            kind = "INTEGER" if kind_of(columns[column]) == "text" else "TEXT"
            return [
                f"ALTER TABLE {place} ADD COLUMN {quoted(own)} {kind}",
                f"UPDATE {place} SET {quoted(own)} = {quoted(column)}",
                f"ALTER TABLE {place} DROP COLUMN {quoted(column)}",
                f"ALTER TABLE {place} RENAME COLUMN {quoted(own)} TO {quoted(column)}",
            ]
        return []

    def _reread(self, table: TableModel, name: str) -> None:
        """The rows are what somebody left. What the model knows of their texts stays where they are still the same."""
        actual = self.target.tables()[name]
        names = list(actual.columns)
        lowered = [one.lower() for one in names]
        has_lineage = "_qt_load" in lowered and "_qt_row" in lowered
        known = {(row.load_id, row.line): row for row in table.rows}
        rows: list[RowModel] = []
        for stored in actual.rows:
            load, line = (
                (stored[lowered.index("_qt_load")], stored[lowered.index("_qt_row")]) if has_lineage else (None, None)
            )
            old = known.get((load, line)) if load is not None else None
            cells = dict(old.cells) if old else {}
            kept = {self._cased(cell) for cell in cells}
            for place, column in enumerate(names):
                if column.lower() in {"_qt_load", "_qt_row", "_qt_loaded_at"}:
                    continue
                if self._cased(column) not in kept or (old is not None and table.touched):
                    value = stored[place]
                    cells[column] = Cell() if value is None else Cell(raw=value)
            # Rows that were loaded without lineage get the load's number later, and no line.
            rows.append(RowModel(cells, load, line, lineage=load is not None and line is not None))
        table.rows = rows


def _difference(before: dict[str, Table], after: dict[str, Table]) -> str:
    one, other = snapshot(before), snapshot(after)
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            parts = zip(one.get(name, ((), (), ())), other.get(name, ((), (), ())), strict=True)
            changed = [f"{a!r} → {b!r}" for a, b in parts if a != b]
            return f"table {name!r} is not as it was: {'; '.join(changed)}"[:900]
    return "nothing"
