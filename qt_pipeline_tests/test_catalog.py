import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from qt_pipeline.catalog import (
    AfterPublish,
    Catalog,
    Dataset,
    DeclaredColumn,
    UnlistedDatasetError,
    catalog_for,
    catalog_schema,
    faults_in,
    load_catalog,
)
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import load_settings
from qt_pipeline.tabular import ColumnType, Kind, Naming, parse_type
from qt_pipeline.values import DriftPolicy, WriteMode
from qt_pipeline_tests.schema import PUBLISHED, schema_text

LISTED = "d-e4tf3yyxerabcvicidv5oyey"


def catalog_of(folder: Path, text: str | bytes) -> Catalog:
    path = folder / "datasets.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_catalog(path)


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ({"datasets": {"d-a": {"table": "paid"}}}, []),
        ({"datasets": {"no id": {}}}, ["'no id' cannot be the id of a dataset"]),
        ({"datasets": {"d-a": {"table": "paid"}, "d-b": {"table": "PAID"}}}, ["both go to the table 'PAID'"]),
    ],
)
def test_a_catalog_can_be_judged_before_it_is_a_file(document: object, faults: list[str]) -> None:
    found = faults_in(document)
    assert len(found) == len(faults)
    assert all(fault in told for fault, told in zip(faults, found, strict=True))


@pytest.mark.parametrize("text", [None, "", "# nothing listed yet\n", "datasets: {}\n"])
def test_without_entries_every_dataset_has_the_defaults(tmp_path: Path, text: str | None) -> None:
    catalog = load_catalog(tmp_path / "missing.yaml") if text is None else catalog_of(tmp_path, text)
    dataset = catalog.dataset("d-any-id")
    assert catalog.datasets == ()
    assert (dataset.id, dataset.table, dataset.label) == ("d-any-id", "d_any_id", "d_any_id")
    assert (dataset.empty, dataset.show_values, dataset.owner) == ("keep", False, None)
    assert (dataset.table_schema, dataset.naming, dataset.policy) == (None, "verbatim", "additive")
    assert (dataset.mode, dataset.key, dataset.lineage_columns) == ("replace", (), True)
    assert (dataset.min_rows, dataset.max_drop_percent, dataset.adopt) == (None, None, False)
    assert (dict(dataset.columns), dataset.after_publish) == ({}, None)


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
        ("--- {}\n--- {}\n", "line 2: but found another document"),
        ("just words", "line 1: must be a mapping"),
        ("- d-one", "line 1: must be a mapping"),
        ("datasets: [d-one]", "line 1: datasets: must be a mapping"),
        ("datasets:\n  d-one:\n  d-two: {}\n", "line 2: datasets.d-one: must be a mapping"),
        (
            "datasets:\n  d-one:\n    tabel: a\n",
            "line 3: datasets.d-one.tabel: is not a known key; the nearest key is 'table'",
        ),
        ("tables: {}", "line 1: tables: is not a known key; the keys are unlisted, defaults, datasets"),
        ("defaults: {polcy: freeze}", "defaults.polcy: is not a known key; the nearest key is 'policy'"),
        ("defaults: {shema: a}", "the nearest key is 'schema'"),
        ("defaults: {table_schema: a}", "the nearest key is 'schema'"),
        ("defaults: {table: a}", "defaults.table: can be set only for one dataset"),
        ("defaults: {name: a}", "defaults.name: can be set only for one dataset"),
        ("unlisted: ignore", "unlisted: must be 'load' or 'refuse'"),
        ("datasets: {d-one: {empty: never}}", "d-one.empty: must be 'keep' or 'replace'"),
        ("datasets: {d-one: {policy: strict}}", "d-one.policy: must be 'additive', 'evolve' or 'freeze'"),
        ("datasets: {d-one: {mode: merge}}", "d-one.mode: must be 'replace', 'append' or 'upsert'"),
        ("datasets: {d-one: {naming: camel}}", "d-one.naming: must be 'verbatim' or 'snake_case'"),
        ("datasets: {d-one: {show_values: perhaps}}", "d-one.show_values: must be"),
        ("datasets: {d-one: {adopt: 1}}", "d-one.adopt: must be"),
        ("datasets: {d-one: {name: 2025}}", "d-one.name: must be text; put it between quotes"),
        ("datasets: {d-one: {min_rows: -1}}", "d-one.min_rows: must be"),
        ("datasets: {d-one: {min_rows: '1'}}", "d-one.min_rows: must be"),
        ("datasets: {d-one: {max_drop_percent: 101}}", "d-one.max_drop_percent: must be"),
        ("datasets: {d-one: {max_drop_percent: .nan}}", "d-one.max_drop_percent: must be"),
        ("datasets: {d-one: {table: ''}}", "d-one.table"),
        (f"datasets: {{d-one: {{table: {'x' * 121}}}}}", "d-one.table"),
        ("datasets: {'../etc': {}}", "'../etc' cannot be the id"),
        ("datasets: {d-one: {mode: upsert}}", "d-one.mode: upsert needs 'key'"),
        ("datasets: {d-one: {mode: upsert, key: []}}", "d-one.key: must not be empty"),
        ("datasets: {d-one: {mode: upsert, key: a}}", "d-one.key"),
        ("datasets:\n  d-one:\n    mode: upsert\n    key:\n    - a\n    - ''\n", "line 6: datasets.d-one.key.1"),
        ("datasets: {d-one: {mode: upsert, key: [a, a]}}", "d-one.key: names a header twice"),
        ("datasets: {d-one: {mode: append, lineage_columns: false}}", "d-one.lineage_columns: can be false only with"),
        ("defaults: {mode: append}\ndatasets:\n  d-one: {lineage_columns: false}", "line 3: datasets.d-one.lineage"),
        (
            "defaults:\n  lineage_columns: false\n  mode: append\n",
            "line 2: defaults.lineage_columns: can be false only with",
        ),
        ("defaults: {mode: upsert}", "defaults.mode: upsert needs 'key'"),
        ("datasets: {d-one: {columns: {Paid: money}}}", "d-one.columns.Paid.type: 'money' is not a type"),
        ("datasets: {d-one: {columns: {Paid: decimal(18,2)}}}", "between { and } quote it"),
        (
            "datasets:\n  d-one:\n    columns:\n      On: {type: date %d/%m/%y}\n",
            "line 4: datasets.d-one.columns.On.type",
        ),
        (
            "datasets: {d-one: {columns: {Paid: {typ: text}}}}",
            "columns.Paid.typ: is not a known key; the nearest key is 'type'",
        ),
        ("datasets: {d-one: {columns: {Paid: }}}", "columns.Paid: must be a mapping"),
        ("datasets: {d-one: {after_publish: ''}}", "d-one.after_publish"),
        ("datasets: {d-one: {after_publish: {in_transaction: true}}}", "d-one.after_publish.sql: is missing"),
        (
            "datasets: {d-one: {after_publish: {sql: x, when: y}}}",
            "after_publish.when: is not a known key; the keys are sql",
        ),
        ("datasets: {d-one: {table: claims}, d-two: {table: claims}}", "d-one and d-two both go to the table 'claims'"),
        ("datasets: {d-one: {table: claims}, d-two: {table: CLAIMS}}", "d-one and d-two both"),
        ("defaults: {schema: a}\ndatasets: {d-one: {table: b}, d-two: {table: b, schema: A}}", "d-one and d-two both"),
        ("datasets: {d-one: {}, d_two: {table: d_ONE}}", "d-one and d_two both"),
        ("datasets: {d-one: {}, d_one: {}}", "d-one and d_one both"),
        (b"datasets: {d-one: {name: \xff}}", "UTF-8"),
        (b"name: \x01", "YAML"),
        ("[" * 5000, "YAML"),
        ("datasets: {d-one: {adopt: !!bool 7}}", "YAML"),
        ("datasets: {d-one: {min_rows: 0x_}}", "YAML"),
        ("when: !!python/object/apply:os.system [ls]", "line 1"),
        ("datasets: {? [a] : {}}", "line 1: found unhashable key"),
        ("datasets: &all\n  d-one: *all\n", "line 2"),
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


def test_every_fault_is_told_in_the_order_of_its_line(tmp_path: Path) -> None:
    text = "defaults:\n  polcy: freeze\ndatasets:\n  d-one:\n    min_rows: many\n    tabel: a\n  d-two: {mode: no}\n"
    with pytest.raises(ConfigurationError) as caught:
        catalog_of(tmp_path, text)
    assert re.findall(r"line (\d): (\S+):", str(caught.value)) == [
        *(("2", "defaults.polcy"), ("5", "datasets.d-one.min_rows")),
        *(("6", "datasets.d-one.tabel"), ("7", "datasets.d-two.mode")),
    ]


@pytest.mark.parametrize("text", [f"{'k' * 5000}: 1", f"datasets: {{d-one: {{columns: {{a: {'t' * 5000}}}}}}}"])
def test_what_is_long_is_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        catalog_of(tmp_path, text)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 400


def test_an_entry_says_how_its_table_is_written(tmp_path: Path) -> None:
    [dataset] = catalog_of(
        tmp_path,
        """
        defaults: {schema: lake, naming: snake_case, min_rows: 5}
        datasets:
          d-one:
            schema: null
            mode: upsert
            key: [Policy Number, Line]
            policy: evolve
            min_rows: 0
            max_drop_percent: 20
            adopt: true
            columns:
              Paid: decimal(18,2) 1,234.56
              Inception:
                type: date %d/%m/%Y
                description: First day of cover.
              Note: {description: Free text.}
            after_publish: {sql: CALL refresh(), in_transaction: false}
        """,
    ).datasets
    assert (dataset.table_schema, dataset.naming, dataset.mode) == (None, Naming.SNAKE_CASE, WriteMode.UPSERT)
    assert (dataset.key, dataset.policy, dataset.adopt) == (("Policy Number", "Line"), DriftPolicy.EVOLVE, True)
    assert (dataset.min_rows, dataset.max_drop_percent) == (0, 20)
    assert dataset.columns == {
        "Paid": DeclaredColumn(type=ColumnType(Kind.DECIMAL, 18, 2, format="1,234.56")),
        "Inception": DeclaredColumn(type=ColumnType(Kind.DATE, format="%d/%m/%Y"), description="First day of cover."),
        "Note": DeclaredColumn(description="Free text."),
    }
    assert dataset.after_publish == AfterPublish(sql="CALL refresh()", in_transaction=False)


def test_a_statement_alone_is_run_in_the_transaction(tmp_path: Path) -> None:
    [dataset] = catalog_of(tmp_path, "datasets: {d-one: {after_publish: VACUUM}}").datasets
    assert dataset.after_publish == AfterPublish(sql="VACUUM", in_transaction=True)


def test_keys_and_days_are_text_as_they_are_written(tmp_path: Path) -> None:
    headers = ["2024", "007", "1.10", "2024-01-31", "yes", "~", "0x1F", "1:30"]
    columns = "".join(f"\n      {header}: text" for header in headers)
    catalog = catalog_of(tmp_path, f"datasets:\n  123:\n    name: 2024-13-45\n    columns:{columns}\n")
    assert list(catalog.dataset("123").columns) == headers
    assert catalog.dataset("123").name == "2024-13-45"


def test_anchors_and_merges_are_yaml_like_any_other(tmp_path: Path) -> None:
    text = (
        "datasets:\n  d-one: &one\n    owner: me\n    columns: {2024: text}\n  d-two:\n    <<: *one\n    owner: you\n"
    )
    catalog = catalog_of(tmp_path, text)
    assert [(dataset.owner, list(dataset.columns)) for dataset in catalog.datasets] == [
        ("me", ["2024"]),
        ("you", ["2024"]),
    ]


def test_equal_tables_in_two_schemas_are_two_tables(tmp_path: Path) -> None:
    text = "datasets: {d-1: {table: a}, d-2: {table: a, schema: x}, d-3: {table: a, schema: y}}"
    assert len(catalog_of(tmp_path, text).datasets) == 3


def test_a_catalog_that_refuses_unlisted_datasets_says_what_to_do(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, "unlisted: refuse\ndefaults: {mode: upsert}\ndatasets: {d-one: {key: [a]}}")
    assert [catalog.accepts(dataset_id) for dataset_id in ("d-one", "d-two", "../etc")] == [True, False, False]
    assert catalog.dataset("d-one").key == ("a",)
    with pytest.raises(UnlistedDatasetError, match=r"Dataset d-two: .*datasets\.yaml.* List it") as caught:
        catalog.dataset("d-two")
    assert caught.value.dataset_id == "d-two"


def test_a_catalog_that_loads_unlisted_datasets_accepts_every_id(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, "datasets: {d-one: {}}")
    assert [catalog.accepts(dataset_id) for dataset_id in ("d-one", "d-two", "../etc")] == [True, True, False]


def the_dataset(folder: Path, said: str) -> Dataset:
    [dataset] = catalog_of(folder, f"datasets: {{d-one: {{{said}}}}}").datasets
    return dataset


@pytest.mark.parametrize(
    "said",
    [
        "schema: lake",
        "table: other",
        "naming: snake_case",
        "policy: freeze",
        "mode: append",
        "mode: upsert, key: [a]",
        "mode: upsert, key: [b]",
        "lineage_columns: false",
        "empty: replace",
        "columns: {a: text}",
        "columns: {b: text}",
        "columns: {a: date}",
        "columns: {a: date %d/%m/%Y}",
        "columns: {a: date %Y%m%d}",
        "columns: {a: timestamp %Y-%m-%dT%H:%M:%S}",
        "columns: {a: boolean Y/N}",
        "after_publish: VACUUM",
        "after_publish: {sql: VACUUM, in_transaction: false}",
    ],
)
def test_what_decides_how_a_file_becomes_rows_changes_the_rules(tmp_path: Path, said: str) -> None:
    seen = {the_dataset(tmp_path, other).rules for other in ("", said)}
    assert len(seen) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", rules) for rules in seen)


@pytest.mark.parametrize(
    "said",
    [
        *("owner: me", "name: One", "description: All of it.", "show_values: true", "adopt: true", "table: d_one"),
        *("min_rows: 5", "max_drop_percent: 5", "columns: {a: {description: An a.}}", "policy: additive"),
    ],
)
def test_what_decides_nothing_about_rows_leaves_the_rules(tmp_path: Path, said: str) -> None:
    assert the_dataset(tmp_path, said).rules == the_dataset(tmp_path, "").rules


def test_the_rules_stay_the_same_from_release_to_release(tmp_path: Path) -> None:
    said = "table: claims, mode: upsert, key: [a], columns: {b: date %d/%m/%Y, a: text}, after_publish: VACUUM"
    assert the_dataset(tmp_path, said).rules == "0a49c810595ddfce"


@given(st.permutations(["table: claims", "policy: evolve", "owner: me", "columns: {a: date, b: text}"]))
def test_the_rules_do_not_depend_on_the_order_of_keys(said: list[str]) -> None:
    one, other = (yaml.safe_load(f"{{id: d-one, {', '.join(order)}}}") for order in (said, said[::-1]))
    assert Dataset.model_validate(one).rules == Dataset.model_validate(other).rules


GOOD = [
    "{}",
    "unlisted: refuse",
    "defaults: {owner: me, schema: null, min_rows: 0, max_drop_percent: 12.5, mode: append, policy: freeze}",
    "datasets: {d-one: {table: a, key: [b, c], mode: upsert, adopt: true}}",
    "datasets: {d-one: {columns: {a: 'decimal(18,2) 1,234.56', b: {type: date}, c: {description: d}, e: {}}}}",
    "datasets: {d-one: {after_publish: VACUUM}, d-two: {after_publish: {sql: a, in_transaction: false}}}",
    "datasets: {d-one: {after_publish: null, name: null, table: null}}",
]
BAD = [
    "[]",
    "words",
    "tables: {}",
    "unlisted: maybe",
    "defaults: {table: a}",
    "defaults: {naming: camel}",
    "defaults: {policy: null}",
    "defaults: {mode: merge}",
    "defaults: {show_values: 1}",
    "defaults: {show_values: 'true'}",
    "defaults: {min_rows: -1}",
    "defaults: {min_rows: '5'}",
    "defaults: {min_rows: true}",
    "defaults: {max_drop_percent: 100.5}",
    "defaults: {table_schema: a}",
    "datasets: {'../etc': {}}",
    "datasets: {d-one: null}",
    "datasets: {d-one: {id: d-two}}",
    "datasets: {d-one: {tabel: a}}",
    "datasets: {d-one: {name: 5}}",
    "datasets: {d-one: {table: ''}}",
    "datasets: {d-one: {mode: upsert, key: []}}",
    "datasets: {d-one: {mode: upsert, key: [a, a]}}",
    "datasets: {d-one: {mode: upsert, key: a}}",
    "datasets: {d-one: {mode: upsert, key: ['']}}",
    "datasets: {d-one: {columns: {a: null}}}",
    "datasets: {d-one: {columns: {a: ''}}}",
    "datasets: {d-one: {columns: {a: {type: 5}}}}",
    "datasets: {d-one: {columns: [a]}}",
    "datasets: {d-one: {after_publish: ''}}",
    "datasets: {d-one: {after_publish: {in_transaction: true}}}",
    "datasets: {d-one: {after_publish: {sql: a, in_transaction: 'no'}}}",
]


def is_loaded(folder: Path, text: str) -> bool:
    try:
        catalog_of(folder, text)
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize(("text", "good"), [*((text, True) for text in GOOD), *((text, False) for text in BAD)])
def test_schema_and_loader_agree(tmp_path: Path, text: str, good: bool) -> None:
    assert Draft202012Validator(catalog_schema()).is_valid(yaml.safe_load(text)) is good
    assert is_loaded(tmp_path, text) is good


def test_the_published_schema_is_current_and_a_schema() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), "run: make generated"
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_every_key_is_described() -> None:
    schema = catalog_schema()
    parts = [schema, *schema["$defs"].values(), *(d["anyOf"][1] for d in schema["$defs"].values() if "anyOf" in d)]
    keys = [key for part in parts for key in part.get("properties", {}).values()]
    assert len(keys) > 30
    assert all(key["description"].endswith(".") for key in keys)


DOCUMENT = PUBLISHED.with_name("datasets.md").read_text(encoding="utf-8")


def test_the_example_of_the_document_is_a_catalog(tmp_path: Path) -> None:
    [example] = re.findall("```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    catalog = catalog_of(tmp_path, example)
    assert len(catalog.datasets) == 2
    assert Draft202012Validator(catalog_schema()).is_valid(yaml.safe_load(example))


def test_the_document_names_every_key_and_only_types_that_are_some() -> None:
    schema = catalog_schema()
    parts = [schema, schema["$defs"]["Entry"], schema["$defs"]["AfterPublish"]["anyOf"][1]]
    assert all(f"`{key}`" in DOCUMENT for part in parts for key in part["properties"])
    types = re.findall(r"`((?:text|integer|boolean|decimal|date|timestamp)\b[^`]*)`", DOCUMENT)
    assert len(types) > 10
    assert all(parse_type(text) for text in types)


@pytest.mark.parametrize(
    ("url", "other", "is_one"),
    [
        ("sqlite:///x.db", "PAID", True),
        # SQLite compares the case of A to Z alone.
        ("sqlite:///x.db", "pa\u00c9d", False),
        ("postgresql://h/db", "PAID", False),
        ("postgresql://h/db", "paid", True),
        ("mssql://h/db", "PA\u00c9D", True),
    ],
)
def test_tables_are_the_same_where_the_target_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, other: str, is_one: bool
) -> None:
    one = "pa\u00e9d" if "\u00c9" in other else "paid"
    text = json.dumps({"datasets": {"d-a": {"table": one}, "d-b": {"table": other}}})
    (tmp_path / "datasets.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("QT_CATALOG", str(tmp_path / "datasets.yaml"))
    settings = load_settings(warehouse_url=url)
    if is_one:
        with pytest.raises(ConfigurationError, match="both go to the table"):
            catalog_for(settings)
    else:
        assert len(catalog_for(settings).datasets) == 2


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    levels = "\n".join(
        f"  l{number}: &l{number} {{<<: [{', '.join([f'*l{number - 1}'] * 9)}]}}" for number in range(1, 12)
    )
    (tmp_path / "datasets.yaml").write_text(f"x:\n  l0: &l0 {{a: 1, b: 2}}\n{levels}\n")
    with pytest.raises(ConfigurationError, match="aliases expand to more"):
        load_catalog(tmp_path / "datasets.yaml")


def test_lists_of_aliases_are_refused_too(tmp_path: Path) -> None:
    levels = "\n".join(f"l{number}: &l{number} [{', '.join([f'*l{number - 1}'] * 9)}]" for number in range(1, 12))
    (tmp_path / "datasets.yaml").write_text(f"l0: &l0 [a]\n{levels}\n")
    with pytest.raises(ConfigurationError, match="aliases expand to more"):
        load_catalog(tmp_path / "datasets.yaml")
