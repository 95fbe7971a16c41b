"""Local checks: settings, catalog, Python, database drivers and alert addresses.

Here: these checks. Not here: checks over a network (see vendor, storage, services).
"""

import ctypes
import logging
import platform
import re
import shlex
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, make_url
from sqlalchemy.exc import NoSuchModuleError

from qt_pipeline.catalog import Catalog, catalog_for
from qt_pipeline.database import MSSQL_DRIVER_HINT
from qt_pipeline.doctor.check import CheckContext
from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.env_file import read_env_file
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.private import mode_for_others
from qt_pipeline.settings import ENV_FILE_VARIABLE, SettingsReport

_OTHERS = 0o077
_LINE_WITHOUT_VALUE = re.compile(r"^[ \t]*(?:export[ \t]+)?(QT_\w+)[ \t]*(?![\w \t=])", re.MULTILINE)
# See "Read by the libraries underneath" in docs/configuration.md.
_OF_LIBRARIES = ("HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "MSSQL_PYTHON_NATIVE_PROVIDER")
_VERSIONS = ("qt-pipeline", "dagster", "SQLAlchemy", "pyarrow")
_NO_ODBC = (
    "Install unixODBC (libodbc2 on Debian) and Microsoft's ODBC driver, or start the URL with mssql+mssqlpython://, "
    "which needs neither."
)
_SERVICES = "https://github.com/caronc/apprise/wiki"


def settings(context: CheckContext) -> Iterator[Finding]:
    """Check the settings: invalid values, unknown variables, and the settings file."""
    report = context.report
    yield from _file(report)
    yield from _state(report.settings.state_dir)
    for variable, reason in report.faults.items():
        where = "the environment" if variable in report.in_environment else str(report.file)
        hint = f"Correct it in {where}."
        yield Finding(Area.SETTINGS, variable, FindingState.FAILURE, f"{_sentence(reason)}", hint)
    for variable, near in report.unknown.items():
        where = str(report.file) if variable in report.in_file else "the environment"
        hint = f"If you mean {near}, rename it in {where}." if near else f"Remove it from {where}."
        yield Finding(Area.SETTINGS, variable, FindingState.WARNING, "Unknown setting.", hint)


def _file(report: SettingsReport) -> Iterator[Finding]:
    file = report.file
    if file is None:
        yield Finding(Area.SETTINGS, ENV_FILE_VARIABLE, FindingState.OK, "It is empty: no settings file is read.")
        return
    subject = str(file)
    if not file.is_file():
        yield _no_file(report, file)
        return
    if subject in report.faults:
        return
    if (mode := file.stat().st_mode & 0o777) & _OTHERS:
        found = f"Other users of this machine can read it (mode {mode:03o}), and it contains secrets."
        yield Finding(Area.SETTINGS, subject, FindingState.WARNING, found, f"Run: chmod 600 {subject}")
    text = file.read_text(encoding="utf-8")
    for line in _LINE_WITHOUT_VALUE.finditer(text):
        number = text.count("\n", 0, line.start(1)) + 1
        found = f"{line[1]} on line {number} has no value."
        yield Finding(
            Area.SETTINGS, subject, FindingState.WARNING, found, f"Write {line[1]}=… there, or remove the line."
        )
    present = read_env_file(file)
    for variable in (name for name in _OF_LIBRARIES if name in present):
        found = "A library reads this variable only from the environment, not from this file."
        hint = f"Set it in the environment, and remove it from {subject}."
        yield Finding(Area.SETTINGS, variable, FindingState.WARNING, found, hint)
    count = len(report.in_file)
    yield Finding(
        Area.SETTINGS, subject, FindingState.OK, f"It sets {count} variable{'' if count == 1 else 's'} of this project."
    )


def _state(folder: Path) -> Iterator[Finding]:
    mode = mode_for_others(folder)
    if mode is None:
        # Without access to the folder, other users cannot reach its files.
        return
    found = f"Other users of this machine can read it (mode {mode:03o}), and it contains rows and secrets."
    yield Finding(
        Area.SETTINGS, str(folder), FindingState.WARNING, found, f"Run: chmod -R go= {shlex.quote(str(folder))}"
    )


def _no_file(report: SettingsReport, file: Path) -> Finding:
    subject = str(file)
    if file.exists():
        return Finding(
            Area.SETTINGS, subject, FindingState.FAILURE, "Not a regular file.", "Replace it with a settings file."
        )
    if ENV_FILE_VARIABLE in report.in_environment:
        hint = f"Correct or unset {ENV_FILE_VARIABLE}."
        return Finding(
            Area.SETTINGS, subject, FindingState.FAILURE, f"{ENV_FILE_VARIABLE} names it, but it does not exist.", hint
        )
    if report.settings.missing_credentials:
        hint = "Run `qt-pipeline init`, which asks for the settings and writes them."
        return Finding(Area.SETTINGS, subject, FindingState.WARNING, "The file does not exist yet.", hint)
    return Finding(
        Area.SETTINGS, subject, FindingState.OK, "The file does not exist: the environment has all required settings."
    )


def catalog(report: SettingsReport) -> tuple[Catalog | None, Finding]:
    """The catalog, or None, and its finding."""
    file = report.settings.catalog
    subject = str(file)
    try:
        found = catalog_for(report.settings)
    except ConfigurationError as error:
        return None, Finding.of_error(Area.CATALOG, subject, error)
    if not file.exists():
        message = "There is none: each dataset's table is named after its id."
    else:
        count = len(found.datasets)
        message = f"It lists {count} dataset{'' if count == 1 else 's'}."
    return found, Finding(Area.CATALOG, subject, FindingState.OK, message)


def machine(context: CheckContext) -> Iterator[Finding]:
    """Check Python, library versions and database drivers."""
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    python = f"Python {platform.python_version()}"
    yield Finding(Area.MACHINE, python, FindingState.OK, f"{versions}.")
    for name in ("warehouse_url", "inbox_url"):
        if f"QT_{name.upper()}" not in context.report.faults and (
            fault := driver_fault(getattr(context.settings, name))
        ):
            yield Finding(Area.MACHINE, f"driver for QT_{name.upper()}", FindingState.FAILURE, *fault)


def driver_fault(url: str) -> tuple[str, str] | None:
    """What is missing for a database at `url`, and the fix; None if nothing is missing."""
    parsed = _with_driver(make_url(url))
    name = parsed.drivername
    try:
        module: Any = parsed.get_dialect().import_dbapi()
    except NoSuchModuleError:
        return (
            f"There is no dialect {name}.",
            "Install it, or start the URL with postgresql://, mssql:// or sqlite:///.",
        )
    except ImportError:
        if name == "mssql+pyodbc":
            return "The driver pyodbc cannot be loaded: the system has no ODBC manager.", _NO_ODBC
        return f"The driver of {name}:// cannot be loaded.", "Install it into the environment of qt-pipeline."
    match name:
        case "mssql+mssqlpython":
            return _native_fault(module)
        case "mssql+pyodbc" if "odbc_connect" not in parsed.query:
            return _odbc_fault(module, str(parsed.query.get("driver", "ODBC Driver 18 for SQL Server")))
        case _:
            return None


def _odbc_fault(pyodbc: Any, wanted: str) -> tuple[str, str] | None:  # noqa: ANN401  # half typed
    if wanted in cast("list[str]", pyodbc.drivers()):
        return None
    return (
        f"The ODBC driver {wanted!r} is not installed.",
        "Install it, or name an installed one in the URL: `odbcinst -q -d` lists them.",
    )


def _native_fault(mssql_python: Any) -> tuple[str, str] | None:  # noqa: ANN401  # half typed
    """Check the native library that mssql-python loads only with its first connection."""
    path = mssql_python.get_native_provider_info()["driver_path"]
    if path is None:
        return None
    try:
        ctypes.CDLL(path)
    except OSError as error:
        return f"The driver of mssql-python cannot be loaded: {error}.", MSSQL_DRIVER_HINT
    return None


def _with_driver(url: URL) -> URL:
    """The URL with this project's default driver, if it names none."""
    match url.get_backend_name():
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case "mssql" if "+" not in url.drivername:
            return url.set(drivername="mssql+mssqlpython")
        case _:
            return url


def alerts(context: CheckContext) -> Iterator[Finding]:
    """Check that Apprise recognizes each alert address. Sends nothing."""
    urls = context.settings.alert_urls
    if not urls:
        hint = f"Set QT_ALERT_URLS ({_SERVICES} lists the addresses); `qt-pipeline alert --test` tests it."
        yield Finding(Area.ALERTS, "QT_ALERT_URLS", FindingState.WARNING, "Not set: no alerts are sent.", hint)
    for number, url in enumerate(urls, start=1):
        with _apprise_silent():
            service = _service(url.get_secret_value())
        subject = f"QT_ALERT_URLS, address {number}"
        if service is None:
            hint = f"Write it in Apprise's format: {_SERVICES}."
            yield Finding(Area.ALERTS, subject, FindingState.FAILURE, "Apprise does not recognize it.", hint)
        else:
            yield Finding(
                Area.ALERTS, subject, FindingState.OK, f"It is an address of {service.service_name}; nothing was sent."
            )


def _service(url: str) -> Any:  # noqa: ANN401  # half typed
    # The import would delay every command.
    from apprise import Apprise  # noqa: PLC0415

    return cast("Any", Apprise).instantiate(url)


@contextmanager
def _apprise_silent() -> Generator[None]:
    # Its log would show the address, which is a secret.
    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."
