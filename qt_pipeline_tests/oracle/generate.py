"""Random files and lives.

Here: what values, headers, files, rules and steps there are. Not here: what they lead to (see model).
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from qt_pipeline_tests.oracle.csvfile import BOM
from qt_pipeline_tests.oracle.life import Hand, Life, Load, Made, Restore, Rules, Step

Value = Callable[[Random], str]

_PIECES = (
    *(
        "a",
        "b",
        "x",
        "Ärger",
        "cafe\u0301",
        "caf\u00e9",
        "\ufeff",
        "\u00a0",
        "\u200b",
        "\u00ad",
        " ",
        "  ",
        "\t",
        ";",
        "|",
    ),
    *("\r\n", "\n", "\r", "\r\n\r\n", "\n\r", '"', '""', ",", "'", "\\", "%", "\x01", "\x1f", "\x7f", "\x85", "\u2028"),
    *(
        "\ud7ff",
        "\ue000",
        "\uffff",
        "\U0001f600",
        "\U00010000",
        "\U0001d4b3",
        "NULL",
        "NA",
        "\\N",
        "\\.",
        "0",
        "-",
        "=1+1",
    ),
)
_ODD = (
    *(
        "007",
        "-0",
        "+5",
        "1e5",
        " 5",
        "5 ",
        "1,000",
        ".5",
        "5.",
        "00.5",
        "-0.0",
        "1.50",
        "1.5",
        "5.0",
        "5.00",
        "0.00001",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1" * 38, "1" * 39, "9" * 60, "1e400"),
    *("12345678901234567890.12", "123456789012345.6", "1234567890123456", "0." + "0" * 37 + "1", "nan", "inf", "T"),
    *("2020-02-30", "0001-01-01", "9999-12-31", "31/01/2020", "20200131", "2020-01-31", "2020-1-31", "12:30:00"),
    *("2020-01-31T10:00:00", "2020-01-31 10:00", "2020-01-31 10:00:00.5", "2020-01-31 10:00:00.123456", "24:00"),
    *("2016-12-31 23:59:60", "2020-01-31T10:00:00Z", "true", "FALSE", "yes", "Y", "\ufeff", "\u00a0", " ", "abc   "),
)


def _text(rng: Random) -> str:
    return "".join(rng.choice(_PIECES) for _ in range(rng.randint(1, 6)))


def _day(rng: Random) -> date:
    return date(1950, 1, 1) + timedelta(days=rng.randrange(40_000))


def _at(rng: Random) -> datetime:
    return datetime(1990, 1, 1) + timedelta(seconds=rng.randrange(10**9), microseconds=rng.randrange(10**6))  # noqa: DTZ001


def _either_case(rng: Random, *words: str) -> str:
    word = rng.choice(words)
    return rng.choice([word, word.upper(), word.title()])


def _decimal(places: int, digits: int) -> Value:
    def value(rng: Random) -> str:
        whole = str(rng.randrange(10 ** rng.randint(1, digits)))
        return f"{rng.choice(['', '', '-'])}{int(whole) or 1}.{rng.randrange(10**places):0{places}}"

    return value


def _grouped(mark: str, point: str) -> Value:
    def value(rng: Random) -> str:
        number = f"{rng.randrange(1, 10**7):,}".replace(",", mark)
        return f"{number}{point}{rng.randrange(100):02}" if point else number

    return value


STYLES: dict[str, Value] = {
    "integer": lambda rng: str(rng.randint(-(10 ** rng.randint(1, 5)), 10 ** rng.randint(1, 18))),
    "small": lambda rng: str(rng.randint(1, 30)),
    "decimal": _decimal(2, 6),
    "tiny": lambda rng: f"{rng.choice(['0', '0', '-0', '7'])}.0000{rng.randint(1, 9)}{rng.choice(['', '', '0'])}",
    "wide": _decimal(4, 20),
    "zeros": lambda rng: f"{rng.randint(1, 9)}.{rng.choice(['5', '50', '500', '0', '00'])}",
    "date": lambda rng: _day(rng).isoformat(),
    "day8": lambda rng: f"{_day(rng):%Y%m%d}",
    "slashed": lambda rng: f"{_day(rng):%d/%m/%Y}",
    "low slashed": lambda rng: f"{rng.randint(1, 12):02}/{rng.randint(1, 12):02}/2024",
    "moment": lambda rng: f"{_at(rng):%Y-%m-%d %H:%M:%S}",
    "moment T": lambda rng: f"{_at(rng):%Y-%m-%dT%H:%M:%S}",
    "fraction": lambda rng: f"{_at(rng):%Y-%m-%d %H:%M:%S.%f}",
    "either moment": lambda rng: f"{_at(rng):%Y-%m-%d %H:%M:%S}" + rng.choice(["", ".5", ".123456"]),
    "boolean": lambda rng: _either_case(rng, "true", "false"),
    "letter": lambda rng: _either_case(rng, "y", "n"),
    "padded": lambda rng: f"{rng.randrange(1000):05}",
    "word": lambda rng: rng.choice(["alpha", "beta", "gamma", "delta"]) + rng.choice(["", "", " one", " two "]),
    "text": _text,
    "odd": lambda rng: rng.choice(_ODD),
    "grouped": _grouped(",", "."),
    "grouped dot": _grouped(".", ","),
    "grouped whole": _grouped(",", ""),
    "blank": lambda _: "",
}
_DECLARED: dict[str, tuple[str, ...]] = {
    "integer": ("integer", "decimal(38,2)", "text", "decimal(18,0)"),
    "small": ("integer", "text", "text(2)", "decimal(5,2)"),
    "decimal": ("decimal(18,2)", "text", "decimal(38,10)", "decimal(9,2)"),
    "tiny": ("decimal(15,5)", "text", "decimal(15,4)"),
    "wide": ("decimal(38,4)", "text"),
    "zeros": ("decimal(5,3)", "text"),
    "date": ("date", "text", "timestamp %Y-%m-%d"),
    "day8": ("date %Y%m%d", "text", "integer"),
    "slashed": ("date %d/%m/%Y", "text"),
    "low slashed": ("date %d/%m/%Y", "date %m/%d/%Y", "text"),
    "moment": ("timestamp", "timestamp %Y-%m-%d %H:%M:%S", "text"),
    "moment T": ("timestamp %Y-%m-%dT%H:%M:%S", "text"),
    "fraction": ("timestamp %Y-%m-%d %H:%M:%S.%f", "text"),
    "boolean": ("boolean", "text"),
    "letter": ("boolean Y/N", "boolean N/Y", "text"),
    "padded": ("text", "text(5)", "text(4)"),
    "word": ("text", "text(40)"),
    "text": ("text", "text(60)"),
    "grouped": ("decimal(18,2) 1,234.56",),
    "grouped dot": ("decimal(18,2) 1.234,56",),
    "grouped whole": ("integer 1,234", "decimal(18,2) 1,234.56"),
    "blank": ("integer", "date", "text"),
    "odd": ("text",),
}
_HEADERS = ("Paid", "Count", "Written", "Note", "Seen at", "Open", "Layer", "Gross Premium (GBP)", "Loss date", "Share")
_NAMED = ("Policy Number", "Ref", "Postcode", "Claim id")
_STRANGE = (
    *("", " ", "Paid", "paid", "PAID", "returning", "nothing", "select", "collation", "lateral", "concurrently"),
    *("tablesample", "order", "_qt_load", "_qt_row", "_QT_ROW", "_qt_loaded_at", "unnamed (0)", "unnamed_1", "a:b"),
    *(":x", "%s", "%(x)s", "a.b", 'a"b', "a]b", "a;b", "a\nb", "caf\u00e9", "cafe\u0301", "\ufeffPaid", "Paid\u200b"),
    *("Pa\u00adid", "\u00a0Note", "rowid", "oid", "ctid", "xmin", "?", "{x}", "Straße", "STRASSE", "n" * 70),
    *("é" * 40, "1", "2024", "true", "İ", "\u0131", "a_b", "a b", "A-B", "\t", "long " * 15),
)
_KEYS = (
    *("serial", "serial decimal", "serial decimal", "serial wide", "serial text", "serial far", "serial far"),
    "serial half",
)
_MOST_STEPS = 12


@dataclass(frozen=True)
class Column:
    """A column of a file in the making; `blanks` of a hundred of its values are blank."""

    header: str
    style: str
    blanks: int = 10


@dataclass(frozen=True)
class Writing:
    """How a file is written."""

    line_end: str
    quoting: str
    bom: bool
    closed: bool


def writing(rng: Random) -> Writing:
    return Writing(
        rng.choice(["\n", "\n", "\r\n", "\r\n", "\r", "any"]),
        rng.choice(["least", "least", "all", "any"]),
        rng.random() < 0.2,
        rng.random() < 0.85,
    )


def written(rows: Sequence[Sequence[str]], how: Writing, rng: Random) -> bytes:
    """A file of these records, the header among them."""
    lines: list[str] = []
    for number, row in enumerate(rows):
        fields = [_field(text, how.quoting, rng, alone=len(row) == 1) for text in row]
        last = number == len(rows) - 1 and not how.closed
        end = rng.choice(["\n", "\r\n", "\r"]) if how.line_end == "any" else how.line_end
        lines.append(",".join(fields) + ("" if last else end))
    data = "".join(lines).encode()
    return BOM + data if how.bom else data


def _field(text: str, quoting: str, rng: Random, *, alone: bool) -> str:
    needed = any(mark in text for mark in ',"\r\n') or (alone and not text)
    if needed or quoting == "all" or (quoting == "any" and rng.random() < 0.4):
        return '"' + text.replace('"', '""') + '"'
    return text


def _chance(rng: Random, percent: int) -> bool:
    return rng.randrange(100) < percent


class _World:
    """A dataset whose files are made up one after the other."""

    def __init__(self, rng: Random, number: int) -> None:
        self.rng = rng
        self.number = number
        count = rng.choice([1, 2, 2, 3, 3, 4, 5, 8])
        self.columns = [self._column() for _ in range(count)]
        self.table = f"t{number}"
        self.entry: dict[str, Any] = {}
        self.serial = 0
        self.last: bytes | None = None
        self.older: list[bytes] = []
        self.keyed = ""
        self.loads = 0

    def _column(self) -> Column:
        rng = self.rng
        if _chance(rng, 4):
            header = rng.choice(_STRANGE)
        else:
            taken = {column.header for column in getattr(self, "columns", [])}
            left = [name for name in (*_HEADERS, *_HEADERS, *_NAMED) if name not in taken]
            header = rng.choice(left or ["more"])
        style = rng.choice([*STYLES, "text", "decimal", "integer", "word", "date"])
        return Column(header, style, rng.choice([0, 0, 10, 30]))

    def rules(self) -> Rules:
        """What the catalog says at first, or a change of it."""
        rng, entry = self.rng, dict(self.entry)
        entry.setdefault("table", self.table)
        first = not self.entry
        if first:
            entry["policy"] = rng.choice(["additive", "evolve", "evolve", "evolve", "freeze"])
            entry["mode"] = rng.choice(["replace", "replace", "append", "upsert"])
        for _ in range(1 if not first else rng.randint(1, 4)):
            self._change(entry, first=first)
        if entry.get("mode") in {"append", "upsert"}:
            entry.pop("lineage_columns", None)
        if entry.get("mode") == "upsert" and not entry.get("key"):
            self._give_key(entry)
        self.entry = entry
        return Rules(self.number, dict(entry))

    def _give_key(self, entry: dict[str, Any]) -> None:
        if not self.keyed:
            self.keyed = self.rng.choice(["Amount", "Amount", "Key"])
            style = self.rng.choice([*_KEYS, "serial code"])
            self.columns.insert(self.rng.randint(0, len(self.columns)), Column(self.keyed, style, 0))
        entry["key"] = [self.keyed]

    def _change(self, entry: dict[str, Any], *, first: bool) -> None:  # noqa: C901, PLR0912  # one choice of many
        rng = self.rng
        what = rng.choice(["mode", "mode", "policy", "policy", "declare", "declare", "declare", "other", "table"])
        if what == "mode":
            entry["mode"] = rng.choice(["replace", "append", "upsert"])
        elif what == "policy":
            entry["policy"] = rng.choice(["additive", "evolve", "evolve", "freeze"])
        elif what == "declare":
            columns = dict(entry.get("columns", {}))
            column = rng.choice(self.columns)
            if column.header in columns and _chance(rng, 40):
                del columns[column.header]
            elif column.header and column.style in _DECLARED:
                columns[column.header] = rng.choice(_DECLARED[column.style])
            entry["columns"] = columns
        elif what == "table":
            if first:
                self.table = entry["table"] = rng.choice(
                    [f"t{self.number}", "T0", "t0", "order", "a b", "x_qt_copy", "n" * 60]
                )
            elif _chance(rng, 60):
                entry["table"] = rng.choice([f"t{self.number}", self.table, f"u{self.number}"])
        else:
            key = rng.choice(
                [
                    "naming",
                    "lineage_columns",
                    "lineage_columns",
                    "empty",
                    "min_rows",
                    "max_drop_percent",
                    "key",
                    "required",
                ]
            )
            if key == "naming":
                entry[key] = rng.choice(["snake_case", "verbatim"])
            elif key == "lineage_columns":
                entry[key] = rng.choice([False, False, True])
            elif key == "empty":
                entry[key] = rng.choice(["keep", "replace"])
            elif key == "min_rows":
                entry[key] = rng.choice([0, 1, 3, 8])
            elif key == "max_drop_percent":
                entry[key] = rng.choice([0, 20, 90])
            elif key == "key" and _chance(rng, 50):
                self._give_key(entry)
            elif key == "key":
                entry["key"] = [rng.choice(self.columns).header or "Key"]
            else:
                header = rng.choice(self.columns).header
                if header:
                    columns = dict(entry.get("columns", {}))
                    stated = columns.get(header)
                    columns[header] = {"required": True} | ({"type": stated} if isinstance(stated, str) else {})
                    entry["columns"] = columns

    def file(self) -> bytes:
        """The next file: the same kind of rows, or a change of it."""
        rng = self.rng
        if self.last is not None:
            if _chance(rng, 15):
                return self.last
            if self.older and _chance(rng, 10):
                self.last = rng.choice(self.older)
                return self.last
            if _chance(rng, 40):
                self._drift()
        rows = self._rows(rng.choice([0, 1, 1, 2, 3, 5, 8, 13]))
        data = written([[column.header for column in self.columns], *rows], writing(rng), rng)
        if _chance(rng, 4):
            data = _broken(data, rng)
        if self.last is not None:
            self.older.append(self.last)
        self.last = data
        self.loads += 1
        return data

    def _rows(self, count: int) -> list[list[str]]:
        start = self.rng.randint(max(0, self.serial - 4), self.serial) if _chance(self.rng, 70) else self.serial
        self.serial = max(self.serial, start + count)
        return [[self._value(column, start + row) for column in self.columns] for row in range(count)]

    def _value(self, column: Column, serial: int) -> str:
        rng = self.rng
        if column.style.startswith("serial"):
            return {
                "serial": str(serial + 1),
                "serial decimal": f"{serial + 1}.{rng.choice(['5', '50', '50'])}",
                "serial code": f"K{serial:03}",
                "serial wide": f"{123456789012345678 + serial}.{rng.choice(['5', '50'])}",
                "serial text": f"{serial + 1}.50" if serial % 4 else f"none {serial}",
                "serial far": f"{serial + 1}.50" if serial % 4 else f"{serial + 1}.{'0' * 16}25",
                "serial half": rng.choice([str(serial + 1), f"{serial + 1}.5"]),
            }[column.style]
        return "" if _chance(rng, column.blanks) else STYLES[column.style](rng)

    def _drift(self) -> None:
        rng = self.rng
        place = rng.randrange(len(self.columns))
        column = self.columns[place]
        what = rng.choice(["style"] * 6 + ["add"] * 3 + ["drop", "move", "move", "rename", "odd", "odd"])
        if column.style.startswith("serial"):
            if what in {"style", "odd"}:
                style = rng.choice(_KEYS)
                self.columns[place] = replace(column, style=style)
            return
        if what == "style":
            similar = {"integer": "decimal", "small": "decimal", "decimal": "wide", "tiny": "word", "date": "day8"}
            style = similar.get(column.style, "text") if _chance(rng, 50) else rng.choice(list(STYLES))
            self.columns[place] = replace(column, style=style)
        elif what == "odd":
            self.columns[place] = replace(column, style="odd")
        elif what == "add":
            self.columns.insert(rng.randint(0, len(self.columns)), self._column())
        elif what == "drop" and len(self.columns) > 1:
            del self.columns[place]
        elif what == "move":
            rng.shuffle(self.columns)
        elif what == "rename":
            header = rng.choice([column.header.lower(), column.header.upper(), column.header + " ", "Note", *_STRANGE])
            self.columns[place] = replace(column, header=header)

    def hand(self) -> Hand:
        rng = self.rng
        what = rng.choice(
            ["add", "add", "add", "index", "trigger", "delete", "drop rows", "alter", "default", "default number"]
        )
        if what == "add":
            header = rng.choice([*_HEADERS, "mine", "more"])
            kind = rng.choice(["INTEGER", "TEXT", "DATE", "VARCHAR(3)", "NUMERIC(5,1)", "REAL", "TIMESTAMP"])
            if _chance(rng, 60):
                self.columns.append(Column(header, rng.choice(["padded", "odd", "text", "moment", "date", "tiny"]), 0))
            return Hand(self.number, what, f"{header}:{kind}")
        return Hand(self.number, what, rng.choice(self.columns).header)

    def made(self) -> list[Step]:
        """A table that somebody made before, which the catalog lets be taken over, or not."""
        rng = self.rng
        kinds = {"integer": "BIGINT", "small": "INTEGER", "decimal": "NUMERIC", "date": "DATE", "moment": "TIMESTAMP"}
        columns: list[str] = []
        for column in self.columns:
            kind = kinds.get(column.style, rng.choice(["TEXT", "TEXT", "VARCHAR(200)", "NAME", '"char"', "CHAR(3)"]))
            extra = rng.choice(
                ["", "", "", " NOT NULL", " UNIQUE", " DEFAULT NULL", " CHECK (1 = 1)", " COLLATE nocase"]
            )
            columns.append(f"{column.header}:{kind}{extra}")
        entry = {**self.entry, "table": self.table, "adopt": not _chance(rng, 15)}
        self.entry = entry
        return [Rules(self.number, entry), Made(self.number, tuple(columns), ())]


def _there_and_back(world: _World, base: dict[str, Any]) -> list[Step]:
    number, rng = world.number, world.rng
    base["mode"] = rng.choice(["append", "append", "replace"])
    first, there = world.file(), Rules(number, {**base, "table": f"u{number}"})
    back = Rules(number, base)
    return [
        back,
        Load(number, first),
        there,
        Load(number, rng.choice([first, world.file()])),
        back,
        Load(number, first),
    ]


def _lineage_comes_late(world: _World, base: dict[str, Any]) -> list[Step]:
    number = world.number
    plain = Rules(number, {**base, "mode": "replace", "lineage_columns": False})
    after = Rules(number, {**base, "mode": "append"})
    data = world.file()
    return [plain, Load(number, data), after, Load(number, world.rng.choice([data, world.file()]))]


def _another_form(world: _World, base: dict[str, Any]) -> list[Step]:
    number, rng = world.number, world.rng
    column = Column("Loss date", "low slashed", 0)
    world.columns = [*(one for one in world.columns if one.header != column.header), column]
    steps: list[Step] = []
    for form in rng.sample(["date %d/%m/%Y", "date %m/%d/%Y", "text"], 2):
        steps.append(Rules(number, {**base, "mode": "replace", "columns": {column.header: form}}))
        steps.append(Load(number, world.file()))
    return [*steps, Restore(number, rng.randint(1, 3))]


def _twins(world: _World, base: dict[str, Any]) -> list[Step]:
    number, rng = world.number, world.rng
    header = rng.choice(["Layer", "Share"])
    world.columns = [*world.columns[:3], Column(header, "serial", 0), Column(header, "small", 0)]
    rules = Rules(number, {**base, "mode": rng.choice(["replace", "upsert"]), "key": [header]})
    return [rules, Load(number, world.file()), Load(number, world.file())]


def _wider(world: _World, base: dict[str, Any]) -> list[Step]:
    number, rng = world.number, world.rng
    header = rng.choice(["Share", *_STRANGE[5:14]])
    others = [column for column in world.columns if column.header != header and not column.style.startswith("serial")]
    steps: list[Step] = [Rules(number, {**base, "mode": rng.choice(["append", "append", "replace"])})]
    for style in rng.choice(_WIDER):
        world.columns = [*others, Column(header, style, 10)]
        steps.append(Load(number, world.file(), dry=_chance(rng, 50)))
        if _chance(rng, 40):
            steps.append(world.hand())
    return steps


def _wider_key(world: _World, base: dict[str, Any]) -> list[Step]:
    number, rng = world.number, world.rng
    others = [column for column in world.columns if not column.style.startswith("serial")]
    steps: list[Step] = [Rules(number, {**base, "mode": "upsert", "key": ["Amount"]})]
    for style in rng.sample(_KEYS, 3):
        world.columns = [Column("Amount", style, 0), *others]
        world.serial = 3
        steps.append(Load(number, world.file()))
    return steps


def _hands(world: _World, base: dict[str, Any]) -> list[Step]:
    number = world.number
    steps: list[Step] = [Rules(number, base), Load(number, world.file()), world.hand(), world.hand()]
    return [*steps, Load(number, world.file()), Load(number, world.file(), force=True)]


_WIDER = (
    *(("integer", "decimal", "word"), ("tiny", "word"), ("decimal", "wide"), ("small", "tiny", "odd")),
    *(("boolean", "word"), ("zeros", "word"), ("small", "zeros")),
)
_MOTIFS = (_there_and_back, _lineage_comes_late, _another_form, _twins, _wider, _wider, _wider_key, _hands)
"""What belongs together, and seldom comes about by chance."""


def _motif(world: _World) -> list[Step]:
    base = {key: value for key, value in world.entry.items() if key not in {"lineage_columns", "columns", "key"}}
    return world.rng.choice(_MOTIFS)(world, {"table": world.table, "policy": "evolve", **base})


def _broken(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    what = rng.choice([b"\0", b"\xe9", b'"', b",", b'"x"y', b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"cut"])
    return data[:at] if what == b"cut" else data[:at] + what + data[at:]


def life(rng: Random, target: str) -> Life:
    """A life of 1 to 12 steps, and of one or two datasets."""
    worlds = [_World(rng, number) for number in range(rng.choice([1, 1, 1, 1, 2]))]
    if len(worlds) > 1 and _chance(rng, 50):
        worlds[1].table = "T0"
    steps: list[Step] = []
    for world in worlds:
        what = rng.choices([world.made, lambda of=world: _motif(of), lambda of=world: [of.rules()]], [6, 25, 60])[0]
        steps += what()
    for _ in range(rng.randint(1, 10)):
        steps += _next(rng.choice(worlds))
    block = rng.choice([16, 24, 32, 48, 64, 100, 256, 1000, 4096, 0])
    return Life(target, block, tuple(steps[:_MOST_STEPS]))


def _next(world: _World) -> list[Step]:
    rng, number = world.rng, world.number
    what = rng.choice(["load"] * 10 + ["rules"] * 5 + ["hand"] * 2 + ["restore"])
    if what == "load" or not world.loads:
        seq = "older" if _chance(rng, 3) and world.loads else "next"
        return [Load(number, world.file(), seq, force=_chance(rng, 10), dry=_chance(rng, 50))]
    if what == "hand":
        return [world.hand()]
    if what == "restore":
        return [Restore(number, rng.randint(1, 3))]
    rules = world.rules()
    again = _chance(rng, 40) and world.last is not None
    return [rules, Load(number, world.last or b"")] if again else [rules]


def large_file(rng: Random, size: int, border: int) -> bytes:
    """A file of about so many bytes; at multiples of `border` after its header, something awkward stands astride."""
    header = b"Written,Note,Paid\r\n" if _chance(rng, 50) else b"Written,Note,Paid\n"
    end = header[len(b"Written,Note,Paid") :]
    parts, length, next_border = [header], len(header), len(header) + border
    words = string.ascii_letters + " "
    while length < size:
        note = "".join(rng.choices(words, k=rng.randint(5, 60)))
        if _chance(rng, 20):
            note += rng.choice(["\r\n", "\n", "\r", '""', "\ufeff", "\r\n\r\n"]) + "z"
        row = f'{_day(rng).isoformat()},"{note}",{rng.randrange(10**6)}.{rng.randrange(100):02}'.encode() + end
        if length + len(row) + 300 > next_border:
            before = f'{_day(rng).isoformat()},"'.encode()
            astride = rng.choice([b"\r\n", b"\r\n\r\n", "\ufeff".encode(), b'""', b"\n", b"\r", "\U0001f600".encode()])
            cut = rng.randint(0, len(astride))
            fill = next_border - length - len(before) - cut
            row = before + b"f" * fill + astride + b'z",7.25' + end
            next_border += border
        parts.append(row)
        length += len(row)
    return b"".join(parts)
