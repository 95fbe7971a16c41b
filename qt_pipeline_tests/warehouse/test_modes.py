"""What a load does to the rows that are there: replaces them, keeps all, or those whose key does not come again."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from qt_pipeline.values import DriftPolicy, WriteMode
from qt_pipeline.warehouse import DuplicateKeyError, LoadStatus, TargetRefusedError, Warehouse
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Answer, Engine
from qt_pipeline_tests.warehouse.loading import CableCutError, load, then_broken

APPEND, UPSERT, REPLACE = WriteMode.APPEND, WriteMode.UPSERT, WriteMode.REPLACE
BY_NAME = {"mode": UPSERT, "key": ("Name",)}
NOON = datetime(2026, 2, 1, 12, 30, 15, 250_000, tzinfo=UTC)


def ordered(engine: Engine, warehouse: Warehouse, *more: str) -> Answer:
    """All rows, by load and line."""
    contract = warehouse.contract("d-one")
    assert contract is not None
    names = ", ".join(map(engine.quote, [*(column.name for column in contract.columns), *more]))
    found = engine.query(f'SELECT {names} FROM {engine.table()} ORDER BY "_qt_load", "_qt_row"')
    return [
        (*(engine.value(v, c.type) for v, c in zip(row, contract.columns, strict=False)), *row[len(contract.columns) :])
        for row in found
    ]


def test_appended_rows_tell_their_load_and_when_their_file_was_landed(engine: Engine, warehouse: Warehouse) -> None:
    first = load(warehouse, b"Name,Paid\nAnn,1.50\nBob,2.50\n", mode=APPEND, landed_at=NOON)
    second = load(warehouse, b"Name,Paid\nAnn,3.00\n", mode=APPEND, landed_at=NOON + timedelta(days=1))
    assert list(engine.columns()) == ["Name", "Paid", "_qt_loaded_at", "_qt_load", "_qt_row"]
    rows = ordered(engine, warehouse, "_qt_loaded_at", "_qt_load", "_qt_row")
    moments = [datetime.fromisoformat(str(row[2])).replace(tzinfo=UTC) for row in rows]
    assert moments == [NOON, NOON, NOON + timedelta(days=1)]
    assert [row[:2] + row[3:] for row in rows] == [
        ("Ann", Decimal("1.50"), first.load_id, 2),
        ("Bob", Decimal("2.50"), first.load_id, 3),
        ("Ann", Decimal("3.00"), second.load_id, 2),
    ]
    assert (second.totals.rows, second.totals.sums["Paid"], second.table_rows) == (1, Decimal("3.00"), 3)
    newest = warehouse.loads()[0]
    assert (newest.mode, newest.rows, newest.table_rows, newest.replaced_load_id) == ("append", 1, 3, first.load_id)
    assert engine.tables() == OWN_TABLES | {"paid"}


def test_an_append_that_fails_adds_nothing(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Name\nAnn\n", mode=APPEND)
    with pytest.raises(CableCutError):
        load(warehouse, b"Name\nBob\n", mode=APPEND, through=then_broken)
    assert ordered(engine, warehouse) == [("Ann",)]
    assert engine.tables() == OWN_TABLES | {"paid"}


def test_the_file_of_the_newest_load_appended_again_takes_the_place_of_its_own_rows(
    engine: Engine, warehouse: Warehouse
) -> None:
    january, february = b"Name,Paid\nAnn,1.50\n", b"Name,Paid\nBob,2.50\n"
    load(warehouse, january, mode=APPEND)
    load(warehouse, february, mode=APPEND)
    again = load(warehouse, february, mode=APPEND, rules="other rules")
    assert [row[:1] for row in ordered(engine, warehouse)] == [("Ann",), ("Bob",)]
    assert again.table_rows == 2
    # An older file is a snapshot of its own, also when its bytes are known.
    assert load(warehouse, january, mode=APPEND).table_rows == 3


def test_a_file_without_rows_appends_none(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Name\nAnn\n", mode=APPEND)
    assert load(warehouse, b"Name\n", mode=APPEND).table_rows == 1
    assert ordered(engine, warehouse) == [("Ann",)]


@pytest.mark.parametrize("mode", [{"mode": APPEND}, BY_NAME], ids=["append", "upsert"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.10", "12345678901234.567"),
        ("1234567890123.45", "0.00000001"),
        ("-99999999999.99", "1" * 30 + ".5"),
        ("0.00000000000001", "1" * 20 + ".5"),
        ("9223372036854775807", "0.5"),
        ("-9223372036854775808", "1" * 25),
    ],
)
def test_older_rows_stay_exact_when_their_column_grows(
    engine: Engine, warehouse: Warehouse, mode: dict[str, object], old: str, new: str
) -> None:
    load(warehouse, f"Name,Paid\nAnn,{old}\n".encode(), **mode)
    load(warehouse, f"Name,Paid\nBob,{new}\n".encode(), policy=DriftPolicy.EVOLVE, **mode)
    assert ordered(engine, warehouse) == [("Ann", Decimal(old)), ("Bob", Decimal(new))]


def test_older_rows_have_no_value_in_a_new_column_and_keep_that_of_a_missing_one(
    engine: Engine, warehouse: Warehouse
) -> None:
    load(warehouse, b"Name,Old\nAnn,x\n", mode=APPEND)
    load(warehouse, b"Name,New\nBob,7\n", mode=APPEND, policy=DriftPolicy.EVOLVE)
    assert ordered(engine, warehouse) == [("Ann", "x", None), ("Bob", None, 7)]


def test_an_upsert_replaces_the_rows_whose_key_comes_again_and_keeps_all_others(
    engine: Engine, warehouse: Warehouse
) -> None:
    first = load(warehouse, b"Name,Paid\nAnn,1.50\nBob,2.50\nCleo,3.50\n", **BY_NAME)
    second = load(warehouse, b"Paid,Name\n9.00,Bob\n4.50,Dan\n", **BY_NAME)
    assert ordered(engine, warehouse, "_qt_load", "_qt_row") == [
        ("Ann", Decimal("1.50"), first.load_id, 2),
        ("Cleo", Decimal("3.50"), first.load_id, 4),
        ("Bob", Decimal("9.00"), second.load_id, 2),
        ("Dan", Decimal("4.50"), second.load_id, 3),
    ]
    assert (second.totals.rows, second.table_rows) == (2, 4)
    assert (warehouse.loads()[0].rows, warehouse.loads()[0].table_rows) == (2, 4)


def test_a_key_of_several_columns_is_one_key(engine: Engine, warehouse: Warehouse) -> None:
    key = {"mode": UPSERT, "key": ("Claim", "Line", "Day")}
    load(warehouse, b"Claim,Line,Day,Paid\nA,1,2026-01-31,1\nA,2,2026-01-31,2\nB,1,2026-01-31,3\n", **key)
    load(warehouse, b"Claim,Line,Day,Paid\nA,2,2026-01-31,20\nA,2,2026-02-01,21\n", **key)
    assert [(row[0], row[1], row[3]) for row in ordered(engine, warehouse)] == [
        *(("A", 1, 1), ("B", 1, 3)),
        *(("A", 2, 20), ("A", 2, 21)),
    ]


@pytest.mark.parametrize("mode", [REPLACE, APPEND, UPSERT])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_file_with_a_key_twice_is_refused_by_its_lines_and_not_its_values(
    engine: Engine, warehouse: Warehouse, first: bool, mode: WriteMode
) -> None:
    by_name = {"mode": mode, "key": ("Name",)}
    if not first:
        load(warehouse, b"Name,Paid\nAnn,1.50\n", **by_name)
    file = b"Name,Paid\ncanary,1\nBob,2\ncanary,3\nCleo,4\ncanary,5\nBob,6\n"
    with pytest.raises(DuplicateKeyError, match=r"Lines 2 and 6, 3 and 7 .* the same key \('Name'\)") as caught:
        load(warehouse, file, **by_name)
    assert "canary" not in f"{caught.value!r} {caught.value} {warehouse.loads()[0].error}"
    assert caught.value.dataset_id == "d-one"
    assert warehouse.loads()[0].status is LoadStatus.FAILED
    assert engine.tables() == OWN_TABLES | (set() if first else {"paid"})
    if not first:
        assert ordered(engine, warehouse) == [("Ann", Decimal("1.50"))]


def test_keys_are_compared_as_the_database_compares_them(engine: Engine, warehouse: Warehouse) -> None:
    [(equal,)] = engine.query("SELECT CASE WHEN 'ann' = 'ANN' THEN 1 ELSE 0 END")
    if equal:
        with pytest.raises(DuplicateKeyError, match="Lines 2 and 3 of"):
            load(warehouse, b"Name,Paid\nann,1\nANN,2\n", **BY_NAME)
    else:
        assert load(warehouse, b"Name,Paid\nann,1\nANN,2\n", **BY_NAME).table_rows == 2
    with pytest.raises(DuplicateKeyError, match="Lines 2 and 3 of"):
        load(warehouse, b"Amount,Paid\n5.0,1\n5.00,2\n", dataset_id="d-two", name="two", mode=UPSERT, key=("Amount",))


WIDE = "123456789012345678"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("1.50", "1.500"),
        ("1.50", "1.5000000000000000"),
        ("1.5", f"{WIDE}.25\n1.50"),
        (f"{WIDE}.5\n1.50", "1.5"),
        ("-0.10\n1.5", f"{WIDE}\n1.500"),
        ("1\n15", f"{WIDE}.5\n1.0"),
        ("0\n-1", f"{WIDE}.5\n0.00\n-1.0"),
    ],
)
def test_numbers_of_a_key_are_compared_as_numbers_however_they_are_written_and_stored(
    engine: Engine, warehouse: Warehouse, first: str, then: str
) -> None:
    by_amount = {"mode": UPSERT, "key": ("Amount",), "policy": DriftPolicy.EVOLVE}
    load(warehouse, f"Amount\n{first}\n".encode(), **by_amount)
    load(warehouse, f"Amount\n{then}\n".encode(), **by_amount)
    kept = {Decimal(text) for text in first.split("\n")} | {Decimal(text) for text in then.split("\n")}
    assert sorted(Decimal(str(row[0])) for row in ordered(engine, warehouse)) == sorted(kept)


def test_one_number_in_two_texts_is_one_key_beside_any_other(warehouse: Warehouse) -> None:
    with pytest.raises(DuplicateKeyError, match="Lines 2 and 3 of"):
        load(warehouse, f"Amount,Paid\n5.0,1\n5.00,2\n{WIDE}.5,3\n".encode(), mode=UPSERT, key=("Amount",))


def test_a_row_without_a_key_is_refused(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Name,Line\nAnn,1\n", mode=UPSERT, key=("Name", "Line"))
    with pytest.raises(DuplicateKeyError, match="Lines 3, 5 of the file have no value in the key"):
        load(warehouse, b"Name,Line\nAnn,2\nBob,\nCleo,1\n,4\n", mode=UPSERT, key=("Name", "Line"))
    assert ordered(engine, warehouse) == [("Ann", 1)]


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_key_that_the_file_does_not_have_is_refused(warehouse: Warehouse, first: bool) -> None:
    if not first:
        load(warehouse, b"Name\nAnn\n", **BY_NAME)
    with pytest.raises(DuplicateKeyError, match="no column 'Claim'"):
        load(warehouse, b"Name\nAnn\n", mode=UPSERT, key=("Name", "Claim"))


def test_a_key_may_become_another_type_and_gain_a_new_column(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Claim,Paid\n1,10\n2,20\n", mode=UPSERT, key=("Claim",), declared={"Claim": "integer"})
    load(warehouse, b"Claim,Paid\n2,21\nx,30\n", mode=UPSERT, key=("Claim",), declared={"Claim": "text"})
    assert ordered(engine, warehouse) == [("1", 10), ("2", 21), ("x", 30)]
    load(warehouse, b"Claim,Line,Paid\n2,1,22\n", mode=UPSERT, key=("Claim", "Line"))
    assert ordered(engine, warehouse) == [("1", 10, None), ("2", 21, None), ("x", 30, None), ("2", 22, 1)]


@pytest.mark.parametrize("then", [REPLACE, APPEND, UPSERT])
@pytest.mark.parametrize("before", [REPLACE, APPEND, UPSERT])
def test_the_mode_of_a_dataset_may_change(
    engine: Engine, warehouse: Warehouse, before: WriteMode, then: WriteMode
) -> None:
    for turn, mode in enumerate([before, then, before, then]):
        key = ("Name",) if mode is UPSERT else ()
        load(warehouse, f"Name,Turn\nAnn,{turn}\nn{turn},{turn}\n".encode(), mode=mode, key=key)
    kept = [row for row in ordered(engine, warehouse) if row[1] < 3]
    assert [row for row in ordered(engine, warehouse) if row[1] == 3] == [("Ann", 3), ("n3", 3)]
    assert bool(kept) is (then is not REPLACE)
    assert warehouse.loads()[0].table_rows == len(kept) + 2


@pytest.mark.parametrize("first", [True, False])
def test_a_table_may_lose_and_gain_the_columns_that_tell_the_load(
    engine: Engine, warehouse: Warehouse, first: bool
) -> None:
    for turn in range(4):
        load(warehouse, f"Turn\n{turn}\n".encode(), lineage_columns=first is (turn % 2 == 0))
        assert engine.query(f'SELECT "Turn" FROM {engine.table()}') == [(turn,)]
        ours = {"_qt_load", "_qt_row"} if first or turn else set()
        assert engine.columns().keys() == {"Turn"} | ours
        if ours:
            # What the table has, is right.
            assert engine.query(f'SELECT "_qt_load", "_qt_row" FROM {engine.table()}') == [
                (warehouse.loads()[0].load_id, 2)
            ]


def test_a_file_that_was_loaded_without_our_columns_is_kept_once_when_rows_stay(
    engine: Engine, warehouse: Warehouse
) -> None:
    first = load(warehouse, b"Name\nAnn\n", lineage_columns=False)
    again = load(warehouse, b"Name\nAnn\n", mode=APPEND)
    assert engine.query(f'SELECT "Name", "_qt_load" FROM {engine.table()}') == [("Ann", again.load_id)]
    assert again.replaced_load_id == first.load_id
    load(warehouse, b"Name\nBob\n", mode=APPEND)
    assert sorted(engine.query(f'SELECT "Name" FROM {engine.table()}')) == [("Ann",), ("Bob",)]


def test_rows_that_were_loaded_without_our_columns_tell_their_load_when_rows_stay(
    engine: Engine, warehouse: Warehouse
) -> None:
    first = load(warehouse, b"Name\nAnn\n", lineage_columns=False)
    second = load(warehouse, b"Name\nBob\n", mode=APPEND)
    look = f'SELECT "Name", "_qt_load" FROM {engine.table()} ORDER BY "Name"'
    assert engine.query(look) == [("Ann", first.load_id), ("Bob", second.load_id)]


def test_rows_of_somebody_else_tell_no_load_of_ours(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Name\nAnn\n", lineage_columns=False)
    engine.execute(f"INSERT INTO {engine.table()} (\"Name\") VALUES ('theirs')")
    load(warehouse, b"Name\nAnn\n", mode=APPEND)
    assert sorted(engine.query(f'SELECT "Name" FROM {engine.table()}')) == [("Ann",), ("Ann",), ("theirs",)]


def test_a_file_is_kept_once_in_each_table_that_a_dataset_has_had(engine: Engine, warehouse: Warehouse) -> None:
    first = load(warehouse, b"Name\nAnn\n", mode=APPEND)
    elsewhere = load(warehouse, b"Name\nAnn\n", mode=APPEND, name="other")
    assert elsewhere.replaced_load_id is None
    back = load(warehouse, b"Name\nAnn\n", mode=APPEND)
    assert (back.replaced_load_id, back.table_rows) == (first.load_id, 1)
    assert engine.column("Name") == engine.column("Name", "other") == ["Ann"]
    load(warehouse, b"Name\nBob\n", mode=APPEND, name="other")
    assert sorted(engine.column("Name", "other")) == ["Ann", "Bob"]


def test_a_row_that_the_table_refuses_is_told_without_its_values(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Name,Paid\nAnn,1.00\n", mode=APPEND)
    engine.execute(f'CREATE UNIQUE INDEX one_of_each ON {engine.table()} ("Paid")')
    with pytest.raises(TargetRefusedError) as caught:
        load(warehouse, b"Name,Paid\ncanary,77.25\ncanary,77.25\n", mode=APPEND)
    told = f"{caught.value!r} {caught.value} {caught.value.__cause__} {warehouse.loads()[0].error}"
    assert "canary" not in told
    assert "77.25" not in told
    assert ordered(engine, warehouse) == [("Ann", Decimal("1.00"))]
