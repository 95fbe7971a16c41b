"""Every reserved word of SQL as a header and as the name of a table, and rows that are nearly too wide for a page."""

import random
import string

import pytest

from qt_pipeline.values import DriftPolicy
from qt_pipeline.warehouse import TableRefusedError, Warehouse
from qt_pipeline_tests.tabular.files import csv_bytes
from qt_pipeline_tests.warehouse.engines import OWN_TABLES, Engine, Postgres
from qt_pipeline_tests.warehouse.keywords import RESERVED
from qt_pipeline_tests.warehouse.loading import load

# A row fits a page: a long text takes 18 bytes of it on PostgreSQL, and 24 on SQL Server.
FILE_COLUMNS = {"postgresql": 350, "sqlserver": 250}


def words_for(engine: Engine) -> list[str]:
    """The words of all engines, and those that a server knows itself."""
    known = engine.query("SELECT word FROM pg_get_keywords()") if engine.name == "postgresql" else []
    return sorted({*RESERVED, *(word for (word,) in known)})


def test_the_list_has_what_a_server_reserves(postgres: Postgres) -> None:
    reserved = {word for (word,) in postgres.query("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")}
    assert len(reserved) > 90
    assert reserved <= {*RESERVED}


def test_reserved_words_are_headers_of_columns_that_change_their_type(engine: Engine, warehouse: Warehouse) -> None:
    words, most = words_for(engine), FILE_COLUMNS.get(engine.name, 500)
    for start in range(0, len(words), most):
        headers, table = words[start : start + most], f"t{start}"
        place = {"name": table, "dataset_id": table, "policy": DriftPolicy.EVOLVE}
        load(warehouse, csv_bytes(headers[1:], [["7"] * (len(headers) - 1)]), **place)
        rows = [[f"{word} {row} ".ljust(100, ".") for word in headers] for row in range(3)]
        load(warehouse, csv_bytes(headers, rows), **place)
        contract = warehouse.contract(table)
        assert contract is not None
        assert sorted(column.header for column in contract.columns) == headers
        stored = [
            dict(zip((column.header for column in contract.columns), row, strict=True))
            for row in engine.rows(contract, table)
        ]
        assert stored == [dict(zip(headers, row, strict=True)) for row in rows]


@pytest.mark.long
def test_reserved_words_are_names_of_tables(engine: Engine, warehouse: Warehouse) -> None:
    for word in RESERVED:
        load(warehouse, f"{word}\n1\n".encode(), name=word, dataset_id=f"d-{word}")
        # A header that names a reference makes its column text.
        assert [*map(str, engine.column(word, word))] == ["1"]
    assert engine.tables() == OWN_TABLES | {*RESERVED}


@pytest.mark.parametrize("word", ["select", "lateral", "returning", "collation", "merge", "values"])
def test_a_reserved_word_is_the_name_of_a_table_and_of_its_key(engine: Engine, warehouse: Warehouse, word: str) -> None:
    place = {"name": word, "policy": DriftPolicy.EVOLVE}
    load(warehouse, f"{word},b\n1,x\n".encode(), **place)
    load(warehouse, f"{word},b\n1.5,x\n".encode(), **place)
    assert [float(value) for value in engine.column(word, word)] == [1.5]


def test_five_hundred_long_texts_fit_a_row_where_the_server_compresses_them_and_else_are_refused(
    postgres: Postgres,
) -> None:
    warehouse, rng = postgres.open(), random.Random(1)

    def load_rows(columns: int, *, compressible: bool) -> list[tuple[str, ...]]:
        letters = string.ascii_letters
        rows = [
            tuple(rng.choice(letters) * 100 if compressible else "".join(rng.choices(letters, k=100)) for _ in header)
            for header in [range(columns)] * 3
        ]
        load(warehouse, csv_bytes([f"c{column}" for column in range(columns)], rows), policy=DriftPolicy.EVOLVE)
        return rows

    for columns, compressible in ((440, False), (500, True)):
        rows = load_rows(columns, compressible=compressible)
        contract = warehouse.contract("d-one")
        assert contract is not None
        assert postgres.rows(contract) == rows
    with pytest.raises(TableRefusedError, match=r"row is too big: .* leave out columns at the source"):
        load_rows(500, compressible=False)
    assert postgres.rows(contract) == rows
