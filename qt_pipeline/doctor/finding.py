"""What the doctor finds: where, what was looked at, how it is, and what to do next.

Here: the values, and how an error becomes one. Not here: any looking.
"""

from dataclasses import dataclass
from enum import StrEnum

from qt_pipeline.errors import PipelineError


class Area(StrEnum):
    """What a finding is about, in the order in which findings are told."""

    SETTINGS = "settings"
    CATALOG = "catalog"
    TOKEN = "token"  # noqa: S105  # the name of an area
    ORGANISATION = "organisation"
    DATASETS = "datasets"
    LANDING = "landing"
    INBOX = "inbox"
    TARGET = "target"
    RELAY = "relay"
    DAGSTER = "Dagster"
    MACHINE = "this machine"
    ALERTS = "alerts"


class FindingState(StrEnum):
    """How something is. `SKIPPED`: it was not looked at, because something else must be right first."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `found` and `hint`, the next step, are sentences. What is well needs no step."""

    area: Area
    subject: str
    state: FindingState
    message: str
    hint: str = ""

    @classmethod
    def of_error(
        cls,
        area: Area,
        subject: str,
        error: PipelineError,
        *,
        state: FindingState = FindingState.FAILURE,
        hint: str = "",
    ) -> "Finding":
        """An error as a finding; `hint` is the next step where the error itself knows none."""
        return cls(area, subject, state, error.message, error.hint or hint)
