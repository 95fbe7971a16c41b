import json
from pathlib import Path

import dagster as dg
import pytest

from qt_pipeline.catalog import load_catalog
from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.assets import DATASET, EVENTS, SOURCE, TABLE
from qt_pipeline_tests.hostile import HOSTILE, as_read, live_markdown

CATALOG = """
defaults: {owner: claims@example.com, schema: bordereaux}
datasets:
  d-one: {name: "Premium | monthly", table: premium, owner: "team:pricing", description: "All\\n<b>premiums</b>."}
  d-two: {owner: Jo from the third floor}
  d-three: {}
"""


def spec(folder: Path, key: dg.AssetKey, catalog: str = CATALOG, backend: str = "mssql") -> dg.AssetSpec:
    path = folder / "datasets.yaml"
    path.write_text(catalog)
    defs = build_defs(catalog=load_catalog(path), backend=backend)
    return next(found for found in defs.resolve_all_asset_specs() if found.key == key)


@pytest.mark.parametrize("key", [SOURCE.key, DATASET, TABLE])
def test_an_asset_shows_who_answers_for_its_datasets_as_far_as_dagster_can(tmp_path: Path, key: dg.AssetKey) -> None:
    assert spec(tmp_path, key).owners == ["claims@example.com", "team:pricing"]


def test_an_asset_lists_its_datasets_by_name_id_table_and_owner(tmp_path: Path) -> None:
    lines = (spec(tmp_path, TABLE).description or "").splitlines()
    assert lines[0].startswith("The dataset as a SQL table")
    assert r"| Premium \| monthly |" in lines[4]
    assert list(map(as_read, lines[2:])) == [
        "| dataset | id (the partition) | table | owner | description |",
        "|---|---|---|---|---|",
        "| Premium | monthly | `d-one` | bordereaux.premium | team:pricing | All <b>premiums</b>. |",
        "| d_two | `d-two` | bordereaux.d_two | Jo from the third floor |  |",
        "| d_three | `d-three` | bordereaux.d_three | claims@example.com |  |",
    ]


def test_nothing_of_a_hostile_catalog_is_alive_in_the_description_of_an_asset(tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if text.isprintable()]
    entries = {
        f"d-{n}": {**dict.fromkeys(("name", "owner", "description"), t), "table": f"t{n}"} for n, t in enumerate(texts)
    }
    for key in (SOURCE.key, DATASET, TABLE):
        shown = spec(tmp_path, key, json.dumps({"datasets": entries}))
        assert live_markdown(shown.description or "") == []


def test_a_long_list_is_cut_and_an_empty_one_says_what_happens(tmp_path: Path) -> None:
    many = "datasets: {" + ", ".join(f"d-{n}: {{}}" for n in range(250)) + "}"
    assert (spec(tmp_path, TABLE, many).description or "").endswith("... and 50 more.")
    assert "is named after its id" in (spec(tmp_path, TABLE, "{}").description or "")


@pytest.mark.parametrize(("backend", "kind"), [("mssql", "sqlserver"), ("sqlite", "sqlite"), ("duckdb", "duckdb")])
def test_the_table_shows_the_kind_of_its_target(tmp_path: Path, backend: str, kind: str) -> None:
    assert spec(tmp_path, TABLE, backend=backend).kinds == {kind}
    assert spec(tmp_path, DATASET, backend=backend).kinds == {"quantemplate", "csv"}


def test_what_is_no_dataset_stays_as_it_is(tmp_path: Path) -> None:
    assert spec(tmp_path, EVENTS.key).description == EVENTS.description
