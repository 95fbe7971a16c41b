"""What can be looked at without leaving this machine: settings, catalog, Python and its drivers, addresses of alerts.

Here: these checks. Not here: anything that answers over a network (see vendor, storage, services).
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
    "Install unixODBC (libodbc2 on Debian) and Microsoft's ODBC driver, or begin the URL with mssql+mssqlpython://, "
    "which needs neither."
)
_SERVICES = "https://github.com/caronc/apprise/wiki"


def settings(case: CheckContext) -> Iterator[Finding]:
    """Each fault of the settings by name, variables that nobody reads, and the file."""
    survey = case.report
    yield from _file(survey)
    yield from _state(survey.settings.state_dir)
    for variable, reason in survey.faults.items():
        where = "the environment" if variable in survey.in_environment else str(survey.file)
        hint = f"Correct it in {where}."
        yield Finding(Area.SETTINGS, variable, FindingState.FAILURE, f"{_sentence(reason)}", hint)
    for variable, near in survey.unknown.items():
        where = str(survey.file) if variable in survey.in_file else "the environment"
        hint = f"If {near} is meant, call it so in {where}." if near else f"Take it out of {where}."
        yield Finding(Area.SETTINGS, variable, FindingState.WARNING, "Nothing reads this variable.", hint)


def _file(survey: SettingsReport) -> Iterator[Finding]:
    file = survey.file
    if file is None:
        yield Finding(Area.SETTINGS, ENV_FILE_VARIABLE, FindingState.OK, "It is empty: no file of settings is read.")
        return
    subject = str(file)
    if not file.is_file():
        yield _no_file(survey, file)
        return
    if subject in survey.faults:
        return
    if (mode := file.stat().st_mode & 0o777) & _OTHERS:
        found = f"Others on this machine may read it (mode {mode:03o}), and it holds secrets."
        yield Finding(Area.SETTINGS, subject, FindingState.WARNING, found, f"Run: chmod 600 {subject}")
    text = file.read_text(encoding="utf-8")
    for line in _LINE_WITHOUT_VALUE.finditer(text):
        number = text.count("\n", 0, line.start(1)) + 1
        found = f"{line[1]} on line {number} has no value."
        yield Finding(
            Area.SETTINGS, subject, FindingState.WARNING, found, f"Write {line[1]}=… there, or take the line out."
        )
    present = read_env_file(file)
    for variable in (name for name in _OF_LIBRARIES if name in present):
        found = "A library reads this variable, from the environment alone and not from this file."
        hint = f"Set it in the environment, and take it out of {subject}."
        yield Finding(Area.SETTINGS, variable, FindingState.WARNING, found, hint)
    count = len(survey.in_file)
    yield Finding(
        Area.SETTINGS, subject, FindingState.OK, f"It sets {count} variable{'' if count == 1 else 's'} of this project."
    )


def _state(folder: Path) -> Iterator[Finding]:
    mode = mode_for_others(folder)
    if mode is None:
        # Nobody else reaches what is in it, either.
        return
    found = f"Others on this machine may read it (mode {mode:03o}), and it holds rows and secrets."
    yield Finding(
        Area.SETTINGS, str(folder), FindingState.WARNING, found, f"Run: chmod -R go= {shlex.quote(str(folder))}"
    )


def _no_file(survey: SettingsReport, file: Path) -> Finding:
    subject = str(file)
    if file.exists():
        return Finding(
            Area.SETTINGS, subject, FindingState.FAILURE, "It is no file.", "Put a file of settings in its place."
        )
    if ENV_FILE_VARIABLE in survey.in_environment:
        hint = f"Correct or unset {ENV_FILE_VARIABLE}."
        return Finding(
            Area.SETTINGS, subject, FindingState.FAILURE, f"{ENV_FILE_VARIABLE} names it, and it is not there.", hint
        )
    if survey.settings.missing_credentials:
        hint = "Run `qt-pipeline init`, which asks for what is needed and writes it."
        return Finding(Area.SETTINGS, subject, FindingState.WARNING, "There is no such file yet.", hint)
    return Finding(
        Area.SETTINGS, subject, FindingState.OK, "There is no such file: the environment says all that is needed."
    )


def catalog(survey: SettingsReport) -> tuple[Catalog | None, Finding]:
    """The catalog, or None, and what is to be said of it."""
    file = survey.settings.catalog
    subject = str(file)
    try:
        found = catalog_for(survey.settings)
    except ConfigurationError as error:
        return None, Finding.of_error(Area.CATALOG, subject, error)
    if not file.exists():
        words = "There is none: every dataset goes to a table that is named like its id."
    else:
        count = len(found.datasets)
        words = f"It lists {count} dataset{'' if count == 1 else 's'}."
    return found, Finding(Area.CATALOG, subject, FindingState.OK, words)


def machine(case: CheckContext) -> Iterator[Finding]:
    """Python, the libraries that matter, and the drivers of the databases."""
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    python = f"Python {platform.python_version()}"
    yield Finding(Area.MACHINE, python, FindingState.OK, f"{versions}.")
    for name in ("warehouse_url", "inbox_url"):
        if f"QT_{name.upper()}" not in case.report.faults and (fault := driver_fault(getattr(case.settings, name))):
            yield Finding(Area.MACHINE, f"driver for QT_{name.upper()}", FindingState.FAILURE, *fault)


def driver_fault(url: str) -> tuple[str, str] | None:
    """What is missing for a database at `url`, and what to do about it; None if nothing is."""
    parsed = _with_driver(make_url(url))
    name = parsed.drivername
    try:
        module: Any = parsed.get_dialect().import_dbapi()
    except NoSuchModuleError:
        return (
            f"There is no dialect {name}.",
            "Install it, or begin the URL with postgresql://, mssql:// or sqlite:///.",
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
        "Install it, or name one in the URL that is: `odbcinst -q -d`.",
    )


def _native_fault(mssql_python: Any) -> tuple[str, str] | None:  # noqa: ANN401  # half typed
    """What is missing for the library that mssql-python loads with its first connection alone."""
    path = mssql_python.get_native_provider_info()["driver_path"]
    if path is None:
        return None
    try:
        ctypes.CDLL(path)
    except OSError as error:
        return f"The driver of mssql-python cannot be loaded: {error}.", MSSQL_DRIVER_HINT
    return None


def _with_driver(url: URL) -> URL:
    """The URL with the driver that this project uses where it names none."""
    match url.get_backend_name():
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case "mssql" if "+" not in url.drivername:
            return url.set(drivername="mssql+mssqlpython")
        case _:
            return url


def alerts(case: CheckContext) -> Iterator[Finding]:
    """Whether each address of alerts is one that Apprise understands. Nothing is sent."""
    urls = case.settings.alert_urls
    if not urls:
        hint = f"Set QT_ALERT_URLS ({_SERVICES} has the addresses); `qt-pipeline alert --test` tries it."
        yield Finding(
            Area.ALERTS, "QT_ALERT_URLS", FindingState.WARNING, "It is not set: nobody is told of failures.", hint
        )
    for number, url in enumerate(urls, start=1):
        with _apprise_silent():
            service = _service(url.get_secret_value())
        subject = f"QT_ALERT_URLS, address {number}"
        if service is None:
            hint = f"Write it as Apprise has it: {_SERVICES}."
            yield Finding(Area.ALERTS, subject, FindingState.FAILURE, "Apprise does not understand it.", hint)
        else:
            yield Finding(
                Area.ALERTS, subject, FindingState.OK, f"It is one of {service.service_name}; nothing was sent."
            )


def _service(url: str) -> Any:  # noqa: ANN401  # half typed
    # Every command would wait for it.
    from apprise import Apprise  # noqa: PLC0415

    return cast("Any", Apprise).instantiate(url)


@contextmanager
def _apprise_silent() -> Generator[None]:
    # It would show the address, which is a secret.
    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."
