"""What headers do to whole loads: those that look the same, those that cannot be a key, too many of them."""

from pathlib import Path

import pytest

from qt_pipeline.ingest import dry_run
from qt_pipeline.ingest.guards import RequiredValueError
from qt_pipeline.tabular import NotAHeaderError, TooManyColumnsError
from qt_pipeline.warehouse import DuplicateKeyError, LoadStatus
from qt_pipeline_tests.ingest.loading import Loading

COMPOSED, DECOMPOSED = "Pr\u00e4mie", "Pra\u0308mie"


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


@pytest.mark.parametrize("policy", ["freeze", "additive", "evolve"])
def test_a_file_whose_headers_look_the_same_keeps_the_contract(loading: Loading, policy: str) -> None:
    columns = {COMPOSED: {"type": "decimal(9,2)", "required": True}}
    loading.load(f"{COMPOSED},Ref\n1,a\n".encode(), policy=policy, key=["Ref"], columns=columns)
    outcome = loading.load(f"\ufeff\ufeff Ref\u00a0,{DECOMPOSED}\nb,2.50\n".encode())
    assert (outcome.status, outcome.changes, outcome.warnings) == (LoadStatus.PUBLISHED, (), ())
    assert loading.rows(f'"{COMPOSED}", "Ref"') == [(2.5, "b")]
    with pytest.raises(RequiredValueError, match="Line 3"):
        loading.load(f"Ref,{DECOMPOSED}\nb,2.50\nc,\n".encode())


def test_double_marks_are_no_part_of_the_first_column(loading: Loading) -> None:
    for header in ("\ufeff\ufeffid,paid", '\ufeff\ufeff"id",paid'):
        loading.load(f"{header}\n1,2.50\n".encode())
        assert [*loading.types()] == ["id", "paid"]


@pytest.mark.parametrize("other", ["Layer", "Layer ", "\u200bLayer"])
def test_a_key_of_which_the_file_has_two_columns_is_refused(loading: Loading, other: str) -> None:
    data = f"Layer,Ref,{other}\n1,a,2\n".encode()
    with pytest.raises(DuplicateKeyError, match="several with this header: 'Layer', 'Layer_2'"):
        loading.load(data, key=["Layer"])
    trial = dry_run(loading.warehouse, loading.dataset, loading.file(data))
    assert isinstance(trial.error, DuplicateKeyError)
    assert loading.load(data, key=["Ref"]).status is LoadStatus.PUBLISHED


def test_too_many_columns_are_refused_before_a_row_is_read(loading: Loading) -> None:
    data = b",".join([b"x"] * 30_000) + b"\nno row of this file\n"
    with pytest.raises(TooManyColumnsError, match="30,000 columns; a table of the target has at most 2,000"):
        loading.load(data)
    with pytest.raises(TooManyColumnsError):
        dry_run(loading.warehouse, loading.dataset, loading.file(data))


def test_a_header_of_many_characters_is_a_header(loading: Loading) -> None:
    long = "x" * 200_000
    outcome = loading.load(f'{long},"{long},""\ny"\n1,2\n'.encode())
    assert [column.header for column in outcome.contract.columns] == [long, f'{long},"\ny']
    assert [column.name for column in outcome.contract.columns] == ["x" * 128, "x" * 126 + "_2"]


NO_HEADERS = {
    "separators": b"branch;policies;claims\n10;200;3\n20;150;1\n",
    "sep=": b"sep=,\nbranch,paid\nNorth,12.50\n",
    "title": b"Bordereau January,,\n,,\nPolicy,Paid,Date\nP1,10.50,2026-01-31\n",
    "page": b"<!-- x -->\n<html>\n<title>error</title>\n",
    "data": b"P1,10.50\nP2,8.25\n",
}


@pytest.mark.parametrize("data", NO_HEADERS.values(), ids=NO_HEADERS)
def test_no_contract_is_founded_on_a_line_that_is_no_header(loading: Loading, data: bytes) -> None:
    with pytest.raises(NotAHeaderError):
        loading.load(data)
    assert loading.warehouse.contract(loading.dataset.id) is None
    with pytest.raises(NotAHeaderError):
        dry_run(loading.warehouse, loading.dataset, loading.file(data))
    outcome = loading.load(data, first_line_is_header=True) if data != NO_HEADERS["sep="] else None
    assert outcome is None or outcome.status is LoadStatus.PUBLISHED


@pytest.mark.parametrize("data", NO_HEADERS.values(), ids=NO_HEADERS)
def test_a_table_is_not_emptied_by_a_file_that_has_none_of_its_columns_and_no_header(
    loading: Loading, data: bytes
) -> None:
    loading.load(b"Ref,Paid\n1,2.50\n", policy="evolve")
    with pytest.raises(NotAHeaderError):
        loading.load(data)
    assert loading.rows("Ref, Paid") == [("1", 2.5)]
    # Another file with headers is let through, as the policy says.
    assert loading.load(b"Policy\nP1\n").totals.rows == 1


def test_a_file_that_keeps_a_contract_of_such_headers_is_loaded(loading: Loading) -> None:
    data = NO_HEADERS["data"]
    loading.load(data, first_line_is_header=True)
    outcome = loading.load(data + b"P3,7.25\n", first_line_is_header=False)
    assert (outcome.totals.rows, loading.rows("count(*)")) == (2, [(2,)])
