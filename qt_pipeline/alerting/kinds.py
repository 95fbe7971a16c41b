"""The kinds of alerts: a stable name, the texts, the meaning and the fix of each.

Here: fixed texts. Not here: when an alert is due (see incidents), how a message is composed (see messages).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qt_pipeline.errors import FailureScope


class AlertKind(StrEnum):
    """What an alert is about. Each message ends with this value, and the documents explain it."""

    NOT_LOADED = "does-not-load"
    TARGET = "target"
    QUANTEMPLATE = "quantemplate"
    LANDING = "landing"
    INBOX = "inbox"
    CONFIGURATION = "configuration"
    STALE = "stale"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """The texts of a kind of alert.

    `headline` and `recovery` follow the dataset's name, or stand alone for a shared resource. A one-time notice has no
    `recovery`.
    """

    headline: str
    recovery: str
    meaning: str
    hint: str
    is_shared: bool = False


KINDS: Mapping[AlertKind, AlertSpec] = {
    AlertKind.NOT_LOADED: AlertSpec(
        headline="does not load",
        recovery="loads again",
        meaning="The newest run of the dataset failed for a reason of that dataset, or events of it are parked. The "
        "table keeps its rows. The alert closes when a run succeeds and no event of the dataset is parked.",
        hint="Open the run: its first lines state the error and the fix. Then replay the parked events.",
    ),
    AlertKind.TARGET: AlertSpec(
        headline="The target database fails",
        recovery="The target database works again",
        meaning="Runs fail because the target database is unreachable, rejects the login, or lacks space or rights: "
        "one alert for all datasets. It closes when each of them has loaded again, or after an hour in which other "
        "datasets loaded and no run failed for this reason: datasets that still fail then get separate alerts.",
        hint="Check the database server; `qt-pipeline doctor` tests what a load needs. Then replay the parked events.",
        is_shared=True,
    ),
    AlertKind.QUANTEMPLATE: AlertSpec(
        headline="Quantemplate fails",
        recovery="Quantemplate works again",
        meaning="Runs fail because Quantemplate's API or token endpoint is unreachable or rejects the API user: one "
        "alert for all datasets, which closes as `target` does.",
        hint="Check QT_CLIENT_ID and QT_CLIENT_SECRET with `qt-pipeline doctor`, the network, and Quantemplate itself. "
        "Then replay the parked events.",
        is_shared=True,
    ),
    AlertKind.LANDING: AlertSpec(
        headline="The landing fails",
        recovery="The landing works again",
        meaning="Runs fail because downloads cannot be stored: the folder or blob store of QT_LANDING_URL is full, "
        "read-only or unreachable. One alert for all datasets, which closes as `target` does.",
        hint="Free space or grant rights there. Then replay the parked events.",
        is_shared=True,
    ),
    AlertKind.INBOX: AlertSpec(
        headline="The inbox of events fails",
        recovery="The inbox of events works again",
        meaning="Runs or the alert sensor cannot read or write the inbox: the relay answers 503, and no run is "
        "requested. The alert closes when the inbox responds and each affected dataset has loaded again.",
        hint="Check the disk or the server of QT_INBOX_URL.",
        is_shared=True,
    ),
    AlertKind.CONFIGURATION: AlertSpec(
        headline="A setting or the catalog is wrong",
        recovery="Settings and catalog are valid again",
        meaning="Settings or datasets.yaml are incomplete or unreadable: runs fail, or none is requested. One alert "
        "for all datasets, which closes as `target` does.",
        hint="Correct the named setting in the environment, in .env or in datasets.yaml.",
        is_shared=True,
    ),
    AlertKind.STALE: AlertSpec(
        headline="is stale",
        recovery="is up to date again",
        meaning="The table's newest download is older than the catalog's `fresh_within_hours`. A dataset whose runs "
        "fail gets no such alert: it already has one.",
        hint="Check in Dagster's UI that the sensor and the schedule run, and that the relay receives events: "
        "`qt-pipeline events --dataset-id ID` lists the latest.",
    ),
    AlertKind.DRIFT: AlertSpec(
        headline="has changed its columns",
        recovery="",
        meaning="A load was published whose file had other columns or types than the previous one, and the dataset's "
        "policy accepts that: one notice per load. A difference that the policy rejects is `does-not-load`.",
        hint="Inform the users of the table. To reject such changes, set `policy: freeze` for the dataset.",
    ),
}

SHARED: Mapping[FailureScope, AlertKind] = {
    FailureScope.TARGET: AlertKind.TARGET,
    FailureScope.QUANTEMPLATE: AlertKind.QUANTEMPLATE,
    FailureScope.LANDING: AlertKind.LANDING,
    FailureScope.INBOX: AlertKind.INBOX,
    FailureScope.CONFIGURATION: AlertKind.CONFIGURATION,
}
"""The kind of incident for each failure scope that is not a single dataset."""
