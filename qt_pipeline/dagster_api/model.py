"""Values parsed from Dagster's responses.

Here: runs, their events, backfills, daemons, and the errors of requests. Not here: the requests (see client).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from qt_pipeline.errors import PermanentError, TransientError


class DagsterUnavailableError(TransientError):
    """Dagster is unreachable, or cannot respond."""


class DagsterRefusedError(PermanentError):
    """Dagster rejects a request, or the server is not Dagster."""


class RunStatus(StrEnum):
    """The status of a run, with Dagster's names."""

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
        """Whether the status is final."""
        return self in (RunStatus.SUCCESS, RunStatus.FAILURE, RunStatus.CANCELED)

    @property
    def waits(self) -> bool:
        """Whether Dagster's daemon still has to start it."""
        return self in (RunStatus.NOT_STARTED, RunStatus.QUEUED)


@dataclass(frozen=True, slots=True)
class Run:
    """A run. `dataset_id` is its partition; `ended_at` is None while it is unfinished."""

    run_id: str
    dataset_id: str | None
    status: RunStatus
    tags: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def last_change_at(self) -> datetime:
        """When the run ended, else when it was requested."""
        return self.ended_at or self.created_at


class Stage(StrEnum):
    """The current step of a run."""

    DOWNLOAD = "download"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of a failed run and the fix; `hint` may be empty."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class TableReport:
    """What a run reported about the loaded table; None for values that it did not report."""

    table: str | None = None
    rows: int | None = None
    load_id: int | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class RunEvents:
    """The state of a run from its events up to `cursor`; None for what no event contains.

    `message` is the newest message of the run's log for people.
    """

    cursor: str | None = None
    stage: Stage | None = None
    message: str | None = None
    failure: Failure | None = None
    report: TableReport | None = None

    @property
    def why_failed(self) -> Failure:
        """The failure, if the run failed."""
        return self.failure or Failure("The run failed without an error message.", "See its log in the UI.")

    def then(self, later: "RunEvents") -> "RunEvents":
        """Merge with later events, which take precedence."""
        return RunEvents(
            cursor=later.cursor or self.cursor,
            stage=later.stage or self.stage,
            # A message of one step does not apply to the next.
            message=later.message or (None if later.stage else self.message),
            failure=later.failure or self.failure,
            report=later.report or self.report,
        )


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill and the runs that it has requested so far. `status` has Dagster's names."""

    backfill_id: str
    status: str
    error: str | None
    runs: tuple[Run, ...]

    @property
    def is_over(self) -> bool:
        """Whether the status is final."""
        return self.status in ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")


@dataclass(frozen=True, slots=True)
class Daemon:
    """One of Dagster's daemons. `silent_seconds` is the time since its last heartbeat; None if there was none."""

    name: str
    is_required: bool
    is_running: bool
    silent_seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """Whether Dagster has loaded this project's code location, and the error if not."""

    is_loaded: bool
    error: str | None = None
