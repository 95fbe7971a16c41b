"""The command `init`: asks for the settings, and writes `.env` and a first catalog.

Here: questions and options. Not here: validation (see settings, catalog), writing the settings file (see env_file).
"""

import sys
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated

import typer
import yaml
from pydantic import SecretStr
from sqlalchemy import make_url

from qt_pipeline.alerting import addresses_of
from qt_pipeline.catalog import faults_in
from qt_pipeline.cli.doctor import diagnose
from qt_pipeline.cli.questions import Questions
from qt_pipeline.database import redacted_database_url
from qt_pipeline.env_file import ValueNotKeptError, read_env_file, write_env_file
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import PROJECT_ROOT, SettingsReport, report_settings, variable_of

_HEADING = "# docs/configuration.md describes every setting; environment variables take precedence over this file.\n"
_SCHEMA = PROJECT_ROOT / "docs" / "datasets.schema.json"
_SERVICES = "https://github.com/caronc/apprise/wiki"
_WEBHOOK = "https://<your host>/webhooks/quantemplate"
_ID_PREFIX = "d-"
_SQLITE = "sqlite:///.qt/warehouse.db"
_EXAMPLES = {
    "sqlite": _SQLITE,
    "postgresql": "postgresql://user@host/database",
    "mssql": "mssql+mssqlpython://user@host/database",
    "azure": "mssql+mssqlpython://user@server.database.windows.net/database",
    "other": "mysql+pymysql://user@host/database",
}

ClientId = Annotated[str | None, typer.Option(help="The client id of the API user.")]
SecretFromStdin = Annotated[
    bool, typer.Option("--client-secret-stdin", help="Read the client secret as one line from standard input.")
]
OrganisationId = Annotated[str | None, typer.Option(help="The id of your organisation, c-….")]
WarehouseUrl = Annotated[
    str | None,
    typer.Option(help="The target database, as a SQLAlchemy URL without password (other users can see options)."),
]
WarehouseSchema = Annotated[str | None, typer.Option(help="The schema of the tables, if the target has schemas.")]
NewToken = Annotated[
    bool | None, typer.Option("--relay-token/--no-relay-token", help="Whether to create a token for the webhook.")
]
DatasetOption = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="ID[=TABLE]", help="A dataset for the catalog; repeatable."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing: settings without an option stay unchanged.")]
Test = Annotated[bool | None, typer.Option("--test/--no-test", help="Check everything at the end, as `doctor` does.")]


def init(
    *,
    client_id: ClientId = None,
    client_secret_stdin: SecretFromStdin = False,
    organisation_id: OrganisationId = None,
    warehouse_url: WarehouseUrl = None,
    warehouse_schema: WarehouseSchema = None,
    relay_token: NewToken = None,
    dataset: DatasetOption = None,
    yes: Yes = False,
    test: Test = None,
) -> None:
    """Ask for the settings, and write .env and a first datasets.yaml.

    Existing values stay, unless you confirm a change. Secrets come from a prompt, from standard input or from the
    environment (QT_CLIENT_SECRET, QT_WAREHOUSE_URL, QT_ALERT_URLS), never from an option, which other users can see.

    Examples:
        qt-pipeline init
        qt-pipeline init --yes --client-id ID --client-secret-stdin --organisation-id c-… < secret.txt
    """
    report = report_settings()
    if report.file is None:
        raise ConfigurationError(
            "QT_ENV_FILE is empty: there is no file to write.", hint="Unset it, or set it to a file."
        )
    if reason := report.faults.get(str(report.file)):
        raise ConfigurationError(f"The file {report.file} {reason}.", hint="Fix or remove the file.")
    ask = Questions(_may_ask(yes=yes, from_stdin=client_secret_stdin))
    values = _credentials(ask, report, client_id, organisation_id, from_stdin=client_secret_stdin)
    values |= _target(ask, report, warehouse_url, warehouse_schema)
    values |= _relay_token(ask, report, wanted=relay_token)
    values |= _alert_urls(ask, report)
    catalog = report.settings.catalog
    document = _datasets(ask, catalog, dataset)
    written = _write(ask, report, report.file, values)
    if document:
        _write_catalog(catalog, document)
    if tokens := written.get(variable_of("relay_tokens")):
        _print_webhook(tokens.split(",")[-1], report.file, in_full=ask.may_ask and sys.stdout.isatty())
    typer.echo(
        "Next: `make dev` starts Dagster, `qt-pipeline relay` receives events, `qt-pipeline doctor` checks everything."
    )
    if (ask.confirm("Check everything now?", default=True) if test is None and ask.may_ask else test) and diagnose():
        raise typer.Exit(1)


def _may_ask(*, yes: bool, from_stdin: bool) -> bool:
    if from_stdin and not yes:
        raise typer.BadParameter(
            "--client-secret-stdin requires --yes, because prompts would read the same standard input."
        )
    if not yes and not sys.stdin.isatty():
        raise ConfigurationError(
            "There is no terminal for questions.",
            hint="Pass the answers as options, with --yes; `qt-pipeline init --help` lists them.",
        )
    return not yes


def _credentials(
    ask: Questions, report: SettingsReport, client_id: str | None, organisation_id: str | None, *, from_stdin: bool
) -> dict[str, str]:
    settings = report.settings
    answers = {"client_id": ask.text("client_id", "Client id of the API user", client_id, settings.client_id)}
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else None
    known = settings.client_secret.get_secret_value() if settings.client_secret else None
    answers["client_secret"] = ask.secret("client_secret", "Client secret of the API user", given, known)
    label = "Your organisation (c-…, from the URL of Quantemplate's pages)"
    answers["organisation_id"] = ask.text("organisation_id", label, organisation_id, settings.organisation_id)
    return {variable_of(name): value for name, value in answers.items()}


def _target(ask: Questions, report: SettingsReport, url: str | None, schema: str | None) -> dict[str, str]:
    variable, schema_variable = variable_of("warehouse_url"), variable_of("warehouse_schema")
    schema_given = {schema_variable: schema} if schema is not None else {}
    if url is not None:
        ask.check("warehouse_url", url)
        if make_url(url).password is not None:
            raise typer.BadParameter(f"--warehouse-url must not contain a password: set {variable} in the environment.")
        return {variable: url} | schema_given
    if variable in report.in_environment | report.in_file and variable not in report.faults:
        present = report.settings.warehouse_url
        if not ask.may_ask or ask.confirm(
            f"The target database is {redacted_database_url(present)}. Keep it?", default=True
        ):
            # Written even if it comes from the environment, which a service may not have.
            return ({} if variable in report.in_file else {variable: present}) | schema_given
    if not ask.may_ask:
        return {variable: _SQLITE} | schema_given
    kind = ask.choice("Kind of the target database", tuple(_EXAMPLES))
    if kind == "sqlite":
        return {variable: ask.text("warehouse_url", "URL of the target database", None, _SQLITE)}
    answer = ask.text(
        "warehouse_url", f"URL of the target database without password, such as {_EXAMPLES[kind]}", None, None
    )
    if make_url(answer).password is None and (password := ask.hidden("Password (empty for none)")):
        answer = make_url(answer).set(password=password).render_as_string(hide_password=False)
    chosen_schema = ask.optional("Schema of the tables (empty for the default)") if schema is None else schema
    return {variable: answer} | ({schema_variable: chosen_schema} if chosen_schema else {})


def _relay_token(ask: Questions, report: SettingsReport, *, wanted: bool | None) -> dict[str, str]:
    has_token = bool(report.settings.relay_tokens) or "QT_RELAY_TOKENS" in report.faults
    if wanted is None:
        wanted = not has_token and (
            not ask.may_ask or ask.confirm("Create a secret token for the webhook's URL?", default=True)
        )
    if not wanted:
        return {}
    # Existing tokens stay valid: a webhook may use them.
    before = [token.get_secret_value() for token in report.settings.relay_tokens]
    return {variable_of("relay_tokens"): ",".join([*before, token_urlsafe(32)])}


def _print_webhook(token: str, file: Path, *, in_full: bool) -> None:
    """Print the webhook's URL for Quantemplate. Only a terminal shows the token."""
    typer.echo("In Quantemplate, subscribe a webhook to dataset events, with this URL and your own host:")
    typer.echo(f"  {_WEBHOOK}/{token if in_full else '<token>'}")
    if in_full:
        typer.secho("The URL contains the secret token and is not shown again.", fg=typer.colors.YELLOW, nl=False)
        typer.echo(f" The token is the last one of QT_RELAY_TOKENS in {file}.")
    else:
        typer.echo(f"The secret token is the last one of QT_RELAY_TOKENS in {file}.")


def _alert_urls(ask: Questions, report: SettingsReport) -> dict[str, str]:
    variable = variable_of("alert_urls")
    if present := report.settings.alert_urls:
        # Written even if they come from the environment, which a service may not have.
        urls = " ".join(url.get_secret_value() for url in present)
        return {} if variable in report.in_file else {variable: urls}
    if not ask.may_ask or variable in report.faults:
        return {}
    label = f"Alert addresses: Apprise URLs ({_SERVICES}), separated by spaces (empty for none)"
    urls = ask.secrets(label, _problem_with_addresses)
    return {variable: urls} if urls else {}


def _problem_with_addresses(urls: str) -> str:
    addresses = addresses_of([SecretStr(url) for url in urls.split()])
    unknown = [address.label for address in addresses if not address.is_known]
    return f"Apprise does not recognize {', '.join(unknown)}" if unknown else ""


def _datasets(ask: Questions, catalog: Path, given: list[str] | None) -> dict[str, dict[str, str]]:
    """The datasets for a first catalog; empty if a catalog exists."""
    if catalog.exists():
        if given:
            raise ConfigurationError(f"The catalog {catalog} already exists.", hint="Add the datasets to it manually.")
        typer.echo(f"{catalog} exists and stays unchanged.")
        return {}
    datasets: dict[str, dict[str, str]] = {}
    for argument in given or ():
        dataset_id, _, table = argument.partition("=")
        datasets[dataset_id] = {"table": table} if table else {}
        if faults := faults_in({"datasets": datasets}):
            raise typer.BadParameter(f"--dataset: {'; '.join(faults)}")
    if given or not ask.may_ask:
        return datasets
    typer.echo("Datasets and their tables. An empty id ends the list, which may be empty.")
    while dataset_id := ask.optional("Dataset id (d-…)"):
        # Known ids have this prefix, and a mistaken "no" would be accepted as an id.
        if not dataset_id.startswith(_ID_PREFIX) and not ask.confirm(
            f"{dataset_id!r} does not start with {_ID_PREFIX}, as dataset ids usually do. Use it?", default=False
        ):
            continue
        table = ask.optional("Table", default=dataset_id.replace("-", "_"))
        candidate = datasets | {dataset_id: {"table": table}}
        if faults := faults_in({"datasets": candidate}):
            ask.complain("; ".join(faults))
        else:
            datasets = candidate
    return datasets


def _write(ask: Questions, report: SettingsReport, file: Path, values: dict[str, str]) -> dict[str, str]:
    """Write the settings file. Returns the written values, without unconfirmed changes."""
    present = read_env_file(file)
    changed = sorted(name for name, value in values.items() if present.get(name) not in (None, "", value))
    if changed:
        typer.echo(f"{file} has other values for: {', '.join(changed)}.")
        # Values from the environment were possibly not typed by this person.
        if ask.may_ask and not ask.confirm("Change them?", default=report.in_environment.isdisjoint(changed)):
            typer.echo("They stay unchanged.")
            values = {name: value for name, value in values.items() if name not in changed}
    try:
        write_env_file(file, values, heading=_HEADING)
    except ValueNotKeptError as error:
        hint = "Set it in the environment instead; such a file expands ${ in values."
        raise ConfigurationError(str(error), hint=hint) from None
    except OSError as error:
        raise ConfigurationError(
            f"The file {file} cannot be written: {error.strerror}.", hint="Grant write permission to its folder."
        ) from None
    if any(present.get(name) != value for name, value in values.items()):
        typer.echo(f"Written: {file}, readable only by you.")
    else:
        typer.echo(f"{file} is unchanged.")
    if others := sorted(name for name in report.in_environment if name in values):
        typer.echo(f"Also set in the environment, which takes precedence over the file: {', '.join(others)}.")
    return values


def _write_catalog(catalog: Path, datasets: dict[str, dict[str, str]]) -> None:
    text = yaml.safe_dump({"datasets": datasets}, sort_keys=False, allow_unicode=True)
    if _SCHEMA.is_file():
        # Relative to the catalog's folder, as editors expect.
        schema = _SCHEMA.relative_to(catalog.parent) if _SCHEMA.is_relative_to(catalog.parent) else _SCHEMA
        text = f"# yaml-language-server: $schema={schema}\n{text}"
    part = catalog.with_name(f"{catalog.name}.part")
    try:
        catalog.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        # It holds no secret, and another user may run the services.
        part.chmod(0o644)
        part.replace(catalog)
    except OSError as error:
        raise ConfigurationError(
            f"The catalog {catalog} cannot be written: {error.strerror}.", hint="Correct QT_CATALOG."
        ) from None
    typer.echo(f"Written: {catalog}.")
