"""A running Dagster, as its own UI speaks to it: over GraphQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests

DATASET = ("quantemplate", "dataset")
TABLE = ("warehouse", "table")

_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "qt_pipeline"}
_SENSOR = {**_LOCATION, "sensorName": "quantemplate_events"}
_PARTITION_TAG = "dagster/partition"
_BACKFILL_TAG = "dagster/backfill"

_RUNS = """
query ($filter: RunsFilter) {
  runsOrError(filter: $filter) { ... on Runs { results { runId status startTime tags { key value } } } }
}
"""
_EVENTS = """
query ($id: ID!) {
  runOrError(runId: $id) { ... on Run { eventConnection(limit: 1000) { events {
    ... on ErrorEvent { error { message } }
    ... on MessageEvent { message }
  } } } }
}
"""
_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } }
}
"""
_PARTITIONS = """
query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } } }
"""
_DELETE_PARTITIONS = """
mutation ($repository: RepositorySelector!, $keys: [String!]!) {
  deleteDynamicPartitions(
    repositorySelector: $repository, partitionsDefName: "quantemplate_datasets", partitionKeys: $keys
  ) { __typename }
}
"""
_MATERIALIZATIONS = """
query ($key: AssetKeyInput!, $partitions: [String!]) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(partitions: $partitions) { runId metadataEntries {
    label
    ... on TextMetadataEntry { text }
    ... on MarkdownMetadataEntry { mdStr }
    ... on TableMetadataEntry { table { records } }
    ... on IntMetadataEntry { intValue }
    ... on FloatMetadataEntry { floatValue }
    ... on TableSchemaMetadataEntry { schema { columns { name type } } }
  } } } }
}
"""
_TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
_CHECKS = """
query ($key: AssetKeyInput!) {
  assetCheckExecutions(assetKey: $key, checkName: "complete", limit: 1000) { runId status }
}
"""
_TICKS = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { ticks(limit: 1) { timestamp status } } } }
}
"""
_START_SENSOR = "mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) { __typename } }"
_STOP_SENSOR = "mutation ($id: String!) { stopSensor(id: $id) { __typename } }"
_SENSOR_ID = "query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor { id } } }"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as Dagster knows it; `status` in Dagster's words."""

    run_id: str
    status: str
    tags: dict[str, str]

    @property
    def partition(self) -> str | None:
        return self.tags.get(_PARTITION_TAG)

    @property
    def is_over(self) -> bool:
        return self.status in ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True, slots=True)
class Materialization:
    """What a run has told of an asset: the value of each metadata entry by its label."""

    run_id: str
    metadata: dict[str, Any]


class DagsterClient:
    """Reads runs, and starts them, over the HTTP address of the UI."""

    def __init__(self, ui_url: str) -> None:
        self._url = f"{ui_url}/graphql"
        self._http = requests.Session()
        self._http.trust_env = False
        # What was idle may be closed just when the next question comes.
        self._http.headers["Connection"] = "close"

    def runs(self, *, partition: str | None = None, backfill: str | None = None) -> list[Run]:
        """All runs, or those of a partition or a backfill, newest first."""
        wanted = {_PARTITION_TAG: partition, _BACKFILL_TAG: backfill}
        tags = [{"key": key, "value": value} for key, value in wanted.items() if value is not None]
        found = self._ask(_RUNS, filter={"tags": tags})["runsOrError"]["results"]
        return [Run(r["runId"], r["status"], {tag["key"]: tag["value"] for tag in r["tags"]}) for r in found]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.run_id == run_id)

    def log(self, run_id: str) -> str:
        """All that the run's events say, errors included."""
        events = self._ask(_EVENTS, id=run_id)["runOrError"]["eventConnection"]["events"]
        errors = [event["error"]["message"] for event in events if event.get("error")]
        return "\n".join([*(event["message"] for event in events if event.get("message")), *errors])

    def materialize(self, *assets: Sequence[str], partition: str) -> str:
        """Launch a run of these assets for one partition and return its id."""
        selector = {**_LOCATION, "jobName": "__ASSET_JOB", "assetSelection": [{"path": asset} for asset in assets]}
        tags = [{"key": _PARTITION_TAG, "value": partition}]
        params = {"selector": selector, "executionMetadata": {"tags": tags}, "mode": "default", "runConfigData": {}}
        launched = self._ask(_LAUNCH, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def terminate(self, run_id: str) -> None:
        """Cancel a run, as the UI does."""
        answer = self._ask(_TERMINATE, id=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def partitions(self) -> list[str]:
        """Every dataset id that Dagster knows."""
        return self._ask(_PARTITIONS, key={"path": TABLE})["assetNodeOrError"]["partitionKeys"]

    def delete_partitions(self, dataset_ids: Sequence[str]) -> None:
        """Let Dagster forget datasets."""
        answer = self._ask(_DELETE_PARTITIONS, repository=_LOCATION, keys=dataset_ids)["deleteDynamicPartitions"]
        assert answer["__typename"] == "DeleteDynamicPartitionsSuccess", answer

    def materializations(self, asset: Sequence[str], *, partition: str) -> list[Materialization]:
        """All materializations of an asset for a partition, newest first."""
        asked = self._ask(_MATERIALIZATIONS, key={"path": asset}, partitions=[partition])
        found = (asked["assetOrError"] or {}).get("assetMaterializations", [])
        return [Materialization(m["runId"], dict(map(_label_and_value, m["metadataEntries"]))) for m in found]

    def check_statuses(self) -> dict[str, str]:
        """How the check of the table ended, by run."""
        executions = self._ask(_CHECKS, key={"path": TABLE})["assetCheckExecutions"]
        return {execution["runId"]: execution["status"] for execution in executions}

    def last_tick(self) -> float:
        """When the newest tick of the sensor that is over began, in seconds since 1970; 0 if there is none."""
        ticks = self._ask(_TICKS, sensor=_SENSOR)["sensorOrError"]["sensorState"]["ticks"]
        return max((tick["timestamp"] for tick in ticks if tick["status"] != "STARTED"), default=0)

    def is_ticking(self) -> bool:
        """Whether a tick of the sensor is going; it goes on for some seconds after the sensor has been stopped."""
        ticks = self._ask(_TICKS, sensor=_SENSOR)["sensorOrError"]["sensorState"]["ticks"]
        return any(tick["status"] == "STARTED" for tick in ticks)

    def sensor_id(self) -> str:
        """The id of the sensor of events; it hangs on names alone, so that anybody can know it."""
        return self._ask(_SENSOR_ID, sensor=_SENSOR)["sensorOrError"]["id"]

    def stop_sensor(self) -> None:
        self._ask(_STOP_SENSOR, id=self.sensor_id())

    def start_sensor(self) -> None:
        self._ask(_START_SENSOR, sensor=_SENSOR)

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = self._http.post(self._url, json={"query": query, "variables": variables}, timeout=60)
        content = answer.json()
        assert "errors" not in content, content["errors"]
        return content["data"]


def _label_and_value(entry: dict[str, Any]) -> tuple[str, Any]:
    label, *values = entry.values()
    return label, values[0] if values else None
