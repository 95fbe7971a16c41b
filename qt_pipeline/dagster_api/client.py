"""The client of a running Dagster: one method per request.

Here: requests, errors, and parsing of responses. Not here: the value types (see model).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import reduce
from typing import Any, NoReturn, cast

import requests

from qt_pipeline.dagster_api import queries
from qt_pipeline.dagster_api.model import (
    Backfill,
    CodeLocation,
    Daemon,
    DagsterRefusedError,
    DagsterUnavailableError,
    Failure,
    Run,
    RunEvents,
    RunStatus,
    Stage,
    TableReport,
)
from qt_pipeline.urls import redacted_url, split_credentials
from qt_pipeline.values import is_loopback_url

LOCATION = "qt_pipeline"
DATASET, TABLE = ("quantemplate", "dataset"), ("warehouse", "table")
_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION}
_PARTITIONS_DEFINITION = "quantemplate_datasets"
_PARTITION_TAG = "dagster/partition"
_ASSETS = [{"path": list(key)} for key in (DATASET, TABLE)]
_STAGES = {"__".join(DATASET): Stage.DOWNLOAD, "__".join(TABLE): Stage.LOAD}
_ENDED = {"failed": RunStatus.FAILURE, "succeeded": RunStatus.SUCCESS}
_IN_FLIGHT = [status.value for status in RunStatus if not status.is_over]

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 60
_EVENTS_BATCH_SIZE = 500
_ENDED_BATCH_SIZE = 500
# Each daemon sends a heartbeat every 30 seconds; Dagster itself reports a missing one only after half an hour.
_SILENT_SECONDS = 120
_CLASS = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Failure): ")
# A name reserved by RFC 2606.
_OTHER_ORIGIN = "http://another-page.invalid"
_START = "Start it with `make dev`, or set QT_DAGSTER_URL to its address."


class DagsterApi:
    """A client of the Dagster whose UI is at `url`, which may contain user and password of a proxy.

    The constructor sends no request. The attribute `url` has no credentials, for output.

    Every method raises DagsterUnavailableError if Dagster is unreachable, and DagsterRefusedError if it rejects the
    request.
    """

    def __init__(self, url: str, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
        self.url = redacted_url(url.rstrip("/"))
        self._answer_seconds = answer_seconds
        self._http = requests.Session()
        self._base, self._http.auth = split_credentials(url.rstrip("/"))
        # Do not use a proxy from the environment for this machine.
        self._http.trust_env = not is_loopback_url(url)
        # A server that closes an idle connection during the next request would appear unavailable.
        self._http.headers["Connection"] = "close"

    def run_url(self, run_id: str) -> str:
        """The page of a run in the UI."""
        return f"{self.url}/runs/{run_id}"

    def backfill_url(self, backfill_id: str) -> str:
        """The page of a backfill in the UI."""
        return f"{self.url}/runs/b/{backfill_id}"

    def version(self) -> str:
        """Dagster's version."""
        return str(self._ask(queries.VERSION)["version"])

    def answers_other_pages(self) -> bool:
        """Whether a page of another origin could control this Dagster from a browser. The check changes nothing."""
        try:
            answer = self._http.get(
                f"{self.url}/graphql",
                params={"query": "{ __typename }"},
                headers={"Origin": _OTHER_ORIGIN},
                timeout=self._answer_seconds,
                allow_redirects=False,
            )
        except requests.RequestException:
            return False
        return answer.status_code == requests.codes.ok

    def daemons(self) -> list[Daemon]:
        """The daemons, which start runs, tick sensors and execute backfills."""
        answer, now = self._answer(queries.STATE)
        statuses = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [_daemon(status, now) for status in statuses]

    def code_location(self) -> CodeLocation:
        """Whether the code location of this project is loaded."""
        workspace = self._ask(queries.STATE)["workspaceOrError"]
        entries = {entry["name"]: entry["locationOrLoadError"] for entry in workspace.get("locationEntries", ())}
        entry = entries.get(LOCATION)
        if LOCATION not in entries:
            others = ", ".join(sorted(entries)) or "none"
            return CodeLocation(
                False, workspace.get("message") or f"There is no code location {LOCATION!r}; loaded: {others}."
            )
        if entry is None:
            return CodeLocation(False, "It is still loading.")
        return CodeLocation(entry["__typename"] == "RepositoryLocation", entry.get("message"))

    def is_sensor_running(self, name: str) -> bool:
        """Whether a sensor of this project is running."""
        sensor = self._ask(queries.SENSOR, sensor={**_REPOSITORY, "sensorName": name})["sensorOrError"]
        if "sensorState" not in sensor:
            self._refuse_errors(f"show the sensor {name}", sensor)
        return sensor["sensorState"]["status"] == "RUNNING"

    def partitions(self) -> list[str]:
        """Every dataset id that Dagster knows as a partition."""
        node = self._ask(queries.PARTITIONS, key={"path": list(TABLE)})["assetNodeOrError"]
        if "partitionKeys" not in node:
            self._not_loaded()
        return node["partitionKeys"]

    def add_partitions(self, dataset_ids: Iterable[str]) -> None:
        """Add dataset ids as partitions. Existing ones stay."""
        for dataset_id in dataset_ids:
            variables = {"definition": _PARTITIONS_DEFINITION, "key": dataset_id}
            answer = self._ask(queries.ADD_PARTITION, repository=_REPOSITORY, **variables)["addDynamicPartition"]
            if answer["__typename"] not in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"):
                self._refuse_errors("add the partition", answer)

    def launch(self, dataset_id: str, tags: Mapping[str, str]) -> str:
        """Request a run that downloads and loads a dataset, an existing partition. Returns the run's id."""
        selector = {**_REPOSITORY, "jobName": "__ASSET_JOB", "assetSelection": _ASSETS}
        execution = {"tags": _as_tags({**tags, _PARTITION_TAG: dataset_id})}
        params = {"selector": selector, "executionMetadata": execution, "mode": "default", "runConfigData": {}}
        launched = self._ask(queries.LAUNCH, params=params)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            self._refuse_errors("start the run", launched)
        return launched["run"]["runId"]

    def launch_backfill(self, dataset_ids: Sequence[str], tags: Mapping[str, str]) -> str:
        """Request one run for each of these datasets, existing partitions. Returns the backfill's id."""
        params = {"assetSelection": _ASSETS, "partitionNames": list(dataset_ids), "tags": _as_tags(tags)}
        launched = self._ask(queries.BACKFILL, params=params)["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            self._refuse_errors("start the backfill", launched)
        return launched["backfillId"]

    def run(self, run_id: str) -> Run:
        """One run."""
        runs = self._runs({"runIds": [run_id]}, limit=1)
        if not runs:
            raise DagsterRefusedError(f"Dagster at {self.url} has no run {run_id}.", hint="Search for it in the UI.")
        return runs[0]

    def runs(self, *, tags: Mapping[str, str], in_flight: bool = False, limit: int = 100) -> list[Run]:
        """Runs with all of these tags, newest first; with `in_flight`, only unfinished ones."""
        filter_: dict[str, Any] = {"tags": _as_tags(tags)}
        return self._runs(filter_ | ({"statuses": _IN_FLIGHT} if in_flight else {}), limit=limit)

    def runs_of(self, dataset_id: str, *, in_flight: bool = False, limit: int = 100) -> list[Run]:
        """Runs of a dataset, newest first; with `in_flight`, only unfinished ones."""
        return self.runs(tags={_PARTITION_TAG: dataset_id}, in_flight=in_flight, limit=limit)

    def last_failed(self, dataset_id: str | None = None) -> dict[str, Run]:
        """The newest finished run of each dataset, or of one, if it failed; with one request.

        Reads the newest failed runs, and as many of the newest successful ones.
        """
        of_dataset = {"tags": _as_tags({_PARTITION_TAG: dataset_id})} if dataset_id else {}
        filters = {name: {"statuses": [status.value], **of_dataset} for name, status in _ENDED.items()}
        response = self._ask(queries.LAST_ENDED, **filters, limit=1 if dataset_id else _ENDED_BATCH_SIZE)
        ended = [run for name in _ENDED for run in self._results(response[name])]
        newest = {run.dataset_id: run for run in sorted(ended, key=lambda run: run.last_change_at)}
        failed = ((dataset, run) for dataset, run in newest.items() if run.status is RunStatus.FAILURE)
        return {dataset: run for dataset, run in failed if dataset is not None}

    def events(self, run_id: str, after: RunEvents | None = None) -> RunEvents:
        """The state of a run from its events; with `after`, reads only later events and merges them."""
        merged = after or RunEvents()
        more = True
        while more:
            variables = {"id": run_id, "cursor": merged.cursor, "limit": _EVENTS_BATCH_SIZE}
            response = self._ask(queries.EVENTS, **variables)["runOrError"]
            if "eventConnection" not in response:
                self._refuse_errors("show the run", response)
            connection = response["eventConnection"]
            page = reduce(RunEvents.then, map(_describe_entries, connection["events"]), RunEvents(connection["cursor"]))
            merged, more = merged.then(page), connection["hasMore"]
        return merged

    def terminate(self, run_id: str) -> None:
        """Cancel a run, as the UI does."""
        answer = self._ask(queries.TERMINATE, id=run_id)["terminateRun"]
        if answer["__typename"] != "TerminateRunSuccess":
            self._refuse_errors("cancel the run", answer)

    def backfill(self, backfill_id: str) -> Backfill:
        """The state of a backfill."""
        found = self._ask(queries.BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]
        if "status" not in found:
            self._refuse_errors("show the backfill", found)
        error = found["error"]["message"] if found["error"] else None
        return Backfill(backfill_id, found["status"], error, tuple(map(_run, found["runs"])))

    def report_table(self, dataset_id: str, *, description: str, metadata: Mapping[str, str | int]) -> None:
        """Report that a dataset's table was loaded without a run, for the UI."""
        path = "/".join(TABLE)
        content = {"partition": dataset_id, "description": description, "metadata": dict(metadata)}
        self._post(f"report_asset_materialization/{path}", content)

    def _runs(self, filter_: Mapping[str, object], *, limit: int) -> list[Run]:
        return self._results(self._ask(queries.RUNS, filter=filter_, limit=limit)["runsOrError"])

    def _results(self, found: Mapping[str, Any]) -> list[Run]:
        if "results" not in found:
            self._refuse_errors("show runs", found)
        return [_run(run) for run in found["results"]]

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        return self._answer(query, **variables)[0]

    def _answer(self, query: str, **variables: object) -> tuple[dict[str, Any], datetime]:
        """The response, and Dagster's clock at that time."""
        answer = self._post("graphql", {"query": query, "variables": variables})
        try:
            content: Any = answer.json()
            errors, data = content.get("errors"), content.get("data")
        except (ValueError, AttributeError):
            errors, data = None, None
        if errors or not isinstance(data, dict):
            self._refuse_errors(
                "answer", {"message": errors[0].get("message", "") if errors else "the response is not GraphQL"}
            )
        date = answer.headers.get("Date")
        return cast("dict[str, Any]", data), parsedate_to_datetime(date) if date else datetime.now(UTC)

    def _post(self, path: str, content: object) -> requests.Response:
        try:
            timeout = (min(_CONNECT_SECONDS, self._answer_seconds), self._answer_seconds)
            answer = self._http.post(f"{self._base}/{path}", json=content, timeout=timeout)
        except requests.RequestException as error:
            # The message of requests contains URLs and library objects.
            problem = "did not respond in time" if isinstance(error, requests.Timeout) else "cannot be reached"
            raise DagsterUnavailableError(f"Dagster {problem} at {self.url}.", hint=_START) from None
        if answer.status_code >= requests.codes.server_error:
            raise DagsterUnavailableError(
                f"Dagster at {self.url} responds with status {answer.status_code}.", hint=_START
            )
        if not answer.ok:
            raise DagsterRefusedError(
                f"The server at {self.url} rejects the request (status {answer.status_code}).",
                hint="Check that QT_DAGSTER_URL is the address of Dagster's UI, and that this machine may access it.",
            )
        return answer

    def _refuse_errors(self, action: str, answer: Mapping[str, Any]) -> NoReturn:
        if "NotFound" in str(answer.get("__typename")) and "job" in str(answer.get("message", "")).lower():
            self._not_loaded()
        reason = _first_line(str(answer.get("message") or answer.get("__typename") or "no reason given"))
        raise DagsterRefusedError(
            f"Dagster at {self.url} cannot {action}: {reason.rstrip('.')}.", hint="See Dagster's UI for details."
        )

    def _not_loaded(self) -> NoReturn:
        location = self.code_location()
        reason = _first_line(location.error or "no reason given")
        raise DagsterRefusedError(
            f"Dagster at {self.url} has not loaded the code location {LOCATION!r}: {reason.rstrip('.')}.",
            hint="Fix the cause, then reload the code location in the UI under Deployment.",
        )


def _as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _run(found: Mapping[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    return Run(
        run_id=found["runId"],
        dataset_id=tags.get(_PARTITION_TAG),
        status=RunStatus(found["status"]),
        tags=tags,
        created_at=datetime.fromtimestamp(found["creationTime"], UTC),
        started_at=_datetime(found["startTime"]),
        ended_at=_datetime(found["endTime"]),
    )


def _datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _daemon(status: Mapping[str, Any], now: datetime) -> Daemon:
    last = _datetime(status["lastHeartbeatTime"])
    silent = None if last is None else max(0.0, (now - last).total_seconds())
    errors = status["lastHeartbeatErrors"]
    return Daemon(
        name=status["daemonType"],
        is_required=status["required"],
        is_running=silent is not None and silent <= _SILENT_SECONDS,
        silent_seconds=silent,
        error=_first_line(errors[0]["message"]) if errors else None,
    )


def _describe_entries(event: Mapping[str, Any]) -> RunEvents:
    """The state from one event."""
    match event["__typename"]:
        case "ExecutionStepStartEvent":
            return RunEvents(stage=_STAGES.get(event["stepKey"]))
        case "LogMessageEvent":
            return RunEvents(message=_first_line(event["message"]))
        case "ExecutionStepFailureEvent":
            return RunEvents(failure=_failure(event))
        case "RunFailureEvent":
            # After a failed step, this event only says that a step failed.
            error = event.get("error") or {"message": event["message"], "causes": ()}
            steps = "Steps failed" in event["message"]
            return RunEvents() if steps else RunEvents(failure=Failure(_deepest(error)))
        case "MaterializationEvent" if tuple(event["assetKey"]["path"]) == TABLE:
            entries = _entries(event["metadataEntries"])
            return RunEvents(report=TableReport(*(entries.get(label) for label in _REPORTED)))
        case _:
            return RunEvents()


_REPORTED = ("dagster/table_name", "rows", "load", "status")


def _failure(event: Mapping[str, Any]) -> Failure:
    failure_metadata: Mapping[str, Any] = event.get("failureMetadata") or {}
    entries = _entries(failure_metadata.get("metadataEntries", ()))
    if "error" in entries:
        return Failure(entries["error"], entries.get("how to fix", ""))
    return Failure(_deepest(event["error"]) if event.get("error") else event["message"])


def _entries(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {entry["label"]: entry.get("text", entry.get("intValue")) for entry in entries}


def _deepest(error: Mapping[str, Any]) -> str:
    """The message of the innermost error, without its class name."""
    messages = [error["message"], *(cause["message"] for cause in error.get("causes") or ())]
    return _CLASS.sub("", _first_line(messages[-1]))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
