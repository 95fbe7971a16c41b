from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, text

from qt_pipeline.tabular import Contract
from qt_pipeline.warehouse import LoadStatus, Totals, Verification, VerificationError, Warehouse
from qt_pipeline.warehouse.sqlite import SqliteTarget
from qt_pipeline_tests.warehouse.loading import execute, load, open_at, query, tables_in

OLD = b"Paid,Incurred,Count,Wide\n1.00,2.00,1,1\n"
NEW = b"Paid,Incurred,Count,Wide\n" + b"".join(b"%d.10,%d.20,%d,%d\n" % (n, 2 * n, n, n) for n in range(1, 50))


class LosesTheFirstRow(SqliteTarget):
    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:
        super().append(table, contract, batch.slice(1))


class WritesTheFirstRowTwice(SqliteTarget):
    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:
        super().append(table, contract, batch)
        super().append(table, contract, batch.slice(0, 1))


class ChangesACent(SqliteTarget):
    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:
        super().append(table, contract, batch)
        with self.writing() as connection:
            connection.execute(text(f'UPDATE "{table.name}" SET Paid = Paid + 0.01 WHERE _qt_row = 7'))


class SwapsTwoAmounts(SqliteTarget):
    def append(self, table: Table, contract: Contract, batch: pa.RecordBatch) -> None:
        super().append(table, contract, batch)
        with self.writing() as connection:
            swap = "SET Paid = Incurred, Incurred = Paid WHERE _qt_row = 7"
            connection.execute(text(f'UPDATE "{table.name}" {swap}'))


def assert_rolled_back(file: Path, warehouse: Warehouse, caught: pytest.ExceptionInfo[VerificationError]) -> None:
    assert query(file, "SELECT Paid, Incurred FROM paid") == [(1, 2)]
    failed, published = warehouse.loads()
    assert (published.status, failed.status) == (LoadStatus.PUBLISHED, LoadStatus.FAILED)
    assert failed.error == str(caught.value)
    assert not any(name.startswith("_qt_stage") for name in tables_in(file))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (LosesTheFirstRow, "48 rows instead of 49"),
        (WritesTheFirstRowTwice, "50 rows instead of 49"),
        (ChangesACent, "column 'Paid' adds up to 1229.91 instead of 1229.90"),
        (SwapsTwoAmounts, "column 'Paid' adds up to"),
    ],
)
def test_what_was_staged_otherwise_than_read_is_not_published(
    file: Path, target: type[SqliteTarget], words: str
) -> None:
    warehouse = open_at(file)
    load(warehouse, OLD)
    with pytest.raises(VerificationError, match=f"What was staged is not what the file holds: {words}") as caught:
        load(open_at(file, target), NEW)
    assert caught.value.dataset_id == "d-one"
    assert_rolled_back(file, warehouse, caught)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM paid WHERE _qt_row = new._qt_row", "48 rows instead of 49"),
        ("INSERT INTO paid SELECT * FROM paid WHERE _qt_row = 8", "50 rows instead of 49"),
        ("UPDATE paid SET Paid = Paid - 0.01 WHERE _qt_row = 8", "'Paid' adds up to 1229.89 instead of 1229.90"),
        ("UPDATE paid SET Paid = Incurred, Incurred = Paid WHERE _qt_row = 8", "'Paid' adds up to"),
        ("UPDATE paid SET Count = Count + 1 WHERE _qt_row = 8", "'Count' adds up to 1226 instead of 1225"),
        ("UPDATE paid SET Paid = NULL WHERE _qt_row = 8", "'Paid' adds up to"),
    ],
)
def test_what_was_published_otherwise_than_read_is_rolled_back(
    file: Path, warehouse: Warehouse, damage: str, words: str
) -> None:
    load(warehouse, OLD)
    execute(file, f"CREATE TRIGGER damage AFTER INSERT ON paid WHEN new._qt_row = 8 BEGIN {damage}; END")
    with pytest.raises(VerificationError, match=f"What was published is not .*{words}") as caught:
        load(warehouse, NEW)
    assert_rolled_back(file, warehouse, caught)


def test_what_the_parser_counted_is_what_must_arrive(file: Path, warehouse: Warehouse) -> None:
    load(warehouse, OLD)
    with pytest.raises(VerificationError, match="49 rows instead of 50") as caught:
        load(warehouse, NEW, rows=50)
    assert caught.value.verification.expected.rows == 50
    assert_rolled_back(file, warehouse, caught)


def test_a_first_load_that_is_not_right_leaves_no_table(file: Path) -> None:
    with pytest.raises(VerificationError):
        load(open_at(file, LosesTheFirstRow), NEW)
    assert tables_in(file) == {"_qt_loads", "_qt_columns"}


SHAPES = st.sampled_from([(18, 0), (15, 0), (15, 2), (15, 14), (38, 1), (38, 2), (38, 37)])


@settings(max_examples=25, deadline=None)
@given(SHAPES.flatmap(lambda s: st.tuples(st.just(s[1]), st.lists(st.integers(1 - 10 ** s[0], 10 ** s[0] - 1)))))
def test_the_sums_that_database_and_file_agree_on_are_exact(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[int, list[int]]
) -> None:
    scale, units = case
    numbers = [0, *units]
    lines = [f"{'-' * (unit < 0)}{abs(unit) // 10**scale}.{abs(unit) % 10**scale:0{max(1, scale)}}" for unit in numbers]
    texts = lines if scale else [str(unit) for unit in numbers]
    warehouse = open_at(tmp_path_factory.mktemp("sums") / "warehouse.db")
    published = load(warehouse, "\n".join(["Paid", *texts, ""]).encode())
    assert Fraction(published.totals.sums["Paid"]) == Fraction(sum(numbers), 10**scale)
    assert published.totals.rows == len(numbers)


def test_sums_beyond_64_bits_and_of_many_cents_agree(file: Path, warehouse: Warehouse) -> None:
    wide = b"9" * 36 + b".99"
    row = b"9223372036854775807,9999999999999.99,0.00000000000001," + wide + b"\n"
    published = load(warehouse, b"Count,Paid,Tiny,Wide\n" + row * 30_000)
    assert published.totals.sums == {
        "Count": Decimal(30_000) * (2**63 - 1),
        "Paid": Decimal("299999999999999700.00"),
        "Tiny": Decimal("0.00000000030000"),
        "Wide": Decimal("29999999999999999999999999999999999999700.00"),
    }
    assert query(file, "SELECT count(*) FROM paid") == [(30_000,)]


def test_a_difference_among_very_few_rows_is_told_without_a_sum_that_would_show_a_row() -> None:
    one_row = [Totals(1, {"Paid": Decimal(amount)}) for amount in ("3.50", "3.51")]
    assert Verification(*one_row).difference == "column 'Paid' adds up differently"
    many_rows = [Totals(10, {"Paid": Decimal(amount)}) for amount in ("3.50", "3.51")]
    assert Verification(*many_rows).difference == "column 'Paid' adds up to 3.51 instead of 3.50"
