"""What importing the code may do. Which package may import which is held by `make lint` (see pyproject.toml)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

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


def module_names() -> list[str]:
    paths = (path.relative_to(ROOT).with_suffix("").parts for path in sorted((ROOT / "qt_pipeline").rglob("*.py")))
    return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in paths]


def test_importing_any_module_touches_neither_network_nor_files(tmp_path: Path) -> None:
    names = [name for name in module_names() if name != "qt_pipeline.__main__"]
    assert len(names) > 100
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
