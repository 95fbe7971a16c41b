"""What must be in a table, and whether a file must be taken: the documents' rules over a model of their own.

Here: datasets and tables as they ought to be, the prediction of a load, what is wrong with a table. Where the documents
say nothing, the prediction is "open", with the reason. Not here: leading a life (see stage).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from qt_pipeline_tests.oracle import csvfile
from qt_pipeline_tests.oracle.csvfile import CsvFaultError, CsvText
from qt_pipeline_tests.oracle.forms import (
    Meaning,
    Type,
    UnreadableError,
    digits_of,
    fits,
    is_canonical,
    meaning,
    narrowest,
)
from qt_pipeline_tests.oracle.targets import Row, Table, kind_of

_DECISIVE = ("schema", "table", "naming", "policy", "mode", "key", "lineage_columns", "columns", "empty")
_DEFAULTS = {"naming": "verbatim", "policy": "additive", "mode": "replace", "lineage_columns": True, "empty": "keep"}
_PLAIN_HEADER = re.compile(r"[A-Za-z][A-Za-z ()]*[A-Za-z)]")
REFERENCE = re.compile(r"number|ref|code|\bid\b|postcode|\bno\b|key|policy|claim", re.IGNORECASE)
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))
_RESERVED = {"rowid", "oid", "ctid", "xmin"}
LINEAGE = {"_qt_load", "_qt_row", "_qt_loaded_at"}
_NEAR = ({"date", "integer"}, {"timestamp", "date"})
_SURE_DIGITS = 20
_LONG = 60
_PLAIN_NUMBER = re.compile(r"-?[0-9]*(\.[0-9]*)?")


@dataclass(frozen=True)
class Cell:
    """One value: the text of the file and what it said when it was loaded; or `raw`, which a person's hand left."""

    text: str | None = None
    said: Meaning | None = None
    raw: Any = None


@dataclass
class RowModel:
    """One row by the names of its columns, and where it came from. A row that is `optional` may be there or not."""

    cells: dict[str, Cell]
    load_id: int | None = None
    line: int | None = None
    lineage: bool = True
    optional: bool = False


@dataclass
class TableModel:
    """A table as it ought to be."""

    owner: int | None
    rows: list[RowModel] = field(default_factory=list)
    newest: bytes | None = None
    newest_id: int | None = None
    by_hand: set[str] = field(default_factory=set)
    touched: bool = False


@dataclass
class Past:
    """A load of the ledger."""

    load_id: int
    data: bytes
    entry: Mapping[str, Any]
    table: str
    shows: bool
    cells: dict[tuple[int, str], Cell] = field(default_factory=dict)
    read_as_text: bool = False
    """Whether it is a restore, and a column that has got a form since was read as text."""


@dataclass
class ColumnState:
    """A column of a dataset's contract: its name in the table, its kind, the type that was last declared."""

    header: str
    name: str
    kind: str
    declared: Type | None = None
    whole: int = 0
    places: int = 0


@dataclass
class DatasetModel:
    """A dataset: what the catalog says of it, what was loaded."""

    number: int
    entry: dict[str, Any]
    columns: list[ColumnState] = field(default_factory=list)
    past: list[Past] = field(default_factory=list)
    seq: int = 0
    strange: bool = False
    """Whether its contract came about in a way that the documents do not describe."""

    @property
    def id(self) -> str:
        return f"d-oracle-{self.number}"

    @property
    def table(self) -> str:
        return self.entry.get("table") or self.id.replace("-", "_")

    @property
    def mode(self) -> str:
        return self.entry.get("mode", "replace")

    @property
    def policy(self) -> str:
        return self.entry.get("policy", "additive")

    def declared(self) -> dict[str, Type]:
        return {header: Type.of(stated) for header, stated in stated_types(self.entry).items()}

    def newest(self) -> Past | None:
        return next((past for past in reversed(self.past) if past.shows), None)


def stated_types(entry: Mapping[str, Any]) -> dict[str, str]:
    """The types that an entry of the catalog declares, as texts."""
    found: dict[str, str] = {}
    for header, stated in entry.get("columns", {}).items():
        text = stated.get("type") if isinstance(stated, Mapping) else stated
        if text:
            found[header] = text
    return found


def decisive(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how a file becomes rows."""
    found = {key: entry.get(key, _DEFAULTS.get(key)) for key in _DECISIVE if key != "columns"}
    return {**found, "columns": stated_types(entry)}


def as_of(dataset: DatasetModel, past: Past) -> tuple[dict[str, Any], bool]:
    """The entry by which a restore reads the file of an earlier load: with the types that were declared then.

    And whether a column that has got a form since is read as text.
    """
    then, now = stated_types(past.entry), dataset.entry.get("columns", {})
    columns: dict[str, Any] = {header: then[header] for header in then}
    for header, stated in now.items():
        if isinstance(stated, Mapping):
            rest = {key: value for key, value in stated.items() if key != "type"}
            columns[header] = {**rest, "type": then[header]} if header in then else rest
    formed = {header for header, type_ in dataset.declared().items() if type_.form}
    formed |= {column.header for column in dataset.columns if column.declared is not None and column.declared.form}
    return {**dataset.entry, "columns": columns}, past.read_as_text or not formed <= set(then)


def fold(header: str) -> str:
    """A header as a reader sees it."""
    return unicodedata.normalize("NFC", header.translate(_INVISIBLE)).replace("\u00a0", " ").strip()


def is_plain(header: str) -> bool:
    """Whether nobody could doubt what a header is named in the table."""
    return bool(_PLAIN_HEADER.fullmatch(header)) and header.lower() not in _RESERVED and len(header) < _LONG


@dataclass
class Expected:
    """What must become of a file: "published", "unchanged", "refused" or "open", and why."""

    status: str
    why: tuple[str, ...] = ()


@dataclass
class Findings:
    """Why a file must be refused, and what the documents leave open about it."""

    refuse: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def expected(self) -> Expected:
        if self.refuse:
            return Expected("refused", tuple(self.refuse))
        return Expected("open", tuple(self.open)) if self.open else Expected("published")


def expect(  # one rule after the other
    dataset: DatasetModel,
    tables: Mapping[str, TableModel],
    actual: Mapping[str, Table],
    data: bytes,
    *,
    older: bool,
    force: bool,
    folds: bool,
) -> Expected:
    """What must become of a file."""
    found = Findings()
    try:
        text = csvfile.read(data)
    except CsvFaultError as fault:
        return Expected("refused", (f"no CSV: {fault}",))
    table = model_of(tables, dataset.table, folds=folds)
    newest = dataset.newest()
    if newest is not None and newest.data == data and not force and not older:
        same = decisive(newest.entry) == decisive(dataset.entry) and required(newest.entry) == required(dataset.entry)
        if same and newest.read_as_text:
            found.open.append("the same file, after a restore that read it as text")
        elif same and table is not None and not table.touched and table.newest == data and not table.by_hand:
            return Expected("unchanged")
        elif same and table is not None:
            found.open.append("the same file, after somebody's hand")
    if older and dataset.past and newest is not None:
        (found.open if newest.data == data else found.refuse).append("older than what is loaded")
    _check_table(dataset, table, actual, found, folds=folds)
    _check_rows(dataset, text, found)
    if any(text.header.count(header) > 1 for header in dataset.entry.get("key", ())):
        found.refuse.append("a key that two columns have")
    _check_headers(dataset, text, found)
    if not any("header" in why for why in found.open):
        _check_key(dataset, text, found)
        _check_columns(dataset, table, text, found)
    return found.expected()


def model_of(tables: Mapping[str, TableModel], name: str, *, folds: bool) -> TableModel | None:
    for known, table in tables.items():
        if known == name or (folds and known.lower() == name.lower()):
            return table
    return None


def _check_table(
    dataset: DatasetModel, table: TableModel | None, actual: Mapping[str, Table], found: Findings, *, folds: bool
) -> None:
    name = dataset.table
    here = next((t for n, t in actual.items() if n == name or (folds and n.lower() == name.lower())), None)
    if name.lower().startswith("_qt_"):
        found.refuse.append("a table name of the project's own")
    if len(name.encode()) > 63:
        found.open.append("a long table name")
    if table is not None and table.owner is not None and table.owner != dataset.number:
        found.refuse.append("another dataset's table")
    if table is not None and table.owner is None:
        if dataset.entry.get("adopt"):
            found.open.append("a table that is taken over")
        else:
            (found.refuse if here is not None and here.rows else found.open).append("somebody's table")
    if here is not None and any(re.search("NOT NULL|UNIQUE|PRIMARY|CHECK|constraint", hung) for hung in here.hung):
        found.open.append("somebody's constraint")
    if table is not None and (table.by_hand or table.touched):
        found.open.append("a table that somebody changed")
    if dataset.past and dataset.past[-1].table != name:
        found.open.append("another table than before")
    if dataset.strange:
        found.open.append("a contract of its own history")


def _check_rows(dataset: DatasetModel, text: CsvText, found: Findings) -> None:
    entry, count = dataset.entry, len(text.rows)
    if any(record.is_blank_line for record in text.records):
        found.open.append("a blank line in a file of one column")
    if count == 0 and entry.get("empty", "keep") == "keep":
        found.refuse.append("no rows")
    if count < entry.get("min_rows", 0):
        found.refuse.append("fewer rows than min_rows")
    newest = dataset.newest()
    percent = entry.get("max_drop_percent")
    if percent is not None and newest is not None:
        try:
            before = len(csvfile.read(newest.data).rows)
        except CsvFaultError:
            before = 0
        if count < before and (before - count) * 100 > percent * before:
            other = newest.table != dataset.table
            (found.open if other else found.refuse).append("a larger drop than max_drop_percent")
    for header in required(entry):
        places = [place for place, known in enumerate(text.header) if known == header]
        if len(places) != 1:
            found.open.append("a required header that is not there once")
        elif any(not record.texts[places[0]] for record in text.rows):
            found.refuse.append("a required value is blank")


def required(entry: Mapping[str, Any]) -> list[str]:
    columns = entry.get("columns", {}).items()
    return sorted(header for header, stated in columns if isinstance(stated, Mapping) and stated.get("required"))


def _check_headers(dataset: DatasetModel, text: CsvText, found: Findings) -> None:
    counts = Counter(fold(header).casefold() for header in text.header)
    known = Counter(column.header for column in dataset.columns)
    if any(times > 1 for times in known.values()):
        found.open.append("a header that two columns have")
    for header in text.header:
        if not is_plain(header) or counts[header.casefold()] > 1:
            found.open.append(f"header {header!r}")
    for stated in (*dataset.entry.get("columns", {}), *dataset.entry.get("key", ())):
        if any(stated != header and fold(stated).casefold() == fold(header).casefold() for header in text.header):
            found.open.append(f"header {stated!r} of the catalog, but for its case")
    for column in dataset.columns:
        for header in text.header:
            if column.header != header and fold(column.header).casefold() == fold(header).casefold():
                found.open.append(f"header {header!r} was {column.header!r}")
        if column.header not in text.header and any(header.lower() == column.name.lower() for header in text.header):
            found.open.append(f"header {column.name!r} is a column's name")


def _check_key(dataset: DatasetModel, text: CsvText, found: Findings) -> None:
    key = dataset.entry.get("key", ())
    if not key:
        return
    if dataset.mode == "upsert" and dataset.past and dataset.past[-1].entry.get("key") != key:
        found.open.append("another key")
    if any(header not in text.header for header in key):
        missing = [header for header in key if header not in text.header]
        known = {column.header for column in dataset.columns}
        (found.open if set(missing) & known else found.refuse).append("a key without its column")
        return
    places = [text.header.index(header) for header in key]
    seen: set[tuple[str, ...]] = set()
    close: set[tuple[Any, ...]] = set()
    for record in text.rows:
        values = tuple(record.texts[place] for place in places)
        if not all(values):
            found.refuse.append("a blank in the key")
        if values in seen:
            found.refuse.append("a key twice")
        seen.add(values)
        # What is equal as a number, a day or a truth, and not as text, hangs on the kind of the column.
        close.add(tuple(_loosely(value) for value in values))
    if len(close) < len(seen):
        found.open.append("keys that are nearly equal")


def _loosely(value: str) -> Any:
    digits = re.sub("[^0-9]", "", value)
    return digits.strip("0") if digits else value.strip().casefold()


def _check_columns(dataset: DatasetModel, table: TableModel | None, text: CsvText, found: Findings) -> None:  # noqa: C901, PLR0912
    declared, policy = dataset.declared(), dataset.policy
    keeps = dataset.mode != "replace" and table is not None and bool(table.rows)
    by_header = {column.header: column for column in dataset.columns}
    renamed = bool(dataset.past) and dataset.past[-1].entry.get("naming") != dataset.entry.get("naming")
    if renamed:
        found.open.append("another naming")
    if by_header:
        new = [header for header in text.header if header not in by_header]
        missing = [header for header in by_header if header not in text.header]
        if new and policy == "freeze":
            found.refuse.append(f"new columns {new}")
        if missing and policy != "evolve":
            found.refuse.append(f"missing columns {missing}")
    for place, header in enumerate(text.header):
        values = [value for record in text.rows if (value := record.texts[place])]
        column = by_header.get(header)
        if header in declared:
            type_ = declared[header]
            verdicts = {fits(value, type_) for value in values}
            if column is not None and policy == "freeze" and type_ == Type("text"):
                found.open.append(f"column {header!r}: perhaps longer")
            if False in verdicts:
                found.refuse.append(f"a value of {header!r} is not {type_}")
            if None in verdicts:
                found.open.append(f"a value of {header!r} as {type_}")
            if column is not None and keeps and column.kind not in {"blank", "open"} and column.declared != type_:
                found.open.append(f"a new declaration for {header!r} over older rows")
        elif column is not None and column.declared is not None:
            verdicts = {fits(value, column.declared) for value in values}
            if verdicts - {True} or dataset.policy == "freeze":
                found.open.append(f"{header!r} after its declaration")
        elif column is not None:
            _check_drift(column, values, policy, found, keeps=keeps)


def _check_drift(column: ColumnState, values: list[str], policy: str, found: Findings, *, keeps: bool) -> None:
    """A column without a declaration, whose values the file has."""
    kind, got, what = column.kind, narrowest(values), f"column {column.header!r}"
    if got == "blank" or kind == "blank" or (kind == got and kind in {"boolean", "date"}):
        return
    if kind == "text":
        if policy == "freeze":
            found.open.append(f"{what}: perhaps longer")
    elif kind in {"integer", "decimal"} and all(map(is_canonical, values)) and (kind == "decimal" or got == "integer"):
        _check_digits(column, values, policy, found)
    elif got is None or got == kind or {kind, got} in _NEAR:
        found.open.append(f"{what}: {kind} and perhaps another kind")
    elif policy != "evolve":
        found.refuse.append(f"{what}: {kind}, and now {got}")
    elif keeps and kind not in {"integer", "decimal"}:
        found.refuse.append(f"{what}: {kind} of older rows, and now {got}")
    elif kind not in {"integer", "decimal"} and got != "text":
        found.open.append(f"{what}: {kind} becomes wider than {got}")


def _check_digits(column: ColumnState, values: list[str], policy: str, found: Findings) -> None:
    digits, places = digits_of(values)
    whole, places = max(digits - places, column.whole), max(places, column.places)
    if whole > _SURE_DIGITS or places > _SURE_DIGITS // 2:
        found.open.append(f"column {column.header!r}: many digits, and room to grow is open")
    elif policy == "freeze" and column.kind == "decimal" and (whole, places) != (column.whole, column.places):
        found.open.append(f"column {column.header!r}: more digits than before")


# After a load.


@dataclass
class Wrong:
    """A disagreement: its kind, and what exactly."""

    kind: str
    what: str


def map_columns(header: Sequence[str], columns: Sequence[ColumnState]) -> list[ColumnState | None]:
    """The column of each value of a row."""
    left = list(columns)
    found: list[ColumnState | None] = [None] * len(header)
    for alike in (lambda a, b: a == b, lambda a, b: fold(a) == fold(b), lambda a, b: not a and b.startswith("unnamed")):
        for place, name in enumerate(header):
            match = next((column for column in left if found[place] is None and alike(name, column.header)), None)
            if match is not None:
                found[place] = match
                left.remove(match)
    return found


def cells_of(
    texts: Sequence[str], columns: Sequence[ColumnState], forms: Mapping[str, str], wrong: list[Wrong], line: int
) -> dict[str, Cell]:
    """What a row of a file says in the columns of its table."""
    cells: dict[str, Cell] = {}
    for text, column in zip(texts, columns, strict=True):
        if not text:
            cells[column.name] = Cell()
            continue
        try:
            cells[column.name] = Cell(text, meaning(text, column.kind, forms.get(column.header, "")))
        except UnreadableError:
            # A form that stays with its column after its declaration, or that the documents do not name.
            if column.kind in {"date", "timestamp"} and (said := _in_any_form(text, column.kind)) is not None:
                cells[column.name] = Cell(text, said)
                continue
            wrong.append(Wrong("kind", f"{text!r} (line {line}) cannot stand as {column.kind} in {column.name!r}"))
            cells[column.name] = Cell(text, text)
    return cells


def _in_any_form(text: str, kind: str) -> Meaning | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.date() if kind == "date" else found


def same(cell: Cell, stored: Any, kind: str) -> bool | None:
    """Whether a stored value is the cell's, in a column of that kind; None where the documents leave it open."""
    if cell.raw is not None:
        return _value(stored, "text") == _value(cell.raw, "text") or _numbers(stored, cell.raw)
    if cell.text is None or stored is None:
        return cell.text is None and stored is None
    if kind == "text" and not isinstance(cell.said, str):
        return stored == cell.text or _same_as_older(cell.said, stored)
    if kind != "text" and isinstance(cell.said, str):
        return _same_as_declared_later(cell.said, stored, kind)
    found = _value(stored, kind)
    if isinstance(found, date) and isinstance(cell.said, date) and type(found) is not type(cell.said):
        return None if _day(found) == _day(cell.said) else False
    return found == cell.said


def _same_as_older(said: Meaning | None, stored: Any) -> bool | None:
    """A value of a row that was loaded before its column became text: the documents do not say how it is written."""
    if isinstance(said, Decimal):
        plain = isinstance(stored, str) and _PLAIN_NUMBER.fullmatch(stored)
        return None if plain and Decimal(stored) == said else False
    return None if str(stored).lower().replace("t", " ") in _written_ways(said) else False


def _same_as_declared_later(said: str, stored: Any, kind: str) -> bool | None:
    """A text of a row that was loaded before its column was declared as something else."""
    try:
        return None if meaning(said, kind, "") == _value(stored, kind) else False
    except UnreadableError:
        return False


def _day(found: date) -> date:
    return found.date() if isinstance(found, datetime) else found


def _written_ways(said: Any) -> set[str]:
    if isinstance(said, bool):
        return {str(said).lower(), str(int(said))}
    if isinstance(said, datetime):
        return {
            said.isoformat(" ", "seconds"),
            said.isoformat(" "),
            said.isoformat(" ", "microseconds"),
            said.isoformat(" ", "milliseconds"),
        }
    return {said.isoformat(), f"{said:%Y%m%d}", f"{said:%d/%m/%Y}", f"{said:%m/%d/%Y}", f"{said.isoformat()} 00:00:00"}


def _numbers(one: Any, other: Any) -> bool:
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except ArithmeticError:
        return False


def _value(stored: Any, kind: str) -> Any:
    """A stored value as one of Python's own types, by the kind of its column; itself where it is none of that kind."""
    try:
        if kind in {"integer", "decimal"} and not isinstance(stored, bool):
            text = repr(stored) if isinstance(stored, float) else str(stored)
            return (
                Decimal(text) if isinstance(stored, int | float | Decimal) or _PLAIN_NUMBER.fullmatch(text) else stored
            )
        if kind == "boolean" and stored in (0, 1):
            return bool(stored)
        if kind == "date" and isinstance(stored, str):
            return date.fromisoformat(stored)
        if kind == "timestamp" and isinstance(stored, str):
            return datetime.fromisoformat(stored)
    except (ValueError, ArithmeticError):
        return stored
    return str(stored) if kind == "text" and isinstance(stored, int | float | Decimal | date) else stored


def same_key(old: RowModel, new: RowModel, names: Iterable[str]) -> bool | None:
    """Whether two rows share their key; None where the documents leave it open."""
    answers: list[bool | None] = []
    for name in names:
        before, now = old.cells.get(name, Cell()), new.cells.get(name, Cell())
        if before.raw is not None:
            answers.append(None)
        elif before.text is None or now.text is None:
            answers.append(False)
        elif before.said == now.said or before.text == now.text:
            answers.append(True)
        elif type(before.said) is type(now.said):
            answers.append(False)
        else:
            answers.append(None if _loosely(before.text) == _loosely(now.text) else False)
    return False if False in answers else None if None in answers else True


class _Comparison:
    """A table beside the rows that it ought to have."""

    def __init__(self, table: Table, kinds: Mapping[str, str], count: Counter[str], *, folds: bool) -> None:
        self._cased = str.lower if folds else str
        self._count = count
        self._names = [self._cased(name) for name in table.columns]
        self._own = [place for place, name in enumerate(self._names) if name not in LINEAGE]
        # A column of another kind than its SQL type is a number that the target keeps as text, or somebody's change.
        self._kinds = [kinds.get(self._cased(name)) or kind_of(kind) for name, kind in table.columns.items()]
        self.known: dict[tuple[int, int], Row] = {}
        self.nameless: list[Row] = []
        self.wrong: list[Wrong] = []
        has_lineage = {"_qt_load", "_qt_row"} <= set(self._names)
        self._load_at = self._names.index("_qt_load") if has_lineage else None
        for row in table.rows:
            load = None if self._load_at is None else row[self._load_at]
            line = None if self._load_at is None else row[self._names.index("_qt_row")]
            if load is None or line is None:
                self.nameless.append(row)
                continue
            if (load, line) in self.known:
                self.wrong.append(Wrong("rows", f"two rows of load {load}, line {line}"))
            self.known[load, line] = row

    def find(self, expected: RowModel) -> bool:
        """Take the row that has the load and the line of an expected one, and compare it."""
        stored = self.known.pop((expected.load_id or 0, expected.line or 0), None)
        if stored is None:
            return False
        cells = {self._cased(name): cell for name, cell in expected.cells.items()}
        for place in self._own:
            cell = cells.pop(self._names[place], Cell())
            verdict = same(cell, stored[place], self._kinds[place])
            if verdict is None:
                self._count["cells that the documents leave open"] += 1
            elif not verdict:
                ought = cell.text if cell.raw is None else cell.raw
                where = f"{self._names[place]!r} ({self._kinds[place]}), load {expected.load_id} line {expected.line}"
                self.wrong.append(Wrong("cell", f"{where}: {stored[place]!r}, and ought to be {ought!r}"))
        if any(cell.text is not None or cell.raw is not None for cell in cells.values()):
            self.wrong.append(Wrong("columns", f"no columns {sorted(cells)} in the table {self._names}"))
        self._count["cells"] += len(self._own)
        return True

    def find_nameless(self, expected: RowModel) -> None:
        """Take a row without lineage that is like an expected one."""
        cells = {self._cased(name): cell for name, cell in expected.cells.items()}
        if not expected.lineage or expected.load_id is None:
            for row in self.nameless:
                if self._load_at is not None and row[self._load_at] not in {None, expected.load_id}:
                    continue
                if all(same(cells.get(self._names[p], Cell()), row[p], self._kinds[p]) is not False for p in self._own):
                    self.nameless.remove(row)
                    self._count["cells"] += len(self._own)
                    return
        if not expected.optional:
            texts = {name: cell.text for name, cell in expected.cells.items()}
            self.wrong.append(Wrong("rows", f"missing: {texts} of load {expected.load_id}, line {expected.line}"))


def compare(
    table: Table, rows: Sequence[RowModel], kinds: Mapping[str, str], count: Counter[str], *, folds: bool
) -> list[Wrong]:
    """What is wrong with a table; nothing if it is as it ought to be."""
    comparison = _Comparison(table, kinds, count, folds=folds)
    for row in [row for row in rows if not comparison.find(row)]:
        comparison.find_nameless(row)
    left = [*comparison.known.values(), *comparison.nameless]
    return comparison.wrong + [Wrong("rows", f"one too many: {row!r}") for row in left]
