"""Every setting of the project, read once from the environment and the `.env` file.

Here: names, defaults, limits and what a wrong value is told. The only module that reads the environment.
Not here: what is done with a setting; datasets and their tables (see catalog).
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
    """The checkout this package runs from, or the working directory when it is installed as a wheel."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").is_file() else Path.cwd()


PROJECT_ROOT = _project_root()
DEFAULT_CATALOG = PROJECT_ROOT / "datasets.yaml"

ENV_FILE_VARIABLE = "QT_ENV_FILE"
"""Names another file than the project's `.env`; empty for none, so that the demo never meets a user's own settings."""

_PREFIX = "QT_"
_EXPANDED = "holds ${…}, which this file replaces: set such a secret in the environment, or choose another"
# As near as a slip of the pen; Qt, the toolkit, has variables of its own that begin so.
_NEAR = 0.8

_NEVER = "never"
_MAX_RECHECK_MINUTES = 1440
_CRON = re.compile(r"\S+(\s+\S+){4}")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_RELAY_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,256}")


class Settings(BaseSettings):
    """The settings, each from the variable `QT_<NAME>`. Construct with `load_settings`.

    Paths and SQLite files that are not absolute are taken from the project's root, so that every command means the
    same place from any working directory.
    """

    model_config = SettingsConfigDict(env_prefix="QT_", env_ignore_empty=True, extra="ignore", frozen=True)

    client_id: str | None = Field(None, description="Client id of the Quantemplate API user.")
    client_secret: SecretStr | None = Field(None, description="Client secret of the Quantemplate API user.")
    organisation_id: str | None = Field(None, description="Your organisation in Quantemplate: its id, `c-…`.")
    api_url: str = Field(
        "https://api.prod.quantemplate.com/v1",
        description="Base URL of the Quantemplate API; https, but for this machine.",
    )
    token_url: str = Field(
        "https://accounts.prod.quantemplate.com/auth/realms/qt/protocol/openid-connect/token",
        description="Where client id and secret are exchanged for an access token; https, but for this machine.",
    )

    state_dir: Path = Field(Path(".qt"), description="Folder of all local state.")
    # These three may hold a password or a signature.
    warehouse_url: str = Field(
        "", repr=False, description="SQLAlchemy URL of the target. Default: SQLite, `warehouse.db` in the state folder."
    )
    warehouse_schema: str | None = Field(
        None,
        description="Schema of the ledger, and of tables whose dataset names none, where the target has schemas; made "
        "when it is missing. Default: the connection's own.",
    )
    staging_schema: str | None = Field(
        None, description="Schema of the staging tables. Default: that of the table a load is for."
    )
    inbox_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the event inbox. Default: SQLite, `inbox.db` in the state folder.",
    )
    inbox_retention_days: int = Field(
        90, ge=0, le=36_500, description="Days after which events that are done or ignored are deleted; 0 keeps them."
    )
    landing_url: str = Field(
        "", repr=False, description="Folder or URL of the landed files. Default: `landing` in the state folder."
    )
    catalog: Path = Field(
        Path("datasets.yaml"),
        description="The dataset catalog. A missing default file is an empty one; another must exist.",
    )

    relay_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Tokens of the webhook, separated by commas, each 16 to 256 of A-Z a-z 0-9 - _ . ~; all are valid "
        "at once, for rotation. Without one the relay serves this machine alone.",
    )

    relay_queue_url: str | None = Field(
        None, repr=False, description="Azure Storage queue that the relay puts events into, in place of the inbox."
    )
    relay_events_per_second: float = Field(
        0, ge=0, le=100_000, description="Most requests a second from one address to the webhook; 0 for no limit."
    )
    relay_metrics_port: int = Field(
        8643, ge=0, le=65535, description="Port of the relay's metrics, on 127.0.0.1; 0 takes a free one."
    )

    connect_timeout_seconds: float = Field(10, gt=0, le=120, description="Longest wait for a connection to the vendor.")
    read_timeout_seconds: float = Field(
        60, gt=0, le=3600, description="Longest silence within an answer of the vendor."
    )
    request_attempts: int = Field(5, ge=1, le=20, description="Tries of one request before its run fails.")
    retry_after_cap_seconds: float = Field(120, ge=0, le=3600, description="Longest Retry-After that is obeyed.")
    not_ready_seconds: float = Field(
        300, ge=0, le=3600, description="How long a 204 (not ready), or a web page in place of CSV, is tried again."
    )
    allow_unverified_length: bool = Field(
        False, description="Accept a download whose end cannot be proven (closed without length or chunking)."
    )
    max_download_bytes: int = Field(
        50_000_000_000, ge=1, description="Most bytes of a download, on the wire and unpacked."
    )
    max_download_seconds: float = Field(
        10_800, gt=0, le=86_400, description="Longest time of a download, with all its tries."
    )
    max_rows: int = Field(1_000_000_000, ge=1, description="Most rows of a dataset.")

    redirect_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*.quantemplate.com", "*.amazonaws.com", "*.blob.core.windows.net", "storage.googleapis.com"),
        description="Hosts that a download may be redirected to besides that of QT_API_URL, separated by commas; "
        "`*.example.com` is every host below it, `never` none.",
    )

    load_attempts: int = Field(4, ge=1, le=20, description="Tries of a load within one run while the target is away.")
    load_delay_seconds: float = Field(
        10, ge=0, le=3600, description="Delay before the second try of a load; doubles with each further one."
    )
    delivery_attempts: int = Field(5, ge=1, le=100, description="Runs tried for an event before it is parked.")
    delivery_delay_seconds: float = Field(
        30, ge=0, le=86400, description="Delay before the second run for an event; doubles with each further one."
    )

    recheck_delays_minutes: Annotated[tuple[float, ...], NoDecode] = Field(
        (1, 5, 15),
        description="Waits, separated by commas, before another look each, after an event's load found the file "
        "unchanged, each of at most 1440; `never` for none.",
    )
    refresh_cron: str | None = Field(
        "0 5 * * *",
        description="When every dataset is looked at without an event, as the five fields of cron, in UTC; or `never`.",
    )
    poll_minutes: float | None = Field(
        None,
        ge=1,
        le=1440,
        description="How often every dataset is looked at, where no event can come. Default: not at all.",
    )
    sensor_interval_minutes: float | None = Field(
        None,
        ge=1,
        le=1440,
        description="Minutes between two ticks of each sensor, with no database connection open in between, so that a "
        "serverless database can pause. An event reaches its table up to that much later, as do retries, alerts and "
        "checks of freshness. Default: a few seconds, and connections stay open.",
    )
    max_datasets: int = Field(
        2000, ge=1, le=100_000, description="Datasets there may be before events for unlisted new ones are parked."
    )

    dagster_url: str = Field(
        "http://127.0.0.1:3000",
        repr=False,
        description="Where Dagster's UI answers: for runs that are asked for, and for links.",
    )
    relay_url: str = Field(
        "http://127.0.0.1:8642", repr=False, description="Where the relay answers from this machine."
    )
    dagster_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Other names, with their ports, by which people reach the UI of `qt-pipeline dev`, separated by "
        "commas, such as localhost:4000 for a tunnel. A request under any other name is refused.",
    )
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Whom to tell of failures: Apprise URLs (Teams, Slack, e-mail, ...), separated by blanks.",
    )
    alerts_per_hour: int = Field(
        20, ge=1, le=1000, description="Most messages an hour; what is beyond is told together with the next."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="One JSON object for each line of the log, or text for people; `auto` is text on a terminal.",
    )
    telemetry_endpoint: str | None = Field(
        None,
        repr=False,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where OpenTelemetry traces go, over OTLP/HTTP; none are made without it.",
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
                # The value itself is a secret: say what is wrong without showing it.
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
                raise ValueError(f"address {number} is no URL; addresses are separated by blanks, so write one as %20")
            # Behind the host, channels and recipients begin with an @ or hold one.
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
            raise ValueError("each is a host, such as files.example.com, or *.example.com for every host below it")
        return value

    @field_validator("recheck_delays_minutes")
    @classmethod
    def _minutes_ahead(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < minutes <= _MAX_RECHECK_MINUTES for minutes in value):
            raise ValueError(f"each wait is above 0 and at most {_MAX_RECHECK_MINUTES} minutes")
        return value

    @field_validator("refresh_cron")
    @classmethod
    def _cron_or_never(cls, value: str | None) -> str | None:
        if value is None or value == _NEVER:
            return None
        if not _CRON.fullmatch(value):
            raise ValueError("has not the five fields of cron, such as 0 5 * * *")
        return value

    @field_validator("dagster_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not is_server(f"http://{host}") or not set("/@*").isdisjoint(host):
                raise ValueError("each is the name of a host, with its port, such as dagster.example.com:3000")
        return value

    @field_validator("dagster_url", "relay_url")
    @classmethod
    def _server(cls, value: str) -> str:
        if is_unclear(value):
            raise ValueError(UNCLEAR_URL)
        if not (value.startswith(("http://", "https://")) and is_server(value)):
            raise ValueError("is not the address of a server, such as http://127.0.0.1:3000")
        return value.rstrip("/")

    @field_validator("api_url", "token_url")
    @classmethod
    def _https_or_loopback(cls, value: str) -> str:
        if is_unclear(value):
            raise ValueError(UNCLEAR_URL)
        if not is_server(value):
            raise ValueError("is not the address of a server")
        if not (value.startswith("https://") or (value.startswith("http://") and is_loopback_url(value))):
            raise ValueError("must start with https:// (plain http is only for this machine)")
        if "@" in value:
            # What comes here is authorised by a token, and this would be shown.
            raise ValueError("holds a user, which nobody asks for there")
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
            # SQLAlchemy's message repeats the URL, which may hold a password; Python's, of a port, a part of it.
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
            raise ValueError("is not the address of a server")
        return value

    @property
    def keep_connections(self) -> bool:
        """Whether long-running processes keep connections to databases open while nothing uses them."""
        return self.sensor_interval_minutes is None

    @cached_property
    def missing_credentials(self) -> tuple[str, ...]:
        """The variables that must be set before anything can be downloaded, and are not."""
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
        # Its validator says so, by its name.
        return text
    path = url.database
    if url.get_backend_name() != "sqlite" or not path or path == ":memory:" or path.startswith(("/", "file:")):
        return text
    return url.set(database=str(PROJECT_ROOT / path)).render_as_string(hide_password=False)


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and `.env`; `overrides` win.

    Raises:
        ConfigurationError: a value is wrong; the message names each variable and never shows its value.
    """
    file = env_file()
    if file is not None and os.environ.get(ENV_FILE_VARIABLE) and not file.is_file():
        raise ConfigurationError(
            f"{ENV_FILE_VARIABLE} names {file}, which is not there.",
            hint="Correct it or unset it. The demo's own file is there only as long as the demo runs.",
        )
    values: dict[str, Any] = {"_env_file": file, **overrides}
    try:
        faults = _expanded_secrets(file)
        settings = None if faults else Settings(**values)
    except ValidationError as error:
        faults, settings = _faults(error), None
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            f"The file {file} cannot be read as text.", hint="Let it be a text in UTF-8 that you may read."
        ) from None
    if settings is None:
        told = (f"{variable}: {reason}." for variable, reason in faults.items())
        raise ConfigurationError(" ".join(told), hint="Correct it in the environment or in .env.")
    return settings


def env_file() -> Path | None:
    """The file of settings, whether it is there or not; None where `QT_ENV_FILE` is set and empty."""
    named = os.environ.get(ENV_FILE_VARIABLE, ".env")
    return PROJECT_ROOT / named if named else None


@dataclass(frozen=True, slots=True)
class SettingsReport:
    """What can be said of the settings, usable or not, without showing a value.

    `settings` has its default wherever `faults`, reasons by variable, finds a value wrong. `unknown` are variables that
    nobody reads, with the one that may be meant; empty where none is near. `in_environment` are those of ours that are
    set there and so win over `file`; `in_file` are those that `file` sets.
    """

    settings: Settings
    faults: Mapping[str, str]
    unknown: Mapping[str, str]
    file: Path | None
    in_environment: frozenset[str]
    in_file: frozenset[str]


def report_settings() -> SettingsReport:
    """Read the settings as `load_settings` does, and tell all that is wrong with them in place of raising it."""
    file = env_file()
    faults: dict[str, str] = {}
    values: dict[str, Any] = {"_env_file": file}
    try:
        in_file = _names_in(file) if file else frozenset[str]()
        faults |= _expanded_secrets(file)
    except (OSError, UnicodeDecodeError):
        faults[str(file)] = "cannot be read as a text in UTF-8"
        in_file, values = frozenset[str](), {"_env_file": None}
    try:
        Settings(**values)
    except ValidationError as error:
        faults = _faults(error) | faults
    fields = Settings.model_fields.items()
    # One with an alias is known by that alone.
    in_place = {
        str(field.validation_alias or name): field.default for name, field in fields if variable_of(name) in faults
    }
    settings = Settings(**values, **in_place)
    in_environment = frozenset(name.upper() for name in os.environ if name.upper().startswith(_PREFIX))
    known = {variable_of(name) for name in Settings.model_fields} | {ENV_FILE_VARIABLE}
    nearest = {name: _nearest(name, known) for name in sorted((in_environment | in_file) - known)}
    # Others may have such variables in the environment, but hardly in this file.
    unknown = {name: near for name, near in nearest.items() if near or name in in_file}
    return SettingsReport(settings, faults, unknown, file, in_environment & known, in_file & known)


def validate_setting(name: str, value: str) -> str | None:
    """What is wrong with this text as the setting `name` (a field of `Settings`); None if it is right."""
    values: dict[str, Any] = {"_env_file": None, name: value}
    try:
        Settings(**values)
    except ValidationError as error:
        return _faults(error).get(variable_of(name))
    return None


def variable_of(name: str) -> str:
    """The environment's variable for a field of `Settings`."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{_PREFIX}{name.upper()}"


def _names_in(file: Path) -> frozenset[str]:
    return frozenset(name.upper() for name in read_env_file(file) if name.upper().startswith(_PREFIX))


def _expanded_secrets(file: Path | None) -> dict[str, str]:
    """The secrets that this file would change, with the reason."""
    raw = expanded_in(file) if file else {}
    secret = {variable_of(name) for name in Settings.model_fields if _is_secret(name)}
    in_url = {variable_of(name) for name, field in Settings.model_fields.items() if not field.repr}
    # A path in a URL may well be that of somebody's home.
    changed = (
        name for name, text in raw.items() if name in secret or (name in in_url and any(mark in text for mark in "@?"))
    )
    return dict.fromkeys(changed, _EXPANDED)


def _is_secret(name: str) -> bool:
    return SecretStr.__name__ in str(Settings.model_fields[name].annotation)


def _nearest(name: str, known: set[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1, cutoff=_NEAR)), "")


def _faults(error: ValidationError) -> dict[str, str]:
    """The reasons by variable, without a value."""
    # An error names a field, or its alias, which is a variable already.
    return {
        variable_of(name) if (name := str(fault["loc"][0])) in Settings.model_fields else name: fault[
            "msg"
        ].removeprefix("Value error, ")
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    }
