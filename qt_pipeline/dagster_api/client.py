"""The client: one method for each thing that is asked of a running Dagster.

Here: requests, their errors, and the reading of answers. Not here: what the values are (see model).
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
# Each loop gives a sign every 30 seconds; Dagster itself would wait for half an hour before it worries.
_SILENT_SECONDS = 120
_CLASS = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Failure): ")
# A name that is nobody's, by RFC 2606.
_OTHER_ORIGIN = "http://another-page.invalid"
_START = "Start it with `make dev`, or set QT_DAGSTER_URL to where it runs."


class DagsterApi:
    """A Dagster at `url`, the address of its UI, which may hold a user and a password for what stands before it.

    Nothing is asked before a method is called. The attribute `url` is without them, for people.

    Every method raises DagsterUnavailableError when nobody answers, and DagsterRefusedError when Dagster does not do
    what is asked.
    """

    def __init__(self, url: str, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
        self.url = redacted_url(url.rstrip("/"))
        self._answer_seconds = answer_seconds
        self._http = requests.Session()
        self._base, self._http.auth = split_credentials(url.rstrip("/"))
        # A proxy of the environment must not be asked for what is on this machine.
        self._http.trust_env = not is_loopback_url(url)
        # A server that closes what was idle, just when the next question comes, must not look as if it were away.
        self._http.headers["Connection"] = "close"

    def run_url(self, run_id: str) -> str:
        """The page of a run in the UI."""
        return f"{self.url}/runs/{run_id}"

    def backfill_url(self, backfill_id: str) -> str:
        """The page of a backfill in the UI."""
        return f"{self.url}/runs/b/{backfill_id}"

    def version(self) -> str:
        """The version of Dagster that answers."""
        return str(self._ask(queries.VERSION)["version"])

    def answers_other_pages(self) -> bool:
        """Whether a page of another origin could drive this Dagster from a browser. The question changes nothing."""
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
        """The loops of the daemon, which starts runs, ticks sensors and carries backfills out."""
        answer, now = self._answer(queries.STATE)
        found = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [_daemon(status, now) for status in found]

    def code_location(self) -> CodeLocation:
        """Whether the code location of this project is loaded."""
        workspace = self._ask(queries.STATE)["workspaceOrError"]
        entries = {entry["name"]: entry["locationOrLoadError"] for entry in workspace.get("locationEntries", ())}
        entry = entries.get(LOCATION)
        if LOCATION not in entries:
            others = ", ".join(sorted(entries)) or "none"
            return CodeLocation(False, workspace.get("message") or f"It has no {LOCATION!r}; there are: {others}.")
        if entry is None:
            return CodeLocation(False, "It is being loaded.")
        return CodeLocation(entry["__typename"] == "RepositoryLocation", entry.get("message"))

    def is_sensor_running(self, name: str) -> bool:
        """Whether a sensor of this project is on."""
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
        """Make dataset ids known as partitions. Those that are stay."""
        for dataset_id in dataset_ids:
            named = {"definition": _PARTITIONS_DEFINITION, "key": dataset_id}
            answer = self._ask(queries.ADD_PARTITION, repository=_REPOSITORY, **named)["addDynamicPartition"]
            if answer["__typename"] not in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"):
                self._refuse_errors("add the partition", answer)

    def launch(self, dataset_id: str, tags: Mapping[str, str]) -> str:
        """Ask for a run that downloads and loads a dataset, which is a partition already; the id of the run."""
        selector = {**_REPOSITORY, "jobName": "__ASSET_JOB", "assetSelection": _ASSETS}
        execution = {"tags": _as_tags({**tags, _PARTITION_TAG: dataset_id})}
        params = {"selector": selector, "executionMetadata": execution, "mode": "default", "runConfigData": {}}
        launched = self._ask(queries.LAUNCH, params=params)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            self._refuse_errors("start the run", launched)
        return launched["run"]["runId"]

    def launch_backfill(self, dataset_ids: Sequence[str], tags: Mapping[str, str]) -> str:
        """Ask for a run for each of these datasets, which are partitions already; the id of the backfill."""
        params = {"assetSelection": _ASSETS, "partitionNames": list(dataset_ids), "tags": _as_tags(tags)}
        launched = self._ask(queries.BACKFILL, params=params)["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            self._refuse_errors("start the backfill", launched)
        return launched["backfillId"]

    def run(self, run_id: str) -> Run:
        """One run."""
        found = self._runs({"runIds": [run_id]}, limit=1)
        if not found:
            raise DagsterRefusedError(f"Dagster at {self.url} knows no run {run_id}.", hint="Look for it in the UI.")
        return found[0]

    def runs(self, *, tags: Mapping[str, str], in_flight: bool = False, limit: int = 100) -> list[Run]:
        """Runs that carry all of these tags, newest first; with `in_flight` those that are not over."""
        filter_: dict[str, Any] = {"tags": _as_tags(tags)}
        return self._runs(filter_ | ({"statuses": _IN_FLIGHT} if in_flight else {}), limit=limit)

    def runs_of(self, dataset_id: str, *, in_flight: bool = False, limit: int = 100) -> list[Run]:
        """Runs of a dataset, newest first; with `in_flight` those that are not over."""
        return self.runs(tags={_PARTITION_TAG: dataset_id}, in_flight=in_flight, limit=limit)

    def last_failed(self, dataset_id: str | None = None) -> dict[str, Run]:
        """For each dataset, or for one, its newest run that ended, if that failed; in one question.

        It looks through the newest runs that failed, and through as many that did not.
        """
        of_dataset = {"tags": _as_tags({_PARTITION_TAG: dataset_id})} if dataset_id else {}
        filters = {name: {"statuses": [status.value], **of_dataset} for name, status in _ENDED.items()}
        found = self._ask(queries.LAST_ENDED, **filters, limit=1 if dataset_id else _ENDED_BATCH_SIZE)
        ended = [run for name in _ENDED for run in self._results(found[name])]
        newest = {run.dataset_id: run for run in sorted(ended, key=lambda run: run.last_change_at)}
        failed = ((its, run) for its, run in newest.items() if run.status is RunStatus.FAILURE)
        return {its: run for its, run in failed if its is not None}

    def events(self, run_id: str, after: RunEvents | None = None) -> RunEvents:
        """What the events of a run tell, all of them or those that came after an earlier look; both together."""
        seen = after or RunEvents()
        more = True
        while more:
            asked = {"id": run_id, "cursor": seen.cursor, "limit": _EVENTS_BATCH_SIZE}
            found = self._ask(queries.EVENTS, **asked)["runOrError"]
            if "eventConnection" not in found:
                self._refuse_errors("show the run", found)
            connection = found["eventConnection"]
            told = reduce(RunEvents.then, map(_describe_entries, connection["events"]), RunEvents(connection["cursor"]))
            seen, more = seen.then(told), connection["hasMore"]
        return seen

    def terminate(self, run_id: str) -> None:
        """Cancel a run, as the UI does."""
        answer = self._ask(queries.TERMINATE, id=run_id)["terminateRun"]
        if answer["__typename"] != "TerminateRunSuccess":
            self._refuse_errors("cancel the run", answer)

    def backfill(self, backfill_id: str) -> Backfill:
        """How far a backfill is."""
        found = self._ask(queries.BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]
        if "status" not in found:
            self._refuse_errors("show the backfill", found)
        error = found["error"]["message"] if found["error"] else None
        return Backfill(backfill_id, found["status"], error, tuple(map(_run, found["runs"])))

    def report_table(self, dataset_id: str, *, description: str, metadata: Mapping[str, str | int]) -> None:
        """Let the UI show that a dataset's table was loaded without a run."""
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
        """The answer, and Dagster's time when it was given."""
        answer = self._post("graphql", {"query": query, "variables": variables})
        try:
            content: Any = answer.json()
            errors, data = content.get("errors"), content.get("data")
        except (ValueError, AttributeError):
            errors, data = None, None
        if errors or not isinstance(data, dict):
            self._refuse_errors(
                "answer", {"message": errors[0].get("message", "") if errors else "what answers is not it"}
            )
        told = answer.headers.get("Date")
        return cast("dict[str, Any]", data), parsedate_to_datetime(told) if told else datetime.now(UTC)

    def _post(self, path: str, content: object) -> requests.Response:
        try:
            timeout = (min(_CONNECT_SECONDS, self._answer_seconds), self._answer_seconds)
            answer = self._http.post(f"{self._base}/{path}", json=content, timeout=timeout)
        except requests.RequestException as error:
            # Its own words repeat addresses and objects of libraries.
            why = "does not answer in time" if isinstance(error, requests.Timeout) else "cannot be reached"
            raise DagsterUnavailableError(f"Dagster {why} at {self.url}.", hint=_START) from None
        if answer.status_code >= requests.codes.server_error:
            raise DagsterUnavailableError(f"Dagster at {self.url} answers {answer.status_code}.", hint=_START)
        if not answer.ok:
            raise DagsterRefusedError(
                f"What answers at {self.url} refuses ({answer.status_code}).",
                hint="Check that QT_DAGSTER_URL is the address of Dagster's UI, and that it may be asked from here.",
            )
        return answer

    def _refuse_errors(self, what: str, answer: Mapping[str, Any]) -> NoReturn:
        if "NotFound" in str(answer.get("__typename")) and "job" in str(answer.get("message", "")).lower():
            self._not_loaded()
        why = _first_line(str(answer.get("message") or answer.get("__typename") or "no reason given"))
        raise DagsterRefusedError(
            f"Dagster at {self.url} does not {what}: {why.rstrip('.')}.", hint="See its UI for more."
        )

    def _not_loaded(self) -> NoReturn:
        location = self.code_location()
        why = _first_line(location.error or "no reason given")
        raise DagsterRefusedError(
            f"Dagster at {self.url} has not loaded the code location {LOCATION!r}: {why.rstrip('.')}.",
            hint="Mend the cause, then reload it in the UI under Deployment.",
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
    """What one event tells."""
    match event["__typename"]:
        case "ExecutionStepStartEvent":
            return RunEvents(stage=_STAGES.get(event["stepKey"]))
        case "LogMessageEvent":
            return RunEvents(message=_first_line(event["message"]))
        case "ExecutionStepFailureEvent":
            return RunEvents(failure=_failure(event))
        case "RunFailureEvent":
            # After the failure of a step it only says that there was one.
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
    told: Mapping[str, Any] = event.get("failureMetadata") or {}
    entries = _entries(told.get("metadataEntries", ()))
    if "error" in entries:
        return Failure(entries["error"], entries.get("how to fix", ""))
    return Failure(_deepest(event["error"]) if event.get("error") else event["message"])


def _entries(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {entry["label"]: entry.get("text", entry.get("intValue")) for entry in entries}


def _deepest(error: Mapping[str, Any]) -> str:
    """What an error says that others were made of, without the name of its class."""
    messages = [error["message"], *(cause["message"] for cause in error.get("causes") or ())]
    return _CLASS.sub("", _first_line(messages[-1]))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
