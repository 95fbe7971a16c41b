"""The documents agree with the project, and each rule finds a page that breaks it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import cast

import pytest
from dotenv import dotenv_values
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from typer.core import TyperGroup

from qt_pipeline.alerting import KINDS, store
from qt_pipeline.catalog import catalog_schema, load_catalog
from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.checks import DESCRIPTIONS
from qt_pipeline.doctor import Area
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.inbox import schema
from qt_pipeline.settings import ENV_FILE_VARIABLE, PROJECT_ROOT, Settings, load_settings
from qt_pipeline.tabular import LOAD_COLUMN, LOADED_AT_COLUMN, ROW_COLUMN
from qt_pipeline.warehouse import ledger
from qt_pipeline_tests import configuration
from qt_pipeline_tests.blocks import fill_blocks
from qt_pipeline_tests.catalog_page import datasets_text
from qt_pipeline_tests.configuration import GROUPS, Group, configuration_text, variable_of
from qt_pipeline_tests.documents import (
    Page,
    anchor_of,
    broken_links,
    markdown_in,
    unknown_names,
    unknown_settings,
    wrong_commands,
    wrong_verbs,
)
from qt_pipeline_tests.generated import GENERATED
from qt_pipeline_tests.operating import command_line

PAGES = markdown_in(PROJECT_ROOT)
SETTINGS = {variable_of(name) for name in Settings.model_fields}
# Read by the tests alone.
OTHER_VARIABLES = {ENV_FILE_VARIABLE, "QT_TEST_MSSQL_URL"}
OWN_NAMES = {
    *(
        table.name
        for metadata in (ledger.metadata, schema.metadata, store.metadata)
        for table in metadata.sorted_tables
    ),
    *(LOAD_COLUMN, ROW_COLUMN, LOADED_AT_COLUMN),
}
OPERATING = PurePosixPath("docs/operating.md")
DECISIONS = PurePosixPath("docs/decisions")
README_LINES = 150
UNITS = sorted((PROJECT_ROOT / "docs" / "systemd").glob("*.service"))


@pytest.fixture(name="program", scope="module")
def _program() -> TyperGroup:
    return command_line()


def verbs() -> set[str]:
    lines = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    return {line.partition(":")[0] for line in lines if ":" in line and line[:1].isalpha()}


def page(text: str, path: str = "docs/page.md") -> Page:
    return Page(PurePosixPath(path), text)


def broken_links_of(text: str) -> list[str]:
    pages = {
        document.path: document
        for document in (page(text), page("# Other page\n\n## A `word` & another\n", "OTHER.md"))
    }
    files = {*pages, PurePosixPath("docs"), PurePosixPath("docs/images/a.png"), PurePosixPath("code.py")}
    return broken_links(pages, files.__contains__)


def test_the_pages_are_found() -> None:
    names = {str(path) for path in PAGES}
    assert {"README.md", "ARCHITECTURE.md", "docs/reliability.md", "qt_pipeline/sandbox/data/README.md"} <= names
    assert not any("node_modules" in name or name.startswith(".") for name in names)
    assert sum(len(document.targets) for document in PAGES.values()) > 50
    assert len(UNITS) == 3


def test_no_link_is_broken() -> None:
    assert broken_links(PAGES, lambda path: (PROJECT_ROOT / path).exists()) == []


@pytest.mark.parametrize(
    "text",
    [
        "[a](../OTHER.md) [b](../OTHER.md#other-page) ![c](images/a.png) [d](../code.py) [e](.)",
        "[a](../OTHER.md#a-word--another)",
        "# Twice\n\n# Twice\n\n[a](#twice) [b](#twice-1) [c](page.md#twice)",
        '<a id="here"></a> <img src="images/a.png"> [a](#here)',
        "[a](https://example.com/x?y=z#w) <https://example.com>",
        "`[a](nowhere.md)`\n\n```\n[a](nowhere.md)\n```",
    ],
)
def test_a_working_link_is_accepted(text: str) -> None:
    assert broken_links_of(text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nowhere.md)", "docs/page.md:1: nowhere.md does not exist"),
        ("[a](OTHER.md)", "does not exist"),
        ("[a](../../OTHER.md)", "does not exist"),
        ("text\n\n[a](../OTHER.md#nothing)", "docs/page.md:3: ../OTHER.md#nothing names a heading that is not there"),
        ("# One\n\n[a](#One)", "not there"),
        ("# Once\n\n[a](#once-1)", "not there"),
        ("[a](../code.py#L1)", "no page"),
        ("![a](images/b.png)", "does not exist"),
        ("![a](../code.py)", "no picture"),
        ('<img src="images/b.png">', "does not exist"),
        ('<picture><source srcset="images/b.svg"></picture>', "does not exist"),
        ("| a |\n|---|\n| [a](nowhere.md) |", "does not exist"),
        ("[a]\n\n[a]: nowhere.md", "does not exist"),
        ("[a](http://example.com)", "no https address"),
        ("[a](https://example)", "no https address"),
        ("[a](ftp://example.com)", "no https address"),
    ],
)
def test_a_broken_link_is_found(text: str, fault: str) -> None:
    [message] = broken_links_of(text)
    assert fault in message


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What is verified", "what-is-verified"),
        ("A queue in front, on Azure", "a-queue-in-front-on-azure"),
        ("The catalog: datasets.yaml", "the-catalog-datasetsyaml"),
        ("Why? (really)", "why-really"),
        ("_qt_loads & more, here", "_qt_loads--more-here"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert anchor_of(heading) == anchor


def test_every_command_in_the_documents_is_valid(program: TyperGroup) -> None:
    assert [fault for document in PAGES.values() for fault in wrong_commands(document, program)] == []
    assert [fault for document in PAGES.values() for fault in wrong_verbs(document, verbs())] == []


@pytest.mark.parametrize(
    "text",
    [
        "`qt-pipeline events --state parked`, `qt-pipeline relay`, `qt-pipeline`, `qt-pipeline --help`",
        "```\n.venv/bin/qt-pipeline load file.csv --dataset-id d-one --dry-run  # a trial\n```",
        "```\nQT_LOG_FORMAT=json qt-pipeline ddl f.csv --dataset-id d-… --login loader | sh\n```",
        "`qt-pipeline replay EVENT`, `qt-pipeline replay 17 18`, `qt-pipeline load`",
        "qt-pipeline nothing, in no code; `/opt/qt-pipeline nothing`, `x-qt-pipeline nothing`",
        "`make test` `make demo ONCE=1`",
    ],
)
def test_a_valid_command_is_accepted(text: str, program: TyperGroup) -> None:
    assert wrong_commands(page(text), program) == []
    assert wrong_verbs(page(text), verbs()) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`qt-pipeline event`", "no such command"),
        ("`qt-pipeline --hlep`", "no option --hlep"),
        ("`qt-pipeline events --sate parked`", "--sate"),
        ("`qt-pipeline events --state parkd`", "parkd"),
        ("`qt-pipeline replay one`", "one"),
        ("`qt-pipeline replay EVENT --all`", "no option --all"),
        ("`qt-pipeline ddl file.csv --dataset-id=d-… --logn=loader`", "no option --logn"),
        ("```\n$ .venv/bin/qt-pipeline load a.csv b.csv --dataset-id d-one\n```", "b.csv"),
        ("`make tests`", "make tests"),
    ],
)
def test_an_invalid_command_is_found(text: str, fault: str, program: TyperGroup) -> None:
    [message] = [*wrong_commands(page(text), program), *wrong_verbs(page(text), verbs())]
    assert fault in message


def test_every_named_setting_table_and_column_exists() -> None:
    settings = SETTINGS | OTHER_VARIABLES
    assert [fault for document in PAGES.values() for fault in unknown_settings(document, settings)] == []
    assert [fault for document in PAGES.values() for fault in unknown_names(document, OWN_NAMES)] == []


def test_an_unknown_setting_table_or_column_is_found() -> None:
    text = "`QT_CLIENT_ID`, `QT_CLIENTID`, QT_fetch_data; `_qt_loads`, `_qt_load`, `_qt_laods`, not_qt_laods"
    assert unknown_settings(page(text), SETTINGS) == ["docs/page.md: QT_CLIENTID"]
    assert unknown_names(page(text), OWN_NAMES) == ["docs/page.md: _qt_laods"]


def statements(document: Page) -> list[str]:
    """The SQL statements of a page that use the project's own tables."""
    inline = [text for _, code in document.code for text in re.findall(r'sqlite3 \S+ "([^"]+)"', code)]
    return [text for text in (*inline, *(block for _, block in document.blocks("sql"))) if "_qt_" in text]


def prepare(statement: str) -> None:
    """Let a database with the project's own tables prepare a statement."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        ledger.metadata.create_all(connection)
        schema.metadata.create_all(connection)
        connection.exec_driver_sql(f"EXPLAIN {statement}")


def test_every_statement_on_own_tables_is_valid() -> None:
    shown = [statement for document in PAGES.values() for statement in statements(document)]
    assert len(shown) > 1
    for statement in shown:
        prepare(statement)


@pytest.mark.parametrize(
    "text", ["```sql\nSELECT rowz FROM _qt_loads\n```", '`sqlite3 a.db "select a from _qt_columns"`']
)
def test_an_invalid_statement_is_found(text: str) -> None:
    [statement] = statements(page(text))
    with pytest.raises(OperationalError, match="no such column"):
        prepare(statement)


def catalogs(document: Page) -> list[str]:
    """The complete catalogs among the examples of a page."""
    return [
        block for _, block in document.blocks("yaml") if block.startswith(("defaults:", "datasets:", "#", "unlisted:"))
    ]


def test_every_example_of_a_catalog_is_valid(tmp_path: Path) -> None:
    examples = [(document.path, text) for document in PAGES.values() for text in catalogs(document)]
    assert len(examples) > 1
    for path, text in examples:
        (tmp_path / "datasets.yaml").write_text(text, encoding="utf-8")
        try:
            load_catalog(tmp_path / "datasets.yaml")
        except ConfigurationError as error:
            pytest.fail(f"{path}: {error}")


def test_an_invalid_example_of_a_catalog_is_found(tmp_path: Path) -> None:
    [text] = catalogs(page("```yaml\ndatasets:\n  d-one: {tabel: a}\n```\n\n```yaml\nother: {}\n```"))
    (tmp_path / "datasets.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="the nearest key is 'table'"):
        load_catalog(tmp_path / "datasets.yaml")


def keys_of(schema: object) -> Iterator[str]:
    """Every key that a JSON Schema allows at any depth."""
    if isinstance(schema, list):
        for part in cast("list[object]", schema):
            yield from keys_of(part)
    elif isinstance(schema, dict):
        fields = cast("dict[str, object]", schema)
        yield from cast("dict[str, object]", fields.get("properties", {}))
        for part in fields.values():
            yield from keys_of(part)


def test_every_catalog_key_is_documented() -> None:
    rows = page(datasets_text()).rows("Keys")
    assert {row[0] for row in rows} == set(keys_of(catalog_schema()))


def test_a_catalog_key_is_documented_with_values_meaning_and_default() -> None:
    rows = {row[0]: row[1:] for row in page(datasets_text()).rows("Keys")}
    assert rows["min_rows"] == ["integer, at least 0", "A file with fewer rows fails the load.", "no guard"]
    assert rows["max_drop_percent"][0] == "number, at least 0, at most 100"
    assert rows["fresh_within_hours"][0] == "number, above 0"
    assert (rows["policy"][0], rows["policy"][2]) == ("additive, evolve, freeze", "additive")
    assert rows["policy"][1].endswith(" Policies.")
    assert (rows["adopt"][0], rows["adopt"][2]) == ("true, false", "false")
    assert (rows["key"][0], rows["sql"][2]) == ("list of headers", "required")
    assert all(meaning for _, meaning, _ in rows.values())


@pytest.mark.parametrize("text", ["# Nothing\n", 2 * "<!-- keys, written by `make generated` --><!-- end of keys -->"])
def test_a_page_without_its_generated_part_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    with pytest.raises(LookupError, match=r"page\.md has [02] blocks"):
        fill_blocks(tmp_path / "page.md", {"keys": "new"})


def test_every_package_is_in_the_architecture() -> None:
    package = PROJECT_ROOT / "qt_pipeline"
    files = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    rows = PAGES[PurePosixPath("ARCHITECTURE.md")].rows("Layers")
    assert {name for row in rows for name in row[1].split(", ")} == files | folders


def test_every_named_module_exists() -> None:
    modules = [f"/{path.relative_to(PROJECT_ROOT).as_posix()}" for path in PROJECT_ROOT.glob("qt_pipeline*/**/*.py")]
    named = {
        (str(document.path), text)
        for document in PAGES.values()
        for _, text in document.code
        if re.fullmatch(r"[\w/]+\.py", text) and "NAME" not in text
    }
    assert len(named) > 80
    assert [entry for entry in sorted(named) if not any(module.endswith(f"/{entry[1]}") for module in modules)] == []


def test_every_file_and_name_of_a_recipe_exists() -> None:
    contributing = PAGES[PurePosixPath("CONTRIBUTING.md")]
    recipes = Page(contributing.path, contributing.text.partition("## Recipes")[2])
    code = {text for _, text in recipes.code}
    files = {text for text in code if text.endswith((".py", ".md", ".toml")) and "NAME" not in text}
    assert len(files) > 30
    roots = (PROJECT_ROOT, PROJECT_ROOT / "qt_pipeline")
    assert [name for name in files if not any((root / name).is_file() for root in roots)] == []
    source = "\n".join(path.read_text("utf-8") for path in (PROJECT_ROOT / "qt_pipeline").rglob("*.py"))
    names = {name for text in code for name in re.findall(r"^(?:\w+\.)?(_?[a-z]+(?:_[a-z]+)+|[A-Z]\w+)$", text)} - {
        "SQL"
    }
    assert len(names) > 20
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


def test_every_decision_is_in_the_index_and_has_its_three_parts() -> None:
    decisions = {path: each for path, each in PAGES.items() if path.parent == DECISIONS and path.name != "README.md"}
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    assert [target.address for target in PAGES[DECISIONS / "README.md"].targets] == [path.name for path in decisions]
    for path, document in decisions.items():
        assert document.text.startswith(f"# {int(path.name[:4])}. "), path
        parts = re.findall(r"^\*\*(\w+)\.\*\* \S", document.text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequence"], path


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_files_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path](), "run: make generated"


def test_every_setting_is_documented_once() -> None:
    settings_page = page(configuration_text())
    variables = [row[0] for group in GROUPS for row in settings_page.rows(group.title)]
    assert sorted(variables) == sorted(SETTINGS)


def test_a_setting_is_documented_with_meaning_default_and_limits() -> None:
    rows = {row[0]: row[1:] for group in GROUPS for row in page(configuration_text()).rows(group.title)}
    assert rows["QT_REQUEST_ATTEMPTS"] == [
        "Attempts of one request before its run fails.",
        "5",
        "at least 1, at most 20",
    ]
    assert rows["QT_READ_TIMEOUT_SECONDS"][1:] == ["60", "above 0, at most 3600"]
    assert rows["QT_LOG_FORMAT"][1:] == ["auto", "auto, json, text"]
    assert rows["QT_ALLOW_UNVERIFIED_LENGTH"][1:] == ["false", "true, false"]
    assert rows["QT_MAX_ROWS"][1:] == ["1_000_000_000", "at least 1"]
    assert rows["QT_RECHECK_DELAYS_MINUTES"][1] == "1,5,15"
    assert rows["QT_INBOX_URL"][1] == "SQLite, inbox.db in the state folder"
    assert rows["QT_CLIENT_ID"][1] == "none"
    secrets = {name for name, (meaning, *_) in rows.items() if meaning.endswith(" Secret.")}
    assert secrets == {"QT_CLIENT_SECRET", "QT_RELAY_TOKENS", "QT_ALERT_URLS"}
    perhaps = {name for name, (meaning, *_) in rows.items() if meaning.endswith(" May hold a secret.")}
    assert {"QT_WAREHOUSE_URL", "QT_INBOX_URL", "QT_LANDING_URL", "QT_RELAY_QUEUE_URL"} <= perhaps
    assert not perhaps & {"QT_CLIENT_ID", "QT_CATALOG", "QT_API_URL"}


def test_a_documented_default_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (row for group in GROUPS for row in page(configuration_text()).rows(group.title))
    # The other defaults are computed, and described.
    shown = {row[0]: row[2] for row in rows if " " not in row[2] or "*" in row[2]}
    values = {name: value for name, value in shown.items() if value != "none"}
    assert len(values) > 25
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(ENV_FILE_VARIABLE, "")
    plain = load_settings()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == plain


@pytest.mark.parametrize("names", [GROUPS[0].settings[1:], (*GROUPS[0].settings, "client_ids"), GROUPS[1].settings])
def test_a_setting_must_be_in_exactly_one_group(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "GROUPS", (Group("First", "", names), *GROUPS[1:]))
    with pytest.raises(LookupError, match="group"):
        configuration_text()


def unknown_in_example(text: str, folder: Path) -> list[str]:
    """Settings that an example of `.env` names, commented out or not, and that do not exist."""
    (folder / "example").write_text(text.replace("\n#QT_", "\nQT_"), encoding="utf-8")
    return sorted(dotenv_values(folder / "example").keys() - SETTINGS)


def test_the_example_of_an_env_file_names_settings_alone(tmp_path: Path) -> None:
    example = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")
    assert "QT_CLIENT_ID=" in example
    assert unknown_in_example(example, tmp_path) == []
    assert unknown_in_example("QT_CLIENT_ID=\n#QT_CLIENTID=a\n# prose\n", tmp_path) == ["QT_CLIENTID"]


def faults_of_unit(text: str, folder: Path) -> str:
    """What systemd says of a unit whose programs are here, and not where the document puts them."""
    analyser = shutil.which("systemd-analyze")
    if analyser is None:
        pytest.skip("systemd-analyze is not installed: units are not verified")
    unit = folder / "qt-test.service"
    unit.write_text(text.replace("/opt/qt_pipeline/.venv/bin", str(Path(sys.executable).parent)), encoding="utf-8")
    done = subprocess.run([analyser, "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    # Of other units of this machine it may have something to say, too.
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if unit.name in line)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_units_start_what_is_installed(path: Path, program: TyperGroup) -> None:
    [command] = [line for line in path.read_text("utf-8").splitlines() if line.startswith("ExecStart=")]
    named, *words = command.removeprefix("ExecStart=").split()
    assert Path(named).parent == Path("/opt/qt_pipeline/.venv/bin")
    assert (Path(sys.executable).parent / Path(named).name).is_file()
    assert wrong_commands(page(f"`{Path(named).name} {' '.join(words)}`"), program) == []
    assert ("-w workspace.yaml" in command) == (Path(named).name != "qt-pipeline")
    if words[0] == "-m":
        assert find_spec(words[1]) is not None


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_units_are_accepted_by_systemd(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert faults_of_unit(text, tmp_path) == ""
    assert "ProtectSytem" in faults_of_unit(text.replace("ProtectSystem", "ProtectSytem"), tmp_path)
    assert "not executable" in faults_of_unit(text.replace("bin/", "bin/no-"), tmp_path)


def first_cells(heading: str) -> list[str]:
    return [row[0] for row in PAGES[OPERATING].rows(heading)]


def test_every_check_area_automation_alert_and_command_is_documented(program: TyperGroup) -> None:
    assert first_cells("Checks") == list(DESCRIPTIONS)
    assert first_cells("What doctor checks") == [area.value for area in Area]
    definitions = build_defs(refresh_cron="0 5 * * *", poll_minutes=15)
    automations = [*(definitions.sensors or ()), *(definitions.schedules or ())]
    assert set(first_cells("Sensors and schedules")) == {automation.name for automation in automations}
    assert {kind.value for kind in KINDS} <= PAGES[OPERATING].anchors
    assert set(program.commands) <= set(first_cells("Commands"))


def test_the_readme_stays_short() -> None:
    assert PAGES[PurePosixPath("README.md")].text.count("\n") <= README_LINES
