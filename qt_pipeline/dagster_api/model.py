"""The values that a running Dagster's answers become.

Here: runs, what their events tell, backfills, daemons, and the errors of asking. Not here: how they are asked for.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from qt_pipeline.errors import PermanentError, TransientError


class DagsterUnavailableError(TransientError):
    """No Dagster answers, or it is not able to."""


class DagsterRefusedError(PermanentError):
    """Dagster does not do what is asked, or what answers is no Dagster."""


class RunStatus(StrEnum):
    """How far a run is, in Dagster's words."""

    NOT_STARTED = "NOT_STARTED"
    QUEUED = "QUEUED"
    MANAGED = "MANAGED"
    STARTING = "STARTING"
    STARTED = "STARTED"
    SUSPENDED = "SUSPENDED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change it any more."""
        return self in (RunStatus.SUCCESS, RunStatus.FAILURE, RunStatus.CANCELED)

    @property
    def waits(self) -> bool:
        """Whether Dagster's daemon still has to start it."""
        return self in (RunStatus.NOT_STARTED, RunStatus.QUEUED)


@dataclass(frozen=True, slots=True)
class Run:
    """A run. `dataset_id` is its partition; `ended_at` is None while it is not over."""

    run_id: str
    dataset_id: str | None
    status: RunStatus
    tags: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def last_change_at(self) -> datetime:
        """When it ended; of one whose end nobody saw, when it was asked for."""
        return self.ended_at or self.created_at


class Stage(StrEnum):
    """Which of the two steps a run is at."""

    DOWNLOAD = "download"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed and the next step, in the words of the error that ended it; `hint` may be empty."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class TableReport:
    """What a run has told of the table it loaded. None is what it did not tell."""

    table: str | None = None
    rows: int | None = None
    load_id: int | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class RunEvents:
    """What the events of a run tell that came after `cursor` of an earlier look; None for what none of them tells.

    `message` is the newest line of the run's log that was written for people.
    """

    cursor: str | None = None
    stage: Stage | None = None
    message: str | None = None
    failure: Failure | None = None
    report: TableReport | None = None

    @property
    def why_failed(self) -> Failure:
        """Why the run failed, if it did."""
        return self.failure or Failure("The run failed without a word.", "See its log in the UI.")

    def then(self, later: "RunEvents") -> "RunEvents":
        """Both together, the later one first."""
        return RunEvents(
            cursor=later.cursor or self.cursor,
            stage=later.stage or self.stage,
            # What was said of one step says nothing of the next.
            message=later.message or (None if later.stage else self.message),
            failure=later.failure or self.failure,
            report=later.report or self.report,
        )


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill and the runs that it has asked for so far. `status` is in Dagster's words."""

    backfill_id: str
    status: str
    error: str | None
    runs: tuple[Run, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing will change it any more."""
        return self.status in ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")


@dataclass(frozen=True, slots=True)
class Daemon:
    """One of the daemon's loops. `silent_seconds` is since its last heartbeat, by Dagster's clock; None for never."""

    name: str
    is_required: bool
    is_running: bool
    silent_seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """Whether Dagster has loaded this project's code, and what went wrong if it has not."""

    is_loaded: bool
    error: str | None = None
