"""The oracle is right about what the documents say, and the product agrees with it."""

import logging
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from qt_pipeline_tests.oracle import run, stage
from qt_pipeline_tests.oracle.csvfile import CsvFaultError, read
from qt_pipeline_tests.oracle.forms import Type, UnreadableError, fits, loses_sign, meaning, narrowest
from qt_pipeline_tests.oracle.life import Hand, Life, Load, Made, Restore, Rules, Step
from qt_pipeline_tests.oracle.model import Cell, same
from qt_pipeline_tests.oracle.product import Answer, Product
from qt_pipeline_tests.oracle.shrink import shrink
from qt_pipeline_tests.oracle.targets import Sqlite, Target
from qt_pipeline_tests.postgres import new_database

SEED = "make test"
LIVES = {"sqlite": 100, "postgres": 30}


@pytest.fixture(scope="module")
def openers(postgres_server: str) -> Iterator[dict[str, Callable[[Path], Target]]]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with new_database(postgres_server) as url:
        yield run.openers(url)
    logging.disable(before)


@pytest.mark.parametrize("target", LIVES)
def test_lives_of_datasets_are_as_the_documents_say(target: str, openers: dict[str, Callable[[Path], Target]]) -> None:
    report = run.Report()
    for number in range(LIVES[target]):
        run.run_one(SEED, number, openers[target], target, report)
    assert not report.disagreements, "\n\n".join(map(str, report.disagreements.values()))
    # A run that compares nothing, or expects nothing, shows nothing.
    assert report.count["cells"] > 10 * LIVES[target]
    assert min(report.count[f"loads {status}"] for status in ("published", "refused", "unchanged")) > 0
    assert report.count["expected open"] < 0.6 * report.count["loads"]


def test_a_file_with_something_awkward_at_each_real_border_comes_back(
    openers: dict[str, Callable[[Path], Target]],
) -> None:
    report = run.Report()
    run.run_one(SEED, 200, openers["sqlite"], "sqlite", report)
    assert not report.disagreements, "\n\n".join(map(str, report.disagreements.values()))
    assert report.count["cells"] > 50_000


WENT_WRONG = {
    "a type that cuts texts": (
        Rules(0, {"table": "t0", "adopt": True}),
        Made(0, ('Share:"char"', "Note:NAME"), ()),
        Load(0, b"Share,Note\nlong," + b"n" * 80 + b"\n"),
    ),
    "a text that begins with no character": (Load(0, "Note\n\uffff\n\ufffe\n\U0001ffff\n\ufffd\n".encode()),),
    "a long name, where rows stay": (
        Rules(0, {"table": "t0", "mode": "append"}),
        Load(0, b"Share," + b"n" * 70 + b"\n5,x\n"),
        Load(0, b"Share," + b"n" * 70 + b"\n6,y\n"),
    ),
    "a reserved word that changes its type": (
        Rules(0, {"table": "t0", "policy": "evolve"}),
        Load(0, b"lateral,collation\n5,6\n"),
        Load(0, b"lateral,collation\n5.5,x\n"),
    ),
    "a row that got its load's number later, and no line": (
        Rules(0, {"table": "t0", "lineage_columns": False}),
        Load(0, b"Postcode\n00543\n"),
        Rules(0, {"table": "t0", "mode": "append"}),
        Load(0, b"Postcode\n00811\n"),
        Hand(0, "delete"),
        Load(0, b"Postcode\n00811\n"),
    ),
    "a default that its column's next type cannot have": (
        Load(0, b"Paid,Share\n,\n"),
        Hand(0, "default", "Paid"),
        Hand(0, "default number", "Share"),
        Load(0, b"Paid,Share\n7.000060,0.25\n"),
        Load(0, b"Paid,Share\n,0.25\n"),
        Load(0, b"Paid,Share\nx,0.5\n"),
    ),
    "the same file after a restore by the types of then": (
        Load(0, b"Loss date\n12/04/2024\n"),
        Rules(0, {"columns": {"Loss date": "date %d/%m/%Y"}}),
        Restore(0, 1),
        Load(0, b"Loss date\n12/04/2024\n"),
    ),
    "the same file after a restore by the types of then, declared again": (
        Load(0, b"Paid\n1\n"),
        Rules(0, {"columns": {"Paid": "decimal(18,2)"}}),
        Load(0, b"Paid\n1\n"),
        Restore(0, 2),
        Load(0, b"Paid\n1\n"),
        Load(0, b"Paid\n1\n"),
    ),
}
"""What once went wrong, in short."""


@pytest.mark.parametrize("target", LIVES)
@pytest.mark.parametrize("steps", WENT_WRONG.values(), ids=WENT_WRONG)
def test_what_went_wrong_once_is_right(
    steps: tuple[Step, ...], target: str, openers: dict[str, Callable[[Path], Target]]
) -> None:
    assert stage.lead(Life(target, 0, steps), openers[target]).wrong is None


def test_a_table_of_another_dataset_is_refused_whatever_the_case_of_its_name() -> None:
    steps = (
        Rules(0, {"table": "t0"}),
        Load(0, b"a\n1\n"),
        Hand(0, "drop rows"),
        Rules(1, {"table": "T0"}),
        Load(1, b"b\nx\n"),
    )
    verdict = stage.lead(Life("sqlite", 0, steps), Sqlite)
    assert verdict.wrong is None
    assert (verdict.count["loads published"], verdict.count["loads refused"]) == (1, 1)


# What the oracle would see.

LIFE = Life(
    "sqlite",
    0,
    (
        Rules(0, {"table": "t0", "policy": "evolve"}),
        Load(0, b"Note,Paid\nx,1.25\ny,2.50\nz,\n", dry=False),
        Hand(0, "add", "mine:TEXT"),
        Load(0, b'Note,Paid\n"x\r\nx",1.25\n', dry=False),
    ),
)


def test_a_life_that_is_right_is_found_right() -> None:
    verdict = stage.lead(LIFE, Sqlite)
    assert verdict.wrong is None
    assert verdict.count["loads published"] == 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE t0 SET \"Note\" = replace(\"Note\", char(10), '') WHERE \"Note\" LIKE '%' || char(10) || '%'", "cell"),
        ('UPDATE t0 SET "Paid" = 1.24 WHERE "Paid" = 1.25', "cell"),
        ('UPDATE t0 SET "Paid" = 0 WHERE "Paid" IS NULL', "cell"),
        ("DELETE FROM t0 WHERE \"Note\" = 'y'", "rows"),
        ("INSERT INTO t0 SELECT * FROM t0 LIMIT 1", "rows"),
        ("UPDATE t0 SET _qt_row = _qt_row + 10", "rows"),
        ('ALTER TABLE t0 RENAME COLUMN "Paid" TO "paid in"', "columns"),
    ],
)
def test_what_a_load_does_wrong_is_found(monkeypatch: pytest.MonkeyPatch, change: str, kind: str) -> None:
    load = Product.load

    def wrong(self: Product, *given: object, **named: object) -> Answer:
        answer = load(self, *given, **named)  # type: ignore[arg-type]
        assert Sqlite(self._folder).execute(change) == ""
        return answer

    monkeypatch.setattr(Product, "load", wrong)
    verdict = stage.lead(LIFE, Sqlite)
    assert verdict.wrong is not None
    assert verdict.wrong.kind == kind


@pytest.mark.parametrize(
    ("change", "kind"),
    [("UPDATE t0 SET mine = 'x'", "changed"), ("ALTER TABLE t0 DROP COLUMN mine", "changed"), ("SELECT 1", None)],
)
def test_what_a_refused_load_leaves_different_is_found(
    monkeypatch: pytest.MonkeyPatch, change: str, kind: str | None
) -> None:
    load = Product.load

    def wrong(self: Product, *given: object, **named: object) -> Answer:
        answer = load(self, *given, **named)  # type: ignore[arg-type]
        if answer.status == "refused":
            assert Sqlite(self._folder).execute(change) == ""
        return answer

    monkeypatch.setattr(Product, "load", wrong)
    verdict = stage.lead(LIFE.but((*LIFE.steps[:3], Load(0, b"Note\n\xe9\n", dry=False))), Sqlite)
    assert (verdict.wrong and verdict.wrong.kind) == kind


def test_a_life_is_cut_to_what_its_fault_needs() -> None:
    short = shrink(LIFE, lambda life: any(isinstance(step, Load) and b"y,2.50" in step.data for step in life.steps))
    assert short.steps == (Load(0, b"Note,Paid\ny,2.50\n", dry=False),)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b\r\n1,2\n3,4\r5,6", [(2, ("1", "2")), (3, ("3", "4")), (4, ("5", "6"))]),
        (b'\xef\xbb\xbfa,b\n"1\r\n\r2","x""y"\n,\n', [(2, ("1\r\n\r2", 'x"y')), (5, ("", ""))]),
        (b'a\n""\n', [(2, ("",))]),
        ("a\n\ufeff\n".encode(), [(2, ("\ufeff",))]),
    ],
)
def test_records_are_read_with_their_lines(data: bytes, rows: list[tuple[int, tuple[str, ...]]]) -> None:
    assert [(record.line, record.texts) for record in read(data).rows] == rows


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xef\xbb\xbf",
        b"a,b\n1\n",
        b"a,b\n1,2,3\n",
        b'a\n"x\n',
        b'a\nx"y\n',
        b'a\n"x"y\n',
        b"a\n\0\n",
        b"a\n\xe9\n",
    ],
)
def test_what_is_no_csv_is_refused(data: bytes) -> None:
    with pytest.raises(CsvFaultError):
        read(data)


@pytest.mark.parametrize(
    ("text", "stated", "fit"),
    [
        ("1,234.56", "decimal(18,2) 1,234.56", True),
        ("1,23.56", "decimal(18,2) 1,234.56", False),
        ("1.234", "decimal(18,2)", False),
        ("12345", "decimal(5,2)", False),
        ("31/01/2020", "date %d/%m/%Y", True),
        ("30/02/2020", "date %d/%m/%Y", False),
        ("1/2/2020", "date %d/%m/%Y", None),
        ("9223372036854775808", "integer", False),
        ("007", "integer", None),
        ("y", "boolean Y/N", True),
        ("maybe", "boolean", False),
        ("\U0001f600", "text(1)", False),
    ],
)
def test_values_fit_a_declared_form_or_not(text: str, stated: str, fit: bool | None) -> None:
    assert fits(text, Type.of(stated)) is fit


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-5", ""], "integer"),
        (["1.5", "2"], "decimal"),
        (["1.5", "1.50"], None),
        (["007"], None),
        (["2020-01-31"], "date"),
        (["2020-01-31 10:00:00"], "timestamp"),
        (["TRUE", "false"], "boolean"),
        (["alpha", "1"], "text"),
        (["", ""], "blank"),
    ],
)
def test_undeclared_values_get_the_narrowest_kind(texts: list[str], kind: str | None) -> None:
    assert narrowest(texts) == kind


@pytest.mark.parametrize(
    ("texts", "loses"), [(["-0.0"], True), (["-0", "", "1.5"], True), (["-0.0", "x"], False), (["-0.5", "0.0"], False)]
)
def test_a_zero_with_a_minus_sign_is_no_number_of_a_new_column(texts: list[str], loses: bool) -> None:
    assert loses_sign(texts) is loses


@pytest.mark.parametrize("text", ["007", "1e5", "+5", "", "x", "00.5"])
def test_what_a_number_would_lose_is_no_number(text: str) -> None:
    with pytest.raises(UnreadableError):
        meaning(text, "decimal", "")


@pytest.mark.parametrize(
    ("text", "kind", "stored", "alike"),
    [
        ("1.50", "decimal", 1.5, True),
        ("1.50", "decimal", "1.5", True),
        ("1.50", "decimal", Decimal("1.51"), False),
        ("true", "boolean", 1, True),
        ("2020-01-31", "date", "2020-01-31", True),
        ("20200131", "date", date(2020, 1, 31), True),
        ("2020-01-31 10:00:00", "timestamp", datetime(2020, 1, 31, 10), True),  # noqa: DTZ001
        ("x ", "text", "x", False),
        ("007", "text", 7, False),
    ],
)
def test_stored_values_are_compared_as_the_documents_say(text: str, kind: str, stored: object, alike: bool) -> None:
    assert same(Cell(text, meaning(text, kind, "")), stored, kind) is alike


def test_numbers_of_older_rows_are_written_out_when_their_column_becomes_text() -> None:
    assert same(Cell("0.00001", Decimal("0.00001")), "1.0e-05", "text") is False
    assert same(Cell("1.50", Decimal("1.50")), "1.5", "text") is None
