"""A pipeline of real components in one folder with a sandbox, and what Dagster recorded of runs."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from pydantic import SecretStr

from qt_pipeline.catalog import Catalog, load_catalog
from qt_pipeline.definitions import build_defs
from qt_pipeline.defs.assets import DATASET, TABLE
from qt_pipeline.defs.partitions import datasets
from qt_pipeline.defs.resources import Dispatcher, LoadRetryPolicy, Queue
from qt_pipeline.defs.sensors import events_sensor
from qt_pipeline.dispatch import Policy
from qt_pipeline.inbox import Inbox, NewEvent, StoredEvent
from qt_pipeline.ingest import Ingest
from qt_pipeline.landing import Landing
from qt_pipeline.liveness import RunLocks
from qt_pipeline.quantemplate import DATASET_UPDATED, ClientConfig, QuantemplateClient
from qt_pipeline.sandbox import Fault, SandboxServer
from qt_pipeline.warehouse import Warehouse

DATASET_ID = "d-claims-of-a-test-0001"
CREDENTIALS = ("QT_CLIENT_ID", "QT_CLIENT_SECRET", "QT_ORGANISATION_ID")


@dataclass(frozen=True)
class LocalPipeline:
    """One pipeline: its rooms, a sandbox to download from, and a Dagster instance that remembers."""

    folder: Path
    sandbox: SandboxServer
    inbox: Inbox
    warehouse: Warehouse
    instance: dg.DagsterInstance

    def serve(self, csv: str | bytes, dataset_id: str = DATASET_ID) -> None:
        """Let the sandbox serve `csv` from now on, as a partition that Dagster knows."""
        self.sandbox.state.put(dataset_id, csv.encode() if isinstance(csv, str) else csv)
        self.sandbox.state.set_faults(dataset_id, [])
        self.instance.add_dynamic_partitions(str(datasets.name), [dataset_id])

    def break_downloads(self, dataset_id: str = DATASET_ID) -> None:
        """Let the sandbox answer that it is overloaded, until it serves something new."""
        self.sandbox.state.set_faults(dataset_id, [Fault(kind="status", status=503, times=None)])

    def write_catalog(self, text: str) -> None:
        (self.folder / "datasets.yaml").write_text(text)

    def announce(self, *dataset_ids: str, name: str = DATASET_UPDATED) -> list[int]:
        """Events as the relay would store them; their sequence numbers."""
        return self.inbox.append([NewEvent(f"event-of-{d}", name, d, None, b"{}") for d in dataset_ids])

    def event(self, seq: int) -> StoredEvent:
        return next(event for event in self.inbox.events() if event.seq == seq)

    @property
    def locks(self) -> RunLocks:
        return RunLocks(self.folder / "runs")

    def ingest(self, *, with_credentials: bool = True) -> Ingest:
        return Ingest(
            client=self._client() if with_credentials else None,
            missing_credentials=() if with_credentials else CREDENTIALS,
            inbox=self.inbox,
            landing=Landing(str(self.folder / "landing")),
            open_warehouse=lambda: self.warehouse,
            catalog=self._catalog(),
        )

    def dispatcher(
        self,
        *,
        with_credentials: bool = True,
        policy: Policy | None = None,
        max_datasets: int = 100,
        queue: Queue | None = None,
        retention: timedelta | None = None,
        wait_seconds: float = 0,
    ) -> Dispatcher:
        return Dispatcher(
            inbox=self.inbox,
            queue=queue,
            open_warehouse=lambda: self.warehouse,
            catalog=self._catalog(),
            locks=self.locks,
            policy=policy or Policy(delay=timedelta(0)),
            max_datasets=max_datasets,
            retention=retention,
            missing_credentials=() if with_credentials else CREDENTIALS,
            wait_seconds=wait_seconds,
        )

    def run(
        self,
        assets: Sequence[dg.AssetKey] = (DATASET, TABLE),
        *,
        with_credentials: bool = True,
        dataset_id: str = DATASET_ID,
        tags: Mapping[str, str] | None = None,
    ) -> "Run":
        """Materialize assets of a dataset, as one run of the code location would."""
        defs = build_defs(
            ingest=self.ingest(with_credentials=with_credentials),
            patience=LoadRetryPolicy(attempts=2, delay_seconds=0.01),
        )
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            partition_key=dataset_id,
            asset_selection=list(assets),
            raise_on_error=False,
            tags=tags,
        )
        return Run(result, self.instance)

    def shown_check(self, name: str, *, dataset_id: str = DATASET_ID) -> dg.AssetCheckEvaluation:
        """The result of a check of a dataset that Dagster's UI shows."""
        evaluation = self._check_record(name, dataset_id).evaluation
        assert evaluation is not None
        return evaluation

    def status_of_check(self, name: str, *, dataset_id: str = DATASET_ID) -> str:
        """How the newest execution of a check ended: one without a result is PLANNED, and red when its run fails."""
        return self._check_record(name, dataset_id).status.value

    def _check_record(self, name: str, dataset_id: str) -> AssetCheckExecutionRecord:
        [newest] = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(TABLE, name), 1, partition_filter=PartitionKeyFilter(key=dataset_id)
        )
        return newest

    def tick(self, *, cursor: str | None = None, **options: Any) -> "Tick":
        """One tick of the sensor; `options` as those of `dispatcher`."""
        context = dg.build_sensor_context(instance=self.instance, cursor=cursor)
        answer = events_sensor()(context, dispatcher=self.dispatcher(**options))
        assert isinstance(answer, dg.SensorResult)
        added = [key for request in answer.dynamic_partitions_requests or () for key in request.partition_keys]
        return Tick(
            requests=list(answer.run_requests or ()),
            added_partitions=added,
            skip_message=answer.skip_reason.skip_message if answer.skip_reason else None,
            observed=[plain(event.metadata) for event in answer.asset_events if isinstance(event, dg.AssetObservation)],
            cursor=answer.cursor,
        )

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Ask, or sabotage, the target behind everybody's back."""
        connection = sqlite3.connect(self.folder / "warehouse.db")
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def _catalog(self) -> Catalog:
        return load_catalog(self.folder / "datasets.yaml")

    def _client(self) -> QuantemplateClient:
        return QuantemplateClient(
            ClientConfig(
                api_url=self.sandbox.api_url,
                token_url=self.sandbox.token_url,
                organisation_id=self.sandbox.organisation_id,
                client_id=self.sandbox.client_id,
                client_secret=SecretStr(self.sandbox.client_secret),
                attempts=2,
                not_ready_seconds=0,
                backoff_base_seconds=0.001,
            )
        )


@dataclass(frozen=True)
class Tick:
    """What the sensor answered."""

    requests: list[dg.RunRequest]
    added_partitions: list[str]
    skip_message: str | None
    observed: list[dict[str, Any]]
    cursor: str | None


@dataclass(frozen=True)
class Run:
    """A run that is over, and what Dagster keeps of it."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    @property
    def id(self) -> str:
        return self.result.run_id

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def tags(self) -> Mapping[str, str]:
        run = self.instance.get_run_by_id(self.id)
        assert run is not None
        return run.tags

    @property
    def materialized(self) -> list[dg.AssetKey]:
        return [event.asset_key for event in self.result.get_asset_materialization_events() if event.asset_key]

    def metadata(self, asset: dg.AssetKey) -> dict[str, Any]:
        """The plain values of an asset's metadata."""
        [found] = [
            event.step_materialization_data.materialization
            for event in self.result.get_asset_materialization_events()
            if event.asset_key == asset
        ]
        return plain(found.metadata)

    @property
    def checks(self) -> list[dg.AssetCheckEvaluation]:
        return list(self.result.get_asset_check_evaluations())

    def check(self, name: str) -> dg.AssetCheckEvaluation:
        [found] = [check for check in self.checks if check.check_name == name]
        return found

    @property
    def observations(self) -> list[dg.AssetObservation]:
        return [event.asset_observation_data.asset_observation for event in self.result.get_asset_observation_events()]

    @property
    def failure(self) -> dg.Failure:
        """How the run's one failed step explains itself."""
        [event] = [event for event in self.result.all_events if event.is_step_failure]
        explained = event.step_failure_data.user_failure_data
        assert explained is not None
        return dg.Failure(explained.description, metadata=explained.metadata)

    @property
    def everything_recorded(self) -> str:
        """All that Dagster stored of this run: events, metadata, logs, stack traces, tags."""
        events = (dg.serialize_value(entry) for entry in self.instance.all_logs(self.id))
        return "\n".join([*events, str(dict(self.tags))])


def plain(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    """The values of metadata; a table is its rows."""
    return {
        name: [dict(row.data) for row in entry.records] if isinstance(entry, dg.TableMetadataValue) else entry.value
        for name, entry in metadata.items()
    }
