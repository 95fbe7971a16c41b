"""Checks of Quantemplate: token, organisation, and each dataset of the catalog.

Here: these checks. Not here: the API itself (see quantemplate).
"""

import io
import reprlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from uuid import uuid4

from qt_pipeline.catalog import Dataset
from qt_pipeline.composition import client_config_of
from qt_pipeline.doctor.check import CheckContext
from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.errors import PipelineError
from qt_pipeline.quantemplate import (
    AccessDeniedError,
    DownloadTooSlowError,
    NotReadyError,
    QuantemplateClient,
)
from qt_pipeline.settings import Settings
from qt_pipeline.tabular import header_key, header_keys, read_header
from qt_pipeline.urls import redacted_url

_MAX_CONNECT_SECONDS = 5
_MAX_READ_SECONDS = 10
_FIRST_BYTES = 64 * 1024
_FIRST_SECONDS = 15
_CONCURRENCY = 8
_CLOCK_SECONDS = 120
_MAX_LISTED = 5
_INIT = "Run `qt-pipeline init`, or set it in the environment or in .env."
_NETWORK = "Check the network, HTTPS_PROXY and "


def vendor(case: CheckContext) -> Iterator[Finding]:
    """Check the token, the organisation id, and the first bytes of each dataset of the catalog."""
    settings = case.settings
    client = _client(settings)
    token = list(_token(settings, client))
    yield from token
    organisation = _organisation(settings)
    if reason := _skip_reason(case, token, organisation):
        yield organisation
        yield Finding(Area.DATASETS, "datasets", FindingState.SKIPPED, reason)
        return
    assert client is not None and case.catalog is not None  # noqa: S101, PT018  # checked by _skip_reason
    results = _check_datasets(client, case.catalog.datasets)
    yield _confirmed(organisation, results)
    yield from (result.finding for result in results)


def _client(settings: Settings) -> QuantemplateClient | None:
    config = client_config_of(settings)
    if config is None:
        return None
    return QuantemplateClient(
        replace(
            config,
            connect_timeout_seconds=min(config.connect_timeout_seconds, _MAX_CONNECT_SECONDS),
            read_timeout_seconds=min(config.read_timeout_seconds, _MAX_READ_SECONDS),
            # The first bytes say nothing of the length.
            allow_unverified_length=True,
        )
    )


def _token(settings: Settings, client: QuantemplateClient | None) -> Iterator[Finding]:
    missing = [name for name in settings.missing_credentials if name != "QT_ORGANISATION_ID"]
    if client is None:
        yield from (Finding(Area.TOKEN, name, FindingState.FAILURE, "It is not set.", _INIT) for name in missing)
        return
    subject = redacted_url(settings.token_url)
    try:
        seconds_ahead = client.authenticate()
    except PipelineError as error:
        yield Finding.of_error(Area.TOKEN, subject, error, hint=f"{_NETWORK}QT_TOKEN_URL.")
        return
    yield Finding(Area.TOKEN, subject, FindingState.OK, "It issues an access token for this client id and secret.")
    if seconds_ahead is not None and abs(seconds_ahead) > _CLOCK_SECONDS:
        direction = "ahead of" if seconds_ahead > 0 else "behind"
        found = f"This machine's clock is {abs(seconds_ahead):,.0f} seconds {direction} Quantemplate's."
        hint = "Synchronize this machine's clock (NTP)."
        yield Finding(Area.TOKEN, "clock", FindingState.WARNING, found, hint)


def _organisation(settings: Settings) -> Finding:
    area, name, found = Area.ORGANISATION, "QT_ORGANISATION_ID", settings.organisation_id
    if not found:
        return Finding(area, name, FindingState.FAILURE, "It is not set.", _INIT)
    if not found.startswith("c-") or not found.replace("-", "").isalnum():
        hint = "Copy it from the URL of Quantemplate's pages in the browser."
        return Finding(area, name, FindingState.WARNING, "It is not an organisation id, c-….", hint)
    return Finding(
        area,
        name,
        FindingState.OK,
        "It has the format of an id; the first dataset will show whether it is correct.",
    )


def _skip_reason(case: CheckContext, token: Sequence[Finding], organisation: Finding) -> str:
    """Why the datasets cannot be checked; empty if they can."""
    if any(finding.state is FindingState.FAILURE for finding in token):
        return "A token is required first."
    if organisation.state is FindingState.FAILURE:
        return "QT_ORGANISATION_ID must be set first."
    if case.catalog is None:
        return "The catalog must be fixed first."
    return "" if case.catalog.datasets else "The catalog lists no datasets."


@dataclass(frozen=True, slots=True)
class _DatasetCheck:
    """The finding of a dataset, and whether Quantemplate knows it (None: unknown)."""

    finding: Finding
    is_known: bool | None


def _check_datasets(client: QuantemplateClient, datasets: Sequence[Dataset]) -> list[_DatasetCheck]:
    with ThreadPoolExecutor(_CONCURRENCY) as threads:
        return list(threads.map(partial(_check_dataset, client), datasets))


def _check_dataset(client: QuantemplateClient, dataset: Dataset) -> _DatasetCheck:
    finding: Callable[..., Finding] = partial(Finding, Area.DATASETS, f"{dataset.label} ({dataset.id})")
    trace_id = f"doctor-{uuid4()}"
    try:
        first = client.first_bytes(dataset.id, trace_id=trace_id, limit=_FIRST_BYTES, seconds=_FIRST_SECONDS)
        headers = read_header(lambda: io.BytesIO(first)).names
    except NotReadyError as error:
        return _DatasetCheck(finding(FindingState.WARNING, error.message, error.hint), True)
    except AccessDeniedError as error:
        return _DatasetCheck(finding(FindingState.FAILURE, error.message, error.hint), False)
    except DownloadTooSlowError:
        hint = "Check the network and Quantemplate; a run waits longer."
        return _DatasetCheck(
            finding(FindingState.FAILURE, f"Its first bytes did not arrive within {_FIRST_SECONDS} seconds.", hint),
            True,
        )
    except PipelineError as error:
        return _DatasetCheck(finding(FindingState.FAILURE, error.message, error.hint or f"{_NETWORK}QT_API_URL."), None)
    whole = len(first) < _FIRST_BYTES or b"\n" in first
    named = dict.fromkeys([*dataset.columns, *dataset.key])
    present = header_keys(headers)
    if missing := [header for header in named if whole and header_key(header) not in present]:
        return _DatasetCheck(finding(FindingState.FAILURE, *_lacks(missing, headers)), True)
    return _DatasetCheck(finding(FindingState.OK, f"Its file is available, with {len(headers)} columns."), True)


def _lacks(missing: Sequence[str], headers: Sequence[str]) -> tuple[str, str]:
    shown = ", ".join(map(reprlib.repr, missing[:_MAX_LISTED])) + (" and others" if len(missing) > _MAX_LISTED else "")
    similar = get_close_matches(missing[0], headers, n=1)
    hint = f" Did you mean {reprlib.repr(similar[0])}?" if similar else ""
    return (
        f"Its file has no column {shown}, which the catalog names.",
        f"Correct it in the catalog; headers must match the file.{hint}",
    )


def _confirmed(organisation: Finding, results: Sequence[_DatasetCheck]) -> Finding:
    """The organisation's finding, updated from the results of the datasets."""
    if any(result.is_known for result in results):
        found = "Quantemplate knows datasets of the catalog in this organisation."
        return Finding(organisation.area, organisation.subject, FindingState.OK, found)
    if organisation.state is FindingState.OK and all(result.is_known is False for result in results):
        found = "Quantemplate rejects every dataset of the catalog in this organisation."
        hint = "Check QT_ORGANISATION_ID, and that the API user belongs to that organisation."
        return Finding(organisation.area, organisation.subject, FindingState.WARNING, found, hint)
    return organisation
