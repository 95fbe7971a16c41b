"""The shortest form of the whole, with nothing but what an installation has: `python qt_pipeline_tests/short_form.py`.

Loads a file into SQLite by the command line, lets the relay take an event over HTTP, and lets Dagster load the
definitions, imports every module, and makes the dialects of the servers. Run by `test_lowest` with the oldest releases
of all dependencies.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import requests

_EVENT = {"id": "e-1", "name": "DatasetUpdated", "payload": {"datasetId": "d-one", "eventName": "DatasetUpdated"}}
_PORT = re.compile(r"listens on 127\.0\.0\.1 port (\d+)")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "QT_WAREHOUSE_URL": f"sqlite:///{folder / 'warehouse.db'}",
            "QT_INBOX_URL": f"sqlite:///{folder / 'inbox.db'}",
            "QT_LANDING_URL": (folder / "landing").as_uri(),
            "QT_CATALOG": "",
            "QT_ENV_FILE": "",
            "DAGSTER_HOME": str(folder),
        }
        _load(folder, environment)
        _relay(environment)
        _definitions(environment)
        _modules(environment)


def _load(folder: Path, environment: dict[str, str]) -> None:
    file = folder / "claims.csv"
    file.write_bytes(b"Name,Paid,Day\r\nAnn,1.50,2026-01-31\r\nBob,,\r\n")
    for _ in range(2):
        _run(["-m", "qt_pipeline", "load", str(file), "--dataset-id", "d-one"], environment)
        file.write_bytes(file.read_bytes() + b"Cleo,123456789012345678.25,\r\n")
    sql = "SELECT Name, CAST(Paid AS TEXT), Day FROM 'd_one' ORDER BY _qt_row"
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())"
    found = _run(["-c", code, str(folder / "warehouse.db"), sql], environment)
    expected = [("Ann", "1.50", "2026-01-31"), ("Bob", None, None), ("Cleo", "123456789012345678.25", None)]
    assert found.strip() == str(expected), found


def _relay(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "qt_pipeline", "relay", "--port", "0", "--metrics-port", "0"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ) as relay:
        try:
            assert relay.stdout is not None
            port = next(found[1] for line in relay.stdout if (found := _PORT.search(line)))
            answer = requests.post(f"http://127.0.0.1:{port}/webhooks/quantemplate", json=_EVENT, timeout=30)
            assert answer.status_code == requests.codes.accepted, answer.text
        finally:
            relay.terminate()
    assert "1 pending" in _run(["-m", "qt_pipeline", "events"], environment)


def _definitions(environment: dict[str, str]) -> None:
    code = (
        "from qt_pipeline.definitions import defs\n"
        "repository = defs().get_repository_def()\n"
        "print(sorted(sensor.name for sensor in repository.sensor_defs))"
    )
    assert "quantemplate_events" in _run(["-c", code], environment)


def _modules(environment: dict[str, str]) -> None:
    code = (
        "import importlib, pkgutil, qt_pipeline\n"
        "for module in pkgutil.walk_packages(qt_pipeline.__path__, 'qt_pipeline.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "from qt_pipeline.warehouse import open_warehouse\n"
        "for url in ('mssql://u@127.0.0.1/d', 'postgresql://u@127.0.0.1/d'):\n"
        "    print(open_warehouse(url, prepare=False).max_name_bytes)\n"
    )
    assert _run(["-c", code], environment).split() == ["128", "63"]


def _run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    main()
