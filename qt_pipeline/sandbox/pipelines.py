"""The one pipeline of the sandbox, whose output is one of the datasets.

Here: executions and their outcome. Not here: the bytes of an output (see downloads).
"""

import secrets
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from qt_pipeline.sandbox.datasets import SANDBOX_DATASETS
from qt_pipeline.values import utc_now

PIPELINE_ID = "p-quarterly-losses-0000001"
OUTPUT_ID = "o-losses-by-company-000001"
OUTPUT_NAME = "Losses: by company 2015:Q1"
OUTPUT_DATASET_ID = SANDBOX_DATASETS[0].id

_EXECUTIONS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of the pipeline; it succeeds by itself at `finished_at`."""

    id: str
    run_number: int
    started_at: datetime
    finished_at: datetime

    @property
    def is_finished(self) -> bool:
        """Whether it has ended by now."""
        return utc_now() >= self.finished_at

    def as_json(self) -> dict[str, object]:
        """The execution as the vendor's API describes it now."""
        known: dict[str, object] = {
            "id": self.id,
            "runNumber": self.run_number,
            "createdAt": self.started_at.isoformat(),
            "createdBy": "sandbox",
            "startedAt": self.started_at.isoformat(),
            "version": 1,
        }
        if not self.is_finished:
            return {**known, "status": "Started", "outputs": []}
        return {
            **known,
            "finishedAt": self.finished_at.isoformat(),
            "status": "Succeeded",
            "outputs": [{"id": OUTPUT_ID, "name": OUTPUT_NAME}],
        }


class Pipeline:
    """The pipeline's executions, only the recent ones. Safe between threads.

    `execution_seconds` says how long each further execution takes.
    """

    def __init__(self) -> None:
        self.execution_seconds = 1.0
        self._executions: deque[Execution] = deque(maxlen=_EXECUTIONS_KEPT)
        self._started = 0
        self._lock = Lock()

    def start(self) -> Execution:
        """Start the pipeline once more."""
        with self._lock:
            self._started += 1
            now, duration = utc_now(), timedelta(seconds=self.execution_seconds)
            execution = Execution(f"e-{secrets.token_hex(12)}", self._started, now, now + duration)
            self._executions.append(execution)
            return execution

    def executions(self) -> tuple[Execution, ...]:
        """The executions, oldest first."""
        with self._lock:
            return tuple(self._executions)

    def has_output(self, execution_id: str, output_id: str) -> bool:
        """Whether that execution has finished and has that output."""
        return output_id == OUTPUT_ID and any(
            execution.id == execution_id and execution.is_finished for execution in self.executions()
        )
