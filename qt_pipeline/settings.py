"""All settings, read from the environment and the `.env` file.

Here: names, defaults, limits and validation errors. The only module that reads the environment.
Not here: how settings are used; datasets and their tables (see catalog).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from qt_pipeline.env_file import expanded_in, read_env_file
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.urls import (
    UNCLEAR_URL,
    authority_of,
    is_server,
    is_splittable,
    is_unclear,
    is_unclear_database,
    is_unclear_store,
    sqlite_url,
)
from qt_pipeline.values import is_loopback_url


def _project_root() -> Path:
    """The checkout that contains this package, or the working directory if it is installed as a wheel."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").is_file() else Path.cwd()


PROJECT_ROOT = _project_root()
DEFAULT_CATALOG = PROJECT_ROOT / "datasets.yaml"

ENV_FILE_VARIABLE = "QT_ENV_FILE"
"""Path of a settings file other than `.env`; empty for none, so that the demo ignores a user's own settings."""

_PREFIX = "QT_"
_EXPANDED = "contains ${…}, which is expanded in this file: set the secret in the environment, or choose another"
# High enough for typos only: the Qt toolkit has variables with the same prefix.
_SIMILARITY = 0.8

_NEVER = "never"
_MAX_RECHECK_MINUTES = 1440
_CRON = re.compile(r"\S+(\s+\S+){4}")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_RELAY_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,256}")


class Settings(BaseSettings):
    """The settings, each from the variable `QT_<NAME>`. Construct with `load_settings`.

    Relative paths and SQLite files are resolved against the project's root, so that they do not depend on the working
    directory.
    """

    model_config = SettingsConfigDict(env_prefix="QT_", env_ignore_empty=True, extra="ignore", frozen=True)

    def __hash__(self) -> int:
        """By value, as they compare: what was opened for equal settings is the same."""
        return hash(tuple(vars(self).values()))

    client_id: str | None = Field(None, description="Client id of the Quantemplate API user.")
    client_secret: SecretStr | None = Field(None, description="Client secret of the Quantemplate API user.")
    organisation_id: str | None = Field(None, description="Id of your organisation in Quantemplate, `c-…`.")
    api_url: str = Field(
        "https://api.prod.quantemplate.com/v1",
        description="Base URL of the Quantemplate API; https, except on this machine.",
    )
    token_url: str = Field(
        "https://accounts.prod.quantemplate.com/auth/realms/qt/protocol/openid-connect/token",
        description="URL that exchanges client id and secret for an access token; https, except on this machine.",
    )

    state_dir: Path = Field(Path(".qt"), description="Folder of all local state.")
    # The URLs below may contain a password or a signature.
    warehouse_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the target database. Default: SQLite, `warehouse.db` in the state folder.",
    )
    warehouse_schema: str | None = Field(
        None,
        description="Schema of the ledger, and of tables without a schema in the catalog, if the target has schemas; "
        "created if missing. Default: the connection's default schema.",
    )
    staging_schema: str | None = Field(
        None, description="Schema of the staging tables. Default: the schema of the loaded table."
    )
    inbox_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the event inbox. Default: SQLite, `inbox.db` in the state folder.",
    )
    inbox_retention_days: int = Field(
        90, ge=0, le=36_500, description="Days after which done and ignored events are deleted; 0 keeps them."
    )
    landing_url: str = Field(
        "", repr=False, description="Folder or URL of the landed files. Default: `landing` in the state folder."
    )
    catalog: Path = Field(
        Path("datasets.yaml"),
        description="The dataset catalog. The default file may be missing; any other must exist.",
    )

    relay_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Tokens of the webhook, separated by commas, each 16 to 256 of A-Z a-z 0-9 - _ . ~; all are valid "
        "at once, for rotation. Without a token the relay serves only this machine.",
    )

    relay_queue_url: str | None = Field(
        None, repr=False, description="Azure Storage queue to which the relay sends events, instead of the inbox."
    )
    relay_events_per_second: float = Field(
        0, ge=0, le=100_000, description="Maximum webhook requests per second from one address; 0 for no limit."
    )
    relay_metrics_port: int = Field(
        8643, ge=0, le=65535, description="Port of the relay's metrics on 127.0.0.1; 0 for any free port."
    )

    connect_timeout_seconds: float = Field(10, gt=0, le=120, description="Timeout of a connection to the vendor.")
    read_timeout_seconds: float = Field(60, gt=0, le=3600, description="Longest pause within a response of the vendor.")
    request_attempts: int = Field(5, ge=1, le=20, description="Attempts of one request before its run fails.")
    retry_after_cap_seconds: float = Field(120, ge=0, le=3600, description="Longest accepted Retry-After.")
    not_ready_seconds: float = Field(
        300, ge=0, le=3600, description="How long to retry after a 204 (not ready), or a web page instead of CSV."
    )
    allow_unverified_length: bool = Field(
        False, description="Accept a download whose completeness cannot be verified (no length, no chunking)."
    )
    max_download_bytes: int = Field(
        50_000_000_000, ge=1, description="Maximum size of a download in bytes, compressed and decompressed."
    )
    max_download_seconds: float = Field(
        10_800, gt=0, le=86_400, description="Longest duration of a download, including retries."
    )
    max_rows: int = Field(1_000_000_000, ge=1, description="Maximum rows of a dataset.")

    redirect_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*.quantemplate.com", "*.amazonaws.com", "*.blob.core.windows.net", "storage.googleapis.com"),
        description="Hosts to which a download may be redirected, besides that of QT_API_URL, separated by commas; "
        "`*.example.com` allows all its subdomains, `never` allows none.",
    )

    load_attempts: int = Field(
        4, ge=1, le=20, description="Attempts of a load within one run while the target is unavailable."
    )
    load_delay_seconds: float = Field(
        10, ge=0, le=3600, description="Delay before the second attempt of a load; doubles with each further attempt."
    )
    delivery_attempts: int = Field(5, ge=1, le=100, description="Runs for an event before it is parked.")
    delivery_delay_seconds: float = Field(
        30, ge=0, le=86400, description="Delay before the second run for an event; doubles with each further run."
    )

    recheck_delays_minutes: Annotated[tuple[float, ...], NoDecode] = Field(
        (1, 5, 15),
        description="Delays, separated by commas, before each further check after an event's load found the file "
        "unchanged; each at most 1440; `never` for none.",
    )
    refresh_cron: str | None = Field(
        "0 5 * * *",
        description="When every dataset is refreshed without an event, as five cron fields, in UTC; or `never`.",
    )
    poll_minutes: float | None = Field(
        None,
        ge=1,
        le=1440,
        description="How often every dataset is polled, if events cannot reach the relay. Unset, there is no polling.",
    )
    sensor_interval_minutes: float | None = Field(
        None,
        ge=1,
        le=1440,
        description="Minutes between two ticks of each sensor, without open database connections in between, so that a "
        "serverless database can pause. Loads, retries, alerts and freshness checks are delayed by up to that time. "
        "Default: a few seconds, and connections stay open.",
    )
    max_datasets: int = Field(
        2000, ge=1, le=100_000, description="Maximum datasets; events for further unlisted datasets are parked."
    )

    dagster_url: str = Field(
        "http://127.0.0.1:3000",
        repr=False,
        description="URL of Dagster's UI, for requesting runs and for links.",
    )
    relay_url: str = Field("http://127.0.0.1:8642", repr=False, description="URL of the relay, from this machine.")
    dagster_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Additional host names, with ports, of the UI of `qt-pipeline dev`, separated by commas, such as "
        "localhost:4000 for a tunnel. Requests to any other name are rejected.",
    )
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Alert addresses: Apprise URLs (Teams, Slack, e-mail, ...), separated by spaces.",
    )
    alerts_per_hour: int = Field(
        20,
        ge=1,
        le=1000,
        description="Maximum alert messages per hour and address; later alerts wait for the next message.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="Log lines as JSON objects or as text; `auto` is text on a terminal.",
    )
    telemetry_endpoint: str | None = Field(
        None,
        repr=False,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="OTLP/HTTP endpoint of OpenTelemetry traces; without it, no traces are recorded.",
    )

    @field_validator("relay_tokens", "dagster_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(token.strip() for token in value.split(",") if token.strip())
        return value

    @field_validator("relay_tokens")
    @classmethod
    def _tokens_fit_a_path(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for token in value:
            if not _RELAY_TOKEN.fullmatch(token.get_secret_value()):
                # The value is a secret, so the message omits it.
                raise ValueError("each token needs 16 to 256 characters of A-Z a-z 0-9 - _ . ~")
        return value

    @field_validator("alert_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("alert_urls")
    @classmethod
    def _alert_urls(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(value, start=1):
            if "://" not in url.get_secret_value():
                raise ValueError(f"address {number} is not a URL; spaces separate addresses, so write a space as %20")
            # After the host, channels and recipients may contain an @.
            if authority_of(url.get_secret_value()).count("@") > 1:
                raise ValueError(f"address {number} {UNCLEAR_URL}")
        return value

    @field_validator("recheck_delays_minutes", mode="before")
    @classmethod
    def _split_minutes(cls, value: object) -> object:
        if isinstance(value, str):
            return () if value == _NEVER else tuple(part.strip() for part in value.split(","))
        return value

    @field_validator("redirect_hosts", mode="before")
    @classmethod
    def _split_redirect_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return () if value == _NEVER else tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("redirect_hosts")
    @classmethod
    def _redirect_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST.fullmatch(host) for host in value):
            raise ValueError("each must be a host, such as files.example.com, or *.example.com for all its subdomains")
        return value

    @field_validator("recheck_delays_minutes")
    @classmethod
    def _minutes_ahead(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < minutes <= _MAX_RECHECK_MINUTES for minutes in value):
            raise ValueError(f"each delay must be above 0 and at most {_MAX_RECHECK_MINUTES} minutes")
        return value

    @field_validator("refresh_cron")
    @classmethod
    def _cron_or_never(cls, value: str | None) -> str | None:
        if value is None or value == _NEVER:
            return None
        if not _CRON.fullmatch(value):
            raise ValueError("must have the five fields of cron, such as 0 5 * * *")
        return value

    @field_validator("dagster_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not is_server(f"http://{host}") or not set("/@*").isdisjoint(host):
                raise ValueError("each must be a host name with its port, such as dagster.example.com:3000")
        return value

    @field_validator("dagster_url", "relay_url")
    @classmethod
    def _server(cls, value: str) -> str:
        if is_unclear(value):
            raise ValueError(UNCLEAR_URL)
        if not (value.startswith(("http://", "https://")) and is_server(value)):
            raise ValueError("is not a server's URL, such as http://127.0.0.1:3000")
        return value.rstrip("/")

    @field_validator("api_url", "token_url")
    @classmethod
    def _https_or_loopback(cls, value: str) -> str:
        if is_unclear(value):
            raise ValueError(UNCLEAR_URL)
        if not is_server(value):
            raise ValueError("is not a server's URL")
        if not (value.startswith("https://") or (value.startswith("http://") and is_loopback_url(value))):
            raise ValueError("must start with https:// (http is allowed only for this machine)")
        if "@" in value:
            # Requests are authorized by a token, and the user would be shown in messages.
            raise ValueError("must not contain a user")
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _fill_state_defaults(cls, data: dict[str, object]) -> dict[str, object]:
        state = PROJECT_ROOT / str(data.get("state_dir") or ".qt")
        data["state_dir"] = state
        data["catalog"] = PROJECT_ROOT / str(data.get("catalog") or DEFAULT_CATALOG)
        data["warehouse_url"] = _absolute_sqlite(str(data.get("warehouse_url") or sqlite_url(state / "warehouse.db")))
        data["inbox_url"] = _absolute_sqlite(str(data.get("inbox_url") or sqlite_url(state / "inbox.db")))
        landing = str(data.get("landing_url") or f"{state}/landing")
        data["landing_url"] = landing if "://" in landing else str(PROJECT_ROOT / landing)
        return data

    @field_validator("warehouse_url", "inbox_url")
    @classmethod
    def _sqlalchemy_url(cls, value: str) -> str:
        if is_unclear_database(value):
            raise ValueError(UNCLEAR_URL)
        try:
            make_url(value)
        except (ArgumentError, ValueError):
            # SQLAlchemy's message contains the URL, which may hold a password; Python's message contains its port.
            raise ValueError(
                "is not a SQLAlchemy URL, such as sqlite:///file.db or postgresql://user@host/name"
            ) from None
        return value

    @field_validator("landing_url")
    @classmethod
    def _store(cls, value: str) -> str:
        if "://" in value and is_unclear_store(value):
            raise ValueError(UNCLEAR_URL)
        if not is_splittable(value):
            raise ValueError("is neither a folder nor a URL")
        return value

    @field_validator("relay_queue_url", "telemetry_endpoint")
    @classmethod
    def _clear(cls, value: str | None) -> str | None:
        if value is not None and is_unclear(value):
            raise ValueError(UNCLEAR_URL)
        if value is not None and not is_server(value):
            raise ValueError("is not a server's URL")
        return value

    @property
    def keep_connections(self) -> bool:
        """Whether long-running processes keep idle database connections open."""
        return self.sensor_interval_minutes is None

    @cached_property
    def missing_credentials(self) -> tuple[str, ...]:
        """The unset variables that downloads need."""
        needed = {
            "QT_CLIENT_ID": self.client_id,
            "QT_CLIENT_SECRET": self.client_secret,
            "QT_ORGANISATION_ID": self.organisation_id,
        }
        return tuple(name for name, value in needed.items() if not value)


def _absolute_sqlite(text: str) -> str:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The field's validator reports the error.
        return text
    path = url.database
    if url.get_backend_name() != "sqlite" or not path or path == ":memory:" or path.startswith(("/", "file:")):
        return text
    return url.set(database=str(PROJECT_ROOT / path)).render_as_string(hide_password=False)


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and `.env`; `overrides` win.

    Raises:
        ConfigurationError: a value is invalid; the message names each variable and never shows its value.
    """
    file = env_file()
    if file is not None and os.environ.get(ENV_FILE_VARIABLE) and not file.is_file():
        raise ConfigurationError(
            f"{ENV_FILE_VARIABLE} names {file}, which does not exist.",
            hint="Correct or unset it. The demo's file exists only while the demo runs.",
        )
    values: dict[str, Any] = {"_env_file": file, **overrides}
    try:
        faults = _expanded_secrets(file)
        settings = None if faults else Settings(**values)
    except ValidationError as error:
        faults, settings = _faults(error), None
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            f"The file {file} cannot be read as text.", hint="Save it as UTF-8 text with read permission."
        ) from None
    if settings is None:
        reasons = (f"{variable}: {reason}." for variable, reason in faults.items())
        raise ConfigurationError(" ".join(reasons), hint="Correct it in the environment or in .env.")
    return settings


def env_file() -> Path | None:
    """The path of the settings file, which may be missing; None if `QT_ENV_FILE` is set and empty."""
    path = os.environ.get(ENV_FILE_VARIABLE, ".env")
    return PROJECT_ROOT / path if path else None


@dataclass(frozen=True, slots=True)
class SettingsReport:
    """All settings and their errors, without the values of secrets.

    `faults` are the reasons by variable; `settings` has the default of each of these. `unknown` are unknown variables,
    each with the similar known one, or an empty text. `in_environment` are known variables set in the environment,
    which take precedence over `file`; `in_file` are those that `file` sets.
    """

    settings: Settings
    faults: Mapping[str, str]
    unknown: Mapping[str, str]
    file: Path | None
    in_environment: frozenset[str]
    in_file: frozenset[str]


def report_settings() -> SettingsReport:
    """Read the settings as `load_settings` does, and report all errors instead of raising."""
    file = env_file()
    faults: dict[str, str] = {}
    values: dict[str, Any] = {"_env_file": file}
    try:
        in_file = _names_in(file) if file else frozenset[str]()
        faults |= _expanded_secrets(file)
    except (OSError, UnicodeDecodeError):
        faults[str(file)] = "cannot be read as UTF-8 text"
        in_file, values = frozenset[str](), {"_env_file": None}
    try:
        Settings(**values)
    except ValidationError as error:
        faults = _faults(error) | faults
    fields = Settings.model_fields.items()
    # A field with an alias is only set by that name.
    defaults = {
        str(field.validation_alias or name): field.default for name, field in fields if variable_of(name) in faults
    }
    settings = Settings(**values, **defaults)
    in_environment = frozenset(name.upper() for name in os.environ if name.upper().startswith(_PREFIX))
    known = {variable_of(name) for name in Settings.model_fields} | {ENV_FILE_VARIABLE}
    nearest = {name: _nearest(name, known) for name in sorted((in_environment | in_file) - known)}
    # Other programs may have such variables in the environment, but not in this file.
    unknown = {name: similar for name, similar in nearest.items() if similar or name in in_file}
    return SettingsReport(settings, faults, unknown, file, in_environment & known, in_file & known)


def validate_setting(name: str, value: str) -> str | None:
    """The reason why a text is invalid for the setting `name` (a field of `Settings`); None if it is valid."""
    values: dict[str, Any] = {"_env_file": None, name: value}
    try:
        Settings(**values)
    except ValidationError as error:
        return _faults(error).get(variable_of(name))
    return None


def variable_of(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{_PREFIX}{name.upper()}"


def _names_in(file: Path) -> frozenset[str]:
    return frozenset(name.upper() for name in read_env_file(file) if name.upper().startswith(_PREFIX))


def _expanded_secrets(file: Path | None) -> dict[str, str]:
    """The secrets that expansion in this file would change, with the reason."""
    raw = expanded_in(file) if file else {}
    secret = {variable_of(name) for name in Settings.model_fields if _is_secret(name)}
    in_url = {variable_of(name) for name, field in Settings.model_fields.items() if not field.repr}
    # The path of a URL may contain ${HOME} on purpose.
    changed = (
        name for name, text in raw.items() if name in secret or (name in in_url and any(mark in text for mark in "@?"))
    )
    return dict.fromkeys(changed, _EXPANDED)


def _is_secret(name: str) -> bool:
    return SecretStr.__name__ in str(Settings.model_fields[name].annotation)


def _nearest(name: str, known: set[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1, cutoff=_SIMILARITY)), "")


def _faults(error: ValidationError) -> dict[str, str]:
    """The reasons by variable, without values."""
    # An error names a field, or its alias, which is already a variable.
    return {
        variable_of(name) if (name := str(fault["loc"][0])) in Settings.model_fields else name: fault[
            "msg"
        ].removeprefix("Value error, ")
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    }
