"""docs/configuration.md, generated from the settings by `python -m qt_pipeline_tests.generated`.

Here: the groups of settings, and how a field becomes a row of a table.
Not here: the meaning, default and limits of a setting (see `qt_pipeline/settings.py`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from qt_pipeline.settings import ENV_FILE_VARIABLE, PROJECT_ROOT, Settings

CONFIGURATION = PROJECT_ROOT / "docs" / "configuration.md"

_PREFIX = "QT_"
_DEFAULT = " Default: "
_READABLE_UP_TO = 99_999


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that belong together, under one heading."""

    title: str
    about: str
    settings: tuple[str, ...]


GROUPS = (
    Group(
        "Quantemplate",
        "The API and its user. The first three are required for downloads; everything else works without them.",
        ("client_id", "client_secret", "organisation_id", "api_url", "token_url"),
    ),
    Group(
        "Target database",
        "Where the tables are, see [target databases](targets.md) and [the catalog](datasets.md).",
        ("warehouse_url", "warehouse_schema", "staging_schema", "catalog"),
    ),
    Group(
        "Landing",
        "Where every downloaded file is kept unchanged. A URL is one of "
        "[fsspec](https://filesystem-spec.readthedocs.io/en/latest/api.html#implementations).",
        ("landing_url", "state_dir"),
    ),
    Group(
        "Inbox and relay",
        "Where events arrive and wait, see [relay and inbox](relay.md).",
        (
            "inbox_url",
            "inbox_retention_days",
            "relay_tokens",
            "relay_queue_url",
            "relay_events_per_second",
            "relay_metrics_port",
        ),
    ),
    Group(
        "Downloads",
        "Timeouts, limits and redirects of a download.",
        (
            "connect_timeout_seconds",
            "read_timeout_seconds",
            "max_download_seconds",
            "max_download_bytes",
            "max_rows",
            "allow_unverified_length",
            "redirect_hosts",
        ),
    ),
    Group(
        "Retries",
        "For a request, a load and a run; [what retries what](reliability.md#retries).",
        (
            "request_attempts",
            "retry_after_cap_seconds",
            "not_ready_seconds",
            "load_attempts",
            "load_delay_seconds",
            "delivery_attempts",
            "delivery_delay_seconds",
        ),
    ),
    Group(
        "Refresh and polling",
        "Downloads without an event, and after an unchanged file; [what a lost event costs]"
        "(reliability.md#what-a-lost-event-costs).",
        ("recheck_delays_minutes", "refresh_cron", "poll_minutes", "sensor_interval_minutes", "max_datasets"),
    ),
    Group(
        "Alerts, logs and traces",
        "Whom to notify, and how; see [operating](operating.md).",
        (
            "dagster_url",
            "dagster_hosts",
            "relay_url",
            "alert_urls",
            "alerts_per_hour",
            "log_format",
            "telemetry_endpoint",
        ),
    ),
)

_HEAD = f"""# Settings

<!-- Written by `make generated` from qt_pipeline/settings.py and qt_pipeline_tests/configuration.py. -->

Every setting is an environment variable, or a line `NAME=value` of the file `.env` in the project's root; the variables
[of libraries](#read-by-the-libraries-underneath) must be environment variables. An empty value counts as unset. An
invalid value is rejected when a command starts; the error has its name and never its value.

- The environment takes precedence over `.env`, but for Dagster's own commands a `.env` in their working directory does.
  So set each variable in only one of the two.
- `{ENV_FILE_VARIABLE}` names another file than `.env`; if it is empty, no file is read.
- In `.env`, `${{NAME}}` is replaced by the variable of that name, as dotenv does; every other `$` is kept. In a
  secret, or in a URL with a password, this would silently change the value, so it is rejected there.
- In a URL, percent-encode `@ : / ? # %` in user and password (`@` as `%40`). A URL that can be read in two ways is
  rejected.
- Relative paths, including those in SQLite URLs, are relative to the project's root.
- Keep **secrets** in `.env` or a vault: this project shows, logs and stores them nowhere.
"""

_TAIL = """## Read by the libraries underneath

Set these in the environment. In `.env` they have an effect only where Dagster runs the code, not in the relay or a
`qt-pipeline` command.

| variable | meaning |
|---|---|
| `DAGSTER_HOME` | where Dagster keeps its runs: a folder with [dagster.yaml](../dagster.yaml) in it. `make dev` and \
`make demo` set it |
| `HTTPS_PROXY`, `NO_PROXY` | the proxy to Quantemplate; addresses of this machine are always reached directly |
| `REQUESTS_CA_BUNDLE` | a file of trusted certificates, for a proxy that inspects TLS |
| `AZURE_CLIENT_ID` and others | the identity for a queue without a signature: \
[DefaultAzureCredential](https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential) |
| `MSSQL_PYTHON_NATIVE_PROVIDER` | `mssql-odbc` if mssql-python does not find `libltdl7` |
"""


def configuration_text() -> str:
    """Return the text of the page.

    Raises:
        LookupError: a setting is in no group or in two, or a group names an unknown setting.
    """
    placed = [name for group in GROUPS for name in group.settings]
    if misplaced := set(Settings.model_fields) ^ set(placed):
        raise LookupError(f"Name in one group of {__name__}: {', '.join(sorted(misplaced))}.")
    if len(placed) > len(set(placed)):
        raise LookupError(f"A setting is in two groups of {__name__}.")
    return "\n".join([_HEAD, *map(_section, GROUPS), _TAIL])


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{_PREFIX}{name.upper()}"


def _section(group: Group) -> str:
    lines = [_line(name, Settings.model_fields[name]) for name in group.settings]
    table = "\n".join(["| variable | meaning | default | limits |", "|---|---|---|---|", *lines])
    return f"## {group.title}\n\n{group.about}\n\n{table}\n"


def _line(name: str, field: FieldInfo) -> str:
    meaning, _, stated = (field.description or "").partition(_DEFAULT)
    cells = (
        f"`{variable_of(name)}`",
        f"{meaning}{_secrecy(field)}",
        stated.rstrip(".") or _default(field),
        _limits(field),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _secrecy(field: FieldInfo) -> str:
    if SecretStr in _types_within(field.annotation):
        return " **Secret.**"
    return "" if field.repr else " **May hold a secret.**"


def _types_within(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types_within(part)


def _default(field: FieldInfo) -> str:
    value = field.default
    match value:
        case None | ():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`{','.join(map(str, value))}`"
        case Path():
            return f"`{value}`"
        case _:
            return f"`{_number(value)}`" if isinstance(value, int | float) else f"`{value}`"


def _limits(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return _in_code(get_args(field.annotation))
    if field.annotation is bool:
        return _in_code(("true", "false"))
    limits: list[str] = []
    for limit in field.metadata:
        match limit:
            case Ge(ge):
                limits.append(f"at least {_number(ge)}")
            case Gt(gt):
                limits.append(f"above {_number(gt)}")
            case Le(le):
                limits.append(f"at most {_number(le)}")
            case _:
                pass
    return ", ".join(limits)


def _in_code(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _number(value: Any) -> str:
    # A variable may have underscores, too.
    return f"{value:_}" if value > _READABLE_UP_TO else f"{value:g}" if isinstance(value, float) else str(value)
