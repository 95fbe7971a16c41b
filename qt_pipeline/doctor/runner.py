"""All checks, each in a thread of its own and within its time, whatever becomes of the others.

Here: which checks there are, and what is said of one that is not made, not over in time, or ends in an unexpected way.
Not here: the checks themselves.
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
    "Another program may hold a lock in it, or its server does not answer. A serverless database that slept is awake "
    "in a minute: run it again then."
)
CHECK_THREAD = "doctor-check"
"""The name of the thread of every check."""
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
    """Look at everything that this project needs, and tell what was found, in the order of the areas.

    It takes some seconds, and two minutes at most. What it tries out it cleans away; inbox and ledger are made if they
    are missing, as any start of this project does. No text holds a secret of the settings.
    """
    catalog, of_catalog = _catalog(survey)
    case = CheckContext(survey, catalog)
    began = time.monotonic()
    going = [_RunningCheck(check, case) for check in checks]
    found = [of_catalog, *(finding for one in going for finding in one.outcome(began))]
    mask = Redactor(survey.settings)
    order = list(Area)
    told = sorted(found, key=lambda finding: order.index(finding.area))
    return [replace(one, subject=mask(one.subject), message=mask(one.message), hint=mask(one.hint)) for one in told]


def _catalog(survey: SettingsReport) -> tuple[Catalog | None, Finding]:
    try:
        return local.catalog(survey)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other checks are made
        return None, _unexpected(Area.CATALOG, error)


def _unexpected(area: Area, error: Exception) -> Finding:
    # Its words may hold anything.
    found = f"Looking at it ended in an unexpected error ({type(error).__name__})."
    hint = "Report it, with the versions that are told under `this machine`."
    return Finding(area, area.value, FindingState.FAILURE, found, hint)


@dataclass(slots=True)
class _RunningCheck:
    """A check that has begun."""

    check: Check
    case: CheckContext
    _found: list[Finding] = field(default_factory=list[Finding])
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # As a daemon: what does not end must not keep the process.
        self._thread = threading.Thread(target=self._look, daemon=True, name=CHECK_THREAD)
        self._thread.start()

    def outcome(self, began: float) -> list[Finding]:
        """What was found, as soon as the check or its time is over."""
        self._thread.join(max(0.0, began + self.check.seconds - time.monotonic()))
        found = list(self._found)
        if self._thread.is_alive():
            words = f"It is not over after {self.check.seconds:.0f} seconds."
            area = found[-1].area if found else self.check.areas[0]
            found.append(Finding(area, area.value, FindingState.FAILURE, words, self.check.late))
        return found

    def _look(self) -> None:
        if wrong := sorted(set(self.check.needs) & set(self.case.report.faults)):
            why = f"{', '.join(wrong)} must be right first."
            self._found += [Finding(area, area.value, FindingState.SKIPPED, why) for area in self.check.areas]
            return
        try:
            for finding in self.check.run(self.case):
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other checks are made
            area = self._found[-1].area if self._found else self.check.areas[0]
            self._found.append(_unexpected(area, error))
