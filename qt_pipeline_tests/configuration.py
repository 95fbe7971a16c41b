"""The page of all settings, made from the settings themselves: `python -m qt_pipeline_tests.generated` writes it anew.

Here: which settings belong together, and how a field becomes a line of a table.
Not here: what a setting means, its default and its limits; those stand in `qt_pipeline/settings.py` alone.
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
    """Settings that one looks for together, and what holds for all of them."""

    title: str
    about: str
    settings: tuple[str, ...]


GROUPS = (
    Group(
        "Quantemplate",
        "Who asks, and whom. Without the first three nothing can be downloaded; everything else works, and says so.",
        ("client_id", "client_secret", "organisation_id", "api_url", "token_url"),
    ),
    Group(
        "Target",
        "The database that the tables are in, see [targets](targets.md), and [which table is whose](datasets.md).",
        ("warehouse_url", "warehouse_schema", "staging_schema", "catalog"),
    ),
    Group(
        "Landing",
        "Where every downloaded file is kept as it came. A URL is one of "
        "[fsspec](https://filesystem-spec.readthedocs.io/en/latest/api.html#implementations).",
        ("landing_url", "state_dir"),
    ),
    Group(
        "Inbox and relay",
        "Where events come in and wait, see [the relay and the inbox](relay.md).",
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
        "Where a download ends that does not end by itself.",
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
        "Trying again",
        "From the inside out: a request, a load, a run; [who tries what again](reliability.md#who-tries-again).",
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
        "Watching",
        "Looks at datasets beyond those that events ask for; [what a lost event costs]"
        "(reliability.md#what-a-lost-event-costs).",
        ("recheck_delays_minutes", "refresh_cron", "poll_minutes", "sensor_interval_minutes", "max_datasets"),
    ),
    Group(
        "Alerts, logs and traces",
        "Whom to tell, and how; see [operating](operating.md).",
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

Every setting is an environment variable, or a line `NAME=value` of the file `.env` in the project's root; those
[of the libraries](#read-by-the-libraries-underneath) are environment variables alone. An empty value counts as none. A
wrong one is refused when a command starts, by its name and never with its value.

- The environment wins over `.env`, except that Dagster's own commands let a `.env` in their working directory win. So
  say each thing in one of the two.
- `{ENV_FILE_VARIABLE}` names another file than `.env`; empty, it means none.
- `.env` replaces `${{NAME}}` by the variable of that name, as dotenv does, and leaves every other `$` as it is. In a
  secret, or in a URL with a password, that would change it without a word: it is refused there by the variable's name.
- In a URL, a user and a password are written with `@ : / ? # %` percent-encoded (`@` as `%40`). A URL that can be read
  in two ways is refused by the variable's name, with nothing of it.
- Relative paths, also those in SQLite URLs, hang on the project's root, from whatever directory you start.
- What is marked as **secret** is for `.env` or your vault alone: this project shows, logs and stores it nowhere.
"""

_TAIL = """## Read by the libraries underneath

Set these in the environment: a line of `.env` reaches them only where Dagster runs the code, and neither the relay nor
any `qt-pipeline` command.

| variable | meaning |
|---|---|
| `DAGSTER_HOME` | where Dagster keeps its runs: a folder with [dagster.yaml](../dagster.yaml) in it. `make dev` and \
`make demo` set it by themselves |
| `HTTPS_PROXY`, `NO_PROXY` | the proxy to the vendor; addresses of this machine are always reached directly |
| `REQUESTS_CA_BUNDLE` | a file of certificates to trust, for a proxy that inspects TLS |
| `AZURE_CLIENT_ID` and others | which identity is used for a queue without a signature: \
[DefaultAzureCredential](https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential) |
| `MSSQL_PYTHON_NATIVE_PROVIDER` | `mssql-odbc` where mssql-python misses `libltdl7` |
"""


def configuration_text() -> str:
    """The text of the page.

    Raises:
        LookupError: a setting is in no group, or in two, or a group names one that does not exist.
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
    words: list[str] = []
    for limit in field.metadata:
        match limit:
            case Ge(ge):
                words.append(f"at least {_number(ge)}")
            case Gt(gt):
                words.append(f"above {_number(gt)}")
            case Le(le):
                words.append(f"at most {_number(le)}")
            case _:
                pass
    return ", ".join(words)


def _in_code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _number(value: Any) -> str:
    # Underscores may be written in the variable, too.
    return f"{value:_}" if value > _READABLE_UP_TO else f"{value:g}" if isinstance(value, float) else str(value)
