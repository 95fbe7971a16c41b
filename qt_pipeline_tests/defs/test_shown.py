"""What Dagster's UI shows of hostile files, catalogs and errors: none of it is Markdown or a control."""

import csv
import io
import json
from collections.abc import Iterable

import dagster as dg
import pytest

from qt_pipeline_tests.defs.local_pipeline import DATASET_ID, LocalPipeline, Run
from qt_pipeline_tests.hostile import HOSTILE, controls, live_markdown

# As Dagster's own UI has it: all else is shown as it stands.
_MARKDOWN = (dg.MarkdownMetadataValue, dg.UrlMetadataValue, dg.PathMetadataValue, dg.NotebookMetadataValue)


def hostile_csv(*lines: Iterable[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([list(line) for line in lines])
    return text.getvalue()


def headers() -> list[str]:
    # A NUL makes no CSV file.
    return list(dict.fromkeys(name.replace("\x00", "") for name in HOSTILE))


def texts_of(value: object) -> list[str]:
    match value:
        case dg.TableMetadataValue():
            return [str(text) for row in value.records for pair in row.data.items() for text in pair]
        case dg.TableColumnLineageMetadataValue() | dg.TableSchemaMetadataValue():
            return [json.dumps(dg.serialize_value(value.value), ensure_ascii=False)]
        case dg.MetadataValue():
            return [str(value.value)]
        case _:
            return [str(value)]


def assert_inert(run: Run) -> None:
    """Nothing that a run has recorded for the UI is alive."""
    checks = run.checks
    materializations = [
        event.step_materialization_data.materialization for event in run.result.get_asset_materialization_events()
    ]
    described = [one.description or "" for one in (*checks, *materializations, *run.observations)]
    assert [found for text in described for found in live_markdown(text)] == []
    recorded = [dict(one.metadata) for one in (*checks, *materializations, *run.observations)]
    recorded += [dict(run.failure.metadata)] if not run.success else []
    assert recorded
    for metadata in recorded:
        assert [name for name, value in metadata.items() if isinstance(value, _MARKDOWN)] == []
        texts = [*metadata, *(text for value in metadata.values() for text in texts_of(value))]
        assert [found for text in texts for found in controls(text)] == []
    if not run.success:
        assert controls(run.failure.description or "") == []
    assert [found for value in run.tags.values() for found in controls(value)] == []
    logged = [entry.user_message for entry in run.instance.all_logs(run.id) if not entry.is_dagster_event]
    assert [found for text in logged for found in controls(text)] == []


def catalog(pipeline: LocalPipeline, **entry: object) -> None:
    printable = [text for text in HOSTILE if text.isprintable()]
    said = {"table": "claims", "name": printable[0], "owner": printable[1], "show_values": True, **entry}
    # Some hostile headers look like a file with another separator.
    said = {"first_line_is_header": True, **said}
    pipeline.write_catalog(json.dumps({"datasets": {DATASET_ID: said}}))


def test_hostile_headers_and_values_are_inert(pipeline: LocalPipeline, capfd: pytest.CaptureFixture[str]) -> None:
    names = headers()
    described = {name: {"description": name} for name in names if name.isprintable()}
    catalog(pipeline, policy="evolve", columns=described)
    pipeline.serve(hostile_csv(["Ref", *names], ["1", *names]))
    first = pipeline.run()
    assert first.success, first.failure.description
    assert_inert(first)
    # Every change of columns is a warning, and names its column.
    pipeline.serve(hostile_csv(["Ref", *(f"{name} too" for name in names)], ["1", *names]))
    second = pipeline.run()
    assert second.success
    assert len(second.metadata(dg.AssetKey(["warehouse", "table"]))["warnings"]) >= len(names)
    assert_inert(second)
    printed = "".join(capfd.readouterr())
    assert set(printed) & set("\x1b\x9b\x9d\u202e\x08") == set()


@pytest.mark.parametrize("first", range(0, len(headers()), 6))
def test_an_error_about_hostile_headers_is_inert(pipeline: LocalPipeline, first: int) -> None:
    names = headers()[first : first + 6]
    catalog(pipeline)
    pipeline.serve(hostile_csv(["Ref", *names], ["1", *("2" for _ in names)]))
    assert pipeline.run().success
    pipeline.serve(hostile_csv(["Ref", *names], ["1", *(name or "x" for name in names)]))
    wrong_values = pipeline.run()
    assert not wrong_values.success
    assert_inert(wrong_values)
    for listed in (pipeline.folder / "landing" / DATASET_ID).glob(f"*/invalid-values-{wrong_values.id}.csv"):
        cells = [cell for line in csv.reader(listed.read_text().splitlines()) for cell in line]
        assert [cell for cell in cells if cell[:1] in tuple("=+-@")] == []
    pipeline.serve("Ref\n1\n")
    missing = pipeline.run()
    assert not missing.success
    assert_inert(missing)
