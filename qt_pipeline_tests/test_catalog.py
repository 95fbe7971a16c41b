from pathlib import Path

import pytest

from qt_pipeline.catalog import Catalog, load_catalog
from qt_pipeline.errors import ConfigurationError

LISTED = "d-e4tf3yyxerabcvicidv5oyey"


def catalog_of(folder: Path, text: str | bytes) -> Catalog:
    path = folder / "datasets.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_catalog(path)


@pytest.mark.parametrize("text", [None, "", "# nothing listed yet\n", "datasets: {}\n"])
def test_without_entries_every_dataset_has_the_defaults(tmp_path: Path, text: str | None) -> None:
    catalog = load_catalog(tmp_path / "missing.yaml") if text is None else catalog_of(tmp_path, text)
    dataset = catalog.dataset("d-any-id")
    assert catalog.datasets == ()
    assert (dataset.id, dataset.table, dataset.label) == ("d-any-id", "d_any_id", "d_any_id")
    assert (dataset.empty, dataset.show_values, dataset.owner) == ("keep", False, None)


def test_an_entry_says_what_holds_for_its_dataset(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        f"""
        datasets:
          {LISTED}:
            table: Claims 2025
            name: Claims
            description: All claims.
            owner: claims@example.com
            empty: replace
            show_values: true
        """,
    )
    [dataset] = catalog.datasets
    assert catalog.dataset(LISTED) == dataset
    assert (dataset.table, dataset.name, dataset.label, dataset.description) == (
        *("Claims 2025", "Claims"),
        *("Claims", "All claims."),
    )
    assert (dataset.owner, dataset.empty, dataset.show_values) == ("claims@example.com", "replace", True)


def test_defaults_hold_for_what_an_entry_leaves_out_and_for_ids_that_are_not_listed(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        "defaults: {owner: all, show_values: true, empty: replace}\ndatasets: {d-one: {show_values: false}, d-two: {}}",
    )
    found = {name: catalog.dataset(name) for name in ("d-one", "d-two", "d-three")}
    assert {name: (d.owner, d.show_values, d.empty) for name, d in found.items()} == {
        "d-one": ("all", False, "replace"),
        "d-two": ("all", True, "replace"),
        "d-three": ("all", True, "replace"),
    }
    assert [dataset.id for dataset in catalog.datasets] == ["d-one", "d-two"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("datasets:\n  d-one: {table: a\n", "line 3"),
        ("datasets:\n\td-one: {}\n", "line 2"),
        ("just words", "dictionary"),
        ("- d-one", "dictionary"),
        ("datasets: [d-one]", "datasets"),
        ("datasets: {d-one: {tabel: a}}", "d-one.tabel"),
        ("tables: {}", "tables"),
        ("defaults: {table: a}", "defaults.table"),
        ("datasets: {d-one: {empty: never}}", "d-one.empty"),
        ("datasets: {d-one: {show_values: perhaps}}", "d-one.show_values"),
        ("datasets: {d-one: {table: ''}}", "d-one.table"),
        (f"datasets: {{d-one: {{table: {'x' * 121}}}}}", "d-one.table"),
        ("datasets: {'../etc': {}}", "'../etc' cannot be the id"),
        ("datasets: {d-one: {table: claims}, d-two: {table: claims}}", "d-one and d-two both go to the table 'claims'"),
        ("datasets: {d-one: {table: claims}, d-two: {table: CLAIMS}}", "d-one and d-two both"),
        ("datasets: {d-one: {}, d_two: {table: d_ONE}}", "d-one and d_two both"),
        ("datasets: {d-one: {}, d_one: {}}", "d-one and d_one both"),
        (b"datasets: {d-one: {name: \xff}}", "UTF-8"),
        (b"name: \x01", "YAML"),
        ("when: !!python/object/apply:os.system [ls]", "line 1"),
    ],
)
def test_what_is_no_catalog_is_refused_with_file_and_place(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        catalog_of(tmp_path, text)
    assert str(tmp_path / "datasets.yaml") in str(caught.value)
    assert reason in str(caught.value)


def test_a_catalog_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_catalog(tmp_path)


def test_a_dataset_that_is_listed_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "datasets.yaml"
    path.write_text("datasets:\n  d-one: {table: a}\n  d-two: {table: b}\n  d-one: {table: c}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="line 4: 'd-one' occurs twice"):
        load_catalog(path)


@pytest.mark.parametrize("dataset_id", ["../elsewhere", "", "a/b", "a" * 101])
def test_what_cannot_be_an_id_has_no_rules_and_so_reaches_no_folder(tmp_path: Path, dataset_id: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the id of a dataset"):
        load_catalog(tmp_path / "missing.yaml").dataset(dataset_id)
