"""`qt-pipeline init`: asks for what is needed, and writes `.env` and a first catalog.

Here: the questions, in words and as options. Not here: what a right answer is (see settings, catalog), how the file of
settings is written (see env_file).
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
from qt_pipeline.cli.doctor import look
from qt_pipeline.cli.questions import Questions
from qt_pipeline.database import redacted_database_url
from qt_pipeline.env_file import ValueNotKeptError, read_env_file, write_env_file
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import PROJECT_ROOT, SettingsReport, report_settings, variable_of

_HEADING = "# Every setting is described in docs/configuration.md; the environment wins over this file.\n"
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
    bool, typer.Option("--client-secret-stdin", help="Read the client secret, one line, from the standard input.")
]
OrganisationId = Annotated[str | None, typer.Option(help="Your organisation, c-….")]
WarehouseUrl = Annotated[
    str | None, typer.Option(help="The target, as a SQLAlchemy URL without a password: others could see it here.")
]
WarehouseSchema = Annotated[str | None, typer.Option(help="The schema of the tables, where the target has schemas.")]
NewToken = Annotated[
    bool | None, typer.Option("--relay-token/--no-relay-token", help="Make a token for the webhook, or do not.")
]
DatasetOption = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="ID[=TABLE]", help="A dataset for the catalog; may be repeated."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing: what is not given stays as it is.")]
Test = Annotated[bool | None, typer.Option("--test/--no-test", help="Try everything at the end, as `doctor` does.")]


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
    """Ask for what is needed, and write it to .env and to a first datasets.yaml.

    What these files hold already stays, unless you agree to a change. Secrets are asked for, or come from the standard
    input or the environment (QT_CLIENT_SECRET, QT_WAREHOUSE_URL, QT_ALERT_URLS); never from an option, which others
    could see.

    Examples:
        qt-pipeline init
        qt-pipeline init --yes --client-id ID --client-secret-stdin --organisation-id c-… < secret.txt
    """
    survey = report_settings()
    if survey.file is None:
        raise ConfigurationError("QT_ENV_FILE is empty: there is no file to write.", hint="Unset it, or name a file.")
    if reason := survey.faults.get(str(survey.file)):
        raise ConfigurationError(f"The file {survey.file} {reason}.", hint="Mend it, or move it away.")
    ask = Questions(_may_ask(yes=yes, from_stdin=client_secret_stdin))
    values = _credentials(ask, survey, client_id, organisation_id, from_stdin=client_secret_stdin)
    values |= _target(ask, survey, warehouse_url, warehouse_schema)
    values |= _relay_token(ask, survey, wanted=relay_token)
    values |= _alert_urls(ask, survey)
    catalog = survey.settings.catalog
    document = _datasets(ask, catalog, dataset)
    written = _write(ask, survey, survey.file, values)
    if document:
        _write_catalog(catalog, document)
    if tokens := written.get(variable_of("relay_tokens")):
        _print_webhook(tokens.split(",")[-1], survey.file, in_full=ask.may_ask and sys.stdout.isatty())
    typer.echo(
        "Next: `make dev` starts Dagster, `qt-pipeline relay` takes events, `qt-pipeline doctor` looks at it all."
    )
    if (ask.confirm("Look at it all now?", default=True) if test is None and ask.may_ask else test) and look():
        raise typer.Exit(1)


def _may_ask(*, yes: bool, from_stdin: bool) -> bool:
    if from_stdin and not yes:
        raise typer.BadParameter(
            "--client-secret-stdin goes with --yes: what is asked would be answered from there, too."
        )
    if not yes and not sys.stdin.isatty():
        raise ConfigurationError(
            "There is no terminal to ask on.",
            hint="Give the answers as options, with --yes; `qt-pipeline init --help` lists them.",
        )
    return not yes


def _credentials(
    ask: Questions, survey: SettingsReport, client_id: str | None, organisation_id: str | None, *, from_stdin: bool
) -> dict[str, str]:
    settings = survey.settings
    found = {"client_id": ask.text("client_id", "Client id of the API user", client_id, settings.client_id)}
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else None
    known = settings.client_secret.get_secret_value() if settings.client_secret else None
    found["client_secret"] = ask.secret("client_secret", "Its client secret", given, known)
    label = "Your organisation (c-…, as in the address of Quantemplate's pages)"
    found["organisation_id"] = ask.text("organisation_id", label, organisation_id, settings.organisation_id)
    return {variable_of(name): value for name, value in found.items()}


def _target(ask: Questions, survey: SettingsReport, url: str | None, schema: str | None) -> dict[str, str]:
    variable, of_schema = variable_of("warehouse_url"), variable_of("warehouse_schema")
    schema_given = {of_schema: schema} if schema is not None else {}
    if url is not None:
        ask.check("warehouse_url", url)
        if make_url(url).password is not None:
            raise typer.BadParameter(f"--warehouse-url must not hold a password: set {variable} in the environment.")
        return {variable: url} | schema_given
    if variable in survey.in_environment | survey.in_file and variable not in survey.faults:
        present = survey.settings.warehouse_url
        if not ask.may_ask or ask.confirm(f"Tables go to {redacted_database_url(present)}. Leave it so?", default=True):
            # Written down also where it comes from the environment, which a service may not have.
            return ({} if variable in survey.in_file else {variable: present}) | schema_given
    if not ask.may_ask:
        return {variable: _SQLITE} | schema_given
    kind = ask.choice("Where do tables go", tuple(_EXAMPLES))
    if kind == "sqlite":
        return {variable: ask.text("warehouse_url", "Its URL", None, _SQLITE)}
    found = ask.text("warehouse_url", f"Its URL, without password, such as {_EXAMPLES[kind]}", None, None)
    if make_url(found).password is None and (password := ask.hidden("The password (empty for none)")):
        found = make_url(found).set(password=password).render_as_string(hide_password=False)
    named = ask.optional("The schema of the tables (empty for the connection's own)") if schema is None else schema
    return {variable: found} | ({of_schema: named} if named else {})


def _relay_token(ask: Questions, survey: SettingsReport, *, wanted: bool | None) -> dict[str, str]:
    has_one = bool(survey.settings.relay_tokens) or "QT_RELAY_TOKENS" in survey.faults
    if wanted is None:
        wanted = not has_one and (
            not ask.may_ask or ask.confirm("Make a secret token for the webhook's address?", default=True)
        )
    if not wanted:
        return {}
    # The tokens that are there go on being valid: a webhook somewhere has them.
    before = [token.get_secret_value() for token in survey.settings.relay_tokens]
    return {variable_of("relay_tokens"): ",".join([*before, token_urlsafe(32)])}


def _print_webhook(token: str, file: Path, *, in_full: bool) -> None:
    """Where Quantemplate is to send events. The token is shown to the person alone for whom it was just made."""
    typer.echo("In Quantemplate, subscribe a webhook to dataset events, with this address and your own host:")
    typer.echo(f"  {_WEBHOOK}/{token if in_full else '<token>'}")
    if in_full:
        typer.secho("It holds a secret, the token, and is not shown again.", fg=typer.colors.YELLOW, nl=False)
        typer.echo(f" The token is also the last of QT_RELAY_TOKENS in {file}.")
    else:
        typer.echo(f"The token, a secret, is the last of QT_RELAY_TOKENS in {file}.")


def _alert_urls(ask: Questions, survey: SettingsReport) -> dict[str, str]:
    variable = variable_of("alert_urls")
    if present := survey.settings.alert_urls:
        # Written down also where they come from the environment, which a service may not have.
        urls = " ".join(url.get_secret_value() for url in present)
        return {} if variable in survey.in_file else {variable: urls}
    if not ask.may_ask or variable in survey.faults:
        return {}
    label = f"Whom to tell of failures: Apprise URLs ({_SERVICES}), separated by blanks (empty for nobody yet)"
    urls = ask.secrets(label, _problem_with_addresses)
    return {variable: urls} if urls else {}


def _problem_with_addresses(urls: str) -> str:
    unknown = [one.label for one in addresses_of([SecretStr(url) for url in urls.split()]) if not one.is_known]
    return f"Apprise does not know {', '.join(unknown)}" if unknown else ""


def _datasets(ask: Questions, catalog: Path, given: list[str] | None) -> dict[str, dict[str, str]]:
    """The datasets for a first catalog; none where there is a catalog already."""
    if catalog.exists():
        if given:
            raise ConfigurationError(f"The catalog {catalog} is there already.", hint="Add the datasets to it by hand.")
        typer.echo(f"{catalog} is there already and stays as it is.")
        return {}
    found: dict[str, dict[str, str]] = {}
    for one in given or ():
        dataset_id, _, table = one.partition("=")
        found[dataset_id] = {"table": table} if table else {}
        if faults := faults_in({"datasets": found}):
            raise typer.BadParameter(f"--dataset: {'; '.join(faults)}")
    if given or not ask.may_ask:
        return found
    typer.echo("Which table each dataset goes to. An empty id ends the list; it may be empty.")
    while dataset_id := ask.optional("Id of a dataset (d-…)"):
        # Ids seen so far begin so, and a "no" to another question would be one too.
        if not dataset_id.startswith(_ID_PREFIX) and not ask.confirm(
            f"{dataset_id!r} does not begin with {_ID_PREFIX}, as ids of datasets do. Take it?", default=False
        ):
            continue
        table = ask.optional("Its table", default=dataset_id.replace("-", "_"))
        candidate = found | {dataset_id: {"table": table}}
        if faults := faults_in({"datasets": candidate}):
            ask.complain("; ".join(faults))
        else:
            found = candidate
    return found


def _write(ask: Questions, survey: SettingsReport, file: Path, values: dict[str, str]) -> dict[str, str]:
    """Write the file of settings; what was written, without the changes that were not agreed to."""
    present = read_env_file(file)
    changed = sorted(name for name, value in values.items() if present.get(name) not in (None, "", value))
    if changed:
        typer.echo(f"{file} has other values for: {', '.join(changed)}.")
        # What the environment says may be here without anybody having typed it.
        if ask.may_ask and not ask.confirm("Change them?", default=survey.in_environment.isdisjoint(changed)):
            typer.echo("They stay as they are.")
            values = {name: value for name, value in values.items() if name not in changed}
    try:
        write_env_file(file, values, heading=_HEADING)
    except ValueNotKeptError as error:
        hint = "Set it in the environment instead; a value with ${ in it is one that such a file would change."
        raise ConfigurationError(str(error), hint=hint) from None
    except OSError as error:
        raise ConfigurationError(
            f"The file {file} cannot be written: {error.strerror}.", hint="Make its folder one that you may write to."
        ) from None
    if any(present.get(name) != value for name, value in values.items()):
        typer.echo(f"Written: {file}, which nobody but you may read.")
    else:
        typer.echo(f"{file} has nothing new.")
    if others := sorted(name for name in survey.in_environment if name in values):
        typer.echo(f"Also set in the environment, which wins over the file: {', '.join(others)}.")
    return values


def _write_catalog(catalog: Path, datasets: dict[str, dict[str, str]]) -> None:
    text = yaml.safe_dump({"datasets": datasets}, sort_keys=False, allow_unicode=True)
    if _SCHEMA.is_file():
        # From the catalog's own folder, as editors read it.
        schema = _SCHEMA.relative_to(catalog.parent) if _SCHEMA.is_relative_to(catalog.parent) else _SCHEMA
        text = f"# yaml-language-server: $schema={schema}\n{text}"
    part = catalog.with_name(f"{catalog.name}.part")
    try:
        catalog.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        # It holds no secret, and whoever runs the services may be another user.
        part.chmod(0o644)
        part.replace(catalog)
    except OSError as error:
        raise ConfigurationError(
            f"The catalog {catalog} cannot be written: {error.strerror}.", hint="Correct QT_CATALOG."
        ) from None
    typer.echo(f"Written: {catalog}.")
