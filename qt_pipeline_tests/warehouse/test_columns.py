"""Columns that a table has, against what a file needs: types that people gave them, and names in another case."""

from typing import Any

import pytest

from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import ColumnTypeError, LoadRecord, LoadStatus, TableNotOursError, Warehouse
from qt_pipeline_tests.warehouse.engines import Engine
from qt_pipeline_tests.warehouse.loading import load, load_or_leave

APPEND = WriteMode.APPEND


COMPUTED = {
    "sqlite": "INTEGER AS (1 + 1)",
    "postgresql": "INTEGER GENERATED ALWAYS AS (1 + 1) STORED",
    "sqlserver": "AS (1 + 1)",
}


def add(engine: Engine, column: str, type_: str) -> None:
    """What a person does by hand."""
    engine.execute(f"ALTER TABLE {engine.table()} ADD {engine.quote(column)} {type_}")


def everything(engine: Engine) -> Any:
    return engine.columns(), engine.query(f"SELECT * FROM {engine.table()}")


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("INTEGER", "007"),
        ("INTEGER", "1.5"),
        ("DATE", "2026-01-31 10:30:00"),
        ("DATE", "soon"),
        ("DECIMAL(10,1)", "1.25"),
        ("DECIMAL(10,1)", "seven"),
        ("SMALLINT", "seven"),
    ],
)
def test_a_column_that_a_person_has_added_takes_no_value_that_it_would_change(
    engine: Engine, warehouse: Warehouse, type_: str, value: str
) -> None:
    load(warehouse, b"Ref\na\n")
    add(engine, "note", type_)
    before = everything(engine)
    with pytest.raises(ColumnTypeError, match="'note' is") as refused:
        load(warehouse, f"Ref,note\na,{value}\n".encode())
    assert refused.value.dataset_id == "d-one"
    assert value not in str(refused.value)
    assert everything(engine) == before
    assert warehouse.loads()[0].status is LoadStatus.FAILED


@pytest.mark.parametrize("value", ["ab ", "abcdef"])
def test_a_text_that_a_person_has_bounded_is_refused_where_that_holds(
    engine: Engine, warehouse: Warehouse, value: str
) -> None:
    load(warehouse, b"Ref\na\n")
    add(engine, "note", "VARCHAR(3)")
    if engine.name == "sqlite":
        load(warehouse, f"Ref,note\na,{value}\n".encode())
        assert engine.column("note") == [value]
    else:
        with pytest.raises(ColumnTypeError, match="'note'"):
            load(warehouse, f"Ref,note\na,{value}\n".encode())


@pytest.mark.parametrize("value", ["7", "1.5", "2026-01-31", "2026-01-31 10:30:00", "true", "seven"])
def test_a_column_that_was_added_as_a_load_would_make_it_is_filled(
    engine: Engine, warehouse: Warehouse, value: str
) -> None:
    load(warehouse, f"note\n{value}\n".encode(), dataset_id="d-two", name="two")
    type_ = engine.columns("two")["note"]
    load(warehouse, b"Ref\na\n", mode=APPEND)
    add(engine, "note", type_)
    load(warehouse, f"Ref,note\nb,{value}\n".encode(), mode=APPEND)
    assert engine.query(f'SELECT "note" FROM {engine.table()} WHERE "Ref" = \'b\'') == engine.query(
        f'SELECT "note" FROM {engine.table("two")}'
    )


def test_a_column_of_ours_that_was_altered_by_hand_is_refused(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Ref,Paid\na,1.50\n")
    engine.execute(f'ALTER TABLE {engine.table()} DROP COLUMN "Paid"')
    add(engine, "Paid", "INTEGER")
    with pytest.raises(ColumnTypeError, match="'Paid' is INTEGER and the file needs decimal"):
        load(warehouse, b"Ref,Paid\na,1.75\n")
    # Nor is the table taken for that of the file which it showed.
    with pytest.raises(ColumnTypeError):
        load_or_leave(warehouse, b"Ref,Paid\na,1.50\n")


def test_a_computed_column_is_refused_by_name(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Ref\na\n")
    add(engine, "note", COMPUTED[engine.name])
    with pytest.raises(ColumnTypeError, match="'note' is computed"):
        load(warehouse, b"Ref,note\na,2\n")


def test_a_table_with_a_computed_column_is_adopted_and_keeps_it(engine: Engine, warehouse: Warehouse) -> None:
    engine.execute(f'CREATE TABLE {engine.table()} ("Ref" {engine.text_type})')
    add(engine, "note", COMPUTED[engine.name])
    with pytest.raises(ColumnTypeError, match="'note' is computed"):
        load(warehouse, b"Ref,note\na,2\n", adopt=True)
    load(warehouse, b"Ref\na\n", adopt=True)
    load(warehouse, b"Ref\nb\n")
    assert (engine.column("Ref"), engine.column("note")) == (["b"], [2])


def test_a_column_in_another_case_is_the_same_where_the_database_says_so(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Ref\na\n")
    add(engine, "Note", "VARCHAR(100)" if engine.name != "sqlserver" else "NVARCHAR(100)")
    load(warehouse, b"Ref,note\na,x\n")
    assert ("note" in engine.columns()) == (engine.name == "postgresql")
    assert engine.column("note") == ["x"]
    assert isinstance(load_or_leave(warehouse, b"Ref,note\na,x\n"), LoadRecord)
    add(engine, "Amount", "INTEGER")
    if engine.name == "postgresql":
        load(warehouse, b"Ref,note,amount\na,x,much\n")
    else:
        with pytest.raises(ColumnTypeError, match="'amount' is INTEGER"):
            load(warehouse, b"Ref,note,amount\na,x,much\n")


def test_tables_in_another_case_are_the_same_where_the_database_says_so(engine: Engine, warehouse: Warehouse) -> None:
    load(warehouse, b"Ref\na\n", name="Paid")
    if engine.name == "postgresql":
        load(warehouse, b"Ref\nb\n", name="paid", dataset_id="d-two")
        assert engine.column("Ref", "Paid") == ["a"]
        return
    for adopt in (False, True):
        with pytest.raises(TableNotOursError, match=r"belongs to the dataset d-one \(as 'Paid'") as refused:
            load(warehouse, b"Ref\nb\n", name="paid", dataset_id="d-two", adopt=adopt)
        assert "adopt" not in str(refused.value)
        assert engine.column("Ref", "Paid") == ["a"]
    # The dataset itself may be written otherwise in its catalog.
    load(warehouse, b"Ref\nc\n", name="PAID")
    assert engine.column("Ref", "Paid") == ["c"]
