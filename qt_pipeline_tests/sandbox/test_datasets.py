import csv
import io
import re
from collections import Counter

import pytest

from qt_pipeline.sandbox import SANDBOX_DATASETS, SandboxDataset
from qt_pipeline.sandbox.datasets import first_version
from qt_pipeline.values import is_dataset_id
from qt_pipeline_tests.sandbox.conftest import Client

ROWS = {"clrd2025": 71_650, "prism": 34_244, "bordereau": 50_000}
SHA256 = {
    "clrd2025": "045f10559ec9ed2bb0b4e5f74f9d611e20723ce51c7192a30b0dabcb75111456",
    "prism": "b39c032f249fbb97f0ba64aa145ae19d400868a65eed76dd585e641799c55598",
    "bordereau": "ec0eda71024f8170cc7435a23ced419a202e17d5912c04889cfd3af19a9a31a8",
}


@pytest.fixture(scope="module")
def text() -> str:
    return first_version(SANDBOX_DATASETS[2]).csv.decode()


@pytest.fixture(scope="module")
def table(text: str) -> dict[str, list[str]]:
    """The bordereau by column, as Python's own CSV reader sees it."""
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_each_dataset_is_served_whole_and_parses_to_its_rows(dataset: SandboxDataset, client: Client) -> None:
    body = client.download(dataset.id).content

    header, *rows = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)

    assert len(rows) == ROWS[dataset.stem]
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_ids_look_like_the_vendors(dataset: SandboxDataset) -> None:
    assert is_dataset_id(dataset.id)
    assert re.fullmatch(r"d-[a-z0-9-]{24}", dataset.id)


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_the_first_bytes_are_the_same_on_every_machine_the_real_files_as_they_came(dataset: SandboxDataset) -> None:
    assert first_version(dataset).sha256 == SHA256[dataset.stem]


def test_the_bordereau_is_laid_out_as_the_vendors_files(text: str) -> None:
    assert not text.startswith("\ufeff")
    assert text.split("\n", maxsplit=1)[0] == (
        "Policy Number,Pol. #,Insured Name,Insured Address,Contact Surname,Region,Class of Business,Inception Date,"
        "Expiry Date,Date Signed,Underwriting Quarter,Currency,Gross Premium,Sum Insured,Brokerage Rate,Cancelled,"
        'Settlement Reference,2015:Q1,"Paid, to Date",unnamed'
    )
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("column", "shape"),
    [
        ("Policy Number", r"0\d{9}"),
        ("Inception Date", r"20\d{6}"),
        ("Expiry Date", r"20\d\d-\d\d-\d\d"),
        ("Date Signed", r"[0-3]\d/[01]\d/20\d\d"),
        ("Underwriting Quarter", r"20\d\d-Q[1-4]"),
        ("Gross Premium", r"-?\d+\.\d\d"),
        ("Sum Insured", r"\d+\.\d\d"),
        ("Brokerage Rate", r"0\.\d{16}"),
        ("Cancelled", r"true|false"),
        ("Settlement Reference", r"[1-9]\d{19}"),
        ("2015:Q1", r"(\d+\.\d\d)?"),
        ("Paid, to Date", r"(\d+\.\d\d)?"),
    ],
)
def test_every_value_of_a_column_has_its_shape(column: str, shape: str, table: dict[str, list[str]]) -> None:
    assert [value for value in table[column] if not re.fullmatch(shape, value)] == []


@pytest.mark.parametrize(
    ("column", "awkward"),
    [
        ("Insured Name", r".*,.*"),
        ("Insured Name", r'.*".*'),
        ("Insured Name", r".*[\u4e00-\u9fff].*"),  # Japanese
        ("Insured Name", r".*[\u0600-\u06ff].*"),  # Arabic
        ("Insured Name", r".*[\u0370-\u03ff].*"),  # Greek
        ("Insured Name", r".*[\u0400-\u04ff].*"),  # Cyrillic
        ("Insured Name", r".*[àáâäåéèöü].*"),
        ("Insured Name", r".*\u0301.*"),  # an accent as a character of its own
        ("Insured Name", r".*[\U0001f300-\U0001faff].*"),  # emoji, outside the basic plane
        ("Insured Address", r"[^\r\n]+\n[^\r\n]+"),
        ("Insured Address", r"[^\r\n]+\r\n[^\r\n]+"),
        ("Contact Surname", r"NULL"),
        ("Contact Surname", r"nan"),
        ("Region", r"NA"),
        ("Date Signed", r"(1[3-9]|[23]\d)/.*"),
        ("Gross Premium", r"-.*"),
        ("Sum Insured", r"\d{12}\.\d\d"),
        ("Cancelled", r"true"),
        ("2015:Q1", r""),
        ("2015:Q1", r".+"),
        ("Paid, to Date", r""),
        ("unnamed", r""),
        ("unnamed", r"N/A"),
        ("unnamed", r'.*".*".*'),
    ],
)
def test_the_bordereau_holds_each_awkward_value_often(column: str, awkward: str, table: dict[str, list[str]]) -> None:
    assert sum(re.fullmatch(awkward, value) is not None for value in table[column]) >= 50


def test_the_bordereau_holds_blanks_of_both_kinds(text: str) -> None:
    assert text.count(',""\n') >= 50
    assert text.count(",\n") >= 50


def test_the_bordereau_holds_fully_duplicate_rows(table: dict[str, list[str]]) -> None:
    rows = Counter(zip(*table.values(), strict=True))

    assert sum(count - 1 for count in rows.values()) == 500
