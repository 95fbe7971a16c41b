"""The findings of the doctor: area, subject, state, message and hint.

Here: the values, and creating one from an error. Not here: the checks.
"""

from dataclasses import dataclass
from enum import StrEnum

from qt_pipeline.errors import PipelineError


class Area(StrEnum):
    """The area of a finding, in the order of output."""

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
    """The result of a check. `SKIPPED`: not checked, because something else must be fixed first."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked subject; `message` and `hint` (the fix) are sentences. An OK finding has no hint."""

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
        """An error as a finding; `hint` is used if the error has none."""
        return cls(area, subject, state, error.message, error.hint or hint)
