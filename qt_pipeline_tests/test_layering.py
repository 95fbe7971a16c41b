import subprocess
import sys
from pathlib import Path

import pytest

from qt_pipeline_tests.layers import LAYER_OF, PACKAGE, Module, violations

ROOT = Path(__file__).parent.parent


def all_modules() -> list[Module]:
    modules: list[Module] = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        modules.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package))
    return modules


def test_every_package_imports_only_lower_layers() -> None:
    modules = all_modules()
    assert len(modules) > 60
    assert {module.package for module in modules} - {""} <= set(LAYER_OF)
    assert violations(modules) == []


ERRORS = Module("qt_pipeline.errors", "")
VALUES = Module("qt_pipeline.values", "")
WAREHOUSE = Module("qt_pipeline.warehouse", "from qt_pipeline.warehouse.verify import Totals", is_package=True)
VERIFY = Module("qt_pipeline.warehouse.verify", "Totals = 1")


@pytest.mark.parametrize(
    ("name", "source", "violation"),
    [
        ("landing", "from qt_pipeline.warehouse import Totals", "imports qt_pipeline.warehouse"),
        ("landing", "import qt_pipeline.warehouse.verify", "imports qt_pipeline.warehouse.verify"),
        ("landing", "from qt_pipeline import warehouse", "imports qt_pipeline.warehouse"),
        ("landing", "from . import warehouse", "imports qt_pipeline.warehouse"),
        ("landing", "def late():\n    from .warehouse.verify import Totals", "imports qt_pipeline.warehouse.verify"),
        ("inbox", "from qt_pipeline.warehouse import Totals", "in no lower layer"),
        ("errors", "from qt_pipeline import values", "in no lower layer"),
        ("unknown", "", "is in no layer"),
        ("ingest", "import dagster as dg", "imports Dagster"),
        ("cli", "from dagster_azure.blob import x", "imports Dagster"),
        ("demo", "if x:\n    import dagster._core", "imports Dagster"),
        ("defs.assets", "from qt_pipeline.sandbox import SandboxServer", "imports the sandbox"),
        ("landing", "import os\nx = os.environ", "reads the environment"),
        ("landing", "from os import environ", "reads the environment"),
        ("landing", "import os\nx = os.getenv('A')", "reads the environment"),
        ("cli", "import os\nx = os.environ['A']", "reads the environment"),
        ("cli", "import os\nx = os.environ.get('A')", "reads the environment"),
        ("cli", "import os\nx = os.getenv('A')", "reads the environment"),
        ("warehouse.verify", "from qt_pipeline.warehouse import Totals", "import cycle"),
    ],
)
def test_a_violation_is_reported(name: str, source: str, violation: str) -> None:
    violation_module = Module(f"{PACKAGE}.{name}", source)
    others = [module for module in (ERRORS, VALUES, WAREHOUSE, VERIFY) if module.name != violation_module.name]
    assert any(violation in message for message in violations([*others, violation_module]))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("warehouse.publish", "from qt_pipeline.errors import x\nfrom qt_pipeline.warehouse.verify import Totals"),
        ("ingest", "from qt_pipeline import errors, warehouse"),
        ("cli", "import os\nfrom qt_pipeline.sandbox import serve\nrun(env={**os.environ, 'A': 'b'})"),
        ("demo", "import os\nx = os.environ.copy()\ny = dict(os.environ)\nz = os.environ | {}"),
        ("settings", "import os\nx = os.environ['A']"),
        ("defs.sensors", "import dagster as dg\nfrom qt_pipeline.ingest import missing"),
    ],
)
def test_allowed_imports_are_no_violation(name: str, source: str) -> None:
    assert violations([ERRORS, WAREHOUSE, VERIFY, Module(f"{PACKAGE}.{name}", source)]) == []


# Raises on side effects, and on opening any file of the project other than its code and installed packages.
IMPORT_ALL = """
import importlib, os, sys

root, modules = sys.argv[1], sys.argv[2:]
FORBIDDEN = (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.exec",
    "os.fork", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "sqlite3.connect", "shutil.rmtree",
)
CODE = tuple(os.path.join(root, folder) + os.sep for folder in ("qt_pipeline", ".venv"))

def watch(event, args):
    if event in FORBIDDEN:
        raise RuntimeError(f"{event} {args}")
    if event == "open" and isinstance(args[0], str):
        path, writes = os.path.abspath(args[0]), args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes and path != os.devnull) or (path.startswith(root + os.sep) and not path.startswith(CODE)):
            raise RuntimeError(f"opens {path}")

sys.addaudithook(watch)
for module in modules:
    importlib.import_module(module)
print(len(modules))
"""


def import_all(modules: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL, str(ROOT), *modules],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_importing_any_module_touches_neither_network_nor_files(tmp_path: Path) -> None:
    names = [module.name for module in all_modules() if module.package != "__main__"]
    done = import_all(names, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(len(names))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "open('trace', 'w')",
        "import sqlite3; sqlite3.connect('trace.db')",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        f"open({str(ROOT / 'pyproject.toml')!r})",
    ],
)
def test_an_import_with_a_side_effect_is_detected(tmp_path: Path, source: str) -> None:
    (tmp_path / "busy.py").write_text(source)
    done = import_all(["busy"], tmp_path)
    assert done.returncode != 0
    assert "RuntimeError" in done.stderr
