"""Runs all checks, each in a separate thread with its time limit.

Here: the list of checks, and the findings of skipped, timed-out and crashed checks. Not here: the checks themselves.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from qt_pipeline.catalog import Catalog
from qt_pipeline.doctor import local, services, storage, vendor
from qt_pipeline.doctor.check import Check, CheckContext
from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.doctor.redact import Redactor
from qt_pipeline.settings import SettingsReport

_DATABASE_LATE = (
    "Another program may hold a lock in it, or its server does not respond. A paused serverless database resumes "
    "within a minute: then run it again."
)
CHECK_THREAD = "doctor-check"
"""The thread name of every check."""
CHECKS = (
    Check(local.settings, (Area.SETTINGS,)),
    Check(
        vendor.vendor,
        (Area.TOKEN, Area.ORGANISATION, Area.DATASETS),
        needs=("QT_API_URL", "QT_TOKEN_URL", "QT_CONNECT_TIMEOUT_SECONDS", "QT_READ_TIMEOUT_SECONDS"),
        seconds=120,
    ),
    Check(storage.landing, (Area.LANDING,), needs=("QT_LANDING_URL",)),
    Check(storage.inbox, (Area.INBOX,), needs=("QT_INBOX_URL", "QT_RELAY_QUEUE_URL"), late=_DATABASE_LATE),
    Check(storage.target, (Area.TARGET,), needs=("QT_WAREHOUSE_URL",), late=_DATABASE_LATE),
    Check(services.relay, (Area.RELAY,), needs=("QT_RELAY_URL",)),
    Check(services.dagster, (Area.DAGSTER,), needs=("QT_DAGSTER_URL",)),
    Check(local.machine, (Area.MACHINE,)),
    Check(local.alerts, (Area.ALERTS,), needs=("QT_ALERT_URLS",)),
)


def run_checks(survey: SettingsReport, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Run all checks and return their findings, in the order of the areas.

    This takes seconds, at most two minutes. Test data is cleaned up; missing tables of inbox and ledger are created, as
    on any start. No finding contains a secret of the settings.
    """
    catalog, of_catalog = _catalog(survey)
    case = CheckContext(survey, catalog)
    began = time.monotonic()
    running = [_RunningCheck(check, case) for check in checks]
    found = [of_catalog, *(finding for check in running for finding in check.outcome(began))]
    redact = Redactor(survey.settings)
    order = list(Area)
    ordered = sorted(found, key=lambda finding: order.index(finding.area))
    return [replace(f, subject=redact(f.subject), message=redact(f.message), hint=redact(f.hint)) for f in ordered]


def _catalog(survey: SettingsReport) -> tuple[Catalog | None, Finding]:
    try:
        return local.catalog(survey)
    except Exception as error:  # noqa: BLE001  # the other checks still run
        return None, _unexpected(Area.CATALOG, error)


def _unexpected(area: Area, error: Exception) -> Finding:
    # The message may contain anything.
    found = f"The check failed with an unexpected error ({type(error).__name__})."
    hint = "Report it, with the versions listed under `this machine`."
    return Finding(area, area.value, FindingState.FAILURE, found, hint)


@dataclass(slots=True)
class _RunningCheck:
    """A started check."""

    check: Check
    case: CheckContext
    _found: list[Finding] = field(default_factory=list[Finding])
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # A daemon thread: a check that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True, name=CHECK_THREAD)
        self._thread.start()

    def outcome(self, began: float) -> list[Finding]:
        """The findings, once the check ends or its time limit passes."""
        self._thread.join(max(0.0, began + self.check.seconds - time.monotonic()))
        found = list(self._found)
        if self._thread.is_alive():
            message = f"It did not finish within {self.check.seconds:.0f} seconds."
            area = found[-1].area if found else self.check.areas[0]
            found.append(Finding(area, area.value, FindingState.FAILURE, message, self.check.late))
        return found

    def _run(self) -> None:
        if invalid := sorted(set(self.check.needs) & set(self.case.report.faults)):
            reason = f"{', '.join(invalid)} must be fixed first."
            self._found += [Finding(area, area.value, FindingState.SKIPPED, reason) for area in self.check.areas]
            return
        try:
            for finding in self.check.run(self.case):
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001  # the other checks still run
            area = self._found[-1].area if self._found else self.check.areas[0]
            self._found.append(_unexpected(area, error))
